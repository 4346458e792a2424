package subscription

import (
	"testing"

	"github.com/armlet-pay/armlet/platform/fault"
)

func TestAFilterStaysInItsModeAndCanMatch(t *testing.T) {
	for asked, want := range map[string]string{
		"":                               "live.>",
		"live.>":                         "live.>",
		"live.payments.>":                "live.payments.>",
		"live.payments.payment.>":        "live.payments.payment.>",
		"live.payments.payment.captured": "live.payments.payment.captured",
		"live.*.*.*":                     "live.*.*.*",
	} {
		if got, err := Filter(asked, "live"); err != nil || got != want {
			t.Errorf("Filter(%q) = %q, %v", asked, got, err)
		}
	}
	for _, asked := range []string{"test.>", "test.payments.>", "live", "live.payments", "live.payments.payment", "live.a.b.c.>"} {
		if _, err := Filter(asked, "live"); fault.ReasonOf(err) != fault.ReasonInvalidField {
			t.Errorf("Filter(%q) gives %v", asked, err)
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
	s := Subscription{Partner: "acme", Filter: "test.payments.>"}
	if s.FilterSubject() != "pevt.v1.acme.test.payments.>" || s.Mode() != "test" {
		t.Errorf("got %s, %s", s.FilterSubject(), s.Mode())
	}
	if got := Subject("acme", "live", "payments", "payment", "captured"); got != "pevt.v1.acme.live.payments.payment.captured" {
		t.Errorf("got %s", got)
	}
	if Stream("acme") != "PE_acme" || Subjects("acme") != "pevt.v1.acme.>" {
		t.Errorf("got %s, %s", Stream("acme"), Subjects("acme"))
	}
}
