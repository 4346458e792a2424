package journey

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/sdk"
)

func TestWrongAmountsAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	account, phone := w.newWearer(100_00)
	usd, _, _ := w.newShop("Dollar shop", "USD")
	for name, c := range map[string]struct {
		merchant string
		amount   *typev1.Money
		code     codes.Code
		reason   string
	}{
		"none":                {w.merchant, nil, codes.InvalidArgument, "INVALID_FIELD"},
		"zero":                {w.merchant, cny(0), codes.InvalidArgument, "AMOUNT_NOT_POSITIVE"},
		"negative":            {w.merchant, cny(-1), codes.InvalidArgument, "AMOUNT_NOT_POSITIVE"},
		"smallest int64":      {w.merchant, cny(math.MinInt64), codes.InvalidArgument, "AMOUNT_NOT_POSITIVE"},
		"another currency":    {w.merchant, &typev1.Money{MinorUnits: 1, CurrencyCode: "EUR"}, codes.FailedPrecondition, "CURRENCY_MISMATCH"},
		"no currency":         {w.merchant, &typev1.Money{MinorUnits: 1}, codes.InvalidArgument, "INVALID_FIELD"},
		"small letters":       {w.merchant, &typev1.Money{MinorUnits: 1, CurrencyCode: "cny"}, codes.InvalidArgument, "INVALID_FIELD"},
		"another's merchant":  {usd, cny(1), codes.PermissionDenied, "CALLER_NOT_ALLOWED"},
		"malformed merchant":  {"merchants/1", cny(1), codes.InvalidArgument, "INVALID_FIELD"},
		"merchant of nowhere": {"merchants/" + uuid.NewString(), cny(1), codes.PermissionDenied, "CALLER_NOT_ALLOWED"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.till.Client.Payments.CreatePayment(callCtx(t), &paymentsv1.CreatePaymentRequest{
				Merchant: c.merchant, Amount: c.amount, RequestId: id(),
				Payer: &paymentsv1.CreatePaymentRequest_DeviceUid{DeviceUid: phone.Band.UID().String()},
			})
			wantRefused(t, err, c.code, c.reason)
		})
	}
	if got := w.balance(account); got != 100_00 {
		t.Errorf("the wearer has %d, want 10000", got)
	}
}

func TestTheLargestAmountIsDeclinedForLackOfFunds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	account, phone := w.newWearer(100_00)
	p, response := w.signed(phone.Band, math.MaxInt64)
	done, err := w.confirm(callCtx(t), p, response)
	must(t, err)
	if done.GetPayment().GetDeclineReason() != "INSUFFICIENT_FUNDS" || w.balance(account) != 100_00 {
		t.Errorf("%v, balance %d", done.GetPayment(), w.balance(account))
	}
}

func TestUnknownThingsAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	_, phone := w.newWearer(0)
	ctx := callCtx(t)
	_, err := w.till.Client.Payments.GetPayment(ctx, &paymentsv1.GetPaymentRequest{Name: "payments/" + uuid.NewString()})
	wantRefused(t, err, codes.NotFound, "PAYMENT_NOT_FOUND")
	_, err = w.operator.Payments.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: "accounts/nobody"})
	wantRefused(t, err, codes.NotFound, "ACCOUNT_NOT_FOUND")
	_, err = w.partner.Devices.GetDevice(ctx, &devicesv1.GetDeviceRequest{Name: w.name + "/devices/" + strings.Repeat("0", 26)})
	wantRefused(t, err, codes.NotFound, "DEVICE_NOT_FOUND")
	_, err = w.till.Client.Notify.VerifyVoucher(ctx, &notifyv1.VerifyVoucherRequest{Code: "AAAAA-AAAAA-AAAAA"})
	wantRefused(t, err, codes.NotFound, "VOUCHER_NOT_FOUND")
	_, err = phone.Client.Auth.CompleteClaim(ctx, &authv1.CompleteClaimRequest{Name: "claims/" + uuid.NewString(), ResponseFrame: []byte{1}})
	wantRefused(t, err, codes.NotFound, "CLAIM_NOT_FOUND")
	unclaimed := w.newBand(w.lot)
	_, err = w.charge(ctx, unclaimed, 1)
	wantRefused(t, err, codes.FailedPrecondition, "DEVICE_NOT_BOUND")
}

func TestAFlippedBitInAnyByteOfAResponseIsRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	// Bad authenticators lock a device after five, so the flips are spread over wearers.
	account, phone := w.newWearer(100_00)
	_, response := w.signed(phone.Band, 1_00)
	for i := range response {
		if i%2 == 0 {
			account, phone = w.newWearer(100_00)
		}
		p, response := w.signed(phone.Band, 1_00)
		bad := bytes.Clone(response)
		bad[i] ^= 1 << (i % 8)
		done, err := w.confirm(callCtx(t), p, bad)
		if sdk.Reason(err) != "RESPONSE_REJECTED" {
			t.Errorf("byte %d flipped: %v, %v", i, done, err)
		}
		if got := w.balance(account); got != 100_00 && i%2 == 0 {
			t.Errorf("byte %d flipped moved money: %d", i, got)
		}
		// The flip has done no harm to the wearer: the true response still pays.
		done, err = w.confirm(callCtx(t), p, response)
		if err != nil || done.GetPayment().GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
			t.Errorf("the true response after byte %d was flipped: %v, %v", i, done, err)
		}
	}
}

func TestAReplayedResponsePaysOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	account, phone := w.newWearer(100_00)
	p, response := w.signed(phone.Band, 12_00)
	first, err := w.confirm(callCtx(t), p, response)
	must(t, err)
	again, err := w.confirm(callCtx(t), p, response)
	must(t, err)
	if again.GetPayment().GetState() != first.GetPayment().GetState() || !bytes.Equal(first.GetResultFrame(), again.GetResultFrame()) {
		t.Errorf("the same response got another answer:\n%v\n%v", first, again)
	}
	other, _ := w.signed(phone.Band, 12_00)
	_, err = w.confirm(callCtx(t), other, response)
	wantRefused(t, err, codes.InvalidArgument, "RESPONSE_REJECTED")
	if got := w.balance(account); got != 88_00 {
		t.Errorf("the wearer has %d after one payment of 1200", got)
	}
}

func TestASupersededChallengeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	_, phone := w.newWearer(100_00)
	old, response := w.signed(phone.Band, 1_00)
	_, _ = w.signed(phone.Band, 2_00)
	_, err := w.confirm(callCtx(t), old, response)
	wantRefused(t, err, codes.FailedPrecondition, "CHALLENGE_SUPERSEDED")
}

func TestCallersGetWhatTheyMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	account, phone := w.newWearer(100_00)
	_, other := w.newWearer(0)
	ctx := callCtx(t)
	nobody := w.d.client(t, nil)
	_, err := nobody.Payments.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: account})
	wantRefused(t, err, codes.Unauthenticated, "CALLER_UNKNOWN")
	_, err = w.d.client(t, sdk.StaticToken("nonsense")).Payments.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: account})
	wantRefused(t, err, codes.Unauthenticated, "CALLER_UNKNOWN")
	_, err = w.partner.Auth.CreatePartner(ctx, &authv1.CreatePartnerRequest{PartnerId: "mine", DisplayName: "Mine", RequestId: id()})
	wantRefused(t, err, codes.PermissionDenied, "CALLER_NOT_ALLOWED")
	_, err = w.operator.Devices.CheckDevice(ctx, &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Account{Account: account}})
	wantRefused(t, err, codes.PermissionDenied, "CALLER_NOT_ALLOWED")
	_, err = other.Client.Payments.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: account})
	wantRefused(t, err, codes.NotFound, "ACCOUNT_NOT_FOUND")
	_, err = other.Client.Devices.ReportDeviceLost(ctx, &devicesv1.ReportDeviceLostRequest{Name: "partners/-/devices/" + phone.Band.UID().String(), RequestId: id()})
	wantRefused(t, err, codes.NotFound, "DEVICE_NOT_FOUND")
	bare := w.newPartner("partners/b"+short(), "devices.read")
	_, err = w.d.client(t, bare).Devices.CreateModel(ctx, &devicesv1.CreateModelRequest{
		Parent: w.name, ModelId: "mm", Model: &devicesv1.Model{DisplayName: "x", Suites: []devicesv1.Suite{1}}, RequestId: id(),
	})
	wantRefused(t, err, codes.PermissionDenied, "SCOPE_MISSING")
}

func TestACallWithoutADeadlineIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	for name, target := range map[string]string{"/armlet.payments.v1.PaymentsService/GetTrialBalance": w.d.at.Payments, "/armlet.auth.v1.AuthService/GetPartner": w.d.at.Auth} {
		transport := w.d.transport
		if transport == nil {
			transport = insecure.NewCredentials()
		}
		conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(transport))
		must(t, err)
		err = conn.Invoke(context.Background(), name, &paymentsv1.GetTrialBalanceRequest{}, &paymentsv1.GetTrialBalanceResponse{})
		wantRefused(t, err, codes.InvalidArgument, "DEADLINE_REQUIRED")
		must(t, conn.Close())
	}
}

func TestAnOversizedMessageIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	ctx := callCtx(t)
	_, err := w.till.Client.Payments.ConfirmPayment(ctx, &paymentsv1.ConfirmPaymentRequest{Name: "payments/" + uuid.NewString(), ResponseFrame: make([]byte, 4<<20)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("4 MiB got %v, want ResourceExhausted", err)
	}
	_, err = w.till.Client.Payments.ConfirmPayment(ctx, &paymentsv1.ConfirmPaymentRequest{Name: "payments/" + uuid.NewString(), ResponseFrame: make([]byte, 257)})
	wantRefused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	if sdk.Field(err) != "response_frame" {
		t.Errorf("the error names field %q", sdk.Field(err))
	}
}

func TestAStrangersClaimLearnsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	_, owner := w.newWearer(0)
	_, stranger := w.newWearer(0)
	ctx := callCtx(t)
	unknown := w.newBand(w.lot)
	begin := time.Now()
	for name, uid := range map[string]string{
		"free":    unknown.UID().String(),
		"bound":   owner.Band.UID().String(),
		"unknown": "7zzzzzzzzzzzzzzzzzzzzzzzz0",
	} {
		claim, err := stranger.Client.Auth.BeginClaim(ctx, &authv1.BeginClaimRequest{Uid: uid, RequestId: id()})
		if err != nil {
			t.Errorf("%s: %v after %v", name, err, time.Since(begin))
			continue
		}
		if len(claim.GetChallengeFrame()) != 92 {
			t.Errorf("%s: a challenge of %d bytes", name, len(claim.GetChallengeFrame()))
		}
		_, err = stranger.Client.Auth.CompleteClaim(ctx, &authv1.CompleteClaimRequest{Name: claim.GetName(), ResponseFrame: make([]byte, 32)})
		wantRefused(t, err, codes.InvalidArgument, "RESPONSE_REJECTED")
	}
	// With the band in hand the truth is told.
	owner.Band.Knock()
	thief := *stranger
	thief.Band = owner.Band
	_, err := thief.Claim(ctx)
	wantRefused(t, err, codes.FailedPrecondition, "ALREADY_BOUND")
}
