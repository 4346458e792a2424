package alert

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// trail is the steps with their outcomes that were not passed, and the reasons.
func trail(a Alert) (steps []string, last Decision) {
	for _, d := range a.Decisions {
		steps = append(steps, d.Step)
	}
	if len(a.Decisions) > 0 {
		last = a.Decisions[len(a.Decisions)-1]
	}
	return steps, last
}

func facts(kind *Published) Facts {
	return Facts{Kind: kind, ResendAfter: 20 * time.Second, Take: func() (bool, error) { return true, nil }}
}

func order(change func(*Alert)) Alert {
	a := Alert{Order: Order{
		ID: "1", Account: "alice", Mode: "live", Device: "d", ToDevice: true, Sender: "acme", Partner: "acme", Kind: Key{ID: PartnerMessage},
		Payload: map[string]any{"band_text": "Hi"}, ExpiresAt: noon.Add(MaxTTL),
	}, CreatedAt: noon}
	if change != nil {
		change(&a)
	}
	return a
}

func TestThePipelineDecidesInOrderAndSaysWhy(t *testing.T) {
	worn := Wearer{Device: "d", Partner: "acme", Account: "alice", Mode: "live"}
	quiet := Settings{Quiet: &Quiet{11 * 60, 13 * 60}}
	off := Settings{Preferences: []Preference{{Partners, Band, false}, {Partners, Phone, false}, {Partners, Full, false}}}
	for _, tc := range []struct {
		name     string
		order    func(*Alert)
		facts    func(*Facts)
		delivery Delivery
		step     string
		reason   string
	}{
		{"it is sent", nil, nil, SentOut, StepDispatch, ""},
		{"it waits for its time", func(a *Alert) { a.DeliverAt = noon.Add(time.Hour) }, nil, Scheduled, StepSchedule, "DELIVER_TIME"},
		{
			"its ttl ends before its time", func(a *Alert) { a.DeliverAt, a.ExpiresAt = noon.Add(time.Hour), noon.Add(time.Minute) }, nil,
			Dropped, StepSchedule, "TTL_TOO_SHORT",
		},
		{"the band changed hands", nil, func(f *Facts) { f.Wearer.Account = "bob" }, Dropped, StepRecipients, "RECIPIENT_CHANGED"},
		{"nobody wears the band any more", nil, func(f *Facts) { f.Wearer = Wearer{} }, Dropped, StepRecipients, "RECIPIENT_CHANGED"},
		{"its ttl is over", func(a *Alert) { a.ExpiresAt = noon }, nil, Expired, StepTTL, "TTL_OVER"},
		{"it is not wanted", nil, func(f *Facts) { f.Account = off }, Dropped, StepPreference, "PREFERENCE_OFF"},
		{"CRITICAL passes preferences", func(a *Alert) { a.Asked = Critical }, func(f *Facts) { f.Account = off }, SentOut, StepDispatch, ""},
		{
			"there are too many", nil, func(f *Facts) { f.Take = func() (bool, error) { return false, nil } },
			Dropped, StepThrottle, "THROTTLED",
		},
		{"quiet hours hold it", nil, func(f *Facts) { f.Account = quiet }, Held, StepQuiet, "QUIET_HOURS"},
		{"CRITICAL passes quiet hours", func(a *Alert) { a.Asked = Critical }, func(f *Facts) { f.Account = quiet }, SentOut, StepDispatch, ""},
		{"its ttl ends in quiet hours", func(a *Alert) { a.ExpiresAt = noon.Add(time.Minute) }, func(f *Facts) { f.Account = quiet }, Dropped, StepQuiet, "TTL_TOO_SHORT"},
		{"now or never does not wait", func(a *Alert) { a.NowOrNever, a.ExpiresAt = true, time.Time{} }, func(f *Facts) { f.Account = quiet }, Dropped, StepQuiet, "NOW_OR_NEVER"},
		{
			"it is quiet where the device is", nil,
			func(f *Facts) {
				f.Account = Settings{Quiet: &Quiet{19 * 60, 21 * 60}, TimeZone: "Europe/Berlin"}
				f.Device.TimeZone, f.Partner.TimeZone = "Asia/Shanghai", "America/New_York"
			}, Held, StepQuiet, "QUIET_HOURS",
		},
		{
			"without a device's zone the account's counts", nil,
			func(f *Facts) {
				f.Account = Settings{Quiet: &Quiet{19 * 60, 21 * 60}, TimeZone: "Europe/Berlin"}
				f.Partner.TimeZone = "Asia/Shanghai"
			}, SentOut, StepDispatch, "",
		},
		{
			"without both the partner's counts", nil,
			func(f *Facts) {
				f.Account, f.Partner.TimeZone = Settings{Quiet: &Quiet{19 * 60, 21 * 60}}, "Asia/Shanghai"
			}, Held, StepQuiet, "QUIET_HOURS",
		},
	} {
		f := facts(builtInKindOf(t, PartnerMessage))
		f.Wearer = worn
		if tc.facts != nil {
			tc.facts(&f)
		}
		got, err := Decide(order(tc.order), f, noon)
		if err != nil {
			t.Fatal(err)
		}
		_, last := trail(got)
		if got.Delivery != tc.delivery || last.Step != tc.step || last.Reason != tc.reason {
			t.Errorf("%s: %s at %s for %s, want %s at %s for %s", tc.name, got.Delivery, last.Step, last.Reason, tc.delivery, tc.step, tc.reason)
		}
		if got.Delivery.Waits() == got.ReleaseAt.IsZero() {
			t.Errorf("%s: %s until %s", tc.name, got.Delivery, got.ReleaseAt)
		}
	}
}

