package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

func TestACampaignIsReadAsItWasWritten(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(7, func(c *voucher.Campaign) {
			c.Kind, c.Value, c.BasisPoints, c.Cap = voucher.Percent, 0, 1250, 900
			c.Budget, c.Uses, c.ProofRequired, c.State = 10_000, 3, true, voucher.Draft
			c.Rules = voucher.Rules{
				Merchants: []string{"m1", "m2"}, Categories: []uint32{5812},
				Limits: []voucher.Limit{{Scope: voucher.ScopeAccount, Metric: voucher.MetricAmount, Period: voucher.Day, Value: 5}},
			}
		})
		got, err := b.Campaign(t.Context(), c.ID)
		if diff := cmp.Diff(c, got); err != nil || diff != "" {
			t.Fatalf("%v, %s", err, diff)
		}
		changed, err := b.ChangeCampaign(t.Context(), request("UpdateCampaign", "u", "u"), c.ID, now, func(c voucher.Campaign) (voucher.Campaign, error) {
			c.DisplayName, c.State, c.Budget, c.Limit, c.ExpiresAt = "Summer", voucher.Active, 20_000, 9, now.Add(2*time.Hour)
			return c, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err = b.Campaign(t.Context(), c.ID)
		if diff := cmp.Diff(changed, got); err != nil || diff != "" || got.Budget != 20_000 {
			t.Errorf("changed: %v, %s", err, diff)
		}
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.CampaignChanged'`); n != 2 {
			t.Errorf("%d events", n)
		}
	})
}

func TestFortyRedeemsOfACodeWithThreeUsesAreThree(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		v, err := b.issue(b.campaign(1, func(c *voucher.Campaign) { c.Uses = 3 }), "i1", "alice")
		if err != nil {
			t.Fatal(err)
		}
		var redeemed, refused atomic.Int32
		together(40, func(i int) {
			_, err := b.take(v, fmt.Sprint("r", i), voucher.Confirmed, 500)
			switch {
			case err == nil:
				redeemed.Add(1)
			case errors.Is(err, voucher.ErrRedeemed):
				refused.Add(1)
			default:
				t.Errorf("call %d: %v", i, err)
			}
		})
		if redeemed.Load() != 3 || refused.Load() != 37 {
			t.Errorf("%d redeemed, %d refused", redeemed.Load(), refused.Load())
		}
		if n := b.count(`SELECT COUNT(*) FROM redemptions`); n != 3 {
			t.Errorf("%d redemptions", n)
		}
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.VoucherRedeemed'`); n != 3 {
			t.Errorf("%d events", n)
		}
		got, after, err := b.VoucherByCode(t.Context(), hash(v.ID))
		if err != nil || got.Uses != 3 || after.RedeemedCount != 3 || after.Redeemed != 1500 || after.Held != 0 {
			t.Errorf("afterwards %+v, %+v, %v", got, after, err)
		}
	})
}

func TestOneRedeemingRequestTwentyTimesHasOneEffect(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		v, err := b.issue(b.campaign(1, func(c *voucher.Campaign) { c.Uses = 30 }), "i1", "alice")
		if err != nil {
			t.Fatal(err)
		}
		answers := make([]voucher.Redemption, 20)
		together(len(answers), func(i int) {
			var err error
			if answers[i], err = b.take(v, "r1", voucher.Confirmed, 500); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
		for _, a := range answers {
			if a != answers[0] {
				t.Fatalf("two answers: %+v and %+v", a, answers[0])
			}
		}
		kept, found, err := b.Answered(t.Context(), request("ReserveVoucher", "r1", v.ID))
		if err != nil || !found || kept != answers[0] {
			t.Errorf("kept: %+v, %v, %v", kept, found, err)
		}
		if _, _, err := b.Answered(t.Context(), request("ReserveVoucher", "r1", "other")); !errors.Is(err, once.ErrReused) {
			t.Errorf("reused: %v", err)
		}
		if got, c, _ := b.VoucherByCode(t.Context(), hash(v.ID)); got.Uses != 1 || c.Redeemed != 500 || b.count(`SELECT COUNT(*) FROM redemptions`) != 1 {
			t.Errorf("more than one effect: %+v, %+v", got, c)
		}
	})
}

