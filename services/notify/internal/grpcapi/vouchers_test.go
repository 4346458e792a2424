package grpcapi_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/fault"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

func (a *api) redeem(token, code, assertion, requestID string) (*notifyv1.Redemption, error) {
	return a.as(token).RedeemVoucher(a.t.Context(), &notifyv1.RedeemVoucherRequest{Code: code, Assertion: assertion, RequestId: requestID})
}

func TestAVoucherIsIssuedVerifiedAndRedeemedOnce(t *testing.T) {
	a := newAPI(t)
	c := a.campaign("acme", 2)
	if c.GetPartner() != "partners/acme" || c.GetState() != notifyv1.CampaignState_CAMPAIGN_STATE_ACTIVE || c.GetVoucherLimit() != 2 {
		t.Errorf("the campaign is %v", c)
	}
	v := a.issue("acme", c, "accounts/alice")
	if v.GetVoucher().GetAccount() != "accounts/alice" || v.GetVoucher().GetValue().GetMinorUnits() != 500 {
		t.Errorf("the voucher is %v", v)
	}
	seen, err := a.as("terminal").VerifyVoucher(t.Context(), &notifyv1.VerifyVoucherRequest{Code: strings.ToLower(v.GetCode())})
	if err != nil || !seen.GetRedeemable() || !seen.GetAssertionRequired() || len(seen.GetReasons()) != 0 {
		t.Fatalf("verified: %v, %v", seen, err)
	}
	intent, err := uuid.FromBytes(seen.GetIntentUid())
	if err != nil || "vouchers/"+intent.String() != v.GetVoucher().GetName() {
		t.Errorf("the intent %s is not the voucher %s", intent, v.GetVoucher().GetName())
	}
	if seen.GetVoucher().GetAccount() != "" {
		t.Error("a terminal learns whose voucher it is")
	}
	r, err := a.redeem("terminal", v.GetCode(), a.proof("p", "alice", v.GetVoucher(), nil), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if r.GetMerchant() != "merchants/"+merchant || r.GetAmount().GetMinorUnits() != 500 || r.GetVoucher().GetAccount() != "" ||
		r.GetVoucher().GetState() != notifyv1.VoucherState_VOUCHER_STATE_REDEEMED || !strings.HasPrefix(r.GetName(), v.GetVoucher().GetName()+"/redemptions/") {
		t.Errorf("the redemption is %v", r)
	}
	_, err = a.redeem("terminal", v.GetCode(), a.proof("p2", "alice", v.GetVoucher(), nil), "r2")
	refused(t, "the second time", err, fault.FailedPrecondition, "VOUCHER_REDEEMED")
	seen, err = a.as("operator").VerifyVoucher(t.Context(), &notifyv1.VerifyVoucherRequest{Code: v.GetCode()})
	if err != nil || seen.GetRedeemable() || !slices.Equal(seen.GetReasons(), []string{"VOUCHER_REDEEMED"}) || seen.GetVoucher().GetAccount() != "accounts/alice" {
		t.Errorf("verified afterwards: %v, %v", seen, err)
	}
}

func TestTheSameRequestGetsTheSameAnswer(t *testing.T) {
	a := newAPI(t)
	acme := a.as("acme")
	create := campaignRequest(5)
	first, err := acme.CreateCampaign(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	issue := &notifyv1.IssueVoucherRequest{Campaign: first.GetName(), Account: "accounts/alice", RequestId: "i1"}
	v, err := acme.IssueVoucher(t.Context(), issue)
	if err != nil {
		t.Fatal(err)
	}
	redeem := &notifyv1.RedeemVoucherRequest{Code: v.GetCode(), Assertion: a.proof("p", "alice", v.GetVoucher(), nil), RequestId: "r1"}
	r, err := acme.RedeemVoucher(t.Context(), redeem)
	if err != nil {
		t.Fatal(err)
	}
	a.clock.Advance(2 * time.Hour) // assertion and campaign are long over
	if again, err := acme.CreateCampaign(t.Context(), create); err != nil || again.GetName() != first.GetName() {
		t.Errorf("the campaign again: %v, %v", again, err)
	}
	if again, err := acme.IssueVoucher(t.Context(), issue); err != nil || !proto.Equal(again, v) {
		t.Errorf("the voucher again: %v, %v; want %v with the same code", again, err, v)
	}
	if again, err := acme.RedeemVoucher(t.Context(), redeem); err != nil || !proto.Equal(again, r) {
		t.Errorf("the redemption again: %v, %v; want %v", again, err, r)
	}
	create.VoucherLimit, issue.Account, redeem.Assertion = 6, "", "other"
	_, err = acme.CreateCampaign(t.Context(), create)
	refused(t, "another campaign", err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	_, err = acme.IssueVoucher(t.Context(), issue)
	refused(t, "another voucher", err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	_, err = acme.RedeemVoucher(t.Context(), redeem)
	refused(t, "another redemption", err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	if c, v, r := a.count(`SELECT COUNT(*) FROM campaigns`), a.count(`SELECT COUNT(*) FROM vouchers`), a.count(`SELECT COUNT(*) FROM redemptions`); c != 1 || v != 1 || r != 1 {
		t.Errorf("%d campaigns, %d vouchers, %d redemptions", c, v, r)
	}
}

func TestSixtyFourCallersRedeemOneVoucherOnce(t *testing.T) {
	a := newAPI(t)
	v := a.issue("acme", a.campaign("acme", 1), "accounts/alice")
	assertion := a.proof("p", "alice", v.GetVoucher(), nil)
	terminal := a.as("terminal")
	var won atomic.Int32
	answers := make([]*notifyv1.Redemption, 64)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			// pairs share a request id
			r, err := terminal.RedeemVoucher(t.Context(), &notifyv1.RedeemVoucherRequest{Code: v.GetCode(), Assertion: assertion, RequestId: fmt.Sprint("r", i/2)})
			if err == nil {
				won.Add(1)
				answers[i] = r
			} else if fault.ReasonOf(err) != "VOUCHER_REDEEMED" {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 2 || a.count(`SELECT COUNT(*) FROM redemptions`) != 1 {
		t.Errorf("%d calls succeeded, want the two of one request", won.Load())
	}
	for i := 0; i < len(answers); i += 2 {
		if !proto.Equal(answers[i], answers[i+1]) {
			t.Errorf("the pair %d got %v and %v", i, answers[i], answers[i+1])
		}
	}
}

func TestTheBandHasToAgreeToThisVoucher(t *testing.T) {
	a := newAPI(t)
	c := a.campaign("acme", 3)
	v, other := a.issue("acme", c, "accounts/alice"), a.issue("acme", c, "accounts/alice")
	for name, tc := range map[string]struct {
		assertion string
		kind      fault.Kind
		reason    string
	}{
		"no assertion":        {"", fault.FailedPrecondition, "ASSERTION_REQUIRED"},
		"a forged assertion":  {"forged", fault.Invalid, "ASSERTION_INVALID"},
		"another voucher's":   {a.proof("v", "alice", other.GetVoucher(), nil), fault.PermissionDenied, "ASSERTION_MISMATCH"},
		"another wearer's":    {a.proof("w", "bob", v.GetVoucher(), nil), fault.PermissionDenied, "ASSERTION_MISMATCH"},
		"one for a payment":   {a.proof("x", "alice", v.GetVoucher(), func(p *voucher.Proof) { p.Purpose = "PAY" }), fault.PermissionDenied, "ASSERTION_MISMATCH"},
		"another audience's":  {a.proof("y", "alice", v.GetVoucher(), func(p *voucher.Proof) { p.Audience = "payments" }), fault.PermissionDenied, "ASSERTION_MISMATCH"},
		"one that is over":    {a.proof("z", "alice", v.GetVoucher(), func(p *voucher.Proof) { p.ExpiresAt = noon.Add(-time.Minute) }), fault.Invalid, "ASSERTION_INVALID"},
		"one without a check": {"unavailable", fault.Unavailable, "KEYS_UNAVAILABLE"},
	} {
		_, err := a.redeem("terminal", v.GetCode(), tc.assertion, "r-"+tc.assertion)
		refused(t, name, err, tc.kind, tc.reason)
	}
	if n := a.count(`SELECT COUNT(*) FROM redemptions`); n != 0 {
		t.Errorf("%d redemptions", n)
	}
	shared := func(p *voucher.Proof) { p.ID = "one" }
	if _, err := a.redeem("terminal", v.GetCode(), a.proof("s1", "alice", v.GetVoucher(), shared), "ok"); err != nil {
		t.Fatal(err)
	}
	_, err := a.redeem("terminal", other.GetCode(), a.proof("s2", "alice", other.GetVoucher(), shared), "used")
	refused(t, "a used assertion", err, fault.FailedPrecondition, "ASSERTION_USED")
	bearer := a.issue("acme", c, "")
	if r, err := a.redeem("bolt", bearer.GetCode(), "", "bearer"); err != nil || r.GetMerchant() != "" {
		t.Errorf("a bearer voucher: %v, %v", r, err)
	}
}

func TestAnExpiredVoucherSaysAllReasons(t *testing.T) {
	a := newAPI(t)
	c := a.campaign("operator", 5)
	v := a.issue("operator", c, "")
	a.clock.Advance(time.Hour)
	seen, err := a.as("acme").VerifyVoucher(t.Context(), &notifyv1.VerifyVoucherRequest{Code: v.GetCode()})
	if err != nil || seen.GetRedeemable() || !slices.Equal(seen.GetReasons(), []string{"VOUCHER_EXPIRED", "CAMPAIGN_NOT_ACTIVE"}) || seen.GetAssertionRequired() {
		t.Errorf("verified: %v, %v", seen, err)
	}
	_, err = a.redeem("acme", v.GetCode(), "", "r")
	refused(t, "redeem", err, fault.FailedPrecondition, "VOUCHER_EXPIRED")
	_, err = a.as("operator").IssueVoucher(t.Context(), &notifyv1.IssueVoucherRequest{Campaign: c.GetName(), RequestId: "late"})
	refused(t, "issue", err, fault.FailedPrecondition, "CAMPAIGN_NOT_ACTIVE")
}

func TestACampaignIssuesNoMoreThanItsLimit(t *testing.T) {
	a := newAPI(t)
	c := a.campaign("acme", 3)
	acme := a.as("acme")
	var issued, refusals atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := acme.IssueVoucher(t.Context(), &notifyv1.IssueVoucherRequest{Campaign: c.GetName(), RequestId: fmt.Sprint(i)})
			switch {
			case err == nil:
				issued.Add(1)
			case fault.ReasonOf(err) == "CAMPAIGN_LIMIT_REACHED" && fault.KindOf(err) == fault.ResourceExhausted:
				refusals.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if issued.Load() != 3 || refusals.Load() != 17 {
		t.Errorf("%d issued, %d refused", issued.Load(), refusals.Load())
	}
}

func TestCampaignsAreOfTheirPartnerAndMode(t *testing.T) {
	a := newAPI(t)
	c := a.campaign("acme", 5)
	v := a.issue("acme", c, "")
	for _, token := range []string{"bolt", "acme-test"} {
		_, err := a.as(token).IssueVoucher(t.Context(), &notifyv1.IssueVoucherRequest{Campaign: c.GetName(), RequestId: "x"})
		refused(t, token+" issues", err, fault.NotFound, "CAMPAIGN_NOT_FOUND")
		_, err = a.as(token).ListVouchers(t.Context(), &notifyv1.ListVouchersRequest{Parent: c.GetName()})
		refused(t, token+" lists", err, fault.NotFound, "CAMPAIGN_NOT_FOUND")
	}
	_, err := a.as("acme-test").VerifyVoucher(t.Context(), &notifyv1.VerifyVoucherRequest{Code: v.GetCode()})
	refused(t, "verify in the other mode", err, fault.NotFound, "VOUCHER_NOT_FOUND")
	_, err = a.redeem("acme-test", v.GetCode(), "", "x")
	refused(t, "redeem in the other mode", err, fault.NotFound, "VOUCHER_NOT_FOUND")
}

func TestVouchersAreListedByPagesWithoutCodes(t *testing.T) {
	a := newAPI(t)
	c := a.campaign("acme", 10)
	var want []string
	for range 5 {
		want = append([]string{a.issue("acme", c, "accounts/alice").GetVoucher().GetName()}, want...)
	}
	var got []string
	req := &notifyv1.ListVouchersRequest{Parent: c.GetName(), PageSize: 2}
	pages := 0
	for {
		page, err := a.as("acme").ListVouchers(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, v := range page.GetVouchers() {
			got = append(got, v.GetName())
		}
		if page.GetNextPageToken() == "" {
			break
		}
		req.PageToken = page.GetNextPageToken()
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%d pages: %v, want %v", pages, got, want)
	}
	req.Parent = a.campaign("acme", 1).GetName()
	_, err := a.as("acme").ListVouchers(t.Context(), req)
	refused(t, "another campaign's token", err, fault.Invalid, "PAGE_TOKEN_INVALID")
}

func TestASubscriptionIsMadeOnceAndReadByItsPartner(t *testing.T) {
	a := newAPI(t)
	acme := a.as("acme")
	req := &notifyv1.CreateSubscriptionRequest{Parent: "partners/acme", SubscriptionId: "main", Filters: []string{"live.payments.>"}, RequestId: "s1"}
	a.fabric.fail(errNATS)
	_, err := acme.CreateSubscription(t.Context(), req)
	refused(t, "without NATS", err, fault.Unavailable, "NATS_UNAVAILABLE")
	a.fabric.fail(nil)
	sub, err := acme.CreateSubscription(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	want := &notifyv1.Subscription{
		Name: "partners/acme/subscriptions/main", Filters: []string{"live.payments.>"}, Stream: "PE_acme", Consumer: "main-secret",
		ApiPrefix: "armlet.api", NatsUrl: "nats://here:4222", CreateTime: sub.GetCreateTime(), UpdateTime: sub.GetUpdateTime(),
		Sink: notifyv1.Sink_SINK_NATS, Content: notifyv1.EventContent_EVENT_CONTENT_FULL,
		State: notifyv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE,
	}
	if !proto.Equal(sub, want) || len(a.fabric.made) != 1 {
		t.Errorf("got %v, made %v", sub, a.fabric.made)
	}
	req.RequestId = "s2"
	_, err = acme.CreateSubscription(t.Context(), req)
	refused(t, "again", err, fault.AlreadyExists, "SUBSCRIPTION_EXISTS")
	req.RequestId, req.Filters = "s1", []string{"live.>"}
	_, err = acme.CreateSubscription(t.Context(), req)
	refused(t, "a reused id", err, fault.FailedPrecondition, "REQUEST_ID_REUSED")

	get := &notifyv1.GetSubscriptionRequest{Name: sub.GetName()}
	for _, token := range []string{"acme", "operator"} {
		if got, err := a.as(token).GetSubscription(t.Context(), get); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s reads %v, %v", token, got, err)
		}
	}
	for _, token := range []string{"bolt", "acme-test"} {
		_, err := a.as(token).GetSubscription(t.Context(), get)
		refused(t, token+" reads", err, fault.NotFound, "SUBSCRIPTION_NOT_FOUND")
	}
}
