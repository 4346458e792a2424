package journey

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/testkit"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

// outage is how long NATS is away: two seconds, or what ARMLET_OUTAGE says, such as 1m.
func outage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("ARMLET_OUTAGE")
	if text == "" {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}

// TestKilledUnderLoadEveryEventTakesEffectOnce kills notify, NATS, and the databases of payments and notify with -9 while
// wearers tap and a shop redeems vouchers, and starts each again. NATS stays away for a while, in which payments go on. In
// the end each captured payment has one alert and one event for the partner, on NATS and on its stream over gRPC, each
// phone has followed its inbox without a gap or a second start, and the vouchers are worth what their campaign may spend.
func TestKilledUnderLoadEveryEventTakesEffectOnce(t *testing.T) {
	t.Parallel()
	own := map[string]*testkit.OwnPostgres{"payments": testkit.NewPostgres(t), "notify": testkit.NewPostgres(t)}
	var s *processes
	d := startProcesses(t, func(dir, service string) string {
		if db := own[service]; db != nil {
			return db.URL()
		}
		return "sqlite:" + filepath.Join(dir, service+".db")
	}, func(all *processes) map[string]map[string]string { s = all; return nil })
	w := newWorld(t, d)
	feed := w.subscribe("live.payments.payment.captured")
	w.subscribeGRPC(t, "stream", "live.payments.payment.captured")
	stream := w.keepFollowing(t, "stream")
	shop := w.newGiveaway(30, 10)
	load := w.startLoad(3)
	shop.start(w, load)

	load.untilMore(5)
	s.kill("notify")
	load.untilMore(5)
	s.launch("notify", strings.TrimSuffix(strings.TrimPrefix(s.at.TokenURL, "http://"), "/oauth2/token"))
	load.untilMore(5)
	s.server.Kill()
	back := time.Now().Add(outage(t))
	load.untilMore(5) // payments go on
	time.Sleep(time.Until(back))
	s.server.Start()
	load.untilMore(5)
	for _, db := range own {
		db.Kill()
	}
	time.Sleep(300 * time.Millisecond)
	for _, db := range own {
		db.Start()
	}
	load.untilMore(5)
	shop.finish(t)
	load.stop()

	var captured map[string]int
	s.until("the operator can list payments", func() error {
		_, err := w.operator.Payments.ListPayments(callCtx(t), &paymentsv1.ListPaymentsRequest{PageSize: 1})
		return err
	})
	captured = w.capturedPayments()
	t.Logf("%d payments were captured, %d acknowledged", len(captured), load.acknowledged.Load())
	s.until("every payment has its alert", func() error {
		if n := load.alerts(); n != len(captured) {
			return fmt.Errorf("%d alerts of %d payments", n, len(captured))
		}
		return nil
	})
	s.until("the stream of events has every event", func() error {
		if n := len(stream.payments()); n != len(captured) {
			return fmt.Errorf("%d payments on the stream of %d", n, len(captured))
		}
		return nil
	})
	s.until("the partner has every event", func() error {
		if n := len(feed.all("armlet.payments.v1.PaymentCaptured")); n != len(captured) {
			return fmt.Errorf("%d events of %d payments", n, len(captured))
		}
		return nil
	})
	time.Sleep(time.Second) // what comes a second time would come now
	if n := load.alerts(); n != len(captured) {
		t.Errorf("%d alerts of %d payments", n, len(captured))
	}
	byPayment := map[string]int{}
	for _, m := range feed.all("armlet.payments.v1.PaymentCaptured") {
		e := &paymentsv1.PaymentCaptured{}
		must(t, proto.Unmarshal(m.Data, e))
		byPayment[e.GetPayment().GetPayment()]++
	}
	if !maps.Equal(byPayment, captured) {
		t.Errorf("the partner has %d events, by payment %v; captured are %v", len(byPayment), byPayment, captured)
	}
	if got := stream.payments(); !maps.Equal(got, captured) {
		t.Errorf("the stream of events has, by payment, %v; captured are %v", got, captured)
	}
	if n := int(load.acknowledged.Load()); n > len(captured) {
		t.Errorf("%d captures were acknowledged, %d are there", n, len(captured))
	}
	load.followed(t)
	w.booksBalance()
}

// kill ends a service with -9.
func (s *processes) kill(service string) {
	s.t.Helper()
	for i := len(s.all) - 1; i >= 0; i-- {
		if p := s.all[i]; p.Name == service && !p.Exited() {
			p.Kill()
			s.all = append(s.all[:i], s.all[i+1:]...)
			return
		}
	}
	s.t.Fatalf("%s does not run", service)
}

// load are wearers who tap all the time, and their phones.
type load struct {
	t            *testing.T
	acknowledged atomic.Int64 // captures that a terminal was told of
	stopping     context.CancelFunc
	taps         sync.WaitGroup
	// strict: every tap is brought to its end, and none may fail.
	strict bool

	mu     sync.Mutex
	phones []*follower
}

// follower is a phone that keeps its inbox.
type follower struct {
	alerts   map[string]string // name → type
	sequence int64
	resets   int
	gaps     []string
	err      error
}

func (w *world) startLoad(wearers int) *load { return w.load(wearers, false) }

