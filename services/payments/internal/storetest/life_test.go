package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

var operator = payment.Caller{Role: payment.Operator, ID: "op"}

// hold is a payment that is authorized and not captured.
func (f *fixture) hold(t testing.TB, account string, amount int64) payment.Payment {
	t.Helper()
	o := f.order(account, amount)
	o.CaptureMode = payment.Manual
	p, err := f.service.Create(t.Context(), f.terminal, request("CreatePayment"), o, start)
	must(t, err)
	p, err = f.confirm(t, p.ID)
	must(t, err)
	if p.State != payment.Authorized {
		t.Fatalf("%s is %s", p.ID, p.State)
	}
	return p
}

func wish(id string, minor int64) payment.Wish {
	return payment.Wish{Payment: id, Amount: &payment.Money{Minor: minor, Currency: "CNY"}}
}

func TestSixtyFourCapturesAndRefundsNeverTakeMoreThanThereIs(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 5000)
		p := f.hold(t, "alice", 1000)
		race := func(reasons map[string]bool, step func(i int) error) (done int64) {
			var ok atomic.Int64
			for _, err := range together(64, func(i int) error {
				err := step(i)
				switch {
				case err == nil:
					ok.Add(1)
				case reasons[fault.ReasonOf(err)]:
					return nil
				}
				return err
			}) {
				t.Error(err)
			}
			return ok.Load()
		}
		over := map[string]bool{"AMOUNT_EXCEEDS_AUTHORIZED": true, "AMOUNT_EXCEEDS_CAPTURED": true, "PAYMENT_STATE": true}
		if n := race(over, func(int) error {
			_, err := f.service.Capture(t.Context(), f.terminal, request("Capture"), wish(p.ID, 100), start)
			return err
		}); n != 10 {
			t.Errorf("%d captures of 100 out of 1000", n)
		}
		if n := race(over, func(int) error {
			_, err := f.service.Refund(t.Context(), operator, request("Refund"), wish(p.ID, 300), start)
			return err
		}); n != 3 {
			t.Errorf("%d refunds of 300 out of 1000", n)
		}
		if got := f.balance(t, "alice"); got != 4900 {
			t.Errorf("alice has %d, want 4900", got)
		}
		f.balanced(t)
	})
}

func TestCaptureAndVoidAndExpiryHaveOneWinner(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 5000)
		p := f.hold(t, "alice", 1000)
		var captured, voided atomic.Int64
		for _, err := range together(64, func(i int) error {
			var err error
			if i%2 == 0 {
				if _, err = f.service.Capture(t.Context(), f.terminal, request("Capture"), payment.Wish{Payment: p.ID}, start); err == nil {
					captured.Add(1)
				}
			} else if q, e := f.service.Void(t.Context(), operator, request("Void"), p.ID, start); e == nil && q.State == payment.Voided {
				voided.Add(1)
			} else {
				err = e
			}
			if fault.ReasonOf(err) == "PAYMENT_STATE" {
				return nil
			}
			return err
		}) {
			t.Error(err)
		}
		// A void may be repeated, a capture with another request may not.
		want := int64(4000)
		if captured.Load() == 0 {
			want = 5000
		}
		if captured.Load() > 1 || (captured.Load() == 1) == (voided.Load() > 0) || f.balance(t, "alice") != want {
			t.Errorf("%d captured, %d voided, alice has %d", captured.Load(), voided.Load(), f.balance(t, "alice"))
		}
		f.balanced(t)
	})
}

func TestARepeatedCaptureGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, req := newFixture(t, db), request("Capture")
		f.topUp(t, "alice", 5000)
		p := f.hold(t, "alice", 1000)
		other := payment.NewService(newStoreOn(db), payment.Directory{Wallets: newStoreOn(db), Merchants: newStoreOn(db), Limits: newStoreOn(db)}, f.auth, payment.Config{Grace: grace, Issuer: issuer, NewID: newID})
		first, err := f.service.Capture(t.Context(), f.terminal, req, wish(p.ID, 400), start)
		must(t, err)
		_, err = f.service.Capture(t.Context(), f.terminal, request("Capture"), payment.Wish{Payment: p.ID}, start)
		must(t, err)
		again, err := other.Capture(t.Context(), f.terminal, req, wish(p.ID, 400), start)
		must(t, err)
		if again.Transaction != first.Transaction || again.Payment.State != payment.PartiallyCaptured || again.Payment.CapturedMinor != 400 ||
			!again.Payment.AuthorizationExpireTime.Equal(p.AuthorizationExpireTime) {
			t.Errorf("first %+v, again %+v", first, again)
		}
		req.Fingerprint = []byte("other")
		_, err = other.Capture(t.Context(), f.terminal, req, wish(p.ID, 500), start)
		wantReason(t, err, "REQUEST_ID_REUSED")
		if got := f.balance(t, "alice"); got != 4000 {
			t.Errorf("alice has %d", got)
		}
	})
}

