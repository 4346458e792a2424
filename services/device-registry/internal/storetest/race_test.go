package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/store"
)

func TestOfManyAccountsAtOnceOneGetsTheDevice(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		t.Run("one that was never seen", func(t *testing.T) { raceForDevice(t, s, s.lot.UID(5000), nil) })
		t.Run("one that has a row", func(t *testing.T) {
			uid := s.lot.UID(5010)
			if _, err := s.devices.Suspend(t.Context(), operator, "-", uid, device.Risk, "", noon); err != nil {
				t.Fatal(err)
			}
			if _, err := s.devices.Lift(t.Context(), operator, "-", uid, device.Risk, noon); err != nil {
				t.Fatal(err)
			}
			raceForDevice(t, s, uid, []string{"suspension.added.risk", "suspension.lifted.risk"})
		})
	})
}

func raceForDevice(t *testing.T, s suite, uid device.UID, history []string) {
	t.Helper()
	const n = 12
	ids := make([]device.BindingID, n)
	for i := range n {
		ids[i] = s.begin(uid, fmt.Sprintf("account-%d", i)).ID
	}
	published := `SELECT count(*) FROM outbox WHERE type = 'armlet.devices.v1.DeviceBound'`
	before := s.count(published)
	errs := atOnce(t.Context(), n, func(ctx context.Context, i int) error {
		_, err := s.bindings.Confirm(ctx, auth, ids[i], noon)
		return err
	})
	if diff := cmp.Diff(map[string]int{"": 1, "ALREADY_BOUND": n - 1}, tally(errs)); diff != "" {
		t.Error(diff)
	}
	for i, err := range errs {
		if err == nil && s.device(uid).Account != fmt.Sprintf("account-%d", i) {
			t.Errorf("account %d was told it won, the device is of %s", i, s.device(uid).Account)
		}
	}
	if diff := cmp.Diff(append(history, "binding.confirmed"), s.chain(uid)); diff != "" {
		t.Error(diff)
	}
	if n := s.count(published) - before; n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestOneBindingConfirmedManyTimesAtOnceIsOneGeneration(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		uid := s.lot.UID(5001)
		id := s.begin(uid, "alice").ID
		errs := atOnce(t.Context(), 12, func(ctx context.Context, _ int) error {
			b, err := s.bindings.Confirm(ctx, auth, id, noon)
			if err == nil && b.Generation != 1 {
				return fmt.Errorf("generation %d", b.Generation)
			}
			return err
		})
		if diff := cmp.Diff(map[string]int{"": 12}, tally(errs)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"binding.confirmed"}, s.chain(uid)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestASuspensionRacesAConfirmation(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		for round := range uint64(12) {
			uid := s.lot.UID(6000 + round)
			id := s.begin(uid, fmt.Sprintf("account-%d", round)).ID
			errs := atOnce(t.Context(), 2, func(ctx context.Context, i int) error {
				if i == 0 {
					_, err := s.bindings.Confirm(ctx, auth, id, noon)
					return err
				}
				_, err := s.devices.Suspend(ctx, operator, "-", uid, device.Risk, "", noon)
				return err
			})
			if errs[1] != nil {
				t.Fatal(errs[1])
			}
			d, actions := s.device(uid), s.chain(uid)
			if len(d.Suspensions) != 1 || d.Blocked(noon) != device.Suspended {
				t.Errorf("device is %+v", d)
			}
			want, state := []string{"binding.confirmed", "suspension.added.risk"}, device.Bound
			if errs[0] != nil {
				wantReason(t, errs[0], "DEVICE_SUSPENDED")
				want, state = want[1:], device.Available
			}
			if diff := cmp.Diff(want, actions); diff != "" || d.State != state || d.AuthEpoch != int64(1+len(want)) {
				t.Errorf("%s epoch %d: %s", d.State, d.AuthEpoch, diff)
			}
		}
	})
}

func TestManySuspensionsAndLiftsOfOneDeviceMakeOneChain(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		uid := s.lot.UID(5002)
		errs := atOnce(t.Context(), 16, func(ctx context.Context, i int) error {
			reason := []device.Reason{device.Risk, device.SystemClone}[i%2]
			if _, err := s.devices.Suspend(ctx, operator, "-", uid, reason, "", noon); err != nil {
				return err
			}
			_, err := s.devices.Lift(ctx, operator, "-", uid, reason, noon)
			return err
		})
		for reason, n := range tally(errs) {
			if reason != "" && reason != "SUSPENSION_NOT_FOUND" {
				t.Errorf("%d times %s", n, reason)
			}
		}
		d := s.device(uid)
		if len(d.Suspensions) != 0 || int(d.AuthEpoch) != 1+len(s.chain(uid)) {
			t.Errorf("device is %+v with %d entries", d, len(s.chain(uid)))
		}
	})
}

func TestAnAccountCannotRacePastItsLimit(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		const n = 12
		ids := make([]device.BindingID, n)
		for i := range n {
			ids[i] = s.begin(s.lot.UID(7000+uint64(i)), "alice").ID
		}
		errs := atOnce(t.Context(), n, func(ctx context.Context, i int) error {
			_, err := s.bindings.Confirm(ctx, auth, ids[i], noon)
			return err
		})
		if diff := cmp.Diff(map[string]int{"": limit, "DEVICE_LIMIT_REACHED": n - limit}, tally(errs)); diff != "" {
			t.Error(diff)
		}
		if got := s.count(`SELECT count(*) FROM bindings WHERE account = 'alice' AND state = 2`); got != limit {
			t.Errorf("%d active bindings", got)
		}
	})
}

func TestBeginningManyTimesAtOnceLeavesOnePendingBinding(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		uid := s.lot.UID(5003)
		errs := atOnce(t.Context(), 12, func(ctx context.Context, _ int) error {
			_, err := s.bindings.Begin(ctx, uid, "alice", noon)
			return err
		})
		if diff := cmp.Diff(map[string]int{"": 12}, tally(errs)); diff != "" {
			t.Error(diff)
		}
		if got := s.count(`SELECT count(*) FROM bindings WHERE state = 1`); got != 1 {
			t.Errorf("%d pending bindings", got)
		}
	})
}

func TestOneRequestMadeManyTimesAtOnceRunsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s suite) {
		const n = 32
		r := store.Request{Caller: "partner/acme", Method: "CreateLot", ID: "r1", Fingerprint: make([]byte, 32), At: noon}
		answers := make([]string, n)
		errs := atOnce(t.Context(), n, func(ctx context.Context, i int) error {
			raw, err := s.Once(ctx, r, func(ctx context.Context) ([]byte, error) {
				l := s.lot
				l.No = uint32(100 + i)
				return fmt.Appendf(nil, "lot %d", l.No), s.CreateLot(ctx, l, lot.Event{Action: lot.Created, Lot: l, By: acme, At: noon})
			})
			answers[i] = string(raw)
			return err
		})
		if diff := cmp.Diff(map[string]int{"": n}, tally(errs)); diff != "" {
			t.Error(diff)
		}
		for _, a := range answers {
			if a == "" || a != answers[0] {
				t.Fatalf("answers are %q", answers)
			}
		}
		if got := s.count(`SELECT count(*) FROM lots WHERE lot_no >= 100`); got != 1 {
			t.Errorf("%d lots", got)
		}
	})
}
