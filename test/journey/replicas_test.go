package journey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/test/programs"
)

// minReady is how long a rolling restart waits between a replica being ready and the next one stopping, so that its callers
// have found it again: docs/operations.md tells operators the same.
const minReady = 3 * time.Second

// replicas are two processes of each service on the same databases, which all callers know by a list of addresses.
type replicas struct {
	*processes
	addresses map[string][2]string // of gRPC
	http      map[string][2]string
	// binary is what a replica is started from; nil is this commit's program.
	binary func(replica int, service string) string

	mu   sync.Mutex
	runs map[string][2]*programs.Process
}

// startReplicas starts them; the second ones start when the first ones serve.
func startReplicas(t testing.TB) (*deployment, *replicas) {
	t.Helper()
	d, r := prepareReplicas(t, nil)
	r.each(func(service string) { r.startReplica(1, service) })
	return d, r
}

// prepareReplicas starts the first ones; everything knows the addresses of the second ones.
func prepareReplicas(t testing.TB, binary func(replica int, service string) string) (*deployment, *replicas) {
	t.Helper()
	r := &replicas{addresses: map[string][2]string{}, http: map[string][2]string{}, binary: binary, runs: map[string][2]*programs.Process{}}
	databases := map[string]string{}
	for _, service := range programs.Services {
		databases[service] = testkit.Postgres(t)
	}
	d := startProcesses(t, func(_, service string) string { return databases[service] }, r.configure)
	r.processes = d.parts
	for _, p := range d.parts.all {
		r.runs[filepath.Base(p.Name)] = [2]*programs.Process{p}
	}
	return d, r
}

// configure gives everything the addresses of both replicas.
func (r *replicas) configure(s *processes) map[string]map[string]string {
	list := map[string]string{}
	for _, service := range programs.Services {
		r.addresses[service] = [2]string{s.grpc[service], testkit.Addr(s.t)}
		r.http[service] = [2]string{testkit.Addr(s.t), testkit.Addr(s.t)}
		list[service] = strings.Join([]string{r.addresses[service][0], r.addresses[service][1]}, ",")
	}
	r.http["auth"] = [2]string{s.web, r.http["auth"][1]}
	both := func(path string) string {
		return fmt.Sprintf("http://%s%s,http://%s%s", r.http["auth"][0], path, r.http["auth"][1], path)
	}
	s.at.Devices, s.at.Auth, s.at.Payments, s.at.Notify = list["device-registry"], list["auth"], list["payments"], list["notify"]
	s.at.TokenURL = both("/oauth2/token")
	if r.binary == nil {
		s.at.JWKSURL = both("/.well-known/jwks.json")
	} else { // an older program need not know that this can be a list
		s.binary = func(service string) string { return r.binary(0, service) }
	}
	keys := func(service string, more map[string]string) map[string]string {
		more["http-listen"] = r.http[service][0]
		return more
	}
	return map[string]map[string]string{
		"device-registry": keys("device-registry", map[string]string{}),
		"auth":            keys("auth", map[string]string{"registry-addr": list["device-registry"]}),
		"payments":        keys("payments", map[string]string{"auth-addr": list["auth"], "notify-addr": list["notify"]}),
		"notify":          keys("notify", map[string]string{}),
	}
}

// each does something for every service at once.
func (r *replicas) each(do func(service string)) {
	var all sync.WaitGroup
	for _, service := range programs.Services {
		all.Go(func() { do(service) })
	}
	all.Wait()
}

// startReplica starts a replica and waits until it is ready. It is for the goroutines of each, so it does not end the test.
func (r *replicas) startReplica(i int, service string) {
	binary := programs.Service(r.t, service)
	if r.binary != nil {
		binary = r.binary(i, service)
	}
	r.mu.Lock()
	p := r.start(binary, service, r.web, r.own(i, service))
	both := r.runs[service]
	both[i] = p
	r.runs[service] = both
	r.mu.Unlock()
	if err := r.ready(p, "http://"+r.http[service][i]+"/readyz"); err != nil {
		r.t.Errorf("replica %d of %s: %v\n%s", i, service, err, p.Output())
	}
}

// own is what is different between the replicas.
func (r *replicas) own(i int, service string) map[string]string {
	return map[string]string{"listen": r.addresses[service][i], "http-listen": r.http[service][i]}
}

