package journey

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

// TestKilledInTheMiddleOfTapsNothingIsLost kills the all-in-one program with -9
// while 200 taps are under way, starts it again, and looks for every payment
// that had been acknowledged.
func TestKilledInTheMiddleOfTapsNothingIsLost(t *testing.T) {
	t.Parallel()
	const workers, taps, price = 4, 200, 1_00
	dir := t.TempDir()
	d := up(t, dir)
	w := newWorld(t, d)
	accounts := make([]string, workers)
	bands := make([]*virtual.Band, workers)
	for i := range workers {
		account, phone := w.newWearer(taps * price)
		accounts[i], bands[i] = account, phone.Band
	}
	w.subscribe("") // before the taps, so that every event has its consumer

	acknowledged := w.tapUntilKilled(d, bands, taps/workers, price)
	if len(acknowledged) == 0 || len(acknowledged) == taps {
		t.Fatalf("the kill came at the wrong moment: %d of %d taps acknowledged", len(acknowledged), taps)
	}

	again := up(t, dir)
	t.Cleanup(func() {
		if err := again.process.Stop(); err != nil {
			t.Error(err)
		}
	})
	w2 := *w
	w2.d = again
	w2.operator = again.client(t, sdk.ClientCredentials(again.at.TokenURL, "operator", again.operator))
	captured := w2.capturedPayments()
	for name := range acknowledged {
		if captured[name] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", name, captured[name])
		}
	}
	var left int64
	for _, account := range accounts {
		left += w2.balance(account)
	}
	if want := int64(workers*taps-len(captured)) * price; left != want {
		t.Errorf("%d payments are captured, so the accounts should hold %d; they hold %d", len(captured), want, left)
	}
	w2.booksBalance()
	w2.everyEventArrives(captured)
	t.Logf("killed after %d of %d taps were acknowledged; %d were captured", len(acknowledged), taps, len(captured))
}

// tapUntilKilled taps with all bands at once and kills the suite on the way.
func (w *world) tapUntilKilled(d *deployment, bands []*virtual.Band, each int, price int64) map[string]bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	enough := make(chan struct{})
	isEnough := sync.OnceFunc(func() { close(enough) }) // a tap that is not captured leaves the count where it was
	killAt := 20 + rand.IntN(each*len(bands)/2)
	var wg sync.WaitGroup
	for _, band := range bands {
		wg.Go(func() {
			for range each {
				p, err := w.charge(ctx, band, price)
				if err != nil {
					return
				}
				band.Knock()
				p, err = w.till.Confirm(ctx, band, p)
				if err != nil {
					return
				}
				mu.Lock()
				if p.GetState() == paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
					acknowledged[p.GetName()] = true
				}
				if len(acknowledged) == killAt {
					isEnough()
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(60 * time.Second):
	}
	d.process.Kill()
	cancel()
	wg.Wait()
	return acknowledged
}

// capturedPayments counts each captured payment that the operator can list.
func (w *world) capturedPayments() map[string]int {
	w.t.Helper()
	found := map[string]int{}
	token := ""
	for {
		page, err := w.operator.Payments.ListPayments(callCtx(w.t), &paymentsv1.ListPaymentsRequest{PageSize: 70, PageToken: token})
		must(w.t, err)
		for _, p := range page.GetPayments() {
			if p.GetState() == paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
				found[p.GetName()]++
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			return found
		}
	}
}

// everyEventArrives waits until the partner has one event for each captured payment.
func (w *world) everyEventArrives(captured map[string]int) {
	w.t.Helper()
	again := *w
	again.tokens = &reissued{w: w}
	again.partner = w.d.client(w.t, again.tokens)
	feed := again.subscribeAs("after-restart", "live.payments.payment.captured")
	var byPayment map[string]int
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		byPayment = map[string]int{}
		for _, m := range feed.all("armlet.payments.v1.PaymentCaptured") {
			e := &paymentsv1.PaymentCaptured{}
			must(w.t, proto.Unmarshal(m.Data, e))
			byPayment[e.GetPayment().GetPayment()]++
		}
		if len(byPayment) == len(captured) {
			break
		}
	}
	for name := range captured {
		if byPayment[name] != 1 {
			w.t.Errorf("the partner got %d events for %s", byPayment[name], name)
		}
	}
	if len(byPayment) != len(captured) {
		w.t.Errorf("the partner got events for %d payments, %d are captured", len(byPayment), len(captured))
	}
}

// reissued asks the restarted suite, which listens elsewhere, for the partner's tokens.
type reissued struct {
	w    *world
	once sync.Once
	src  sdk.TokenSource
}

func (r *reissued) Token(ctx context.Context) (string, error) {
	r.once.Do(func() { r.src = r.w.addClient(r.w.name) })
	return r.src.Token(ctx)
}