func (w *world) load(wearers int, strict bool) *load {
	t, ok := w.t.(*testing.T)
	if !ok {
		w.t.Fatal("load is for tests")
	}
	ctx, stop := context.WithCancel(context.Background())
	follow, leave := context.WithCancel(context.Background())
	l := &load{t: t, stopping: stop, strict: strict}
	var following sync.WaitGroup
	t.Cleanup(func() {
		stop()
		leave()
		l.taps.Wait()
		following.Wait()
	})
	for range wearers {
		account, phone := w.newWearer(1_000_000)
		f := &follower{alerts: map[string]string{}}
		l.phones = append(l.phones, f)
		inbox := &sdk.Inbox{Client: phone.Client.Notify, Account: account, ClientID: "phone", Surface: notifyv1.Surface_SURFACE_PHONE}
		following.Go(func() {
			err := inbox.Follow(follow, func(c sdk.InboxChange) error { l.keep(f, c); return nil })
			l.mu.Lock()
			defer l.mu.Unlock()
			if follow.Err() == nil {
				f.err = fmt.Errorf("the phone gave up: %w", err)
			}
		})
		l.taps.Go(func() { l.tap(ctx, w, phone.Band) })
	}
	return l
}

// tap taps until the end. What fails while something is down may be captured all the same; the next tap is another payment.
func (l *load) tap(ctx context.Context, w *world, band *virtual.Band) {
	for ctx.Err() == nil {
		whole := ctx
		if l.strict {
			whole = context.WithoutCancel(ctx)
		}
		one, cancel := context.WithTimeout(whole, 10*time.Second)
		p, err := w.charge(one, band, 1_00)
		if err == nil {
			band.Knock()
			p, err = w.till.Confirm(one, band, p)
		}
		cancel()
		if l.strict && (err != nil || p.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED) {
			l.t.Errorf("a tap: %v (%s), %v", err, sdk.Reason(err), p)
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond)
		} else if p.GetState() == paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
			l.acknowledged.Add(1)
		}
	}
}

func (l *load) keep(f *follower, c sdk.InboxChange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := c.Cursor.GetSequence()
	if c.Reset {
		f.resets++
	} else if next != f.sequence+1 {
		f.gaps = append(f.gaps, fmt.Sprintf("%d after %d", next, f.sequence))
	}
	f.sequence = next
	for _, a := range c.Upserts {
		f.alerts[a.GetName()] = a.GetType()
	}
}

// alerts is how many alerts of captures all phones have together.
func (l *load) alerts() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.phones {
		for _, kind := range f.alerts {
			if kind == "alertTypes/payment.captured" {
				n++
			}
		}
	}
	return n
}

func (l *load) followed(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.phones {
		if f.err != nil || len(f.gaps) > 0 || f.resets > 1 {
			t.Errorf("phone %d: %v, gaps %v, %d resets", i, f.err, f.gaps, f.resets)
		}
	}
}

// untilMore waits for more taps.
func (l *load) untilMore(n int64) {
	l.t.Helper()
	want := l.acknowledged.Load() + n
	for deadline := time.Now().Add(time.Minute); l.acknowledged.Load() < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("only %d more taps in a minute", l.acknowledged.Load()-want+n)
		}
	}
}

func (l *load) stop() {
	l.stopping()
	l.taps.Wait()
}

// giveaway is a campaign that has more vouchers than money.
type giveaway struct {
	w        *world
	campaign string
	codes    []string
	budget   int64
	answers  sync.WaitGroup
	redeemed atomic.Int64
}

const giveawayValue = 5_00

func (w *world) newGiveaway(vouchers, affordable int64) *giveaway {
	w.t.Helper()
	g := &giveaway{w: w, budget: affordable * giveawayValue}
	c := w.campaign(func(in *notifyv1.CreateCampaignRequest) {
		in.Value, in.Budget, in.VoucherLimit = cny(giveawayValue), cny(g.budget), vouchers
	})
	g.campaign = c.GetName()
	for range vouchers {
		g.codes = append(g.codes, w.voucher(c, "").GetCode())
	}
	return g
}

// start redeems all vouchers, spread over the time of the kills: each request is repeated until it has its answer.
func (g *giveaway) start(w *world, l *load) {
	for i, code := range g.codes {
		g.answers.Go(func() {
			l.wait(int64(i))
			in := &notifyv1.RedeemVoucherRequest{Code: code, RequestId: fmt.Sprint("giveaway-", i)}
			for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				_, err := w.partner.Notify.RedeemVoucher(ctx, in)
				cancel()
				switch {
				case err == nil:
					g.redeemed.Add(1)
					return
				case status.Code(err) == codes.FailedPrecondition || status.Code(err) == codes.ResourceExhausted:
					return // the budget is used up
				}
			}
			w.t.Errorf("the voucher %d got no answer", i)
		})
	}
}

// wait waits until there were so many taps, or until there will be no more.
func (l *load) wait(taps int64) {
	for deadline := time.Now().Add(time.Minute); l.acknowledged.Load() < taps && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
}

// finish waits for all answers and compares them with the books of the campaign.
func (g *giveaway) finish(t *testing.T) {
	t.Helper()
	g.answers.Wait()
	c, err := g.w.operator.Notify.GetCampaign(callCtx(t), &notifyv1.GetCampaignRequest{Name: g.campaign})
	must(t, err)
	if got := c.GetRedeemedAmount().GetMinorUnits(); got != g.budget || c.GetRedeemedCount()*giveawayValue != got || c.GetReservedAmount().GetMinorUnits() != 0 {
		t.Errorf("%d were redeemed %d times, %v are held; the budget is %d", got, c.GetRedeemedCount(), c.GetReservedAmount(), g.budget)
	}
	if n := g.redeemed.Load(); n != c.GetRedeemedCount() {
		t.Errorf("%d redemptions were acknowledged, %d are in the books", n, c.GetRedeemedCount())
	}
}
