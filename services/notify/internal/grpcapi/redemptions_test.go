package grpcapi_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

func cny(minor int64) *typev1.Money { return &typev1.Money{MinorUnits: minor, CurrencyCode: "CNY"} }

// campaignOf is acme's campaign after change has been at the request.
func (a *api) campaignOf(change func(*notifyv1.CreateCampaignRequest)) *notifyv1.Campaign {
	a.t.Helper()
	req := campaignRequest(100)
	change(req)
	c, err := a.as("acme").CreateCampaign(a.t.Context(), req)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *api) get(c *notifyv1.Campaign) *notifyv1.Campaign {
	a.t.Helper()
	got, err := a.as("acme").GetCampaign(a.t.Context(), &notifyv1.GetCampaignRequest{Name: c.GetName()})
	if err != nil {
		a.t.Fatal(err)
	}
	return got
}

func (a *api) expire() {
	a.t.Helper()
	if _, err := a.vouchers.ExpireDue(a.t.Context(), 100, a.clock.Now()); err != nil {
		a.t.Fatal(err)
	}
}

// follow tells what became of a payment, as the consumer of payments' events does.
func (a *api) follow(payment string, o voucher.Outcome) error {
	return a.db.InTx(a.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		return a.st.FollowPayment(ctx, tx, payment, o, a.clock.Now())
	})
}

func TestAReservationIsConfirmedCancelledOrExpires(t *testing.T) {
	a := newAPI(t)
	c := a.campaign("acme", 5)
	terminal := a.as("terminal")
	reserve := func(id string) (*notifyv1.IssueVoucherResponse, *notifyv1.Redemption) {
		t.Helper()
		v := a.issue("acme", c, "")
		r, err := terminal.ReserveVoucher(t.Context(), &notifyv1.ReserveVoucherRequest{Code: v.GetCode(), PurchaseAmount: cny(300), RequestId: id})
		if err != nil {
			t.Fatal(err)
		}
		return v, r
	}
	v, r := reserve("r1")
	if r.GetState() != notifyv1.RedemptionState_REDEMPTION_STATE_RESERVED || r.GetAmount().GetMinorUnits() != 300 ||
		!r.GetHoldExpireTime().AsTime().Equal(noon.Add(15*time.Minute)) || r.GetVoucher().GetState() != notifyv1.VoucherState_VOUCHER_STATE_RESERVED {
		t.Errorf("reserved %v", r)
	}
	if got := a.get(c); got.GetReservedAmount().GetMinorUnits() != 300 || got.GetReservedCount() != 1 {
		t.Errorf("the campaign while held: %v", got)
	}
	_, err := a.redeem("acme", v.GetCode(), "", "x1")
	refused(t, "redeemed while held", err, fault.FailedPrecondition, "VOUCHER_RESERVED")
	_, err = a.as("bolt").ConfirmRedemption(t.Context(), &notifyv1.ConfirmRedemptionRequest{Name: r.GetName(), RequestId: "c0"})
	refused(t, "confirmed by another", err, fault.NotFound, "REDEMPTION_NOT_FOUND")
	for _, id := range []string{"c1", "c1", "c2"} { // the same request and another one: one effect
		done, err := terminal.ConfirmRedemption(t.Context(), &notifyv1.ConfirmRedemptionRequest{Name: r.GetName(), RequestId: id})
		if err != nil || done.GetState() != notifyv1.RedemptionState_REDEMPTION_STATE_CONFIRMED {
			t.Errorf("confirm %s: %v, %v", id, done, err)
		}
	}
	if got := a.get(c); got.GetReservedAmount().GetMinorUnits() != 0 || got.GetRedeemedAmount().GetMinorUnits() != 300 || got.GetRedeemedCount() != 1 {
		t.Errorf("the campaign afterwards: %v", got)
	}
	_, err = terminal.CancelRedemption(t.Context(), &notifyv1.CancelRedemptionRequest{Name: r.GetName(), RequestId: "d1"})
	refused(t, "cancelled when done", err, fault.FailedPrecondition, "REDEMPTION_STATE")

	v, r = reserve("r2")
	for range 2 {
		done, err := a.as("operator").CancelRedemption(t.Context(), &notifyv1.CancelRedemptionRequest{Name: r.GetName(), RequestId: "d2"})
		if err != nil || done.GetState() != notifyv1.RedemptionState_REDEMPTION_STATE_CANCELLED {
			t.Errorf("cancel: %v, %v", done, err)
		}
	}
	if _, err := a.redeem("acme", v.GetCode(), "", "x2"); err != nil {
		t.Errorf("a cancelled hold still holds: %v", err)
	}

	v, r = reserve("r3")
	a.clock.Advance(15 * time.Minute)
	_, err = terminal.ConfirmRedemption(t.Context(), &notifyv1.ConfirmRedemptionRequest{Name: r.GetName(), RequestId: "c3"})
	refused(t, "confirmed too late", err, fault.FailedPrecondition, "REDEMPTION_STATE")
	a.expire()
	if _, err := a.redeem("acme", v.GetCode(), "", "x3"); err != nil {
		t.Errorf("an expired hold still holds: %v", err)
	}
	if n := a.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.VoucherReleased'`); n != 2 {
		t.Errorf("%d releases are told", n)
	}
}

