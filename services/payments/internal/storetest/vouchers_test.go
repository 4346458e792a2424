package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// wallet is notify as the domain knows it, with one voucher that takes 300 off and can be used once. As at notify, a
// payment that asks again gets its first answer, whatever has become of it since.
type wallet struct {
	mu sync.Mutex
	// states are RESERVED, CANCELLED and CONFIRMED by payment.
	states map[string]string
	// fail, when set, is what calls get; after says that they have their effect all the same.
	fail  error
	after bool
	// device is whose the voucher has to be.
	device string
	told   map[string]bool
}

func newWallet() *wallet { return &wallet{states: map[string]string{}, told: map[string]bool{}} }

func (w *wallet) Reserve(_ context.Context, use payment.VoucherUse) (payment.VoucherHold, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil && !w.after {
		return payment.VoucherHold{}, w.fail
	}
	if use.Code != "good" {
		return payment.VoucherHold{}, fault.New(fault.NotFound, "VOUCHER_NOT_FOUND", "there is no such voucher")
	}
	if w.states[use.Payment] == "" {
		for _, state := range w.states {
			if state != "CANCELLED" {
				return payment.VoucherHold{}, fault.New(fault.FailedPrecondition, "VOUCHER_RESERVED", "it is held")
			}
		}
		w.states[use.Payment] = "RESERVED"
	}
	return payment.VoucherHold{Discount: payment.Discount{Voucher: "v1", Minor: 300}, Device: w.device}, w.fail
}

func (w *wallet) Cancel(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	if w.states[id] == "RESERVED" {
		w.states[id] = "CANCELLED"
	}
	return nil
}

func (w *wallet) Tell(id string, approved bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told[id] = approved
}

func (w *wallet) set(fail error, after bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail, w.after = fail, after
}

// reserved are the payments that the voucher is reserved for.
func (w *wallet) reserved() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, state := range w.states {
		if state == "RESERVED" {
			ids = append(ids, id)
		}
	}
	return ids
}

// moody is auth with something to do, or to fail with, before it makes a challenge.
type moody struct {
	*approver
	before func() error
}

func (m moody) CreateChallenge(ctx context.Context, req payment.ChallengeRequest) (payment.Challenge, error) {
	if err := m.before(); err != nil {
		return payment.Challenge{}, err
	}
	return m.approver.CreateChallenge(ctx, req)
}

func (f *fixture) discounted(amount int64) payment.Order {
	o := f.order("alice", amount)
	o.VoucherCode = "good"
	return o
}

func (f *fixture) holds(t testing.TB) int {
	t.Helper()
	return f.count(t, `SELECT COUNT(*) FROM voucher_holds`)
}

func TestAVoucherIsTakenOffWhatTheBandSigns(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 1_000)
		p, err := f.service.Create(t.Context(), f.terminal, request("CreatePayment"), f.discounted(1_000), start)
		must(t, err)
		if p.Amount.Minor != 700 || p.Discount != (payment.Discount{Voucher: "v1", Minor: 300}) || f.auth.intents[p.ID].Amount.Minor != 700 || f.holds(t) != 0 {
			t.Fatalf("%+v, the band is asked for %+v", p, f.auth.intents[p.ID])
		}
		stored, err := f.store.Payment(t.Context(), p.ID)
		must(t, err)
		if stored.Discount != p.Discount {
			t.Errorf("stored %+v", stored.Discount)
		}
		done, err := f.confirm(t, p.ID)
		must(t, err)
		if done.State != payment.Captured || f.balance(t, "alice") != 300 || !f.vouchers.told[p.ID] {
			t.Errorf("%+v, alice has %d", done, f.balance(t, "alice"))
		}
		f.balanced(t)
	})
}

func TestAPaymentThatComesToNothingGivesItsVoucherUp(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		for _, end := range []func(payment.Payment) (payment.Payment, error){
			func(p payment.Payment) (payment.Payment, error) { return f.confirm(t, p.ID) }, // alice has nothing
			func(p payment.Payment) (payment.Payment, error) {
				return f.service.Void(t.Context(), f.terminal, request("Void"), p.ID, start)
			},
			func(p payment.Payment) (payment.Payment, error) {
				return f.service.Get(t.Context(), f.terminal, p.ID, start.Add(time.Hour))
			},
		} {
			p, err := f.service.Create(t.Context(), f.terminal, request("CreatePayment"), f.discounted(1_000), start)
			must(t, err)
			p, err = end(p)
			must(t, err)
			approved, told := f.vouchers.told[p.ID]
			if !p.State.Final() || !told || approved {
				t.Errorf("%s: told %t, approved %t", p.State, told, approved)
			}
			must(t, f.vouchers.Cancel(t.Context(), p.ID))
		}
	})
}

