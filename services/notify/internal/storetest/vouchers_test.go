package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

func TestSixtyFourRedeemsOfOneVoucherRedeemItOnce(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(1)
		v, err := b.issue(c, "i1", "alice")
		if err != nil {
			t.Fatal(err)
		}
		var redeemed, refused atomic.Int32
		together(64, func(i int) {
			_, err := b.redeem(v, fmt.Sprint("r", i), fmt.Sprint("jti", i))
			switch {
			case err == nil:
				redeemed.Add(1)
			case errors.Is(err, voucher.ErrRedeemed):
				refused.Add(1)
			default:
				t.Errorf("call %d: %v", i, err)
			}
		})
		if redeemed.Load() != 1 || refused.Load() != 63 {
			t.Errorf("%d redeemed, %d refused", redeemed.Load(), refused.Load())
		}
		if n := b.count(`SELECT COUNT(*) FROM redemptions`); n != 1 {
			t.Errorf("%d redemptions", n)
		}
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.VoucherRedeemed'`); n != 1 {
			t.Errorf("%d events", n)
		}
		got, after, err := b.VoucherByCode(t.Context(), hash(v.ID))
		if err != nil || !got.Redeemed || after.Redeemed != 1 || after.Issued != 1 {
			t.Errorf("afterwards %+v, %+v, %v", got, after, err)
		}
	})
}

func TestOneRedeemingRequestSixtyFourTimesHasOneAnswer(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		v, err := b.issue(b.campaign(1), "i1", "alice")
		if err != nil {
			t.Fatal(err)
		}
		answers := make([]voucher.Redemption, 64)
		together(len(answers), func(i int) {
			var err error
			if answers[i], err = b.redeem(v, "r1", "jti"); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
		for _, a := range answers {
			if a != answers[0] {
				t.Fatalf("two answers: %+v and %+v", a, answers[0])
			}
		}
		kept, found, err := b.Redemption(t.Context(), request("RedeemVoucher", "r1", v.ID+"jti"))
		if err != nil || !found || kept != answers[0] {
			t.Errorf("kept: %+v, %v, %v", kept, found, err)
		}
		if _, _, err := b.Redemption(t.Context(), request("RedeemVoucher", "r1", "other")); !errors.Is(err, once.ErrReused) {
			t.Errorf("reused: %v", err)
		}
		if _, found, err := b.Redemption(t.Context(), request("RedeemVoucher", "r2", "x")); found || err != nil {
			t.Errorf("unknown: %v, %v", found, err)
		}
	})
}

func TestAnAssertionRedeemsOneVoucher(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(4)
		var vs []voucher.Voucher
		for i := range 4 {
			v, err := b.issue(c, fmt.Sprint("i", i), "alice")
			if err != nil {
				t.Fatal(err)
			}
			vs = append(vs, v)
		}
		if _, err := b.redeem(vs[0], "r0", "jti"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.redeem(vs[1], "r1", "jti"); !errors.Is(err, voucher.ErrProofUsed) {
			t.Errorf("used again: %v", err)
		}
		if got, _, _ := b.VoucherByCode(t.Context(), hash(vs[1].ID)); got.Redeemed {
			t.Error("the refused redemption left its mark")
		}
		for i, v := range vs[2:] { // bearer vouchers have no assertion, and two of them are no conflict
			if _, err := b.redeem(v, fmt.Sprint("bearer", i), ""); err != nil {
				t.Errorf("bearer %d: %v", i, err)
			}
		}
	})
}

func TestACampaignIssuesNoMoreThanItsLimit(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(10)
		var issued, exhausted atomic.Int32
		together(40, func(i int) {
			_, err := b.issue(c, fmt.Sprint("i", i), "")
			switch {
			case err == nil:
				issued.Add(1)
			case errors.Is(err, voucher.ErrBudgetExhausted):
				exhausted.Add(1)
			default:
				t.Errorf("call %d: %v", i, err)
			}
		})
		if issued.Load() != 10 || exhausted.Load() != 30 {
			t.Errorf("%d issued, %d refused", issued.Load(), exhausted.Load())
		}
		got, err := b.Campaign(t.Context(), c.ID)
		if err != nil || got.Issued != 10 {
			t.Errorf("afterwards %+v, %v", got, err)
		}
		if n := b.count(`SELECT COUNT(*) FROM vouchers`); n != 10 {
			t.Errorf("%d vouchers", n)
		}
	})
}

