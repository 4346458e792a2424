package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

func TestAPaymentIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 100)
		made := f.pay(t, "alice", 100)
		read, err := f.store.Payment(t.Context(), made.ID)
		must(t, err)
		if diff := cmp.Diff(made, read); diff != "" {
			t.Errorf("waiting: %s", diff)
		}
		if len(read.Tap.Requirements) != 2 || string(read.Tap.PongKey) != "pong" || read.Terminal != f.terminal.Terminal {
			t.Errorf("the tap or the terminal got lost: %+v", read)
		}
		paid, err := f.confirm(t, made.ID)
		must(t, err)
		read, err = f.store.Payment(t.Context(), made.ID)
		must(t, err)
		if diff := cmp.Diff(paid, read); diff != "" {
			t.Errorf("captured: %s", diff)
		}
		if read.State != payment.Captured || read.Transaction == "" || len(read.Tap.PongKey) != 0 || len(read.ResponseDigest) != 32 {
			t.Errorf("captured: %+v", read)
		}
	})
}

func TestARefusedOrUnchangedUpdateWritesNothing(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		p := f.pay(t, "alice", 100)
		before := snapshot(t, f)
		no := errors.New("no")
		_, err := f.store.Step(t.Context(), payment.Step{Payment: p.ID}, func(payment.Facts) (payment.Change, error) { return payment.Change{}, no })
		if !errors.Is(err, no) {
			t.Errorf("got %v", err)
		}
		same, err := f.store.Step(t.Context(), payment.Step{Payment: p.ID}, func(f payment.Facts) (payment.Change, error) {
			return payment.Change{Payment: f.Payment, Events: []payment.Event{payment.ExpiredEvent{Payment: f.Payment}}}, nil
		})
		must(t, err)
		if diff := cmp.Diff(p, same.Payment); diff != "" {
			t.Errorf("the payment differs: %s", diff)
		}
		if diff := cmp.Diff(before, snapshot(t, f)); diff != "" {
			t.Errorf("something was written: %s", diff)
		}
	})
}

func TestAHundredTapsOnAWalletWithMoneyForFortyTakeExactlyForty(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 40*1200+1199)
		ids := make([]string, 100)
		for i := range ids {
			ids[i] = f.pay(t, "alice", 1200).ID
		}
		var captured, declined atomic.Int64
		for _, err := range together(len(ids), func(i int) error {
			p, err := f.confirm(t, ids[i])
			switch {
			case p.State == payment.Captured:
				captured.Add(1)
			case p.State == payment.Declined && p.DeclineReason == "INSUFFICIENT_FUNDS" && string(p.ResultFrame) == "declined":
				declined.Add(1)
			}
			return err
		}) {
			t.Error(err)
		}
		if captured.Load() != 40 || declined.Load() != 60 {
			t.Errorf("%d captured, %d declined, want 40 and 60", captured.Load(), declined.Load())
		}
		if got := f.balance(t, "alice"); got != 1199 {
			t.Errorf("alice has %d left, want 1199", got)
		}
		if n := f.balanced(t); n != 41 {
			t.Errorf("%d transactions, want 40 and a top-up", n)
		}
	})
}

// Payments and top-ups that need the same accounts wait for one another but never in a circle.
func TestManyWalletsAndOneMerchantDoNotDeadlock(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		wallets := []string{"w1", "w2", "w3", "w4"}
		for _, w := range wallets {
			f.wallet(t, w, 1000)
		}
		ids := make([]string, 64)
		for i := range ids {
			ids[i] = f.pay(t, wallets[i%len(wallets)], 10).ID
		}
		for _, err := range together(2*len(ids), func(i int) error {
			if i < len(ids) {
				_, err := f.confirm(t, ids[i])
				return err
			}
			_, err := f.service.TopUp(t.Context(), request("TopUp"), wallets[i%len(wallets)], payment.Money{Minor: 5, Currency: "CNY"}, start)
			return err
		}) {
			t.Error(err)
		}
		for _, w := range wallets {
			if got := f.balance(t, w); got != 1000-16*10+16*5 {
				t.Errorf("%s has %d", w, got)
			}
		}
		f.balanced(t)
	})
}

