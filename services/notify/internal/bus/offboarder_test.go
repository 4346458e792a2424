package bus

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

// Its bands pay on; that is told to the wearers and to nobody else, and no stream is made for it again.
func TestEventsOfAnOffboardedPartnerAreNotCopied(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	_, err := o.st.CreateSubscription(t.Context(), once.Request{Caller: "c", Method: "m", ID: "r", Fingerprint: []byte{1}}, subscription.Subscription{
		Partner: "acme", ID: "main", Filters: []string{"live.>"}, Consumer: "main-secret", Sink: subscription.NATS, State: subscription.Active,
		CreatedAt: noon, UpdatedAt: noon,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.run()
	o.happen(at("payments", "payment", "captured", "acme"), captured("accounts/alice"))
	o.happen(at("payments", "payment", "captured", "bolt-2"), captured("accounts/bob"))
	o.eventually("both have their events", func() bool { return len(o.messages("PE_acme")) > 0 && len(o.messages("PE_bolt-2")) > 0 })
	ev := o.happen(at("auth", "partner", "offboarded", "acme"), &authv1.PartnerOffboarded{Partner: &authv1.Partner{Name: "partners/acme"}})
	o.eventually("nothing is left of acme", func() bool {
		got, left, err := o.offboarding.Look(t.Context(), "acme")
		return err == nil && left.None() && !got.EndedAt.IsZero()
	})
	o.send(ev, "again")
	o.happen(at("payments", "payment", "captured", "acme"), captured("accounts/carol"))
	o.happen(at("devices", "device", "bound", "acme"), &devicesv1.DeviceBound{Device: device, Account: "accounts/carol", AuthEpoch: 2})
	o.eventually("the wearer hears of it", func() bool { return len(o.alerts("carol")) == 2 })
	o.eventually("the egress is through", func() bool {
		c, err := o.js.Consumer(t.Context(), "EVT_DEVICES", "notify-egress-devices")
		return err == nil && c.CachedInfo().AckFloor.Stream == 1
	})
	if _, left, err := o.offboarding.Look(t.Context(), "acme"); err != nil || !left.None() {
		t.Errorf("acme has %+v again, %v", left, err)
	}
	if len(o.messages("PE_bolt-2")) == 0 {
		t.Error("the other partner lost its events")
	}
}

func TestAnOffboardedPartnersAccountStreamAndConnectionsEnd(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	acme, bolt := f.subscribe("acme", "main", "k3y"), f.subscribe("bolt-2", "main", "k3y2")
	f.publish("acme", "one")
	f.publish("bolt-2", "one")
	closed := make(chan struct{})
	nc, err := nats.Connect(f.srv.ClientURL(), nats.Token("token-acme"), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	other := f.connect(nats.Token("token-bolt-2"))
	f.consumer(nc, acme)
	want := offboarding.NATS{Account: true, Stream: true, StreamEvents: 1, Consumers: 1}
	if h, err := f.fabric.PartnerHoldings(t.Context(), "acme"); err != nil || h != want {
		t.Errorf("before: %+v, %v", h, err)
	}
	f.subs.leave("acme")
	for range 2 { // repeated, as after a crash
		if err := errors.Join(f.fabric.RemoveAccount(t.Context(), "acme"), f.fabric.RemoveStream(t.Context(), "acme")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the partner's connection goes on")
	}
	if h, err := f.fabric.PartnerHoldings(t.Context(), "acme"); err != nil || h != (offboarding.NATS{}) {
		t.Errorf("after: %+v, %v", h, err)
	}
	if text, err := os.ReadFile(f.file); err != nil || strings.Contains(string(text), "acme") {
		t.Errorf("the configuration still has it, %v", err)
	}
	if err := f.fabric.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.edge.Stream(t.Context(), "PE_acme"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream is made again: %v", err)
	}
	if nc, err := nats.Connect(f.srv.ClientURL(), nats.Token("token-acme")); err == nil {
		nc.Close()
		t.Error("a token of an account that is gone gets in")
	}
	batch, err := f.consumer(other, bolt).Fetch(1, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if msg := <-batch.Messages(); msg == nil || string(msg.Data()) != "one" {
		t.Error("the other partner lost its event")
	}
}