// command runs a command of this commit's program, with the configuration of the second replica.
func (r *replicas) command(service string, args ...string) (string, error) {
	c := exec.Command(programs.Service(r.t, service), args...)
	c.Env = append(os.Environ(), r.env(service, r.web, r.own(1, service))...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// revision is the commit that a replica says it was built from.
func (r *replicas) revision(t *testing.T, service string, i int) string {
	t.Helper()
	resp, err := http.Get("http://" + r.http[service][i] + "/version")
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	var build struct {
		Revision string `json:"revision"`
	}
	must(t, json.NewDecoder(resp.Body).Decode(&build))
	return build.Revision
}

func (r *replicas) ready(p *programs.Process, url string) error {
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && !p.Exited(); time.Sleep(20 * time.Millisecond) {
		var resp *http.Response
		if resp, err = http.Get(url); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
	}
	return fmt.Errorf("it is not ready: %w", err)
}

// restart stops a replica of every service as an orchestrator does, and starts it again.
func (r *replicas) restart(i int) {
	r.each(func(service string) {
		r.mu.Lock()
		p := r.runs[service][i]
		r.mu.Unlock()
		if err := p.Stop(); err != nil {
			r.t.Error(err)
		}
		r.startReplica(i, service)
	})
}

// TestNoCallFailsDuringARollingRestart has two replicas of every service. While bands tap, phones follow their inboxes, a
// terminal watches a payment and programs ask for tokens, the first replica of each service is restarted, and then the other.
func TestNoCallFailsDuringARollingRestart(t *testing.T) {
	t.Parallel()
	d, r := startReplicas(t)
	w := newWorld(t, d)
	feed := w.subscribe("live.payments.payment.captured")
	watching := w.watchHeld()
	load := w.load(3, true)
	busy := w.keepBusy()
	load.untilMore(10)
	for i := range 2 {
		if i > 0 {
			time.Sleep(minReady)
		}
		r.restart(i)
		load.untilMore(10)
	}
	load.stop()
	busy()
	watching()
	w.eachOnce(load, feed, 0)
}

// watchHeld watches a payment that is held, which the function captures and expects to be seen.
func (w *world) watchHeld() func() {
	t := w.t
	t.Helper()
	_, phone := w.newWearer(100_00)
	p, err := w.till.Charge(callCtx(t), phone.Band.UID(), &paymentsv1.CreatePaymentRequest{Amount: cny(5_00), CaptureMode: paymentsv1.CaptureMode_CAPTURE_MODE_MANUAL})
	must(t, err)
	phone.Band.Knock()
	p, err = w.till.Confirm(callCtx(t), phone.Band, p)
	must(t, err)
	var seen []paymentsv1.PaymentState
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	go func() {
		ended <- sdk.WatchPayment(ctx, w.till.Client.Payments, p.GetName(), func(p *paymentsv1.Payment) error {
			seen = append(seen, p.GetState())
			if p.GetState() == paymentsv1.PaymentState_PAYMENT_STATE_VOIDED {
				return sdk.ErrStop
			}
			return nil
		})
	}()
	return func() {
		_, err := w.till.Client.Payments.VoidPayment(callCtx(t), &paymentsv1.VoidPaymentRequest{Name: p.GetName(), RequestId: id()})
		must(t, err)
		if err := <-ended; err != nil || len(seen) != 2 || seen[0] != paymentsv1.PaymentState_PAYMENT_STATE_AUTHORIZED {
			t.Errorf("who watched the payment saw %v, %v", seen, err)
		}
	}
}

// keepBusy has programs that issue vouchers, and ask for a new token each time, until the function is called. None may fail.
func (w *world) keepBusy() func() {
	t := w.t
	t.Helper()
	campaign := w.campaign(func(c *notifyv1.CreateCampaignRequest) { c.Value, c.VoucherLimit = cny(1_00), 100_000 })
	var enough atomic.Bool
	var all sync.WaitGroup
	var issued atomic.Int64
	all.Go(func() {
		for !enough.Load() {
			v, err := w.partner.Notify.IssueVoucher(callCtx(t), &notifyv1.IssueVoucherRequest{Campaign: campaign.GetName(), RequestId: id()})
			if err == nil {
				issued.Add(1)
				_, err = w.till.Client.Notify.VerifyVoucher(callCtx(t), &notifyv1.VerifyVoucherRequest{Code: v.GetCode()})
			}
			if err != nil {
				t.Errorf("a voucher: %v (%s)", err, sdk.Reason(err))
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	all.Go(func() {
		for !enough.Load() {
			tokens := sdk.ClientCredentials(w.d.at.TokenURL, "operator", w.d.operator)
			operator, err := sdk.Dial(w.d.at, append([]sdk.Option{sdk.WithTokens(tokens)}, w.d.options...)...)
			if err == nil {
				_, err = operator.Auth.GetPartner(callCtx(t), &authv1.GetPartnerRequest{Name: w.name})
				_ = operator.Close()
			}
			if err != nil {
				t.Errorf("a new token: %v (%s)", err, sdk.Reason(err))
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return func() {
		enough.Store(true)
		all.Wait()
		c, err := w.operator.Notify.GetCampaign(callCtx(t), &notifyv1.GetCampaignRequest{Name: campaign.GetName()})
		must(t, err)
		if c.GetIssuedCount() != issued.Load() {
			t.Errorf("%d vouchers were issued, %d acknowledged", c.GetIssuedCount(), issued.Load())
		}
	}
}

// eachOnce checks that every tap is one payment with one alert and one event, and that the books balance; others are
// payments that were not the load's.
func (w *world) eachOnce(load *load, feed *feed, others int) {
	t, s := load.t, w.d.parts
	t.Helper()
	captured := w.capturedPayments()
	if n := int(load.acknowledged.Load()); n+others != len(captured) {
		t.Errorf("%d taps were acknowledged, %d captured", n, len(captured))
	}
	for name, n := range captured {
		if n != 1 {
			t.Errorf("%s is there %d times", name, n)
		}
	}
	s.until("every payment has its alert", func() error {
		if n := load.alerts(); n+others != len(captured) {
			return fmt.Errorf("%d alerts of %d payments", n, len(captured))
		}
		return nil
	})
	s.until("the partner has every event", func() error {
		if n := len(feed.all("armlet.payments.v1.PaymentCaptured")); n != len(captured) {
			return fmt.Errorf("%d events of %d payments", n, len(captured))
		}
		return nil
	})
	load.followed(t)
	w.booksBalance()
	v, err := w.operator.Payments.VerifyLedger(callCtx(t), &paymentsv1.VerifyLedgerRequest{})
	must(t, err)
	if !v.GetIntact() {
		t.Errorf("the ledger's chain is broken: %v", v)
	}
	t.Logf("%d taps", len(captured))
}