func TestAnAlertThatWaitedIsDecidedOnAnewAndCountedOnce(t *testing.T) {
	f := facts(builtInKindOf(t, PartnerMessage))
	f.Wearer = Wearer{Account: "alice", Mode: "live"}
	f.Account.Quiet = &Quiet{11 * 60, 13 * 60}
	taken := 0
	f.Take = func() (bool, error) { taken++; return true, nil }
	held, err := Decide(order(nil), f, noon)
	if err != nil || held.Delivery != Held || !held.ReleaseAt.Equal(noon.Add(time.Hour)) {
		t.Fatalf("%+v, %v", held, err)
	}
	sent, err := Decide(held, f, held.ReleaseAt)
	if err != nil || sent.Delivery != SentOut || taken != 1 {
		t.Errorf("%s, counted %d times, %v", sent.Delivery, taken, err)
	}
	steps, _ := trail(sent)
	want := []string{StepPreference, StepThrottle, StepQuiet, StepPreference, StepQuiet, StepRender, StepStore, StepDispatch}
	if !slices.Equal(steps, want) {
		t.Errorf("the steps are %v", steps)
	}
	if late, _ := Decide(held, f, noon.Add(MaxTTL)); late.Delivery != Expired {
		t.Errorf("after its ttl it is %s", late.Delivery)
	}
}

func TestPreferencesChooseTheSurfaces(t *testing.T) {
	f := facts(builtInKindOf(t, PaymentCaptured))
	f.Account.Preferences = []Preference{{Payments, Band, false}, {Security, Phone, false}, {Payments, Phone, true}}
	got, err := Decide(Alert{Order: Order{Account: "alice", Payload: map[string]any{"amount": yuan(1)}}}, f, noon)
	if err != nil || !slices.Equal(got.Surfaces, []Surface{Phone, Full}) {
		t.Errorf("shown on %v, %v", got.Surfaces, err)
	}
}

func TestAcknowledgementsOnlyMoveForward(t *testing.T) {
	kinds := []AckKind{AckReceived, AckDisplayed, AckDismissed, AckRead, AckActed}
	rapid.Check(t, func(rt *rapid.T) {
		a := Alert{Delivery: SentOut, Engagement: NotEngaged, ResendAt: noon, Order: Order{Actions: []Action{{ID: "yes"}}}}
		for range rapid.IntRange(1, 12).Draw(rt, "acks") {
			ack := Ack{Surface: rapid.SampledFrom(Surfaces).Draw(rt, "surface"), Kind: rapid.SampledFrom(kinds).Draw(rt, "kind"), ActionID: "yes"}
			next, moved, err := a.Acknowledge(ack)
			if err != nil {
				rt.Fatal(err)
			}
			if slices.Index(deliveries, next.Delivery) < slices.Index(deliveries, a.Delivery) ||
				slices.Index(engagements, next.Engagement) < slices.Index(engagements, a.Engagement) {
				rt.Fatalf("%v moved it back from %s, %s to %s, %s", ack, a.Delivery, a.Engagement, next.Delivery, next.Engagement)
			}
			if moved != (next.Delivery != a.Delivery || next.Engagement != a.Engagement) || !next.ResendAt.IsZero() || next.Delivery == SentOut {
				rt.Fatalf("%v: %+v", ack, next)
			}
			a = next
		}
	})
}

