package alert

import (
	"fmt"
	"time"
)

// Outcome is how a step of the pipeline ended.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "PASSED"
	Waiting Outcome = "HELD"
	Stopped Outcome = "DROPPED"
)

// Decision is one step of the pipeline.
type Decision struct {
	Step    string    `json:"step"`
	Outcome Outcome   `json:"outcome"`
	Reason  string    `json:"reason,omitempty"`
	Detail  string    `json:"detail,omitempty"`
	At      time.Time `json:"at"`
}

// The steps, in order. The first four are taken before [Decide].
const (
	StepAuthorise   = "AUTHORISE"
	StepIdempotency = "IDEMPOTENCY"
	StepSchema      = "SCHEMA"
	StepRecipients  = "RECIPIENTS"
	StepSchedule    = "SCHEDULE"
	StepTTL         = "TTL"
	StepPreference  = "PREFERENCE"
	StepThrottle    = "THROTTLE"
	StepQuiet       = "QUIET_HOURS"
	StepRender      = "RENDER"
	StepStore       = "STORE"
	StepDispatch    = "DISPATCH"
	StepResend      = "RESEND"
	StepCollapse    = "COLLAPSE"
	StepExpire      = "EXPIRE"
	StepRetention   = "RETENTION"
)

// Facts are what is known when an alert is decided on.
type Facts struct {
	Kind                     *Published
	Account, Device, Partner Settings
	// Wearer is who wears the order's device now.
	Wearer Wearer
	// Take counts one more alert for the throttle and reports whether it is within. It is called at most once.
	Take func() (bool, error)
	// ResendAfter is how long a CRITICAL alert waits for an acknowledgement.
	ResendAfter time.Duration
}

// Decide takes an alert from the recipient to the inbox, or to where it waits or ends. It is called again when an alert
// that waited is due; everything is looked at anew then, except that the throttle counts it once.
func Decide(a Alert, f Facts, now time.Time) (Alert, error) {
	a.Category, a.Priority = f.Kind.Category, a.Asked
	if a.Priority == 0 {
		a.Priority = f.Kind.Priority
	}
	if a.Engagement == "" {
		a.Engagement = NotEngaged
	}
	a.ReleaseAt = time.Time{}
	for _, step := range []func(*Alert, Facts, time.Time) (bool, error){schedule, recipient, ttl, preference, throttle, quietHours} {
		goesOn, err := step(&a, f, now)
		if err != nil {
			return a, err
		}
		if !goesOn {
			return a, nil
		}
	}
	a.Text = f.Kind.Render(a.Payload, f.Account.Locale)
	a.note(now, StepRender, Passed, "", fmt.Sprintf("revision %d in %s", f.Kind.Revision, a.Text.Locale))
	a.note(now, StepStore, Passed, "", "")
	a.note(now, StepDispatch, Passed, "", "")
	a.Delivery, a.Attempt = SentOut, 1
	if a.NowOrNever {
		a.ExpiresAt = now.Add(nowWindow)
	}
	if a.Priority == Critical {
		a.ResendAt = now.Add(f.ResendAfter)
	}
	return a, nil
}

func (a *Alert) note(now time.Time, step string, o Outcome, reason, detail string) {
	// The copy keeps an older alert that shares the slice as it is.
	a.Decisions = append(a.Decisions[:len(a.Decisions):len(a.Decisions)], Decision{Step: step, Outcome: o, Reason: reason, Detail: detail, At: now})
}

func (a *Alert) drop(now time.Time, step, reason, detail string) (bool, error) {
	a.note(now, step, Stopped, reason, detail)
	a.Delivery = Dropped
	return false, nil
}

func (a *Alert) wait(until, now time.Time, as Delivery, step, reason, detail string) (bool, error) {
	if a.NowOrNever {
		return a.drop(now, step, "NOW_OR_NEVER", "it may not wait: its ttl is 0")
	}
	if !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(until) {
		return a.drop(now, step, "TTL_TOO_SHORT", "its ttl ends before the wait does")
	}
	a.note(now, step, Waiting, reason, detail)
	a.Delivery, a.ReleaseAt = as, until
	return false, nil
}

func schedule(a *Alert, _ Facts, now time.Time) (bool, error) {
	if a.DeliverAt.IsZero() || !a.DeliverAt.After(now) {
		return true, nil
	}
	return a.wait(a.DeliverAt, now, Scheduled, StepSchedule, "DELIVER_TIME", "not before "+a.DeliverAt.UTC().Format(time.RFC3339))
}

// recipient makes sure that what was sent to the wearer of a band does not reach the one before.
func recipient(a *Alert, f Facts, now time.Time) (bool, error) {
	if a.ToDevice && (f.Wearer.Account != a.Account || f.Wearer.Mode != a.Mode) {
		return a.drop(now, StepRecipients, "RECIPIENT_CHANGED", "the band is on another wrist, or on none")
	}
	return true, nil
}

func ttl(a *Alert, _ Facts, now time.Time) (bool, error) {
	if !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now) {
		a.note(now, StepTTL, Stopped, "TTL_OVER", "")
		a.Delivery = Expired
		return false, nil
	}
	return true, nil
}

func preference(a *Alert, f Facts, now time.Time) (bool, error) {
	if a.Priority == Critical {
		a.Surfaces = Surfaces
		a.note(now, StepPreference, Passed, "CRITICAL", "")
		return true, nil
	}
	a.Surfaces = f.Account.wanted(a.Category)
	if len(a.Surfaces) == 0 {
		return a.drop(now, StepPreference, "PREFERENCE_OFF", fmt.Sprintf("the wearer has turned %s off on all surfaces", a.Category))
	}
	a.note(now, StepPreference, Passed, "", fmt.Sprint(a.Surfaces))
	return true, nil
}

func throttle(a *Alert, f Facts, now time.Time) (bool, error) {
	if f.Kind.Throttle.Max == 0 || a.Counted {
		return true, nil
	}
	within, err := f.Take()
	if err != nil {
		return false, err
	}
	if !within {
		return a.drop(now, StepThrottle, "THROTTLED", fmt.Sprintf("more than %d in %s", f.Kind.Throttle.Max, f.Kind.Throttle.Period))
	}
	a.Counted = true
	a.note(now, StepThrottle, Passed, "", "")
	return true, nil
}

func quietHours(a *Alert, f Facts, now time.Time) (bool, error) {
	if f.Account.Quiet == nil {
		return true, nil
	}
	loc := zoneOf(f.Device.TimeZone, f.Account.TimeZone, f.Partner.TimeZone)
	until := f.Account.Quiet.Until(now, loc)
	switch {
	case until.IsZero():
		a.note(now, StepQuiet, Passed, "", "")
	case a.Priority == Critical:
		a.note(now, StepQuiet, Passed, "CRITICAL", "")
	default:
		return a.wait(until, now, Held, StepQuiet, "QUIET_HOURS", "until "+until.Format("15:04 MST"))
	}
	return true, nil
}
