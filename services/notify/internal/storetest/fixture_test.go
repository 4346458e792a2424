package storetest

import (
	"context"
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// box is a store under test.
type box struct {
	*store.Store
	t    *testing.T
	db   *sqldb.DB
	mu   sync.Mutex
	woke map[string]int
}

func each(t *testing.T, test func(t *testing.T, b *box)) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		if err := store.Migrate(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		b := &box{t: t, db: db, woke: map[string]int{}}
		b.Store = store.New(db, bus.Encode, func(account string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.woke[account]++
		})
		test(t, b)
	})
}

func request(method, id, content string) once.Request {
	sum := sha256.Sum256([]byte(content))
	return once.Request{Caller: "partner/acme-1", Method: method, ID: id, Fingerprint: sum[:]}
}

func (b *box) count(query string, args ...any) (n int) {
	b.t.Helper()
	if err := b.db.QueryRowContext(b.t.Context(), query, args...).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// order is a partner's plain message to an account.
func order(account, text string) alert.Alert {
	return alert.Alert{CreatedAt: now, Order: alert.Order{
		ID: uuid.NewString(), Account: account, Mode: "live", Kind: alert.Key{ID: alert.PartnerMessage}, Sender: "acme", Partner: "acme",
		Payload: map[string]any{"band_text": text, "phone_text": text + "!"},
	}}
}

func (b *box) deliver(a alert.Alert, at time.Time) (out alert.Alert, err error) {
	err = b.db.InTx(context.WithoutCancel(b.t.Context()), func(ctx context.Context, tx *sqldb.Tx) error {
		all, err := b.DeliverAll(ctx, tx, []alert.Alert{a}, nil, at)
		if err == nil {
			out = all[0]
		}
		return err
	})
	return out, err
}

// mustDeliver delivers now and fails the test when it cannot.
func (b *box) mustDeliver(a alert.Alert) alert.Alert {
	b.t.Helper()
	out, err := b.deliver(a, now)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// campaign makes one of acme's, with vouchers of 5 yuan, after change has been at it.
func (b *box) campaign(limit int64, change ...func(*voucher.Campaign)) voucher.Campaign {
	b.t.Helper()
	c := voucher.Campaign{
		ID: uuid.Must(uuid.NewV7()).String(), DisplayName: "Spring", Partner: "acme", Mode: "live", State: voucher.Active, Kind: voucher.FixedAmount,
		Currency: "CNY", Value: 500, Limit: limit, Uses: 1, StartsAt: now, ExpiresAt: now.Add(time.Hour), CreatedAt: now,
	}
	for _, f := range change {
		f(&c)
	}
	got, err := b.CreateCampaign(b.t.Context(), request("CreateCampaign", c.ID, c.ID), now, func() (voucher.Campaign, error) { return c, nil })
	if diff := cmp.Diff(c, got); err != nil || diff != "" {
		b.t.Fatalf("create a campaign: %v, %s", err, diff)
	}
	return c
}

func (b *box) issue(c voucher.Campaign, requestID, account string) (voucher.Voucher, error) {
	return b.IssueVoucher(context.WithoutCancel(b.t.Context()), request("IssueVoucher", requestID, c.ID+account), c.ID, now,
		func(c voucher.Campaign) (voucher.Voucher, []byte, error) {
			v := voucher.Voucher{ID: uuid.Must(uuid.NewV7()).String(), CampaignID: c.ID, Account: account, MaxUses: c.Uses, CreatedAt: now}
			if c.Kind == voucher.StoredValue {
				v.Balance = c.Value
			}
			return v, hash(v.ID), nil
		})
}

// take reserves or redeems an amount of a voucher, however little is left of it: the store has to see to the bounds.
func (b *box) take(v voucher.Voucher, requestID string, to voucher.RedemptionState, amount int64, change ...func(*voucher.Redemption)) (voucher.Redemption, error) {
	return b.Reserve(context.WithoutCancel(b.t.Context()), request("ReserveVoucher", requestID, v.ID), hash(v.ID), now,
		func(v voucher.Voucher, c voucher.Campaign, _ voucher.Used) (voucher.Redemption, error) {
			r := voucher.Redemption{
				ID: uuid.NewString(), CampaignID: c.ID, Voucher: v, State: to, Amount: voucher.Money{MinorUnits: amount, Currency: c.Currency},
				Merchant: "m", Account: v.Account, Holder: "merchant/m", HoldExpiresAt: now.Add(15 * time.Minute), ReleaseAt: now.Add(15 * time.Minute),
				CreatedAt: now, UpdatedAt: now,
			}
			for _, f := range change {
				f(&r)
			}
			return r, nil
		})
}

// settle brings a redemption to another state.
func (b *box) settle(r voucher.Redemption, to voucher.RedemptionState) error {
	return b.Settle(context.WithoutCancel(b.t.Context()), r.ID, now, func(r voucher.Redemption) (voucher.Redemption, error) {
		r.State = to
		return r, nil
	})
}

func hash(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return sum[:]
}

// together runs n calls at once.
func together(n int, call func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			call(i)
		})
	}
	close(start)
	wg.Wait()
}