func TestAnAcknowledgementThatCannotBeIsRefused(t *testing.T) {
	a := Alert{Delivery: SentOut, Engagement: NotEngaged, Order: Order{Actions: []Action{{ID: "yes"}}}}
	if _, _, err := a.Acknowledge(Ack{Surface: Phone, Kind: AckActed, ActionID: "no"}); fault.ReasonOf(err) != "ACTION_NOT_FOUND" {
		t.Errorf("another action: %v", err)
	}
	gone := a.Leave(noon, Expired, StepExpire, "TTL_OVER")
	if next, moved, err := gone.Acknowledge(Ack{Surface: Phone, Kind: AckRead}); err != nil || moved || next.Delivery != Expired {
		t.Errorf("one that is gone: %s, %v, %v", next.Delivery, moved, err)
	}
}

func TestACriticalAlertIsSentAgainSixTimesAtMost(t *testing.T) {
	f := facts(builtInKindOf(t, CloneSuspected))
	a, err := Decide(Alert{Order: Order{Account: "alice"}}, f, noon)
	if err != nil || !a.ResendAt.Equal(noon.Add(20*time.Second)) {
		t.Fatalf("%+v, %v", a, err)
	}
	for !a.ResendAt.IsZero() {
		a = a.Resend(a.ResendAt, 20*time.Second)
	}
	if a.Attempt != resendsAtMost+1 {
		t.Errorf("%d attempts", a.Attempt)
	}
}

func TestAStreamGoesOnOnlyWhereNothingIsMissing(t *testing.T) {
	head := Head{Cursor: Cursor{"e", 10}, TrimmedThrough: 4}
	for cursor, want := range map[Cursor]bool{
		{"e", 10}: true, {"e", 4}: true, {"e", 3}: false, {"e", 11}: false, {"f", 10}: false, {"", 0}: false,
	} {
		if head.Continues(cursor) != want {
			t.Errorf("%v: %v", cursor, !want)
		}
	}
}

type anySchema struct{}

func (anySchema) Check(string) error                    { return nil }
func (anySchema) Validate(string, map[string]any) error { return nil }

func TestATypeThatCannotBeShownIsRefused(t *testing.T) {
	good := func() Content {
		return Content{
			DisplayName: "Battery", Category: Partners, Priority: Normal, Schema: "{}", DefaultLocale: "en",
			Templates: []TemplateSpec{
				{Surface: Band, Locale: "en", Texts: []string{"Battery {level}%", "Battery low"}},
				{Surface: Phone, Locale: "en", Texts: []string{"Charge your band."}},
			},
		}
	}
	if err := good().Check("acme", anySchema{}); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Content){
		"another category":              func(c *Content) { c.Category = Security },
		"CRITICAL by default":           func(c *Content) { c.Priority = Critical },
		"no band":                       func(c *Content) { c.Templates = c.Templates[1:] },
		"no default language":           func(c *Content) { c.DefaultLocale = "de" },
		"a language that is none":       func(c *Content) { c.Templates[0].Locale = "english_1" },
		"twice the same":                func(c *Content) { c.Templates = append(c.Templates, c.Templates[0]) },
		"a band's text that may not be": func(c *Content) { c.Templates[0].Texts = []string{"Battery {level}%"} },
		"a band's last text too long":   func(c *Content) { c.Templates[0].Texts = []string{"Battery is very low"} },
		"two texts for a phone":         func(c *Content) { c.Templates[1].Texts = []string{"a", "b"} },
		"a template that loops":         func(c *Content) { c.Templates[1].Texts = []string{"{{range .}}x{{end}}"} },
		"a throttle of seconds":         func(c *Content) { c.Throttle = Throttle{Max: 1, Period: time.Second} },
	} {
		c := good()
		spoil(&c)
		if err := c.Check("acme", anySchema{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range BuiltIns() {
		c, _ := BuiltIn(id)
		if err := c.Check("", anySchema{}); err != nil {
			t.Errorf("the built-in type %s: %v", id, err)
		}
	}
}
