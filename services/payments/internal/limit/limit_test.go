package limit

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func tap(amount int64) Tap {
	return Tap{Account: "alice", Device: "band", Category: 5812, Amount: amount, Time: noon}
}

// book reserves taps one after the other and returns what the first one that may not be exceeds or needs.
type book struct {
	Policy
	have Counters
}

func (b *book) reserve(t Tap, assurance int) Reservation {
	after, r := b.Reserve(t, assurance, b.have)
	if b.have == nil {
		b.have = Counters{}
	}
	maps.Copy(b.have, after)
	return r
}

func (b *book) release(r Reservation, amount int64, whole bool) {
	maps.Copy(b.have, r.Release(amount, whole, b.have))
}

func TestEachLimitBoundsWhatItSays(t *testing.T) {
	for name, c := range map[string]struct {
		policy Policy
		before []Tap
		tap    Tap
		want   string
	}{
		"no limit":                            {Policy{}, nil, tap(math.MaxInt64), ""},
		"a tap at its limit":                  {Policy{TapLimit: 100}, nil, tap(100), ""},
		"a tap above it":                      {Policy{TapLimit: 100}, nil, tap(101), "TAP"},
		"a day at its limit":                  {Policy{AccountDayLimit: 100}, []Tap{tap(60)}, tap(40), ""},
		"a day above it":                      {Policy{AccountDayLimit: 100}, []Tap{tap(60)}, tap(41), "ACCOUNT_DAY"},
		"the largest amount":                  {Policy{AccountDayLimit: math.MaxInt64}, []Tap{tap(1)}, tap(math.MaxInt64), "ACCOUNT_DAY"},
		"another account's day":               {Policy{AccountDayLimit: 100}, []Tap{with(tap(100), func(t *Tap) { t.Account = "bob" })}, tap(100), ""},
		"another day":                         {Policy{AccountDayLimit: 100}, []Tap{with(tap(100), func(t *Tap) { t.Time = noon.Add(-24 * time.Hour) })}, tap(100), ""},
		"a device's day at its limit":         {Policy{DeviceDayLimit: 100}, []Tap{tap(60)}, tap(40), ""},
		"a device's day above it":             {Policy{DeviceDayLimit: 100}, []Tap{tap(60)}, tap(41), "DEVICE_DAY"},
		"a device's day by another account":   {Policy{DeviceDayLimit: 100}, []Tap{with(tap(60), func(t *Tap) { t.Account = "bob" })}, tap(41), "DEVICE_DAY"},
		"another device's day":                {Policy{DeviceDayLimit: 100}, []Tap{with(tap(100), func(t *Tap) { t.Device = "other" })}, tap(100), ""},
		"a device that is not known":          {Policy{DeviceDayLimit: 100}, []Tap{tap(100)}, with(tap(100), func(t *Tap) { t.Device = "" }), ""},
		"a category's tap at its limit":       {games(Category{TapLimit: 100}), nil, game(100), ""},
		"a category's tap above it":           {games(Category{TapLimit: 100}), nil, game(101), "CATEGORY_TAP"},
		"another category's tap":              {games(Category{TapLimit: 100}), nil, tap(101), ""},
		"the first category of a range":       {games(Category{TapLimit: 100}), nil, with(game(101), func(t *Tap) { t.Category = 7993 }), "CATEGORY_TAP"},
		"the last category of a range":        {games(Category{TapLimit: 100}), nil, with(game(101), func(t *Tap) { t.Category = 7995 }), "CATEGORY_TAP"},
		"one before the range":                {games(Category{TapLimit: 100}), nil, with(game(101), func(t *Tap) { t.Category = 7992 }), ""},
		"one after the range":                 {games(Category{TapLimit: 100}), nil, with(game(101), func(t *Tap) { t.Category = 7996 }), ""},
		"a category's day at its limit":       {games(Category{DayLimit: 100}), []Tap{game(60), tap(900)}, game(40), ""},
		"a category's day above it":           {games(Category{DayLimit: 100}), []Tap{game(60)}, game(41), "CATEGORY_DAY"},
		"a category's day by another account": {games(Category{DayLimit: 100}), []Tap{with(game(100), func(t *Tap) { t.Account = "bob" })}, game(100), ""},
		"a day of the range's other category": {games(Category{DayLimit: 100}), []Tap{with(game(60), func(t *Tap) { t.Category = 7993 })}, game(41), "CATEGORY_DAY"},
		"the second of two ranges":            {Policy{Categories: []Category{{First: 1, Last: 9999, TapLimit: 200}, {First: 7993, Last: 7995, TapLimit: 100}}}, nil, game(150), "CATEGORY_TAP"},
	} {
		t.Run(name, func(t *testing.T) {
			c.policy.Currency = "CNY"
			b := book{Policy: c.policy}
			for _, before := range c.before {
				b.reserve(before, LeastLevel)
			}
			if got := b.Exceeded(c.tap, b.have); got != c.want {
				t.Errorf("exceeds %q, want %q", got, c.want)
			}
		})
	}
}

