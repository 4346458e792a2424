package limit

import (
	"maps"
	"slices"
)

// Counting says what counts the taps since the last strong authentication.
type Counting string

// The ways to count.
const (
	// Either counts amount and number, whichever is reached first. It is the zero value.
	Either     Counting = ""
	AmountOnly Counting = "amount"
	TapsOnly   Counting = "taps"
)

// DefaultLevel is the assurance that counts as strong where a policy says nothing.
const DefaultLevel = 2

// LeastLevel is the assurance that every tap has.
const LeastLevel = 1

// Strong says when a tap needs a stronger proof. Amounts are in minor units; 0 is without end.
type Strong struct {
	// TapThreshold bounds a tap without it, CumulativeThreshold the sum and ConsecutiveTaps the number of a device's taps
	// since the last one that had it.
	TapThreshold        int64    `json:"tap_threshold"`
	CumulativeThreshold int64    `json:"cumulative_threshold"`
	ConsecutiveTaps     uint32   `json:"consecutive_taps"`
	Counting            Counting `json:"counting,omitempty"`
	// Level is the assurance that is strong, 1 to 3; 0 is DefaultLevel.
	Level int `json:"level,omitempty"`
	// Exempt are merchant categories that never need it and do not count either.
	Exempt []uint32 `json:"exempt,omitempty"`
}

// Need is the assurance that a tap has to have.
type Need struct {
	Level int
	// Reason is why it is more than the least: AMOUNT, CUMULATIVE_AMOUNT or CONSECUTIVE_TAPS; empty otherwise.
	Reason string
}

// Need is what the tap needs as the counters stand.
func (p Policy) Need(t Tap, have Counters) Need {
	s := p.Strong
	if s == nil || slices.Contains(s.Exempt, t.Category) {
		return Need{Level: LeastLevel}
	}
	since := have[strongID(t.Device, p.Currency)]
	switch {
	case s.TapThreshold > 0 && t.Amount > s.TapThreshold:
		return Need{Level: s.level(), Reason: "AMOUNT"}
	case s.countsAmount() && t.Amount > s.CumulativeThreshold-min(s.CumulativeThreshold, since.Amount):
		return Need{Level: s.level(), Reason: "CUMULATIVE_AMOUNT"}
	case s.countsTaps() && since.Taps >= int64(s.ConsecutiveTaps):
		return Need{Level: s.level(), Reason: "CONSECUTIVE_TAPS"}
	}
	return Need{Level: LeastLevel}
}

func (s *Strong) level() int {
	if s.Level == 0 {
		return DefaultLevel
	}
	return s.Level
}

func (s *Strong) countsAmount() bool { return s.CumulativeThreshold > 0 && s.Counting != TapsOnly }

func (s *Strong) countsTaps() bool { return s.ConsecutiveTaps > 0 && s.Counting != AmountOnly }

// counts says whether the tap is counted since the last strong authentication of its device.
func (s *Strong) counts(t Tap) bool {
	return s != nil && t.Device != "" && !slices.Contains(s.Exempt, t.Category) && (s.countsAmount() || s.countsTaps())
}

func strongID(device, currency string) string { return "strong/" + device + "/" + currency }

// Reservation is what an approved payment holds of the limits.
type Reservation struct {
	// Days are counters of a day.
	Days []Key `json:"days,omitempty"`
	// Strong is the counter since the last strong authentication, as it was of Generation; empty when it was not counted.
	Strong     string `json:"strong,omitempty"`
	Generation int64  `json:"generation,omitempty"`
}

// Reserve counts an approved tap of the given assurance: the counters that change, and what is to be given back should it
// come to nothing. A tap with strong authentication begins the count anew.
func (p Policy) Reserve(t Tap, assurance int, have Counters) (Counters, Reservation) {
	after, r := Counters{}, Reservation{}
	strong := strongID(t.Device, p.Currency)
	for _, k := range p.Keys(t) {
		c := have[k.ID]
		switch {
		case k.ID != strong:
			r.Days = append(r.Days, k)
		case assurance >= p.Strong.level():
			after[k.ID] = Counter{Generation: c.Generation + 1}
			continue
		default:
			r.Strong, r.Generation = k.ID, c.Generation
		}
		c.Amount = add(c.Amount, t.Amount)
		c.Taps++
		after[k.ID] = c
	}
	return after, r
}

// Keys names the counters of a reservation.
func (r Reservation) Keys() []Key {
	out := slices.Clone(r.Days)
	if r.Strong != "" {
		out = append(out, Key{ID: r.Strong})
	}
	slices.SortFunc(out, func(a, b Key) int { return cmpString(a.ID, b.ID) })
	return out
}

// Release gives an amount back. whole says that nothing of the payment was executed, so that the tap does not count either.
func (r Reservation) Release(amount int64, whole bool, have Counters) Counters {
	after := Counters{}
	for _, k := range r.Keys() {
		c := have[k.ID]
		if k.ID == r.Strong && c.Generation != r.Generation {
			continue // counting began anew since
		}
		c.Amount -= min(c.Amount, amount)
		if whole {
			c.Taps = max(0, c.Taps-1)
		}
		after[k.ID] = c
	}
	maps.DeleteFunc(after, func(id string, c Counter) bool { return c == have[id] })
	return after
}

// add stops at the largest number.
func add(a, b int64) int64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return 1<<63 - 1
}
