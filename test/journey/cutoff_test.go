package journey

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/sdk"
)

// The same is shown with a nats-server process, in TestFourProcessesPassTheSameJourney.
func TestOnTheEmbeddedServerConnectionsAreCutOff(t *testing.T) {
	t.Parallel()
	cutOff(t, newWorld(t, suite(t)))
}

// cutOff takes back a client, a grant and a partner, each while it is connected to NATS.
func cutOff(t *testing.T, w *world) {
	for what, revoke := range map[string]func(partner, client string) error{
		"its client": func(_, client string) error {
			_, err := w.operator.Auth.RevokeClient(callCtx(t), &authv1.RevokeClientRequest{Name: client, RequestId: id()})
			return err
		},
		"its grant": func(partner, _ string) error {
			_, err := w.operator.Auth.RevokeGrant(callCtx(t), &authv1.RevokeGrantRequest{Name: partner + "/grants/events.subscribe", RequestId: id()})
			return err
		},
		"its partner for good": func(partner, _ string) error {
			_, err := w.operator.Auth.OffboardPartner(callCtx(t), &authv1.OffboardPartnerRequest{Name: partner, RequestId: id()})
			return err
		},
		"the partner": func(partner, _ string) error {
			_, err := w.operator.Auth.SuspendPartner(callCtx(t), &authv1.SuspendPartnerRequest{Name: partner, RequestId: id()})
			return err
		},
	} {
		name := "partners/cut" + short()
		tokens := w.newPartner(name, "events.subscribe")
		client := w.d.client(t, tokens)
		all, err := client.Auth.ListClients(callCtx(t), &authv1.ListClientsRequest{Parent: name})
		must(t, err)
		conn, closed := w.connected(t, client, tokens, name)
		took := time.Now()
		must(t, revoke(name, all.GetClients()[0].GetName()))
		select {
		case <-closed:
			t.Logf("without %s the connection was cut off after %s", what, time.Since(took).Round(time.Millisecond))
		case <-time.After(20 * time.Second):
			t.Errorf("without %s the connection goes on: %v", what, conn.Flush())
		}
	}
}

// connected is a partner's connection to its own account, once that is there.
func (w *world) connected(t *testing.T, client *sdk.Client, tokens sdk.TokenSource, partner string) (*nats.Conn, chan struct{}) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		_, err := client.Notify.CreateSubscription(callCtx(t), &notifyv1.CreateSubscriptionRequest{Parent: partner, SubscriptionId: "main", RequestId: "main"})
		if err == nil {
			break
		}
		if !sdk.Retryable(err) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	token, err := tokens.Token(callCtx(t))
	must(t, err)
	closed := make(chan struct{})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		conn, err := nats.Connect(w.d.at.NATSURL, nats.Token(token), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		if err == nil {
			t.Cleanup(conn.Close)
			return conn, closed
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