func TestARollbackGivesTheBudgetBackAndAtLastTheUse(t *testing.T) {
	a := newAPI(t)
	c := a.campaignOf(func(r *notifyv1.CreateCampaignRequest) { r.Budget = cny(500) })
	v := a.issue("acme", c, "")
	r, err := a.redeem("terminal", v.GetCode(), "", "r1")
	if err != nil {
		t.Fatal(err)
	}
	back := func(token, id string, amount *typev1.Money) (*notifyv1.Redemption, error) {
		return a.as(token).RollbackRedemption(t.Context(), &notifyv1.RollbackRedemptionRequest{Name: r.GetName(), Amount: amount, RequestId: id})
	}
	_, err = back("bolt", "b0", nil)
	refused(t, "undone by another", err, fault.NotFound, "REDEMPTION_NOT_FOUND")
	for range 20 {
		if done, err := back("terminal", "b1", cny(200)); err != nil || done.GetRolledBackAmount().GetMinorUnits() != 200 {
			t.Fatalf("a part: %v, %v", done, err)
		}
	}
	if got := a.get(c); got.GetRedeemedAmount().GetMinorUnits() != 300 {
		t.Errorf("the budget has %v used", got.GetRedeemedAmount())
	}
	_, err = back("acme", "b2", cny(301))
	refused(t, "too much", err, fault.FailedPrecondition, "ROLLBACK_EXCEEDS_REDEMPTION")
	_, err = back("acme", "b3", &typev1.Money{MinorUnits: 1, CurrencyCode: "EUR"})
	refused(t, "in euros", err, fault.FailedPrecondition, "CURRENCY_MISMATCH")
	other := a.issue("acme", c, "")
	_, err = a.redeem("terminal", other.GetCode(), "", "r2")
	refused(t, "over the budget", err, fault.ResourceExhausted, "CAMPAIGN_BUDGET_EXHAUSTED")
	done, err := back("operator", "b4", nil)
	if err != nil || done.GetState() != notifyv1.RedemptionState_REDEMPTION_STATE_ROLLED_BACK || done.GetVoucher().GetUsesLeft() != 1 {
		t.Errorf("all of it: %v, %v", done, err)
	}
	if _, err = a.redeem("terminal", v.GetCode(), "", "r3"); err != nil {
		t.Errorf("the voucher is not given back: %v", err)
	}
}

