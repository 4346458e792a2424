package alert

import (
	"fmt"
	"sync"
	"time"
	_ "time/tzdata" // so that zones do not depend on the machine

	"github.com/armlet-pay/armlet/platform/fault"
)

// Quiet is a daily stretch of local time in which alerts wait; the zero Quiet is none.
type Quiet struct {
	// Start and End are minutes after midnight. An End that is not after Start is on the next day.
	Start int `json:"start"`
	End   int `json:"end"`
}

// Preference turns a category off on a surface.
type Preference struct {
	Category Category `json:"category"`
	Surface  Surface  `json:"surface"`
	Enabled  bool     `json:"enabled"`
}

// Settings are an account's, a device's or a partner's.
type Settings struct {
	// Subject is `accounts/{account}`, `partners/{partner}` or a device's full name.
	Subject     string       `json:"subject"`
	TimeZone    string       `json:"time_zone,omitempty"`
	Locale      string       `json:"locale,omitempty"`
	Quiet       *Quiet       `json:"quiet,omitempty"`
	Preferences []Preference `json:"preferences,omitempty"`
	// Version changes with every change; 0 is never made.
	Version int64 `json:"version,omitempty"`
}

// Check names what is wrong with settings.
func (s Settings) Check(isAccount bool) error {
	if s.TimeZone != "" {
		if _, err := zone(s.TimeZone); err != nil {
			return fault.InvalidField("settings.time_zone", "%q is no IANA time zone such as Asia/Shanghai", cut(s.TimeZone, 64))
		}
	}
	if s.Locale != "" && !ValidLocale(s.Locale) {
		return fault.InvalidField("settings.locale", "%q is no language tag (BCP 47)", cut(s.Locale, 35))
	}
	if isAccount {
		return nil
	}
	for field, set := range map[string]bool{
		"locale": s.Locale != "", "quiet_hours": s.Quiet != nil, "preferences": len(s.Preferences) > 0,
	} {
		if set {
			return fault.InvalidField("settings."+field, "only accounts have this; leave it out")
		}
	}
	return nil
}

// wanted are the surfaces on which a category is to be shown.
func (s Settings) wanted(c Category) []Surface {
	off := map[Surface]bool{}
	for _, p := range s.Preferences {
		if p.Category == c {
			off[p.Surface] = !p.Enabled
		}
	}
	var all []Surface
	for _, surface := range Surfaces {
		if !off[surface] {
			all = append(all, surface)
		}
	}
	return all
}

// zones keeps what was read from the time zone database; there are some 600.
var zones sync.Map

func zone(name string) (*time.Location, error) {
	if loc, ok := zones.Load(name); ok {
		if loc, ok := loc.(*time.Location); ok {
			return loc, nil
		}
	}
	if name == "Local" { // this machine's says nothing about a wearer
		return nil, fmt.Errorf("no zone %q", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	zones.Store(name, loc)
	return loc, nil
}

// zoneOf is the first zone that is set, and UTC for none.
func zoneOf(names ...string) *time.Location {
	for _, name := range names {
		if name == "" {
			continue
		}
		if loc, err := zone(name); err == nil {
			return loc
		}
	}
	return time.UTC
}

const dayMinutes = 24 * 60

// Until is when the quiet hours that now is in end, and zero when it is in none.
func (q Quiet) Until(now time.Time, loc *time.Location) time.Time {
	local := now.In(loc)
	minute := local.Hour()*60 + local.Minute()
	length := (q.End - q.Start + dayMinutes) % dayMinutes
	if length == 0 {
		length = dayMinutes
	}
	if since := (minute - q.Start + dayMinutes) % dayMinutes; since >= length {
		return time.Time{}
	}
	year, month, day := local.Date()
	end := time.Date(year, month, day, q.End/60, q.End%60, 0, 0, loc)
	if !end.After(now) {
		end = time.Date(year, month, day+1, q.End/60, q.End%60, 0, 0, loc)
	}
	return end
}
