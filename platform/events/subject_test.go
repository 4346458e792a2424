package events

import (
	"strings"
	"testing"
)

func TestSubjectIsSevenTokensAfterItsPrefix(t *testing.T) {
	tests := map[string]Subject{
		"evt.v1.live.payments.payment.captured.acme.0198c": {"live", "payments", "payment", "captured", "acme", "0198c"},
		"evt.v1.test.devices.lot.imported._.LOT-7":         {"test", "devices", "lot", "imported", "", "LOT-7"},
	}
	for text, want := range tests {
		got, err := ParseSubject(text)
		if err != nil || got != want {
			t.Errorf("ParseSubject(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if want.String() != text || want.Validate() != nil {
			t.Errorf("String of %+v = %q, valid: %v", want, want.String(), want.Validate())
		}
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	for _, text := range []string{
		"", "evt.v1.", "evt.v1.live.payments.payment.captured.acme", "evt.v1.live.payments.payment.captured.acme.1.2",
		"evt.v2.live.payments.payment.captured.acme.1", "evt.v1.prod.payments.payment.captured.acme.1",
		"evt.v1.live.payments.payment.captured..1", "evt.v1.live.payments.payment.captured.acme.",
		"evt.v1.live.*.payment.captured.acme.1", "evt.v1.live.payments.payment.captured.acme.>", "evt.v1.live.Payments.payment.captured.acme.1",
		"evt.v1.live.payments.payment.captured.ac me.1", "evt.v1.live.payments.payment.captured.acme.\n",
		"evt.v1.live.payments.payment.captured.acme." + strings.Repeat("x", maxToken+1),
	} {
		if s, err := ParseSubject(text); err == nil {
			t.Errorf("ParseSubject(%q) = %+v, want an error", text, s)
		}
	}
}

func FuzzParseSubject(f *testing.F) {
	f.Add("evt.v1.live.payments.payment.captured.acme.1")
	f.Add("evt.v1.test.devices.lot.imported._.LOT-7")
	f.Add("evt.v1.live.a.b.c.*.>")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSubject(text)
		if err != nil {
			return
		}
		if s.String() != text {
			t.Fatalf("%q parses to %+v, which is %q", text, s, s.String())
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("%q parses to an invalid subject: %v", text, err)
		}
		if strings.ContainsAny(text, "*> \t\r\n") || strings.Count(text, ".") != 7 {
			t.Fatalf("%q is not a subject to publish on", text)
		}
	})
}

func FuzzSubjectString(f *testing.F) {
	f.Add("live", "payments", "payment", "captured", "acme", "1")
	f.Add("test", "a", "b", "c", "", "x_y")
	f.Add("live", "a", "b", "c", "_", "1")
	f.Fuzz(func(t *testing.T, mode, domain, entity, verb, partner, id string) {
		s := Subject{mode, domain, entity, verb, partner, id}
		if s.Validate() != nil {
			return
		}
		got, err := ParseSubject(s.String())
		if err != nil || got != s {
			t.Fatalf("%+v is %q and parses to %+v, %v", s, s.String(), got, err)
		}
	})
}

func TestOtherSubjectsMustBePublishable(t *testing.T) {
	for text, ok := range map[string]bool{
		"pevt.v1.acme.live.payments.payment.captured": true, "a": true, "": false, "a..b": false, ".a": false, "a.*": false, "a.>": false, "a b": false,
	} {
		if err := checkSubject(text); (err == nil) != ok {
			t.Errorf("checkSubject(%q) = %v", text, err)
		}
	}
}