func TestARedemptionOfPaymentsFollowsThePayment(t *testing.T) {
	a := newAPI(t)
	a.bind("alice", "live")
	c := a.campaignOf(func(r *notifyv1.CreateCampaignRequest) {
		r.MerchantCategoryCodes = []uint32{5812}
		r.Limits = []*notifyv1.CampaignLimit{{
			Scope: notifyv1.LimitScope_LIMIT_SCOPE_ACCOUNT, Metric: notifyv1.LimitMetric_LIMIT_METRIC_REDEMPTIONS, Period: notifyv1.LimitPeriod_LIMIT_PERIOD_DAY, Value: 2,
		}}
	})
	reserve := func(v *notifyv1.IssueVoucherResponse, uid string) (string, *notifyv1.Redemption, error) {
		id := uuid.NewString()
		r, err := a.as("payments").ReserveVoucher(t.Context(), &notifyv1.ReserveVoucherRequest{
			Code: v.GetCode(), PurchaseAmount: cny(1200), Merchant: "merchants/" + merchant, MerchantCategoryCode: 5812,
			Payment: "payments/" + id, DeviceUid: uid, RequestId: id, OnBehalfOf: "terminal/t",
		})
		return id, r, err
	}
	uid := device[len("partners/acme/devices/"):]
	v := a.issue("acme", c, "accounts/alice")
	_, err := a.redeem("terminal", v.GetCode(), a.proof("p", "alice", v.GetVoucher(), nil), "direct")
	refused(t, "a category that nobody vouches for", err, fault.FailedPrecondition, "CATEGORY_NOT_ELIGIBLE")
	id, r, err := reserve(v, uid)
	if err != nil || r.GetName() != v.GetVoucher().GetName()+"/redemptions/"+id || r.GetAccount() != "accounts/alice" || r.GetDevice() != device {
		t.Fatalf("reserved %v, %v", r, err)
	}
	a.clock.Advance(20 * time.Minute) // payments' confirmation is lost, and NATS is late
	a.expire()
	if err := a.follow(id, voucher.Outcome{Approved: true, Captured: 700}); err != nil {
		t.Fatal(err)
	}
	if got := a.get(c); got.GetRedeemedAmount().GetMinorUnits() != 500 || got.GetReservedCount() != 0 {
		t.Errorf("after the capture: %v", got)
	}
	for range 2 {
		if err := a.follow(id, voucher.Outcome{Approved: true, Captured: 700, Refunded: 350}); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.get(c); got.GetRedeemedAmount().GetMinorUnits() != 250 {
		t.Errorf("after half a refund: %v", got.GetRedeemedAmount())
	}
	id, _, err = reserve(a.issue("acme", c, ""), uid)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = reserve(a.issue("acme", c, ""), uid)
	refused(t, "a third of two a day", err, fault.ResourceExhausted, "VOUCHER_LIMIT_REACHED")
	if err := a.follow(id, voucher.Outcome{Over: true}); err != nil {
		t.Fatal(err)
	}
	if id, _, err = reserve(a.issue("acme", c, ""), uid); err != nil {
		t.Errorf("the declined payment still counts: %v", err)
	}
	for range 2 { // it can be cancelled without its voucher's name, before anything else is known of it
		done, err := a.as("payments").CancelRedemption(t.Context(), &notifyv1.CancelRedemptionRequest{Name: "vouchers/-/redemptions/" + id, RequestId: id})
		if err != nil || done.GetState() != notifyv1.RedemptionState_REDEMPTION_STATE_CANCELLED {
			t.Errorf("cancelled: %v, %v", done, err)
		}
	}
	_, _, err = reserve(a.issue("acme", c, "accounts/bob"), uid)
	refused(t, "another's voucher", err, fault.NotFound, "VOUCHER_NOT_FOUND")
	_, _, err = reserve(a.issue("acme", c, "accounts/alice"), "0000000000000000000000000b")
	refused(t, "a band nobody knows", err, fault.FailedPrecondition, "WEARER_UNKNOWN")
	for reason, other := range map[string]*notifyv1.Campaign{
		"VOUCHER_COVERS_PRICE": a.campaignOf(func(r *notifyv1.CreateCampaignRequest) { r.Value = cny(1200) }),
		"VOUCHER_NOT_FOR_PAYMENTS": a.campaignOf(func(r *notifyv1.CreateCampaignRequest) {
			r.Kind, r.Value, r.Entitlement = notifyv1.VoucherKind_VOUCHER_KIND_ENTITLEMENT, nil, "a tea"
		}),
	} {
		_, _, err = reserve(a.issue("acme", other, ""), uid)
		refused(t, "nothing to pay", err, fault.FailedPrecondition, reason)
		if got := a.get(other); got.GetReservedCount() != 0 {
			t.Errorf("%s: reserved all the same: %v", reason, got)
		}
	}
	if err := a.follow(uuid.NewString(), voucher.Outcome{Approved: true}); err != nil {
		t.Errorf("a payment without a voucher: %v", err)
	}
}

func TestABatchIsGeneratedResumedAndGood(t *testing.T) {
	a := newAPI(t)
	c := a.campaignOf(func(r *notifyv1.CreateCampaignRequest) { r.VoucherLimit = 2500 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func(ctx context.Context, after int32) (codes []string, err error) {
		stream, err := a.as("acme").GenerateVouchers(ctx, &notifyv1.GenerateVouchersRequest{Campaign: c.GetName(), Count: 2500, RequestId: "batch", After: after})
		if err != nil {
			return nil, err
		}
		for {
			piece, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return codes, nil
			}
			if err != nil {
				return codes, err
			}
			codes = append(codes, piece.GetCodes()...)
			if int(piece.GetGeneratedCount()) != int(after)+len(codes) || piece.GetTotalCount() != 2500 {
				t.Fatalf("a piece says %d of %d after %d codes", piece.GetGeneratedCount(), piece.GetTotalCount(), len(codes))
			}
			if ctx != t.Context() {
				cancel() // the connection breaks after the first piece
			}
		}
	}
	first, _ := open(ctx, 0)
	if len(first) < 1000 {
		t.Fatalf("%d codes arrived", len(first))
	}
	rest, err := open(t.Context(), 1000)
	for fault.ReasonOf(err) == "BATCH_BUSY" { // the broken call may still be storing its next piece
		rest, err = open(t.Context(), 1000)
	}
	if err != nil || len(rest) != 1500 {
		t.Fatalf("%d codes after the first 1,000: %v", len(rest), err)
	}
	all, err := open(t.Context(), 0)
	if err != nil || strings.Join(all, " ") != strings.Join(append(first[:1000:1000], rest...), " ") {
		t.Errorf("read again there are %d other codes, %v", len(all), err)
	}
	seen := map[string]bool{}
	for _, code := range all {
		seen[code] = true
	}
	if got := a.get(c); len(seen) != 2500 || got.GetIssuedCount() != 2500 || a.count(`SELECT COUNT(*) FROM vouchers`) != 2500 {
		t.Errorf("%d different codes, %d issued", len(seen), got.GetIssuedCount())
	}
	for _, code := range []string{all[0], all[1499], all[2499]} {
		if _, err := a.redeem("terminal", code, "", code); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	_, err = open(t.Context(), 2501)
	refused(t, "a cursor behind the end", err, fault.Invalid, "CURSOR_INVALID")
}

func TestAGuesserLearnsNothingAndIsLockedOut(t *testing.T) {
	a := newAPI(t)
	v := a.issue("acme", a.campaign("acme", 5), "accounts/bob")
	verify := func(token, code string) error {
		_, err := a.as(token).VerifyVoucher(t.Context(), &notifyv1.VerifyVoucherRequest{Code: code})
		return err
	}
	refused(t, "without a token", verify("", v.GetCode()), fault.Unauthenticated, "CALLER_UNKNOWN")
	refused(t, "another wearer's", verify("alice", v.GetCode()), fault.NotFound, "VOUCHER_NOT_FOUND")
	for range 19 {
		refused(t, "a guess", verify("alice", "00000-00000-00000"), fault.NotFound, "VOUCHER_NOT_FOUND")
	}
	mine := a.issue("acme", a.campaign("acme", 5), "accounts/alice")
	refused(t, "locked out", verify("alice", mine.GetCode()), fault.ResourceExhausted, "VOUCHER_LOCKED_OUT")
	if err := verify("terminal", mine.GetCode()); err != nil {
		t.Errorf("others are locked out: %v", err)
	}
	if n := a.count(`SELECT COUNT(*) FROM voucher_lockouts`); n != 1 {
		t.Errorf("%d lockouts are stored", n)
	}
	a.clock.Advance(15 * time.Minute)
	if err := verify("alice", mine.GetCode()); err != nil {
		t.Errorf("still locked out: %v", err)
	}
}

func TestACampaignIsPreparedChangedPausedAndEnded(t *testing.T) {
	a := newAPI(t)
	acme := a.as("acme")
	c := a.campaignOf(func(r *notifyv1.CreateCampaignRequest) { r.Draft, r.Budget = true, cny(1000) })
	issue := func(id string) error {
		_, err := acme.IssueVoucher(t.Context(), &notifyv1.IssueVoucherRequest{Campaign: c.GetName(), RequestId: id})
		return err
	}
	refused(t, "a draft", issue("i0"), fault.FailedPrecondition, "CAMPAIGN_NOT_ACTIVE")
	if got, err := acme.ActivateCampaign(t.Context(), &notifyv1.ActivateCampaignRequest{Name: c.GetName(), RequestId: "a"}); err != nil || got.GetState() != notifyv1.CampaignState_CAMPAIGN_STATE_ACTIVE {
		t.Fatalf("opened: %v, %v", got, err)
	}
	if err := issue("i1"); err != nil {
		t.Fatal(err)
	}
	update := func(id string, budget int64) error {
		_, err := acme.UpdateCampaign(t.Context(), &notifyv1.UpdateCampaignRequest{
			Campaign:   &notifyv1.Campaign{Name: c.GetName(), DisplayName: "Summer", Budget: cny(budget)},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name", "budget"}}, RequestId: id,
		})
		return err
	}
	v := a.issue("acme", c, "")
	if _, err := a.redeem("terminal", v.GetCode(), "", "r"); err != nil {
		t.Fatal(err)
	}
	refused(t, "a budget below what was used", update("u1", 499), fault.FailedPrecondition, "CAMPAIGN_BOUND_TOO_LOW")
	if err := update("u2", 500); err != nil || a.get(c).GetDisplayName() != "Summer" || a.get(c).GetBudget().GetMinorUnits() != 500 {
		t.Errorf("updated to %v, %v", a.get(c), err)
	}
	if _, err := acme.PauseCampaign(t.Context(), &notifyv1.PauseCampaignRequest{Name: c.GetName(), RequestId: "p"}); err != nil {
		t.Fatal(err)
	}
	refused(t, "paused", issue("i2"), fault.FailedPrecondition, "CAMPAIGN_NOT_ACTIVE")
	if _, err := acme.EndCampaign(t.Context(), &notifyv1.EndCampaignRequest{Name: c.GetName(), RequestId: "e"}); err != nil {
		t.Fatal(err)
	}
	_, err := acme.ActivateCampaign(t.Context(), &notifyv1.ActivateCampaignRequest{Name: c.GetName(), RequestId: "a2"})
	refused(t, "opened after its end", err, fault.FailedPrecondition, "CAMPAIGN_STATE")
	refused(t, "updated after its end", update("u3", 600), fault.FailedPrecondition, "CAMPAIGN_STATE")
	page, err := acme.ListCampaigns(t.Context(), &notifyv1.ListCampaignsRequest{})
	if err != nil || len(page.GetCampaigns()) != 1 || page.GetCampaigns()[0].GetState() != notifyv1.CampaignState_CAMPAIGN_STATE_ENDED {
		t.Errorf("listed %v, %v", page, err)
	}
}

func TestABearerVoucherIsAssigned(t *testing.T) {
	a := newAPI(t)
	v := a.issue("acme", a.campaign("acme", 5), "")
	assign := func(token, id, account, device string) error {
		_, err := a.as(token).AssignVoucher(t.Context(), &notifyv1.AssignVoucherRequest{Name: v.GetVoucher().GetName(), Account: account, Device: device, RequestId: id})
		return err
	}
	refused(t, "to nobody", assign("acme", "a0", "", ""), fault.Invalid, fault.ReasonInvalidField)
	refused(t, "another maker's band", assign("acme", "a1", "", "partners/bolt/devices/0000000000000000000000000a"), fault.Invalid, fault.ReasonInvalidField)
	refused(t, "by another", assign("bolt", "a2", "accounts/bob", ""), fault.NotFound, "VOUCHER_NOT_FOUND")
	if err := assign("acme", "a3", "accounts/alice", device); err != nil {
		t.Fatal(err)
	}
	refused(t, "again", assign("acme", "a4", "accounts/bob", ""), fault.FailedPrecondition, "VOUCHER_ASSIGNED")
	_, err := a.redeem("terminal", v.GetCode(), "", "r0")
	refused(t, "without a band", err, fault.FailedPrecondition, "ASSERTION_REQUIRED")
	_, err = a.redeem("terminal", v.GetCode(), a.proof("p", "alice", v.GetVoucher(), nil), "r1")
	refused(t, "with another band", err, fault.PermissionDenied, "ASSERTION_MISMATCH")
	own := a.proof("q", "alice", v.GetVoucher(), func(p *voucher.Proof) { p.Device = device })
	if _, err := a.redeem("terminal", v.GetCode(), own, "r2"); err != nil {
		t.Errorf("with its band: %v", err)
	}
}

func TestEachKindTakesOffWhatItSays(t *testing.T) {
	a := newAPI(t)
	kinds := notifyv1.VoucherKind_value
	for name, tc := range map[string]struct {
		change func(*notifyv1.CreateCampaignRequest)
		price  *typev1.Money
		want   []any // amounts of redeeming again and again, or reasons
	}{
		"PERCENT": {func(r *notifyv1.CreateCampaignRequest) {
			r.Value, r.Percent = nil, &notifyv1.PercentOff{BasisPoints: 1000, Cap: cny(100)}
		}, cny(999), []any{int64(99), "VOUCHER_REDEEMED"}},
		"STORED_VALUE": {func(*notifyv1.CreateCampaignRequest) {}, cny(300), []any{int64(300), int64(200), "VOUCHER_REDEEMED"}},
		"ENTITLEMENT": {func(r *notifyv1.CreateCampaignRequest) {
			r.Value, r.Entitlement, r.UsesPerVoucher = nil, "one coffee", 2
		}, nil, []any{int64(0), int64(0), "VOUCHER_REDEEMED"}},
		"FIXED_AMOUNT": {func(*notifyv1.CreateCampaignRequest) {}, cny(200), []any{int64(200), "VOUCHER_REDEEMED"}},
	} {
		c := a.campaignOf(func(r *notifyv1.CreateCampaignRequest) {
			r.Kind = notifyv1.VoucherKind(kinds["VOUCHER_KIND_"+name])
			tc.change(r)
		})
		v := a.issue("acme", c, "")
		for i, want := range tc.want {
			r, err := a.as("terminal").RedeemVoucher(t.Context(), &notifyv1.RedeemVoucherRequest{Code: v.GetCode(), PurchaseAmount: tc.price, RequestId: uuid.NewString()})
			if amount, ok := want.(int64); ok && (err != nil || r.GetAmount().GetMinorUnits() != amount) || !ok && fault.ReasonOf(err) != want {
				t.Errorf("%s, redemption %d: %v, %v, want %v", name, i+1, r, err, want)
			}
		}
	}
}
