package settlement_test

import (
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
)

func TestTheNextCutOffIsByTheMerchantsClock(t *testing.T) {
	for name, c := range map[string]struct {
		cutOff, zone, after, want string
	}{
		"midnight in UTC":                    {"", "", "2026-03-01T12:00:00Z", "2026-03-02T00:00:00Z"},
		"right at it is the next day's":      {"", "", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"},
		"later today":                        {"23:30", "", "2026-03-01T12:00:00Z", "2026-03-01T23:30:00Z"},
		"Shanghai is ahead":                  {"00:00", "Asia/Shanghai", "2026-03-01T12:00:00Z", "2026-03-01T16:00:00Z"},
		"New York in summer":                 {"22:00", "America/New_York", "2026-07-01T12:00:00Z", "2026-07-02T02:00:00Z"},
		"New York in winter":                 {"22:00", "America/New_York", "2026-01-01T12:00:00Z", "2026-01-02T03:00:00Z"},
		"an hour that the clock skips":       {"02:30", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z"},
		"the day after it":                   {"02:30", "Europe/Berlin", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"},
		"an hour that comes twice":           {"02:30", "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T01:30:00Z"},
		"comes once for the cut-off":         {"02:30", "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"},
		"the end of a year":                  {"", "Asia/Shanghai", "2026-12-31T15:59:59Z", "2026-12-31T16:00:00Z"},
		"a microsecond before is still then": {"", "", "2026-03-01T23:59:59.999999Z", "2026-03-02T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			after, err := time.Parse(time.RFC3339Nano, c.after)
			if err != nil {
				t.Fatal(err)
			}
			got, err := settlement.Schedule{CutOff: c.cutOff, TimeZone: c.zone}.Next(after)
			if err != nil || got.Format(time.RFC3339Nano) != c.want {
				t.Errorf("got %s, %v; want %s", got.Format(time.RFC3339Nano), err, c.want)
			}
		})
	}
	for _, wrong := range []settlement.Schedule{{TimeZone: "Mars/Olympus"}, {CutOff: "25:00"}, {CutOff: "noon"}} {
		if _, err := wrong.Next(time.Now()); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}
