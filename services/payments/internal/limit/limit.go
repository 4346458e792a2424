// Package limit is what payments in one currency may be, and when a tap needs a stronger proof of who taps. It decides on
// counters that others keep.
//
// A counter is reserved on when a payment is approved, in the transaction that approves it, and what is voided or lapses is
// given back. So what a counter holds are payments that were executed or still may be.
package limit

import (
	"fmt"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Policy is the limits of one currency. Amounts are in minor units; 0 is without end.
type Policy struct {
	Currency string `json:"currency"`
	// TapLimit bounds a single payment, the others what an account or a device pays in a day.
	TapLimit        int64      `json:"tap_limit"`
	AccountDayLimit int64      `json:"account_day_limit"`
	DeviceDayLimit  int64      `json:"device_day_limit"`
	Categories      []Category `json:"categories,omitempty"`
	// Strong is nil when no tap ever needs more than the least proof.
	Strong *Strong `json:"strong,omitempty"`
	// TimeZone is where a day begins and ends, a name of the IANA database; empty is UTC.
	TimeZone   string    `json:"time_zone,omitempty"`
	UpdateTime time.Time `json:"update_time"`
}

// Category limits payments to merchants of some categories, for each account.
type Category struct {
	// First and Last are category codes, both included.
	First    uint32 `json:"first"`
	Last     uint32 `json:"last"`
	TapLimit int64  `json:"tap_limit"`
	DayLimit int64  `json:"day_limit"`
}

// Tap is a payment that is to be approved.
type Tap struct {
	Account string
	// Device is its uid; empty while it is not known.
	Device   string
	Category uint32
	Amount   int64
	Time     time.Time
}

// Key names a counter.
type Key struct {
	ID string
	// ExpireTime is when nobody looks at it any more; zero is never.
	ExpireTime time.Time
}

// Counter is what was reserved so far.
type Counter struct {
	Amount int64
	Taps   int64
	// Generation grows when counting begins anew.
	Generation int64
}

// Counters are counters by id; one that is missing is zero.
type Counters map[string]Counter

// dayMargin is how long a day's counters are kept after its end, for what is approved by a clock that is late.
const dayMargin = 24 * time.Hour

// Check says whether a policy makes sense. Field is where it stands in a request.
func (p Policy) Check(field string) error {
	if _, err := time.LoadLocation(p.TimeZone); err != nil || p.TimeZone == "Local" {
		return fault.InvalidField(field+".time_zone", "must be a name of the IANA time zone database such as Asia/Shanghai, or empty for UTC")
	}
	for i, c := range p.Categories {
		if c.Last < c.First {
			return fault.InvalidField(fmt.Sprintf("%s.category_limits[%d].last_category_code", field, i), "must be at least the first")
		}
	}
	return nil
}

// Keys names the counters that the tap is reserved on, in the order of their ids.
func (p Policy) Keys(t Tap) []Key {
	day, end := p.day(t.Time)
	var out []Key
	add := func(id string) { out = append(out, Key{ID: day + "/" + id, ExpireTime: end.Add(dayMargin)}) }
	if p.AccountDayLimit > 0 {
		add("account/" + t.Account + "/" + p.Currency)
	}
	if p.DeviceDayLimit > 0 && t.Device != "" {
		add("device/" + t.Device + "/" + p.Currency)
	}
	for _, c := range p.Categories {
		if c.DayLimit > 0 && c.covers(t.Category) {
			add(c.id(t.Account, p.Currency))
		}
	}
	if p.Strong.counts(t) {
		out = append(out, Key{ID: strongID(t.Device, p.Currency)})
	}
	slices.SortFunc(out, func(a, b Key) int { return cmpString(a.ID, b.ID) })
	return slices.CompactFunc(out, func(a, b Key) bool { return a.ID == b.ID })
}

// Exceeded is the name of the limit that the tap breaks, or empty.
func (p Policy) Exceeded(t Tap, have Counters) string {
	day, _ := p.day(t.Time)
	over := func(limit int64, id string) bool {
		return limit > 0 && t.Amount > limit-min(limit, have[day+"/"+id].Amount)
	}
	switch {
	case p.TapLimit > 0 && t.Amount > p.TapLimit:
		return "TAP"
	case over(p.AccountDayLimit, "account/"+t.Account+"/"+p.Currency):
		return "ACCOUNT_DAY"
	case t.Device != "" && over(p.DeviceDayLimit, "device/"+t.Device+"/"+p.Currency):
		return "DEVICE_DAY"
	}
	for _, c := range p.Categories {
		switch {
		case !c.covers(t.Category):
		case c.TapLimit > 0 && t.Amount > c.TapLimit:
			return "CATEGORY_TAP"
		case over(c.DayLimit, c.id(t.Account, p.Currency)):
			return "CATEGORY_DAY"
		}
	}
	return ""
}

func (c Category) covers(code uint32) bool { return c.First <= code && code <= c.Last }

func (c Category) id(account, currency string) string {
	return fmt.Sprintf("category/%d-%d/%s/%s", c.First, c.Last, account, currency)
}

// day is the date of a moment where the policy is in force, and when that day ends, or a little later where clocks were changed.
func (p Policy) day(at time.Time) (string, time.Time) {
	zone, err := time.LoadLocation(p.TimeZone)
	if err != nil {
		zone = time.UTC // Check refuses such a policy
	}
	y, m, d := at.In(zone).Date()
	end := time.Date(y, m, d+1, 0, 0, 0, 0, zone)
	if !end.After(at) { // where midnight, or the whole next day, was skipped
		end = end.Add(24 * time.Hour)
	}
	return fmt.Sprintf("%04d-%02d-%02d", y, m, d), end
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Exceed is the error for a payment that breaks a limit.
func Exceed(which string) error {
	return fault.New(fault.FailedPrecondition, "LIMIT_EXCEEDED",
		"the payment is more than the limit %s allows; pay less, or wait for the next day where it is a day's limit", which).
		WithMeta("limit", which)
}