func TestHoldsLapse(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 5000)
		whole, part := f.hold(t, "alice", 1000), f.hold(t, "alice", 700)
		_, err := f.service.Capture(t.Context(), f.terminal, request("Capture"), wish(part.ID, 200), start)
		must(t, err)
		late := start.Add(payment.DefaultHold + time.Second)
		n, err := f.service.ExpireDue(t.Context(), 100, late)
		must(t, err)
		a, err := f.store.Payment(t.Context(), whole.ID)
		must(t, err)
		b, err := f.store.Payment(t.Context(), part.ID)
		must(t, err)
		if n != 2 || a.State != payment.Expired || b.State != payment.Captured || b.ReleasedMinor != 500 {
			t.Errorf("%d lapsed: %+v, %+v", n, a, b)
		}
		if got := f.balance(t, "alice"); got != 4800 {
			t.Errorf("alice has %d", got)
		}
		f.balanced(t)
	})
}

func TestLimitsHoldUnderARaceAndAreGivenBack(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 100_000)
		ids := make([]string, 64)
		for i := range ids {
			o := f.order("alice", 100)
			o.CaptureMode = payment.Manual
			p, err := f.service.Create(t.Context(), f.terminal, request("CreatePayment"), o, start)
			must(t, err)
			ids[i] = p.ID
		}
		_, err := f.service.SetPolicy(t.Context(), request("SetPolicy"), limit.Policy{Currency: "CNY", AccountDayLimit: 1000}, start)
		must(t, err)
		var held atomic.Int64
		var one atomic.Value
		for _, err := range together(len(ids), func(i int) error {
			p, err := f.confirm(t, ids[i])
			switch {
			case p.State == payment.Authorized:
				held.Add(1)
				one.Store(p.ID)
			case p.DeclineReason != "LIMIT_EXCEEDED":
				t.Errorf("%s is %s %s", p.ID, p.State, p.DeclineReason)
			}
			return err
		}) {
			t.Error(err)
		}
		if held.Load() != 10 {
			t.Fatalf("%d payments of 100 within 1000 a day", held.Load())
		}
		_, err = f.service.Create(t.Context(), f.terminal, request("CreatePayment"), f.order("alice", 1), start)
		wantReason(t, err, "LIMIT_EXCEEDED")
		_, err = f.service.Void(t.Context(), operator, request("Void"), one.Load().(string), start)
		must(t, err)
		p, err := f.confirm(t, f.pay(t, "alice", 100).ID)
		must(t, err)
		if p.State != payment.Captured {
			t.Errorf("after a void: %s %s", p.State, p.DeclineReason)
		}
		f.balanced(t)
	})
}

func TestOnlyAnEmptyAccountIsClosed(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		f.topUp(t, "alice", 500)
		all := payment.Money{Minor: 500, Currency: "CNY"}
		_, err := f.service.CloseAccount(ctx, request("CloseAccount"), "alice", start)
		wantReason(t, err, "ACCOUNT_NOT_EMPTY")
		p := f.hold(t, "alice", 200)
		_, err = f.service.Withdraw(ctx, request("Withdraw"), "alice", all, start)
		wantReason(t, err, "INSUFFICIENT_FUNDS")
		_, err = f.service.Void(ctx, operator, request("Void"), p.ID, start)
		must(t, err)
		_, err = f.service.Withdraw(ctx, request("Withdraw"), "alice", all, start)
		must(t, err)
		for range 2 {
			a, err := f.service.CloseAccount(ctx, request("CloseAccount"), "alice", start)
			must(t, err)
			if !a.Closed {
				t.Error("it is open")
			}
		}
		_, err = f.service.TopUp(ctx, request("TopUp"), "alice", all, start)
		wantReason(t, err, "ACCOUNT_CLOSED")
		_, err = f.service.Create(ctx, f.terminal, request("CreatePayment"), f.order("alice", 1), start)
		wantReason(t, err, "ACCOUNT_CLOSED")
		st, err := f.service.Statement(ctx, operator, f.store, "alice", payment.Period{}, nil, 10)
		must(t, err)
		if len(st.Entries) != 2 || st.Opening.Minor != 0 || st.Closing.Minor != 0 || st.Entries[0].Purpose != "topup" || st.Entries[1].Amount.Minor != -500 {
			t.Errorf("the statement: %+v", st)
		}
	})
}
