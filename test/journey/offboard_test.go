package journey

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// The same is shown with a nats-server process, in TestFourProcessesPassTheSameJourney.
func TestOnTheEmbeddedServerAnOffboardedPartnerIsGone(t *testing.T) {
	t.Parallel()
	offboarded(t, newWorld(t, suite(t)), func(offboard func()) { offboard() })
}

// offboarded ends a partner that uses all it has, by way of during; its wearers pay on.
func offboarded(t *testing.T, other *world, during func(offboard func())) {
	w := newWorld(t, other.d)
	account, phone := w.newWearer(100_00)
	p, err := w.charge(callCtx(t), phone.Band, 12_00)
	must(t, err)
	phone.Band.Knock()
	paid, err := w.till.Confirm(callCtx(t), phone.Band, p)
	must(t, err)
	_, closed := w.connected(t, w.partner, w.tokens, w.name)
	_, err = w.partner.Notify.CreateTopic(callCtx(t), &notifyv1.CreateTopicRequest{Parent: w.name, TopicId: "news", DisplayName: "News", RequestId: id()})
	must(t, err)
	campaign := w.campaign(func(in *notifyv1.CreateCampaignRequest) { in.Value = cny(500) })
	issued := w.voucher(campaign, account)
	w.subscribeGRPC(t, "stream")
	f, ended := w.follow(t, "stream"), make(chan struct{})
	go func() {
		defer close(ended)
		for range f.got { // what comes is of no interest, only that it ends
			continue
		}
	}()

	look := func() *notifyv1.Offboarding {
		got, err := w.operator.Notify.GetOffboarding(callCtx(t), &notifyv1.GetOffboardingRequest{Name: w.name + "/offboarding"})
		if err != nil {
			return &notifyv1.Offboarding{}
		}
		return got
	}
	for deadline := time.Now().Add(20 * time.Second); look().GetHoldings().GetStreamEvents() == 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	dry := look()
	if h := dry.GetHoldings(); dry.GetState() != notifyv1.OffboardingState_OFFBOARDING_STATE_NONE || h.GetSubscriptions() != 2 || h.GetTopics() != 1 ||
		h.GetOpenCampaigns() != 1 || !h.GetNatsAccount() || !h.GetStream() || h.GetStreamConsumers() != 2 || h.GetStreamEvents() == 0 {
		t.Errorf("what would be removed: %v", dry)
	}
	_, err = w.partner.Auth.OffboardPartner(callCtx(t), &authv1.OffboardPartnerRequest{Name: w.name, RequestId: id()})
	wantRefused(t, err, codes.PermissionDenied, "CALLER_NOT_ALLOWED")
	during(func() {
		_, err = w.operator.Auth.OffboardPartner(callCtx(t), &authv1.OffboardPartnerRequest{Name: w.name, Note: "contract ended", RequestId: id()})
		must(t, err)
	})
	for what, end := range map[string]<-chan struct{}{"its connection to NATS": closed, "its stream of events": ended} {
		select {
		case <-end:
		case <-time.After(20 * time.Second):
			t.Errorf("%s goes on", what)
		}
	}
	for deadline := time.Now().Add(60 * time.Second); look().GetState() != notifyv1.OffboardingState_OFFBOARDING_STATE_DONE; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a minute later there is %v", look())
		}
	}
	w.leavesNothing(t, look)

	// Its bands are their wearers', and the books are as they were.
	p, err = other.charge(callCtx(t), phone.Band, 5_00)
	must(t, err)
	phone.Band.Knock()
	p, err = other.till.Confirm(callCtx(t), phone.Band, p)
	must(t, err)
	if p.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED || w.balance(account) != 83_00 {
		t.Errorf("the band paid %v, the wearer has %d", p, w.balance(account))
	}
	before, err := w.operator.Payments.GetPayment(callCtx(t), &paymentsv1.GetPaymentRequest{Name: paid.GetName()})
	if err != nil || before.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
		t.Errorf("the payment before: %v, %v", before, err)
	}
	c, err := w.operator.Notify.GetCampaign(callCtx(t), &notifyv1.GetCampaignRequest{Name: campaign.GetName()})
	if err != nil || c.GetState() != notifyv1.CampaignState_CAMPAIGN_STATE_ENDED || c.GetIssuedCount() != 1 {
		t.Errorf("the campaign: %v, %v (%s was issued)", c, err, issued.GetVoucher().GetName())
	}
	time.Sleep(time.Second) // as long as a copy of the new payment would take
	w.leavesNothing(t, look)
	w.booksBalance()
}

