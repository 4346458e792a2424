package journey

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/testkit"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
	"github.com/armlet-pay/armlet/test/programs"
)

// killsEnv is how often TestKilledPaymentsAndPostgresLoseNoTap kills; ARMLET_KILLS=20 is the long form.
const killsEnv = "ARMLET_KILLS"

// tapsBetween is how many taps are acknowledged between two kills, at least.
const tapsBetween = 12

// TestKilledPaymentsAndPostgresLoseNoTap has two processes of payments on one PostgreSQL, and kills them and PostgreSQL with
// -9 at random moments while bands tap. Terminals repeat what had no answer, at the other process.
func TestKilledPaymentsAndPostgresLoseNoTap(t *testing.T) {
	t.Parallel()
	const workers, price, money = 6, 1_00, 1_000_000_00
	database := testkit.NewPostgres(t)
	d := startProcesses(t, func(dir, service string) string {
		if service == "payments" {
			return database.URL()
		}
		return "sqlite:" + filepath.Join(dir, service+".db")
	})
	k := &killing{w: newWorld(t, d), database: database, acknowledged: map[string]bool{}}
	k.addPayments()
	accounts := make([]string, workers)
	bands := make([]*virtual.Band, workers)
	for i := range workers {
		account, phone := k.w.newWearer(money)
		accounts[i], bands[i] = account, phone.Band
	}
	k.w.subscribe("") // before the taps, so that every event has its consumer
	k.run(bands, price)

	captured := k.w.capturedPayments()
	for name := range k.acknowledged {
		if captured[name] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", name, captured[name])
		}
	}
	left := int64(0)
	for _, account := range accounts {
		left += k.w.balance(account)
	}
	if want := int64(workers*money - len(captured)*price); left != want {
		t.Errorf("%d payments are captured, so the accounts should hold %d; they hold %d", len(captured), want, left)
	}
	k.w.booksBalance()
	v, err := k.w.operator.Payments.VerifyLedger(callCtx(t), &paymentsv1.VerifyLedgerRequest{})
	must(t, err)
	if !v.GetIntact() {
		t.Errorf("the ledger's chain is broken: %v", v)
	}
	k.w.everyEventArrives(captured)
	t.Logf("%d taps acknowledged, %d captured", len(k.acknowledged), len(captured))
}

// killing is a suite whose payments are killed.
type killing struct {
	w        *world
	database *testkit.OwnPostgres
	// payments are the two processes by the address they listen on, tills a terminal at each.
	addresses []string
	payments  map[string]*programs.Process
	tills     []*virtual.Terminal

	mu           sync.Mutex
	acknowledged map[string]bool
}

// addPayments starts the second process and opens a till at each.
func (k *killing) addPayments() {
	s, t := k.w.d.parts, k.w.t
	t.Helper()
	first := s.grpc["payments"]
	k.addresses = []string{first, testkit.Addr(t)}
	k.payments = map[string]*programs.Process{}
	for _, p := range s.all {
		if p.Name == "payments" {
			k.payments[first] = p
		}
	}
	k.start(k.addresses[1])
	session := k.w.session()
	for _, address := range k.addresses {
		d := *k.w.d
		d.at.Payments = address
		k.tills = append(k.tills, &virtual.Terminal{Client: d.client(t, sdk.StaticToken(session)), Merchant: k.w.merchant})
	}
}

func (k *killing) start(address string) {
	s := k.w.d.parts
	was := s.grpc["payments"]
	s.grpc["payments"] = address
	s.launch("payments", s.web)
	s.grpc["payments"] = was
	k.payments[address] = s.all[len(s.all)-1]
}

// run taps with all bands, and kills one after the other.
func (k *killing) run(bands []*virtual.Band, price int64) {
	t := k.w.t
	t.Helper()
	times := 3
	if text := os.Getenv(killsEnv); text != "" {
		var err error
		times, err = strconv.Atoi(text)
		must(t, err)
	}
	// A tap that was begun is brought to its end, so that nothing is still under way when everything is counted.
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(times+1)*time.Minute)
	defer cancel()
	var enough atomic.Bool
	var all sync.WaitGroup
	for _, band := range bands {
		all.Go(func() {
			for !enough.Load() && ctx.Err() == nil {
				k.tap(ctx, band, price)
			}
		})
	}
	for n := range times {
		k.await(tapsBetween)
		time.Sleep(rand.N(100 * time.Millisecond))
		if n%3 == 1 {
			k.database.Kill()
			k.database.Start()
			continue
		}
		address := k.addresses[rand.IntN(len(k.addresses))]
		k.payments[address].Kill()
		k.start(address)
	}
	k.await(tapsBetween)
	enough.Store(true)
	all.Wait()
	must(t, ctx.Err())
	// The first process is the one that is asked from now on.
	k.w.d.parts.until("payments answers again", func() error {
		_, err := k.w.operator.Payments.GetTrialBalance(callCtx(t), &paymentsv1.GetTrialBalanceRequest{})
		return err
	})
}

// await waits for a number of new acknowledgements.
func (k *killing) await(more int) {
	t := k.w.t
	t.Helper()
	count := func() int {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.acknowledged)
	}
	want := count() + more
	for deadline := time.Now().Add(time.Minute); count() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d taps were acknowledged within a minute", count(), want)
		}
	}
}

// tap repeats both calls, the same to the letter, until they are answered.
func (k *killing) tap(ctx context.Context, band *virtual.Band, price int64) {
	order := &paymentsv1.CreatePaymentRequest{Amount: cny(price), RequestId: id()}
	var p *paymentsv1.Payment
	if !k.repeat(ctx, func(ctx context.Context, till *virtual.Terminal) (err error) {
		p, err = till.Charge(ctx, band.UID(), proto.CloneOf(order))
		return err
	}) {
		return
	}
	band.Knock()
	response, err := (&virtual.Phone{Band: band}).Relay(p.GetTap().GetChallengeFrame(), p.GetTap().GetPongKey())
	if err != nil {
		k.w.t.Error(err)
		return
	}
	var done *paymentsv1.ConfirmPaymentResponse
	if !k.repeat(ctx, func(ctx context.Context, till *virtual.Terminal) (err error) {
		done, err = till.Client.Payments.ConfirmPayment(ctx, &paymentsv1.ConfirmPaymentRequest{Name: p.GetName(), ResponseFrame: response})
		return err
	}) {
		return
	}
	if state := done.GetPayment().GetState(); state != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
		k.w.t.Errorf("%s is %v: %s", p.GetName(), state, done.GetPayment().GetDeclineReason())
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.acknowledged[p.GetName()] = true
}

// repeat makes a call at one process and then at the other, until it is answered. It says whether it was.
func (k *killing) repeat(ctx context.Context, call func(ctx context.Context, till *virtual.Terminal) error) bool {
	for n := rand.IntN(2); ; n++ {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := call(one, k.tills[n%len(k.tills)])
		cancel()
		switch {
		case err == nil:
			return true
		case ctx.Err() != nil:
			return false
		case !sdk.Retryable(err):
			k.w.t.Errorf("%v (%s)", err, sdk.Reason(err))
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}