func TestTheDatabaseItselfKeepsTheBounds(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(2)
		v, err := b.issue(c, "i1", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{
			`UPDATE campaigns SET issued_count = 3`,
			`UPDATE campaigns SET redeemed_count = 2`,
			`UPDATE campaigns SET issued_count = -1`,
			`UPDATE campaigns SET value_minor = 0`,
			`UPDATE vouchers SET state = 'LOST'`,
		} {
			if _, err := b.db.ExecContext(t.Context(), statement); !sqldb.IsCheck(err) {
				t.Errorf("%s: %v", statement, err)
			}
		}
		if _, err := b.redeem(v, "r1", ""); err != nil {
			t.Fatal(err)
		}
		_, err = b.db.ExecContext(t.Context(), `INSERT INTO redemptions (id, voucher_id, merchant, created_at) VALUES ('x', $1, '', 0)`, v.ID)
		if !sqldb.IsUnique(err) {
			t.Errorf("a second redemption: %v", err)
		}
	})
}

func TestATakenCodeIsToldApartAndCountsNothing(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(5)
		same := func(c voucher.Campaign) (voucher.Voucher, []byte, error) {
			return voucher.Voucher{ID: uuid.NewString(), CampaignID: c.ID, Value: c.Value, ExpiresAt: c.ExpiresAt, CreatedAt: now}, hash("same"), nil
		}
		if _, err := b.IssueVoucher(t.Context(), request("IssueVoucher", "a", "a"), c.ID, now, same); err != nil {
			t.Fatal(err)
		}
		if _, err := b.IssueVoucher(t.Context(), request("IssueVoucher", "b", "b"), c.ID, now, same); !errors.Is(err, voucher.ErrCodeTaken) {
			t.Fatalf("got %v", err)
		}
		if got, _ := b.Campaign(t.Context(), c.ID); got.Issued != 1 {
			t.Errorf("%d issued", got.Issued)
		}
	})
}

func TestVouchersAreListedNewestFirst(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c, other := b.campaign(10), b.campaign(10)
		var ids []string
		for i := range 5 {
			v, err := b.issue(c, fmt.Sprint("i", i), "alice")
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, v.ID)
		}
		if _, err := b.issue(other, "other", ""); err != nil {
			t.Fatal(err)
		}
		first, err := b.VouchersBefore(t.Context(), c, "", 3)
		if err != nil || len(first) != 3 || first[0].ID != ids[4] || first[2].ID != ids[2] || first[0].Account != "alice" || first[0].Value != c.Value {
			t.Fatalf("first page %+v, %v", first, err)
		}
		second, err := b.VouchersBefore(t.Context(), c, first[2].ID, 3)
		if err != nil || len(second) != 2 || second[0].ID != ids[1] || second[1].ID != ids[0] {
			t.Fatalf("second page %+v, %v", second, err)
		}
	})
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		if _, err := b.Campaign(t.Context(), "x"); !errors.Is(err, voucher.ErrCampaignNotFound) {
			t.Errorf("campaign: %v", err)
		}
		if _, _, err := b.VoucherByCode(t.Context(), hash("x")); !errors.Is(err, voucher.ErrVoucherNotFound) {
			t.Errorf("voucher: %v", err)
		}
		if _, err := b.issue(voucher.Campaign{ID: "x"}, "i", ""); !errors.Is(err, voucher.ErrCampaignNotFound) {
			t.Errorf("issue: %v", err)
		}
		if _, err := b.redeem(voucher.Voucher{ID: "x"}, "r", ""); !errors.Is(err, voucher.ErrVoucherNotFound) {
			t.Errorf("redeem: %v", err)
		}
		if _, err := b.Subscription(t.Context(), "acme", "x"); !errors.Is(err, subscription.ErrNotFound) {
			t.Errorf("subscription: %v", err)
		}
	})
}
