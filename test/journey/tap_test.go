package journey

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

func TestAWearerTapsAndPays(t *testing.T) {
	t.Parallel()
	tapAndPay(t, newWorld(t, suite(t)))
}

// tapAndPay is the journey that every deployment must pass.
func tapAndPay(t *testing.T, w *world) {
	ctx := callCtx(t)
	account, phone := w.newWearer(100_00)
	events := w.subscribe("")

	p, err := w.charge(ctx, phone.Band, 12_00)
	must(t, err)
	phone.Band.Knock()
	p, err = w.till.Confirm(ctx, phone.Band, p)
	must(t, err)
	if p.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED || p.GetAccount() != "" {
		t.Fatalf("the terminal sees %v", p)
	}
	if got := w.balance(account); got != 88_00 {
		t.Errorf("the wearer has %d, want 8800", got)
	}
	alert := awaitAlert(t, phone, account, "alertTypes/payment.captured")
	if alert.GetBandText() != "Paid ¥12.00" || phone.Band.Screen() != "Paid ¥12.00" {
		t.Errorf("the band shows %q of alert %v", phone.Band.Screen(), alert)
	}
	captured := &paymentsv1.PaymentCaptured{}
	events.await("armlet.payments.v1.PaymentCaptured", captured)
	if captured.GetPayment().GetPayment() != p.GetName() || captured.GetPayment().GetAccount() != "" {
		t.Errorf("the partner sees %v", captured)
	}

	w.redeemOnce(account, phone)
	w.loseIt(phone)
	w.booksBalance()
}

func (w *world) redeemOnce(account string, phone *virtual.Phone) {
	t := w.t
	ctx := callCtx(t)
	campaign, err := w.partner.Notify.CreateCampaign(ctx, &notifyv1.CreateCampaignRequest{
		DisplayName: "Free tea", Value: cny(500), VoucherLimit: 1, ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), RequestId: id(),
	})
	must(t, err)
	issue := &notifyv1.IssueVoucherRequest{Campaign: campaign.GetName(), Account: account, RequestId: id()}
	v, err := w.partner.Notify.IssueVoucher(ctx, issue)
	must(t, err)
	again, err := w.partner.Notify.IssueVoucher(ctx, issue)
	must(t, err)
	if again.GetCode() != v.GetCode() || again.GetVoucher().GetName() != v.GetVoucher().GetName() {
		t.Errorf("a repeated request issued another voucher: %v and %v", v, again)
	}
	_, err = w.partner.Notify.IssueVoucher(ctx, &notifyv1.IssueVoucherRequest{Campaign: campaign.GetName(), RequestId: id()})
	wantRefused(t, err, codes.ResourceExhausted, "CAMPAIGN_LIMIT_REACHED")

	_, err = w.till.Client.Notify.RedeemVoucher(ctx, &notifyv1.RedeemVoucherRequest{Code: v.GetCode(), RequestId: id()})
	wantRefused(t, err, codes.FailedPrecondition, "ASSERTION_REQUIRED")
	_, stranger := w.newWearer(0)
	stranger.Band.Knock()
	_, err = w.till.Redeem(ctx, stranger.Band, v.GetCode(), id())
	wantRefused(t, err, codes.PermissionDenied, "ASSERTION_MISMATCH")

	phone.Band.Knock()
	done, err := w.till.Redeem(ctx, phone.Band, v.GetCode(), id())
	must(t, err)
	if done.GetAmount().GetMinorUnits() != 500 || done.GetMerchant() != w.merchant {
		t.Errorf("redeemed %v", done)
	}
	phone.Band.Knock()
	_, err = w.till.Redeem(ctx, phone.Band, v.GetCode(), id())
	wantRefused(t, err, codes.FailedPrecondition, "VOUCHER_REDEEMED")
}

func (w *world) loseIt(phone *virtual.Phone) {
	t := w.t
	ctx := callCtx(t)
	p, response := w.signed(phone.Band, 1_00)
	name := "partners/-/devices/" + phone.Band.UID().String()
	_, err := phone.Client.Devices.ReportDeviceLost(ctx, &devicesv1.ReportDeviceLostRequest{Name: name, RequestId: id()})
	must(t, err)
	// The band had already signed when it was reported lost; that tap must not go through either.
	done, err := w.confirm(ctx, p, response)
	if err == nil && (done.GetPayment().GetState() != paymentsv1.PaymentState_PAYMENT_STATE_DECLINED || done.GetPayment().GetDeclineReason() != "DEVICE_SUSPENDED") {
		t.Errorf("a tap signed before the loss went through: %v", done.GetPayment())
	} else if err != nil {
		wantRefused(t, err, codes.FailedPrecondition, "DEVICE_SUSPENDED")
	}
	_, err = w.charge(ctx, phone.Band, 1_00)
	wantRefused(t, err, codes.FailedPrecondition, "DEVICE_SUSPENDED")
	_, finder := w.newWearer(0)
	thief := &virtual.Phone{Client: finder.Client, Band: phone.Band}
	phone.Band.Knock()
	if _, err := thief.Claim(ctx); err == nil {
		t.Error("the finder of a lost band claimed it")
	}
}

func awaitAlert(t *testing.T, phone *virtual.Phone, account, kind string) *notifyv1.Alert {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var found *notifyv1.Alert
	err := phone.Alerts(ctx, account, 0, func(a *notifyv1.Alert) bool {
		if a.GetType() == kind {
			found = a
		}
		return found == nil
	})
	if err != nil {
		t.Fatalf("no alert %s: %v", kind, err)
	}
	return found
}