func TestARepeatedRequestReservesOnce(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		req := request("CreatePayment")
		var mu sync.Mutex
		ids := map[string]bool{}
		failed := together(20, func(int) error {
			p, err := f.service.Create(context.Background(), f.terminal, req, f.discounted(1_000), start)
			mu.Lock()
			defer mu.Unlock()
			ids[p.ID] = true
			return err
		})
		if len(failed) != 0 || len(ids) != 1 || len(f.vouchers.states) != 1 || f.count(t, `SELECT COUNT(*) FROM payments`) != 1 {
			t.Errorf("%v: payments %v, reservations %v", failed, ids, f.vouchers.states)
		}
		if n := f.count(t, `SELECT COUNT(*) FROM outbox WHERE type = 'armlet.payments.v1.PaymentCreated'`); n != 1 {
			t.Errorf("%d payments are told of", n)
		}
	})
}

func TestARefusedVoucherChangesNothing(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		o := f.discounted(1_000)
		o.VoucherCode = "bad"
		_, err := f.service.Create(t.Context(), f.terminal, request("CreatePayment"), o, start)
		wantReason(t, err, "VOUCHER_NOT_FOUND")
		if f.holds(t) != 0 || f.count(t, `SELECT COUNT(*) FROM payments`) != 0 || len(f.auth.intents) != 0 {
			t.Error("something is left")
		}
	})
}

// What auth refuses for good frees the voucher at once, and the same request may be sent again.
func TestAPaymentThatAuthRefusesFreesItsVoucher(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		refusing := f.serviceOn(f.store, moody{f.auth, func() error { return fault.New(fault.FailedPrecondition, "DEVICE_SUSPENDED", "lost") }})
		req := request("CreatePayment")
		for range 3 {
			_, err := refusing.Create(t.Context(), f.terminal, req, f.discounted(1_000), start)
			wantReason(t, err, "DEVICE_SUSPENDED")
		}
		if len(f.vouchers.reserved()) != 0 || f.holds(t) != 0 {
			t.Fatalf("held: %v", f.vouchers.states)
		}
		p, err := f.service.Create(t.Context(), f.terminal, req, f.discounted(1_000), start)
		must(t, err)
		again, err := f.service.Create(t.Context(), f.terminal, req, f.discounted(1_000), start)
		must(t, err)
		if got := f.vouchers.reserved(); len(got) != 1 || got[0] != p.ID || again.ID != p.ID {
			t.Errorf("%s and %s are reserved for by %v", p.ID, again.ID, got)
		}
	})
}

func TestABandThatChangedHandsDoesNotUseAnothersVoucher(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.vouchers.device = "partners/acme/devices/another"
		_, err := f.service.Create(t.Context(), f.terminal, request("CreatePayment"), f.discounted(1_000), start)
		wantReason(t, err, "WEARER_UNKNOWN")
		if len(f.vouchers.reserved()) != 0 || f.count(t, `SELECT COUNT(*) FROM payments`) != 0 {
			t.Errorf("left: %v", f.vouchers.states)
		}
	})
}

// A process that dies between the reservation and the stored payment leaves a hold. The repeated request goes on with the
// same reservation; without one it is given up when the patience is over, and never while notify cannot be told.
func TestADeathBetweenReservationAndPaymentHeals(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		died := errors.New("the process died here")
		dying := f.serviceOn(f.store, moody{f.auth, func() error { panic(died) }})
		die := func(req payment.Request) {
			t.Helper()
			defer func() {
				if recover() == nil {
					t.Fatal("it lives")
				}
			}()
			_, _ = dying.Create(t.Context(), f.terminal, req, f.discounted(1_000), start)
		}
		first := request("CreatePayment")
		die(first)
		held := f.vouchers.reserved()
		other := f.serviceOn(newStoreOn(db), f.auth)
		p, err := other.Create(t.Context(), f.terminal, first, f.discounted(1_000), start)
		must(t, err)
		if len(held) != 1 || held[0] != p.ID || f.holds(t) != 0 {
			t.Fatalf("held for %v, the payment is %s", held, p.ID)
		}
		must(t, f.vouchers.Cancel(t.Context(), p.ID)) // its payment is over

		second := request("CreatePayment")
		die(second)
		for _, step := range []struct {
			after time.Duration
			fail  error
			held  int
		}{{time.Minute, nil, 1}, {3 * time.Minute, fault.New(fault.Unavailable, "DOWN", "notify is down"), 1}, {3 * time.Minute, nil, 0}} {
			f.vouchers.set(step.fail, false)
			_, err := other.AbandonDue(t.Context(), 10, start.Add(step.after))
			if (err != nil) != (step.fail != nil) || f.holds(t) != step.held || len(f.vouchers.reserved()) != step.held {
				t.Errorf("after %s with %v: %v, %d held", step.after, step.fail, err, f.holds(t))
			}
		}
		p, err = other.Create(t.Context(), f.terminal, second, f.discounted(1_000), start)
		must(t, err)
		if got := f.vouchers.reserved(); len(got) != 1 || got[0] != p.ID {
			t.Errorf("the repeat: %s, reserved for %v", p.ID, got)
		}
	})
}