// leavesNothing checks what an offboarded partner has and can do.
func (w *world) leavesNothing(t *testing.T, look func() *notifyv1.Offboarding) {
	t.Helper()
	if h := look().GetHoldings(); h.GetSubscriptions()+h.GetWebhookKeys()+h.GetTopics()+h.GetOpenCampaigns()+h.GetPendingEvents() != 0 || h.GetStream() || h.GetNatsAccount() {
		t.Errorf("left: %v", h)
	}
	_, err := w.operator.Auth.CreateClient(callCtx(t), &authv1.CreateClientRequest{
		ClientId: "c" + short(), Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: w.name, TlsClientAuth: true, RequestId: id(),
	})
	wantRefused(t, err, codes.FailedPrecondition, "PARTNER_OFFBOARDED")
	_, err = w.operator.Auth.CreatePartner(callCtx(t), &authv1.CreatePartnerRequest{PartnerId: strings.TrimPrefix(w.name, "partners/"), DisplayName: "Again", RequestId: id()})
	wantRefused(t, err, codes.AlreadyExists, "PARTNER_EXISTS")
	// Its tokens are refused as soon as notify has heard of it, which may be after all is removed.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err = w.partner.Notify.ListSubscriptions(callCtx(t), &notifyv1.ListSubscriptionsRequest{Parent: w.name})
		if err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("its client still gets in")
		}
	}
	eyes := w.watchNATS(t, "nothing")
	streams := eyes.edge.StreamNames(callCtx(t))
	var names []string
	for name := range streams.Name() {
		names = append(names, name)
	}
	if stream := "PE_" + strings.TrimPrefix(w.name, "partners/"); slices.Contains(names, stream) || streams.Err() != nil {
		t.Errorf("%s is among %v, %v", stream, names, streams.Err())
	}
}

func TestTheCommandLineOffboardsAPartner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := up(t, dir)
	t.Cleanup(func() { must(t, d.process.Stop()) })
	run := func(want int, args ...string) map[string]any {
		t.Helper()
		code, out, errs := armlet(t, append(args, "--data", dir, "-o", "json")...)
		if code != want {
			t.Errorf("armlet %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
		}
		var answer map[string]any
		if code == 0 {
			must(t, json.Unmarshal([]byte(out), &answer))
		}
		return answer
	}
	is := func(when string, answer map[string]any, want map[string]any) {
		t.Helper()
		for field, value := range want {
			if answer[field] != value {
				t.Errorf("%s: %s is %v, want %v: %v", when, field, answer[field], value, answer)
			}
		}
	}
	run(0, "tap", "--top-up", "20.00", "--amount", "1.00") // a band of the sandbox's partner is bound and pays
	is("before", run(0, "partners", "offboard", "sandbox", "--dry-run"),
		map[string]any{"state": "ACTIVE", "removal": "NONE", "bands": 1.0, "clients": 1.0, "suspended": 0.0})
	run(2, "partners", "offboard", "sandbox")
	run(2, "partners", "offboard", "sandbox", "--bands", "burn")
	run(3, "partners", "offboard", "nobody", "--bands", "keep")
	is("offboarded", run(0, "partners", "offboard", "sandbox", "--bands", "suspend", "--note", "left"),
		map[string]any{"state": "OFFBOARDED", "removal": "DONE", "bands": 1.0, "clients": 0.0, "grants": 0.0, "suspended": 1.0})
	is("again", run(0, "partners", "offboard", "sandbox", "--bands", "suspend"), map[string]any{"removal": "DONE", "suspended": 0.0})
	run(3, "partners", "resume", "sandbox")
	if code, out, _ := armlet(t, "partners", "offboard", "sandbox", "--dry-run", "--data", dir); code != 0 || !strings.Contains(out, "partners/sandbox is OFFBOARDED, its removal DONE") {
		t.Errorf("as a table: exit %d\n%s", code, out)
	}
}
