package journey

import (
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

func TestSixtyFourCallersRedeemOneChallengeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	account, phone := w.newWearer(100_00)
	p, response := w.signed(phone.Band, 12_00)
	var approved, refused atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			done, err := w.confirm(callCtx(t), p, response)
			switch {
			case err == nil && done.GetPayment().GetState() == paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED:
				approved.Add(1)
			case status.Code(err) == codes.Aborted || status.Code(err) == codes.Unavailable || sdk.Reason(err) == "CHALLENGE_USED":
				refused.Add(1)
			default:
				t.Errorf("an answer that is neither the same nor a clear refusal: %v, %v", done, err)
			}
		})
	}
	wg.Wait()
	if approved.Load() == 0 {
		t.Error("nobody was approved")
	}
	if got := w.balance(account); got != 88_00 {
		t.Errorf("the wearer has %d after one tap of 1200 redeemed by 64 callers (%d approved, %d refused)", got, approved.Load(), refused.Load())
	}
	w.booksBalance()
}

func TestSixtyFourCallersWithOneRequestIDMakeOnePayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	_, phone := w.newWearer(100_00)
	names := sync.Map{}
	request := id()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			p, err := w.till.Charge(callCtx(t), phone.Band.UID(), &paymentsv1.CreatePaymentRequest{Amount: cny(12_00), RequestId: request})
			if err != nil {
				t.Error(err)
				return
			}
			names.Store(p.GetName(), true)
		})
	}
	wg.Wait()
	count := 0
	names.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("one request_id made %d payments", count)
	}
	_, err := w.till.Charge(callCtx(t), phone.Band.UID(), &paymentsv1.CreatePaymentRequest{Amount: cny(13_00), RequestId: request})
	wantRefused(t, err, codes.FailedPrecondition, "REQUEST_ID_REUSED")
}

// A band has one live challenge, so the hundred taps come from the five bands that
// an account may have, all at once.
func TestAHundredTapsWithMoneyForFortyPayForty(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	const price = 3_00
	account, first := w.newWearer(40 * price)
	bands := []*virtual.Band{first.Band}
	for range 4 {
		bands = append(bands, w.claim(account, w.newBand(w.lot)).Band)
	}
	var captured, declined atomic.Int64
	var wg sync.WaitGroup
	for _, band := range bands {
		wg.Go(func() {
			for range 20 {
				p, response := w.signed(band, price)
				done, err := w.confirm(callCtx(t), p, response)
				switch {
				case err != nil:
					t.Error(err)
				case done.GetPayment().GetState() == paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED:
					captured.Add(1)
				case done.GetPayment().GetDeclineReason() == "INSUFFICIENT_FUNDS":
					declined.Add(1)
				default:
					t.Errorf("unexpected end: %v", done.GetPayment())
				}
			}
		})
	}
	wg.Wait()
	if captured.Load() != 40 || declined.Load() != 60 || w.balance(account) != 0 {
		t.Errorf("captured %d, declined %d, left %d; want 40, 60, 0", captured.Load(), declined.Load(), w.balance(account))
	}
	w.booksBalance()
}