// An answer of notify that is lost leaves the reservation, which the repeat finds.
func TestALostReservationIsFoundByTheRepeat(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		req := request("CreatePayment")
		f.vouchers.set(fault.New(fault.Unavailable, "VOUCHERS_UNAVAILABLE", "lost"), true)
		_, err := f.service.Create(t.Context(), f.terminal, req, f.discounted(1_000), start)
		wantReason(t, err, "VOUCHERS_UNAVAILABLE")
		held := f.vouchers.reserved()
		f.vouchers.set(nil, false)
		p, err := f.service.Create(t.Context(), f.terminal, req, f.discounted(1_000), start)
		must(t, err)
		if len(held) != 1 || held[0] != p.ID || p.Amount.Minor != 700 {
			t.Errorf("held for %v, the payment is %+v", held, p)
		}
	})
}

// Whatever order the end of a slow call and the worker that gives up come in: a stored payment has its voucher, and a
// voucher without a stored payment is free.
func TestASlowCallAndTheWorkerThatGivesUpAgree(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		for range 15 {
			req := request("CreatePayment")
			reached := make(chan struct{})
			slow := f.serviceOn(f.store, moody{f.auth, func() error { close(reached); return nil }})
			worker := f.serviceOn(newStoreOn(db), f.auth)
			var made payment.Payment
			var err error
			var both sync.WaitGroup
			both.Go(func() { made, err = slow.Create(context.Background(), f.terminal, req, f.discounted(1_000), start) })
			both.Go(func() {
				<-reached
				_, _ = worker.AbandonDue(context.Background(), 10, start.Add(time.Hour))
			})
			both.Wait()
			stored := f.count(t, `SELECT COUNT(*) FROM payments WHERE state = 'AWAITING_TAP'`)
			if err != nil {
				wantReason(t, err, "VOUCHER_RELEASED")
			}
			if (err == nil) != (stored == 1) || len(f.vouchers.reserved()) != stored {
				t.Fatalf("%v: %d payments wait, reserved for %v", err, stored, f.vouchers.reserved())
			}
			if err == nil {
				_, err = f.service.Void(t.Context(), f.terminal, request("Void"), made.ID, start)
				must(t, err)
				must(t, f.vouchers.Cancel(t.Context(), made.ID))
			}
		}
	})
}

func TestWithoutNotifyOnlyVouchersAreRefused(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.vouchers.set(fault.New(fault.Unavailable, "VOUCHERS_UNAVAILABLE", "notify is down"), false)
		bare := payment.NewService(f.store, payment.Directory{Wallets: f.store, Merchants: f.store, Limits: f.store}, f.auth, payment.Config{
			Grace: grace, Issuer: issuer, NewID: newID,
		})
		for _, s := range []*payment.Service{f.service, bare} {
			_, err := s.Create(t.Context(), f.terminal, request("CreatePayment"), f.discounted(1_000), start)
			if fault.ReasonOf(err) != "VOUCHERS_UNAVAILABLE" || fault.KindOf(err) != fault.Unavailable {
				t.Errorf("with a voucher: %v", err)
			}
			_, err = s.Create(t.Context(), f.terminal, request("CreatePayment"), f.order("alice", 1_000), start)
			must(t, err)
		}
		if n := f.count(t, `SELECT COUNT(*) FROM payments WHERE discount > 0`); n != 0 {
			t.Errorf("%d payments with a voucher", n)
		}
	})
}