func TestManyConfirmationsOfOnePaymentMoveTheMoneyOnce(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 1000)
		id := f.pay(t, "alice", 100).ID
		for _, err := range together(32, func(int) error {
			p, err := f.confirm(t, id)
			if err == nil && (p.State != payment.Captured || string(p.ResultFrame) != "approved") {
				return errors.New("a repeat got another answer: " + string(p.State))
			}
			return err
		}) {
			t.Error(err)
		}
		_, err := f.service.Confirm(t.Context(), f.terminal, id, []byte("another response"), start)
		wantReason(t, err, "PAYMENT_STATE")
		if got := f.balance(t, "alice"); got != 900 {
			t.Errorf("alice has %d, want 900", got)
		}
		if got := f.count(t, `SELECT COUNT(*) FROM outbox WHERE type = 'armlet.payments.v1.PaymentCaptured'`); got != 1 {
			t.Errorf("%d events", got)
		}
	})
}

func TestAnApprovalMovesMoneyOnce(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 1000)
		f.auth.jti = "the same"
		ids := make([]string, 16)
		for i := range ids {
			ids[i] = f.pay(t, "alice", 100).ID
		}
		var refused atomic.Int64
		for _, err := range together(len(ids), func(i int) error {
			_, err := f.confirm(t, ids[i])
			if fault.ReasonOf(err) == "ASSERTION_MISMATCH" {
				refused.Add(1)
				return nil
			}
			return err
		}) {
			t.Error(err)
		}
		if refused.Load() != int64(len(ids)-1) || f.balance(t, "alice") != 900 {
			t.Errorf("%d refused, alice has %d", refused.Load(), f.balance(t, "alice"))
		}
		if got := f.count(t, `SELECT COUNT(*) FROM payments WHERE state = 'AWAITING_TAP'`); got != len(ids)-1 {
			t.Errorf("%d payments still wait, want %d", got, len(ids)-1)
		}
		f.balanced(t)
	})
}

func TestConfirmationAndExpiryHaveOneWinner(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 10_000)
		ids := make([]string, 40)
		for i := range ids {
			ids[i] = f.pay(t, "alice", 100).ID
		}
		late := start.Add(time.Minute + grace + time.Second)
		var captured, expired atomic.Int64
		for _, err := range together(2*len(ids), func(i int) error {
			if i >= len(ids) {
				_, err := f.service.ExpireDue(t.Context(), 3, late)
				return err
			}
			p, err := f.confirm(t, ids[i]) // began in time
			switch {
			case p.State == payment.Captured:
				captured.Add(1)
			case fault.ReasonOf(err) == "CHALLENGE_EXPIRED":
				expired.Add(1)
				return nil
			}
			return err
		}) {
			t.Error(err)
		}
		if captured.Load()+expired.Load() != int64(len(ids)) {
			t.Errorf("%d captured and %d expired of %d", captured.Load(), expired.Load(), len(ids))
		}
		if got := f.balance(t, "alice"); got != 10_000-100*captured.Load() {
			t.Errorf("alice has %d after %d captures", got, captured.Load())
		}
		events := f.count(t, `SELECT COUNT(*) FROM outbox WHERE type IN ('armlet.payments.v1.PaymentCaptured', 'armlet.payments.v1.PaymentExpired')`)
		if events != len(ids) {
			t.Errorf("%d events of %d payments", events, len(ids))
		}
		f.balanced(t)
	})
}