func with(t Tap, change func(*Tap)) Tap {
	change(&t)
	return t
}

func games(c Category) Policy {
	c.First, c.Last = 7993, 7995
	return Policy{Categories: []Category{c}}
}

func game(amount int64) Tap { return with(tap(amount), func(t *Tap) { t.Category = 7994 }) }

func TestADayEndsByTheClockOfThePolicy(t *testing.T) {
	at := func(text string) time.Time {
		out, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		zone          string
		first, second string
		same          bool
		end           string
	}{
		"UTC, before and after midnight":   {"", "2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z", false, "2026-03-02T00:00:00Z"},
		"UTC, first and last moment":       {"", "2026-03-01T00:00:00Z", "2026-03-01T23:59:59Z", true, "2026-03-02T00:00:00Z"},
		"Shanghai, around its midnight":    {"Asia/Shanghai", "2026-03-01T15:59:59Z", "2026-03-01T16:00:00Z", false, "2026-03-01T16:00:00Z"},
		"Shanghai, across UTC's midnight":  {"Asia/Shanghai", "2026-03-01T23:59:59Z", "2026-03-02T00:00:01Z", true, "2026-03-02T16:00:00Z"},
		"Brussels, a day of 23 hours":      {"Europe/Brussels", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", true, "2026-03-29T22:00:00Z"},
		"Brussels, after a short day":      {"Europe/Brussels", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z", false, "2026-03-29T22:00:00Z"},
		"Brussels, a day of 25 hours":      {"Europe/Brussels", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", true, "2026-10-25T23:00:00Z"},
		"Kathmandu, a quarter of an hour":  {"Asia/Kathmandu", "2026-03-01T18:14:59Z", "2026-03-01T18:15:00Z", false, "2026-03-01T18:15:00Z"},
		"Samoa, a day that never was":      {"Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-30T10:00:00Z", false, "2011-12-30T10:00:00Z"},
		"Sao Paulo, midnight was skipped":  {"America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-04T03:00:00Z", false, "2018-11-04T03:00:00Z"},
		"the end of February in leap year": {"", "2028-02-29T00:00:00Z", "2028-02-29T23:59:59Z", true, "2028-03-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			b := book{Policy: Policy{Currency: "CNY", AccountDayLimit: 100, TimeZone: c.zone}}
			b.reserve(with(tap(60), func(t *Tap) { t.Time = at(c.first) }), LeastLevel)
			second := with(tap(60), func(t *Tap) { t.Time = at(c.second) })
			if got := b.Exceeded(second, b.have) == "ACCOUNT_DAY"; got != c.same {
				t.Errorf("one day: %v, want %v", got, c.same)
			}
			keys := b.Keys(with(tap(1), func(t *Tap) { t.Time = at(c.first) }))
			if kept := keys[0].ExpireTime.Sub(at(c.end)); kept < dayMargin-time.Hour || kept > 2*dayMargin {
				t.Errorf("the counter is kept until %v, want a day after %s", keys, c.end)
			}
		})
	}
}

func TestTheNeedFollowsWhatWasTappedSinceTheLastStrongAuthentication(t *testing.T) {
	const cumulative, consecutive, amount = "CUMULATIVE_AMOUNT", "CONSECUTIVE_TAPS", "AMOUNT"
	many := func(n int, minor int64) []Tap { return slices.Repeat([]Tap{tap(minor)}, n) }
	exempt := func(t Tap) Tap { t.Category = 4111; return t }
	rule := Strong{TapThreshold: 5000, CumulativeThreshold: 15000, ConsecutiveTaps: 5, Exempt: []uint32{4111}}
	by := func(c Counting) Strong { r := rule; r.Counting = c; return r }
	for name, c := range map[string]struct {
		rule   Strong
		before []Tap
		tap    Tap
		want   string
	}{
		"a small tap":                                 {rule, nil, tap(5000), ""},
		"a large tap":                                 {rule, nil, tap(5001), amount},
		"the fifth tap":                               {rule, many(4, 1), tap(1), ""},
		"the sixth tap":                               {rule, many(5, 1), tap(1), consecutive},
		"the sixth tap where the amount counts":       {by(AmountOnly), many(5, 1), tap(1), ""},
		"up to 150":                                   {rule, many(3, 4000), tap(3000), ""},
		"above 150":                                   {rule, many(3, 4000), tap(3001), cumulative},
		"above 150 where the number counts":           {by(TapsOnly), many(3, 4000), tap(3001), ""},
		"above 150 where either counts":               {by(Either), many(3, 4000), tap(3001), cumulative},
		"the amount goes before the number":           {rule, many(5, 3000), tap(3001), cumulative},
		"unattended transport, whatever it costs":     {rule, many(5, 3000), exempt(tap(9999)), ""},
		"taps in transport do not count":              {rule, slices.Repeat([]Tap{exempt(tap(4000))}, 9), tap(5000), ""},
		"another device's taps":                       {rule, slices.Repeat([]Tap{with(tap(1), func(t *Tap) { t.Device = "other" })}, 9), tap(1), ""},
		"a device of which nothing is known":          {rule, many(9, 1), with(tap(1), func(t *Tap) { t.Device = "" }), ""},
		"no thresholds at all":                        {Strong{}, many(9, 9999), tap(math.MaxInt64), ""},
		"thresholds at the largest amount":            {Strong{CumulativeThreshold: math.MaxInt64}, many(1, math.MaxInt64), tap(1), cumulative},
		"taps of the day before count too":            {rule, slices.Repeat([]Tap{with(tap(1), func(t *Tap) { t.Time = noon.Add(-48 * time.Hour) })}, 5), tap(1), consecutive},
		"another account's taps with the same device": {rule, slices.Repeat([]Tap{with(tap(1), func(t *Tap) { t.Account = "bob" })}, 5), tap(1), consecutive},
	} {
		t.Run(name, func(t *testing.T) {
			b := book{Policy: Policy{Currency: "EUR", Strong: &c.rule}}
			for _, before := range c.before {
				b.reserve(before, LeastLevel)
			}
			want := Need{Level: LeastLevel, Reason: c.want}
			if c.want != "" {
				want.Level = DefaultLevel
			}
			if got := b.Need(c.tap, b.have); got != want {
				t.Errorf("needs %+v, want %+v", got, want)
			}
		})
	}
}

func TestAStrongTapBeginsTheCountAnew(t *testing.T) {
	for _, level := range []int{0, 2, 3} {
		b := book{Policy: Policy{Currency: "EUR", Strong: &Strong{ConsecutiveTaps: 2, Level: level}}}
		strong := max(level, DefaultLevel)
		if level == 3 {
			strong = 3
		}
		b.reserve(tap(1), strong-1)
		b.reserve(tap(1), strong-1)
		if got := b.Need(tap(1), b.have); got.Level != strong || got.Reason != "CONSECUTIVE_TAPS" {
			t.Errorf("level %d: before it needs %+v", level, got)
		}
		b.reserve(tap(1), strong)
		for range 2 {
			if got := b.Need(tap(1), b.have); got.Level != LeastLevel {
				t.Errorf("level %d: after it needs %+v", level, got)
			}
			b.reserve(tap(1), strong-1)
		}
		if got := b.Need(tap(1), b.have); got.Level != strong {
			t.Errorf("level %d: two later it needs %+v", level, got)
		}
	}
}

// Only what was executed counts: what is voided or lapses is given back, and of a hold that was captured in part the rest.
func TestWhatComesToNothingIsGivenBack(t *testing.T) {
	policy := Policy{Currency: "EUR", AccountDayLimit: 100, DeviceDayLimit: 100, Strong: &Strong{CumulativeThreshold: 100, ConsecutiveTaps: 1}}
	b := book{Policy: policy}
	r := b.reserve(tap(80), LeastLevel)
	if b.Exceeded(tap(30), b.have) != "ACCOUNT_DAY" || b.Need(tap(1), b.have).Reason != "CONSECUTIVE_TAPS" {
		t.Fatalf("reserved %v", b.have)
	}
	b.release(r, 80, true)
	for id, c := range b.have {
		if c.Amount != 0 || c.Taps != 0 {
			t.Errorf("%s holds %+v", id, c)
		}
	}
	r = b.reserve(tap(80), LeastLevel)
	b.release(r, 60, false) // 20 were captured: the tap counts, the rest of the amount does not
	if got := b.Exceeded(tap(80), b.have); got != "" {
		t.Errorf("20 and 80 exceed %s", got)
	}
	if got := b.Need(tap(1), b.have).Reason; got != "CONSECUTIVE_TAPS" {
		t.Errorf("an executed tap needs %q next", got)
	}
	// A strong tap in between has begun the count anew; nothing from before is taken off it.
	late := b.reserve(tap(1), LeastLevel)
	b.reserve(tap(1), DefaultLevel)
	b.reserve(tap(50), LeastLevel)
	b.release(late, 1, true)
	if got := b.have[strongID("band", "EUR")]; got.Amount != 50 || got.Taps != 1 {
		t.Errorf("the count since the strong tap is %+v", got)
	}
}

func TestThePresetsAreWhatTheMarketsAsk(t *testing.T) {
	eu, cn := Europe(), China()
	if err := eu.Check("policy"); err != nil || eu.Currency != "EUR" {
		t.Errorf("Europe: %v", err)
	}
	if err := cn.Check("policy"); err != nil || cn.Currency != "CNY" {
		t.Errorf("China: %v", err)
	}
	for name, c := range map[string]struct {
		policy Policy
		before int
		of     int64
		tap    Tap
		want   string
	}{
		"EUR 50.00":                     {eu, 0, 0, tap(5000), ""},
		"EUR 50.01":                     {eu, 0, 0, tap(5001), "AMOUNT"},
		"EUR 150.00 in all":             {eu, 2, 5000, tap(5000), ""},
		"EUR 150.01 in all":             {eu, 3, 3334, tap(5000), "CUMULATIVE_AMOUNT"},
		"the fifth tap in Europe":       {eu, 4, 1, tap(1), ""},
		"the sixth tap in Europe":       {eu, 5, 1, tap(1), "CONSECUTIVE_TAPS"},
		"EUR 60.00 at a toll":           {eu, 9, 5000, with(tap(6000), func(t *Tap) { t.Category = 4784 }), ""},
		"EUR 60.00 at a parking garage": {eu, 9, 5000, with(tap(6000), func(t *Tap) { t.Category = 7523 }), ""},
		"EUR 60.00 on a ferry":          {eu, 0, 0, with(tap(6000), func(t *Tap) { t.Category = 4789 }), "AMOUNT"},
		"CNY 200.00":                    {cn, 99, 20000, tap(20000), ""},
		"CNY 200.01":                    {cn, 0, 0, tap(20001), "AMOUNT"},
	} {
		b := book{Policy: c.policy}
		for range c.before {
			b.reserve(tap(c.of), LeastLevel)
		}
		if got := b.Need(c.tap, b.have); got.Reason != c.want {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
		if got := b.Exceeded(c.tap, b.have); got != "" {
			t.Errorf("%s exceeds %s; a preset refuses nothing", name, got)
		}
	}
}

func TestAPolicyThatMakesNoSenseIsRefused(t *testing.T) {
	for name, p := range map[string]Policy{
		"policy.time_zone": {TimeZone: "Mars/Olympus"}, "policy.category_limits[1].last_category_code": {Categories: []Category{{First: 1, Last: 1}, {First: 2, Last: 1}}},
	} {
		f, _ := fault.As(p.Check("policy"))
		if f == nil || f.Field != name {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// Whatever is reserved and given back in whatever order, a counter never falls below zero, and when all is given back
// it is zero again.
func TestReservationsAndReleasesCancelOut(t *testing.T) {
	policy := Policy{
		Currency: "EUR", AccountDayLimit: 1, DeviceDayLimit: 1, Categories: []Category{{First: 1, Last: 9999, DayLimit: 1}},
		Strong: &Strong{CumulativeThreshold: 1, ConsecutiveTaps: 1, Exempt: []uint32{4111}},
	}
	rapid.Check(t, func(t *rapid.T) {
		b := book{Policy: policy, have: Counters{}}
		type open struct {
			r      Reservation
			amount int64
		}
		var held []open
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "release") {
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				b.release(held[i].r, held[i].amount, true)
				held = slices.Delete(held, i, i+1)
				continue
			}
			x := Tap{
				Account: rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "account"), Device: rapid.SampledFrom([]string{"d1", "d2"}).Draw(t, "device"),
				Category: rapid.SampledFrom([]uint32{4111, 5812}).Draw(t, "category"), Amount: rapid.Int64Range(1, 1<<40).Draw(t, "amount"),
				Time: noon.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "hours")) * time.Hour),
			}
			held = append(held, open{b.reserve(x, rapid.IntRange(1, 2).Draw(t, "assurance")), x.Amount})
		}
		for _, h := range held {
			b.release(h.r, h.amount, true)
		}
		for id, c := range b.have {
			c.Generation = 0
			if diff := cmp.Diff(Counter{}, c); diff != "" {
				t.Fatalf("%s: %s", id, diff)
			}
		}
	})
}
