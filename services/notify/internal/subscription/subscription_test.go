package subscription

import (
	"slices"
	"testing"

	"github.com/armlet-pay/armlet/platform/fault"
)

func filtersOf(asked string) []string {
	if asked == "" {
		return nil
	}
	return []string{asked}
}

func TestFiltersDoNotOverlap(t *testing.T) {
	for _, bad := range [][2]string{{"live.>", "live.payments.>"}, {"live.*.*.*", "live.payments.payment.captured"}, {"live.a.b.c", "live.a.b.c"}} {
		if _, err := Filters(bad[:], "live"); fault.ReasonOf(err) != fault.ReasonInvalidField {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := Filters([]string{"live.payments.>", "live.devices.>", "live.*.voucher.issued"}, "live"); err == nil {
		t.Error("live.*.voucher.issued overlaps with live.payments.>")
	}
	if got, err := Filters([]string{"live.payments.>", "live.devices.>"}, "live"); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAFilterStaysInItsModeAndCanMatch(t *testing.T) {
	for asked, want := range map[string]string{
		"":                               "live.>",
		"live.>":                         "live.>",
		"live.payments.>":                "live.payments.>",
		"live.payments.payment.>":        "live.payments.payment.>",
		"live.payments.payment.captured": "live.payments.payment.captured",
		"live.*.*.*":                     "live.*.*.*",
	} {
		if got, err := Filters(filtersOf(asked), "live"); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("Filters(%q) = %q, %v", asked, got, err)
		}
	}
	for _, asked := range []string{"test.>", "test.payments.>", "live", "live.payments", "live.payments.payment", "live.a.b.c.>"} {
		if _, err := Filters(filtersOf(asked), "live"); fault.ReasonOf(err) != fault.ReasonInvalidField {
			t.Errorf("Filters(%q) gives %v", asked, err)
		}
	}
}

func TestOnlyPartnersThatCanBeASubjectTokenAreValid(t *testing.T) {
	for id, want := range map[string]bool{
		"acme": true, "a1": true, "0-9": true, "abcdefghijklmnopqrstuvwxyz01234": true,
		"a": false, "": false, "-ab": false, "_": false, "Acme": false, "a.b": false, "a>": false, "a*": false, "a b": false,
		"abcdefghijklmnopqrstuvwxyz012345": false,
	} {
		if got := ValidPartner(id); got != want {
			t.Errorf("ValidPartner(%q) = %v", id, got)
		}
	}
}

func TestNamesOnNATS(t *testing.T) {
	s := Subscription{Partner: "acme", ID: "main", Filters: []string{"test.payments.>"}}
	want := []string{"pevt.v1.acme.test.payments.>", "pevt.v1.acme.test.subscriptions.main.tested"}
	if !slices.Equal(s.FilterSubjects(), want) || s.Mode() != "test" {
		t.Errorf("got %s, %s", s.FilterSubjects(), s.Mode())
	}
	if s.Filters = []string{"test.>"}; !slices.Equal(s.FilterSubjects(), []string{"pevt.v1.acme.test.>"}) {
		t.Errorf("test events are filtered twice: %s", s.FilterSubjects())
	}
	if got := Subject("acme", "live", "payments", "payment", "captured"); got != "pevt.v1.acme.live.payments.payment.captured" {
		t.Errorf("got %s", got)
	}
	if Stream("acme") != "PE_acme" || Subjects("acme") != "pevt.v1.acme.>" {
		t.Errorf("got %s, %s", Stream("acme"), Subjects("acme"))
	}
}
