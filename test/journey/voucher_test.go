package journey

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
)

func TestAVoucherAndAPaymentInOneTap(t *testing.T) {
	t.Parallel()
	payWithVoucher(t, newWorld(t, suite(t)))
}

func (w *world) campaign(change func(*notifyv1.CreateCampaignRequest)) *notifyv1.Campaign {
	w.t.Helper()
	in := &notifyv1.CreateCampaignRequest{DisplayName: "Offer", VoucherLimit: 10, ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), RequestId: id()}
	change(in)
	c, err := w.partner.Notify.CreateCampaign(callCtx(w.t), in)
	must(w.t, err)
	return c
}

func (w *world) voucher(c *notifyv1.Campaign, account string) *notifyv1.IssueVoucherResponse {
	w.t.Helper()
	v, err := w.partner.Notify.IssueVoucher(callCtx(w.t), &notifyv1.IssueVoucherRequest{Campaign: c.GetName(), Account: account, RequestId: id()})
	must(w.t, err)
	return v
}

// chargeWith creates a payment with a voucher. What notify hears of who wears a band comes by events, so that it may be
// a moment behind.
func (w *world) chargeWith(ctx context.Context, in *paymentsv1.CreatePaymentRequest, uid string) (*paymentsv1.Payment, error) {
	in.Merchant, in.Payer = w.merchant, &paymentsv1.CreatePaymentRequest_DeviceUid{DeviceUid: uid}
	for {
		p, err := w.till.Client.Payments.CreatePayment(ctx, in)
		if sdk.Reason(err) != "WEARER_UNKNOWN" || ctx.Err() != nil {
			return p, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// awaitCampaign waits until what was redeemed and reserved of a campaign is this much.
func (w *world) awaitCampaign(name string, redeemed, reserved, count int64) {
	w.t.Helper()
	var c *notifyv1.Campaign
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		c, err = w.operator.Notify.GetCampaign(callCtx(w.t), &notifyv1.GetCampaignRequest{Name: name})
		must(w.t, err)
		if c.GetRedeemedAmount().GetMinorUnits() == redeemed && c.GetReservedAmount().GetMinorUnits() == reserved && c.GetRedeemedCount() == count {
			return
		}
	}
	w.t.Errorf("the campaign has %v redeemed and %v reserved, %d times; want %d, %d, %d", c.GetRedeemedAmount(), c.GetReservedAmount(), c.GetRedeemedCount(), redeemed, reserved, count)
}

// payWithVoucher is a quarter off a price of 12.00, in one tap, with refunds that give the voucher back in proportion.
func payWithVoucher(t *testing.T, w *world) {
	ctx := callCtx(t)
	account, phone := w.newWearer(100_00)
	_, stranger := w.newWearer(100_00)
	quarter := w.campaign(func(c *notifyv1.CreateCampaignRequest) {
		c.Kind, c.Percent = notifyv1.VoucherKind_VOUCHER_KIND_PERCENT, &notifyv1.PercentOff{BasisPoints: 2500, Cap: cny(500)}
		c.Budget, c.MerchantCategoryCodes = cny(1000), []uint32{5812}
	})
	v := w.voucher(quarter, account)
	order := func() *paymentsv1.CreatePaymentRequest {
		return &paymentsv1.CreatePaymentRequest{Amount: cny(12_00), VoucherCode: v.GetCode(), RequestId: id()}
	}
	_, err := w.chargeWith(ctx, order(), stranger.Band.UID().String())
	wantRefused(t, err, codes.NotFound, "VOUCHER_NOT_FOUND")

	in := order()
	p, err := w.chargeWith(ctx, in, phone.Band.UID().String())
	must(t, err)
	again, err := w.chargeWith(ctx, in, phone.Band.UID().String())
	must(t, err)
	if p.GetAmount().GetMinorUnits() != 9_00 || p.GetDiscount().GetAmount().GetMinorUnits() != 3_00 || p.GetDiscount().GetGrossAmount().GetMinorUnits() != 12_00 ||
		p.GetDiscount().GetVoucher() != v.GetVoucher().GetName() || again.GetName() != p.GetName() {
		t.Fatalf("%v, repeated %v", p, again)
	}
	_, err = w.chargeWith(ctx, order(), phone.Band.UID().String())
	wantRefused(t, err, codes.FailedPrecondition, "VOUCHER_RESERVED")
	w.awaitCampaign(quarter.GetName(), 0, 3_00, 0)
	phone.Band.Knock()
	response, err := phone.Relay(p.GetTap().GetChallengeFrame(), p.GetTap().GetPongKey())
	must(t, err)
	if !strings.Contains(phone.Band.Screen(), "9.00") {
		t.Errorf("the wearer agreed to %q", phone.Band.Screen())
	}
	done, err := w.confirm(ctx, p, response)
	must(t, err)
	if done.GetPayment().GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED || w.balance(account) != 91_00 {
		t.Fatalf("%v, the wearer has %d", done, w.balance(account))
	}
	w.awaitCampaign(quarter.GetName(), 3_00, 0, 1)

	for _, step := range []struct{ refund, left, count int64 }{{4_50, 1_50, 1}, {4_50, 0, 0}} {
		_, err = w.operator.Payments.RefundPayment(ctx, &paymentsv1.RefundPaymentRequest{Name: p.GetName(), Amount: cny(step.refund), RequestId: id()})
		must(t, err)
		w.awaitCampaign(quarter.GetName(), step.left, 0, step.count)
	}
	p, err = w.chargeWith(ctx, order(), phone.Band.UID().String()) // its use came back
	must(t, err)
	_, err = w.till.Client.Payments.VoidPayment(ctx, &paymentsv1.VoidPaymentRequest{Name: p.GetName(), RequestId: id()})
	must(t, err)
	w.awaitCampaign(quarter.GetName(), 0, 0, 0)

	for reason, change := range map[string]func(*notifyv1.CreateCampaignRequest){
		"VOUCHER_NOT_FOR_PAYMENTS": func(c *notifyv1.CreateCampaignRequest) {
			c.Kind, c.Entitlement = notifyv1.VoucherKind_VOUCHER_KIND_ENTITLEMENT, "a tea"
		},
		"VOUCHER_COVERS_PRICE": func(c *notifyv1.CreateCampaignRequest) { c.Value = cny(12_00) },
	} {
		in := order()
		in.VoucherCode = w.voucher(w.campaign(change), "").GetCode()
		_, err = w.chargeWith(ctx, in, phone.Band.UID().String())
		wantRefused(t, err, codes.FailedPrecondition, reason)
	}
	gift := w.campaign(func(c *notifyv1.CreateCampaignRequest) {
		c.Kind, c.Value = notifyv1.VoucherKind_VOUCHER_KIND_STORED_VALUE, cny(20_00)
	})
	in = order()
	in.VoucherCode, in.Amount = w.voucher(gift, "").GetCode(), cny(25_00)
	p, err = w.chargeWith(ctx, in, phone.Band.UID().String())
	must(t, err)
	if p.GetAmount().GetMinorUnits() != 5_00 {
		t.Errorf("a stored value of 20.00 leaves %v of 25.00", p.GetAmount())
	}
	w.booksBalance()
}

// TestAVoucherFollowsItsPaymentThroughADeath kills everything right after a capture, when the confirmation of the voucher
// may be under way, and while another payment waits with its voucher reserved. Both vouchers end where their payments do.
func TestAVoucherFollowsItsPaymentThroughADeath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := up(t, dir)
	w := newWorld(t, d)
	account, phone := w.newWearer(100_00)
	_, second := w.newWearer(100_00)
	c := w.campaign(func(c *notifyv1.CreateCampaignRequest) { c.Value, c.Budget = cny(2_00), cny(10_00) })
	charge := func(uid string) *paymentsv1.Payment {
		p, err := w.chargeWith(callCtx(t), &paymentsv1.CreatePaymentRequest{Amount: cny(10_00), VoucherCode: w.voucher(c, "").GetCode(), RequestId: id()}, uid)
		must(t, err)
		return p
	}
	waiting, paid := charge(second.Band.UID().String()), charge(phone.Band.UID().String())
	phone.Band.Knock()
	response, err := phone.Relay(paid.GetTap().GetChallengeFrame(), paid.GetTap().GetPongKey())
	must(t, err)
	_, err = w.confirm(callCtx(t), paid, response)
	must(t, err)
	d.process.Kill()

	again := up(t, dir)
	t.Cleanup(func() {
		if err := again.process.Stop(); err != nil {
			t.Error(err)
		}
	})
	w2 := *w
	w2.d = again
	w2.operator = again.client(t, sdk.ClientCredentials(again.at.TokenURL, "operator", again.operator))
	w2.awaitCampaign(c.GetName(), 2_00, 2_00, 1)
	_, err = w2.operator.Payments.VoidPayment(callCtx(t), &paymentsv1.VoidPaymentRequest{Name: waiting.GetName(), RequestId: id()})
	must(t, err)
	w2.awaitCampaign(c.GetName(), 2_00, 0, 1)
	if got := w2.balance(account); got != 92_00 {
		t.Errorf("the wearer has %d", got)
	}
	w2.booksBalance()
}