func TestTheBudgetIsNeverExceeded(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(50, func(c *voucher.Campaign) { c.Budget = 3_499 })
		vs := make([]voucher.Voucher, 30)
		for i := range vs {
			var err error
			if vs[i], err = b.issue(c, fmt.Sprint("i", i), ""); err != nil {
				t.Fatal(err)
			}
		}
		var taken atomic.Int32
		together(len(vs), func(i int) {
			to := []voucher.RedemptionState{voucher.Reserved, voucher.Confirmed}[i%2]
			_, err := b.take(vs[i], fmt.Sprint("r", i), to, 500)
			if err == nil {
				taken.Add(1)
			} else if !errors.Is(err, voucher.ErrBudgetExhausted) {
				t.Errorf("call %d: %v", i, err)
			}
		})
		got, err := b.Campaign(t.Context(), c.ID)
		if err != nil || taken.Load() != 6 || got.Held+got.Redeemed != 3_000 || got.HeldCount+got.RedeemedCount != 6 {
			t.Errorf("%d taken, afterwards %+v, %v", taken.Load(), got, err)
		}
	})
}

func TestWhatAHoldTakesComesBack(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		limit := func(c *voucher.Campaign) {
			c.Kind, c.Uses, c.Value, c.Budget = voucher.StoredValue, 1000, 2000, 5000
			c.Rules.Limits = []voucher.Limit{
				{Scope: voucher.ScopeAccount, Metric: voucher.MetricAmount, Period: voucher.Lifetime, Value: 1500},
				{Scope: voucher.ScopeCampaign, Metric: voucher.MetricRedemptions, Period: voucher.Day, Value: 2},
			}
		}
		c := b.campaign(5, limit)
		v, err := b.issue(c, "i", "alice")
		if err != nil {
			t.Fatal(err)
		}
		state := func(balance, held, redeemed int64, used ...int64) {
			t.Helper()
			got, c, err := b.VoucherByCode(t.Context(), hash(v.ID))
			if err != nil || got.Balance != balance || c.Held != held || c.Redeemed != redeemed {
				t.Errorf("voucher %+v, campaign held %d, redeemed %d, %v", got, c.Held, c.Redeemed, err)
			}
			counts, err := b.Used(t.Context(), c.ID, c.Meters(voucher.Redemption{Account: "alice", CreatedAt: now}))
			if err != nil || !slices.Equal(counts, used) {
				t.Errorf("limits used %v, %v; want %v", counts, err, used)
			}
		}
		first, err := b.take(v, "r1", voucher.Reserved, 700)
		if err != nil {
			t.Fatal(err)
		}
		state(1300, 700, 0, 700, 1)
		if _, err := b.take(v, "r2", voucher.Confirmed, 801); !errors.Is(err, voucher.ErrLimit) {
			t.Errorf("over the account's limit: %v", err)
		}
		second, err := b.take(v, "r3", voucher.Confirmed, 800)
		if err != nil {
			t.Fatal(err)
		}
		state(500, 700, 800, 1500, 2)
		if _, err := b.take(v, "r4", voucher.Confirmed, 1); !errors.Is(err, voucher.ErrLimit) {
			t.Errorf("a third of two: %v", err)
		}
		if err := b.settle(first, voucher.Expired); err != nil {
			t.Fatal(err)
		}
		state(1200, 0, 800, 800, 1)
		if err := b.settle(second, voucher.RolledBack); err != nil {
			t.Fatal(err)
		}
		state(2000, 0, 0, 0, 0)
		if got, _, _ := b.VoucherByCode(t.Context(), hash(v.ID)); got.Uses != 0 || got.HeldUses != 0 {
			t.Errorf("uses are left behind: %+v", got)
		}
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE type IN ('armlet.notify.v1.VoucherReleased', 'armlet.notify.v1.RedemptionRolledBack')`); n != 2 {
			t.Errorf("%d events", n)
		}
	})
}

func TestAnAssertionRedeemsOneVoucher(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(4)
		with := func(jti string) func(*voucher.Redemption) {
			return func(r *voucher.Redemption) { r.AssertionID = jti }
		}
		var vs []voucher.Voucher
		for i := range 4 {
			v, err := b.issue(c, fmt.Sprint("i", i), "alice")
			if err != nil {
				t.Fatal(err)
			}
			vs = append(vs, v)
		}
		if _, err := b.take(vs[0], "r0", voucher.Confirmed, 500, with("jti")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.take(vs[1], "r1", voucher.Confirmed, 500, with("jti")); !errors.Is(err, voucher.ErrProofUsed) {
			t.Errorf("used again: %v", err)
		}
		if got, _, _ := b.VoucherByCode(t.Context(), hash(vs[1].ID)); got.Uses != 0 {
			t.Error("the refused redemption left its mark")
		}
		for i, v := range vs[2:] { // bearer vouchers have no assertion, and two of them are no conflict
			if _, err := b.take(v, fmt.Sprint("bearer", i), voucher.Confirmed, 500); err != nil {
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
			case errors.Is(err, voucher.ErrLimitReached):
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
		c := b.campaign(2, func(c *voucher.Campaign) {
			c.Budget = 900
			c.Rules.Limits = []voucher.Limit{{Scope: voucher.ScopeCampaign, Metric: voucher.MetricAmount, Period: voucher.Lifetime, Value: 600}}
		})
		v, err := b.issue(c, "i1", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.take(v, "r1", voucher.Confirmed, 500); err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{
			`UPDATE campaigns SET issued_count = 3`,
			`UPDATE campaigns SET issued_count = -1`,
			`UPDATE campaigns SET held_minor = 401`,
			`UPDATE campaigns SET redeemed_minor = -1`,
			`UPDATE campaigns SET budget_minor = 499`,
			`UPDATE campaigns SET redeemed_count = -1`,
			`UPDATE campaigns SET value_minor = 0`,
			`UPDATE campaigns SET state = 'LOST'`,
			`UPDATE vouchers SET used_count = 2`,
			`UPDATE vouchers SET held_count = 1`,
			`UPDATE vouchers SET balance_minor = -1`,
			`UPDATE redemptions SET state = 'LOST'`,
			`UPDATE redemptions SET undone_minor = 501`,
			`UPDATE voucher_meters SET used = 601`,
			`UPDATE voucher_meters SET used = -1`,
		} {
			if _, err := b.db.ExecContext(t.Context(), statement); !sqldb.IsCheck(err) {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
}

func TestNothingBeginsInACampaignThatIsNotActive(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(3)
		v, err := b.issue(c, "i", "")
		if err != nil {
			t.Fatal(err)
		}
		held, err := b.take(v, "r1", voucher.Reserved, 500)
		if err != nil {
			t.Fatal(err)
		}
		other, err := b.issue(c, "i2", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.ChangeCampaign(t.Context(), request("PauseCampaign", "p", ""), c.ID, now, func(c voucher.Campaign) (voucher.Campaign, error) {
			c.State = voucher.Paused
			return c, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.take(other, "r2", voucher.Confirmed, 500); !errors.Is(err, voucher.ErrNotActive) {
			t.Errorf("redeemed while paused: %v", err)
		}
		if err := b.settle(held, voucher.Confirmed); err != nil {
			t.Errorf("what was held cannot be confirmed: %v", err)
		}
	})
}

func TestABatchIsStoredInOrderOnceAndResumed(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(10)
		create := func(id string, count int) (voucher.Batch, error) {
			return b.CreateBatch(t.Context(), request("GenerateVouchers", id, ""), c.ID, now, func(voucher.Campaign) (voucher.Batch, error) {
				return voucher.Batch{ID: uuid.Must(uuid.NewV7()).String(), CampaignID: c.ID, Count: count, CreatedAt: now}, nil
			})
		}
		batch, err := create("b1", 6)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := create("b1", 6); err != nil || again != batch {
			t.Errorf("repeated: %+v, %v", again, err)
		}
		if _, err := create("b2", 5); !errors.Is(err, voucher.ErrLimitReached) {
			t.Errorf("eleven of ten: %v", err)
		}
		mint := func(ids ...string) (all []voucher.Minted) {
			for _, id := range ids {
				all = append(all, voucher.Minted{ID: id, Hash: hash(id)})
			}
			return all
		}
		template := voucher.Voucher{CampaignID: c.ID, MaxUses: 1, CreatedAt: now}
		if n, err := b.FillBatch(t.Context(), batch, 0, template, mint("a", "b", "c")); err != nil || n != 3 {
			t.Fatalf("%d, %v", n, err)
		}
		if _, err := b.FillBatch(t.Context(), batch, 0, template, mint("x")); !errors.Is(err, voucher.ErrBatchBusy) {
			t.Errorf("filled twice: %v", err)
		}
		if _, err := b.FillBatch(t.Context(), batch, 3, template, []voucher.Minted{{ID: "d", Hash: hash("d")}, {ID: "e", Hash: hash("a")}}); !errors.Is(err, voucher.ErrCodeTaken) {
			t.Errorf("a code twice: %v", err)
		}
		if n, err := b.FillBatch(t.Context(), batch, 0, template, nil); err != nil || n != 3 {
			t.Errorf("a failed piece left %d, %v", n, err)
		}
		var won atomic.Int32
		together(8, func(int) {
			_, err := b.FillBatch(context.WithoutCancel(t.Context()), batch, 3, template, mint("d", "e", "f"))
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, voucher.ErrBatchBusy) {
				t.Error(err)
			}
		})
		ids, err := b.BatchIDs(t.Context(), batch, "b", "f")
		if err != nil || won.Load() != 1 || !slices.Equal(ids, []string{"b", "c", "d", "e"}) {
			t.Errorf("%d won, ids %v, %v", won.Load(), ids, err)
		}
		got, _, err := b.VoucherByCode(t.Context(), hash("e"))
		template.ID = "e"
		if err != nil || got != template {
			t.Errorf("stored %+v, %v", got, err)
		}
		if after, _ := b.Campaign(t.Context(), c.ID); after.Issued != 6 {
			t.Errorf("%d issued", after.Issued)
		}
	})
}

func TestATakenCodeIsToldApartAndCountsNothing(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(5)
		same := func(c voucher.Campaign) (voucher.Voucher, []byte, error) {
			return voucher.Voucher{ID: uuid.NewString(), CampaignID: c.ID, MaxUses: 1, CreatedAt: now}, hash("same"), nil
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

func TestAVoucherIsAssignedOnce(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		v, err := b.issue(b.campaign(1), "i", "")
		if err != nil {
			t.Fatal(err)
		}
		var won atomic.Int32
		together(16, func(i int) {
			_, err := b.AssignVoucher(context.WithoutCancel(t.Context()), request("AssignVoucher", fmt.Sprint(i), ""), v.ID, now,
				func(v voucher.Voucher, _ voucher.Campaign) (voucher.Voucher, error) {
					if v.Assigned() {
						return v, voucher.ErrAssigned
					}
					v.Account = fmt.Sprint("a", i)
					return v, nil
				})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, voucher.ErrAssigned) {
				t.Error(err)
			}
		})
		if got, _, _ := b.VoucherByCode(t.Context(), hash(v.ID)); won.Load() != 1 || got.Account == "" {
			t.Errorf("%d assigned it, it is %+v", won.Load(), got)
		}
	})
}

func TestVouchersAndCampaignsAreListedNewestFirst(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c, other := b.campaign(10), b.campaign(10, func(c *voucher.Campaign) { c.Partner, c.Mode = "bolt", "test" })
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
		if err != nil || len(first) != 3 || first[0].ID != ids[4] || first[2].ID != ids[2] || first[0].Account != "alice" {
			t.Fatalf("first page %+v, %v", first, err)
		}
		second, err := b.VouchersBefore(t.Context(), c, first[2].ID, 3)
		if err != nil || len(second) != 2 || second[0].ID != ids[1] || second[1].ID != ids[0] {
			t.Fatalf("second page %+v, %v", second, err)
		}
		for name, tc := range map[string]struct {
			by   voucher.Actor
			want []string
		}{
			"the operator":       {voucher.Actor{Role: voucher.RoleOperator}, []string{other.ID, c.ID}},
			"acme":               {voucher.Actor{Role: voucher.RolePartner, Partner: "acme", Mode: "live"}, []string{c.ID}},
			"bolt":               {voucher.Actor{Role: voucher.RolePartner, Partner: "bolt", Mode: "test"}, []string{other.ID}},
			"bolt in live mode ": {voucher.Actor{Role: voucher.RolePartner, Partner: "bolt", Mode: "live"}, nil},
		} {
			all, err := b.CampaignsBefore(t.Context(), tc.by, "", 10)
			var got []string
			for _, c := range all {
				got = append(got, c.ID)
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("%s sees %v, %v", name, got, err)
			}
		}
	})
}

func TestHoldsThatAreDueAreFound(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		c := b.campaign(10)
		for i, minutes := range []int{30, 10, 20} {
			v, err := b.issue(c, fmt.Sprint("i", i), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.take(v, fmt.Sprint("r", i), voucher.Reserved, 500, func(r *voucher.Redemption) {
				r.ID, r.ReleaseAt = fmt.Sprint("hold", minutes), now.Add(time.Duration(minutes)*time.Minute)
			}); err != nil {
				t.Fatal(err)
			}
		}
		due, err := b.Due(t.Context(), now.Add(20*time.Minute), 10)
		if err != nil || !slices.Equal(due, []string{"hold10", "hold20"}) {
			t.Errorf("due %v, %v", due, err)
		}
		if err := b.settle(voucher.Redemption{ID: "hold10"}, voucher.Expired); err != nil {
			t.Fatal(err)
		}
		if due, _ = b.Due(t.Context(), now.Add(20*time.Minute), 10); !slices.Equal(due, []string{"hold20"}) {
			t.Errorf("after one: %v", due)
		}
	})
}

func TestWhoWearsWhatIsFoundBothWays(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		const old, young = "partners/acme/devices/0000000000000000000000000a", "partners/bolt/devices/0000000000000000000000000b"
		for i, device := range []string{old, young} {
			err := b.db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				return b.SetWearer(ctx, tx, alert.Wearer{Device: device, Partner: "p", Account: "alice", Mode: "live"}, 1, now.Add(time.Duration(i)*time.Second))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, tc := range [][4]string{
			{"", "0000000000000000000000000a", "alice", old}, {"alice", "", "alice", young}, {"bob", "", "bob", ""}, {"", "0000000000000000000000000c", "", ""},
		} {
			account, device, err := b.Payer(t.Context(), tc[0], tc[1])
			if err != nil || account != tc[2] || device != tc[3] {
				t.Errorf("%q, %q: %s, %s, %v", tc[0], tc[1], account, device, err)
			}
		}
	})
}

func TestALockoutIsKeptAndNeverShortened(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		if until, err := b.LockedUntil(t.Context(), "x"); err != nil || !until.IsZero() {
			t.Errorf("nobody is locked out: %v, %v", until, err)
		}
		for _, minutes := range []int{5, 10, 3} {
			if err := b.LockOut(t.Context(), "x", now.Add(time.Duration(minutes)*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		if until, err := b.LockedUntil(t.Context(), "x"); err != nil || !until.Equal(now.Add(10*time.Minute)) {
			t.Errorf("until %v, %v", until, err)
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
		if _, err := b.take(voucher.Voucher{ID: "x"}, "r", voucher.Confirmed, 1); !errors.Is(err, voucher.ErrVoucherNotFound) {
			t.Errorf("redeem: %v", err)
		}
		if err := b.settle(voucher.Redemption{ID: "x"}, voucher.Confirmed); !errors.Is(err, voucher.ErrRedemptionNotFound) {
			t.Errorf("settle: %v", err)
		}
		if _, err := b.Subscription(t.Context(), "acme", "x"); !errors.Is(err, subscription.ErrNotFound) {
			t.Errorf("subscription: %v", err)
		}
	})
}