func TestPaymentsExpireWhenReadOrLooked(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		for range 5 {
			f.pay(t, "alice", 100)
		}
		read := f.pay(t, "alice", 100).ID
		confirmed := f.pay(t, "alice", 100).ID
		end := start.Add(time.Minute + grace)
		n, err := f.service.ExpireDue(ctx, 100, end)
		must(t, err)
		if n != 0 {
			t.Errorf("%d expired within the grace", n)
		}
		late := end.Add(time.Second)
		p, err := f.service.Get(ctx, f.terminal, read, late)
		must(t, err)
		if p.State != payment.Expired || !p.UpdateTime.Equal(late) {
			t.Errorf("read late: %+v", p)
		}
		_, err = f.service.Confirm(ctx, f.terminal, confirmed, []byte("late"), late)
		wantReason(t, err, "CHALLENGE_EXPIRED")
		n, err = f.service.ExpireDue(ctx, 3, late)
		must(t, err)
		if n != 3 {
			t.Errorf("%d expired at once, want the limit of 3", n)
		}
		list, err := f.service.List(ctx, f.terminal, payment.Filter{}, nil, 100, late)
		must(t, err)
		for _, p := range list {
			if p.State != payment.Expired {
				t.Errorf("%s is listed as %s", p.ID, p.State)
			}
		}
		if got := f.count(t, `SELECT COUNT(*) FROM outbox WHERE type = 'armlet.payments.v1.PaymentExpired'`); got != 7 {
			t.Errorf("%d events, want 7", got)
		}
	})
}

func TestListsGoThroughAllPaymentsOnce(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		f.wallet(t, "bob", 0)
		var want []string // newest first
		for i := range 7 {
			account := []string{"alice", "bob"}[i%2]
			at := start.Add(time.Duration(i/3) * time.Second) // some at the same moment
			p, err := f.service.Create(ctx, f.terminal, request("CreatePayment"), f.order(account, 1), at)
			must(t, err)
			want = append([]string{p.ID}, want...)
		}
		pages := func(filter payment.Filter, size int) (got []string) {
			var after *payment.Cursor
			for {
				page, err := f.store.List(ctx, filter, after, size)
				must(t, err)
				if len(page) == 0 {
					return got
				}
				for _, p := range page {
					got = append(got, p.ID)
				}
				c := page[len(page)-1].Cursor()
				after = &c
			}
		}
		for _, size := range []int{1, 2, 3, 100} {
			if diff := cmp.Diff(want, pages(payment.Filter{}, size)); diff != "" {
				t.Errorf("pages of %d: %s", size, diff)
			}
		}
		for name, c := range map[string]struct {
			filter payment.Filter
			want   int
		}{
			"alice":               {payment.Filter{Account: "alice"}, 4},
			"bob":                 {payment.Filter{Account: "bob"}, 3},
			"carol":               {payment.Filter{Account: "carol"}, 0},
			"the merchant":        {payment.Filter{Merchant: f.merchant.ID}, 7},
			"another merchant":    {payment.Filter{Merchant: newID()}, 0},
			"the partner":         {payment.Filter{Partner: "acme", Mode: payment.Live}, 7},
			"the partner's tests": {payment.Filter{Partner: "acme", Mode: payment.Test}, 0},
			"another partner":     {payment.Filter{Partner: "other", Mode: payment.Live}, 0},
		} {
			if got := pages(c.filter, 2); len(got) != c.want {
				t.Errorf("%s sees %d, want %d", name, len(got), c.want)
			}
		}
	})
}

// A first attempt that ended after auth was asked is resumed by the same request with the same payment.
func TestACreationThatWasCutShortIsResumed(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, req := newFixture(t, db), request("CreatePayment")
		cut := &cutShort{approver: f.auth}
		broken := payment.NewService(f.store, payment.Directory{Wallets: f.store, Merchants: f.store, Limits: f.store}, cut, payment.Config{Grace: grace, Issuer: issuer, NewID: newID})
		_, err := broken.Create(t.Context(), f.terminal, req, f.order("alice", 100), start)
		if !errors.Is(err, errCut) {
			t.Fatalf("got %v", err)
		}
		if got := f.count(t, `SELECT COUNT(*) FROM payments`); got != 0 {
			t.Fatalf("%d payments after the failure", got)
		}
		p, err := f.service.Create(t.Context(), f.terminal, req, f.order("alice", 100), start)
		must(t, err)
		if p.ID != cut.asked {
			t.Errorf("auth was first asked about %s and then about %s", cut.asked, p.ID)
		}
	})
}

var errCut = errors.New("cut short")

// cutShort makes the challenge and then loses the reply.
type cutShort struct {
	*approver
	asked string
}

func (c *cutShort) CreateChallenge(_ context.Context, req payment.ChallengeRequest) (payment.Challenge, error) {
	c.asked = req.Payment
	return payment.Challenge{}, errCut
}
