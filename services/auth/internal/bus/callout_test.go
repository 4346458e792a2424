package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/armlet-pay/armlet/platform/rpc"
)

// known is what the responder takes for a verifier: tokens with their callers. Its payload is that of a token which ends
// in a minute, or a second for "short".
type known map[string]rpc.Caller

func (k known) Verify(_ context.Context, token string) (rpc.Caller, error) {
	if c, ok := k[token]; ok {
		return c, nil
	}
	return rpc.Caller{}, errors.New("unknown token")
}

func (k known) VerifyJWS(_ context.Context, token, typ string) ([]byte, error) {
	if typ != rpc.TypeAccessToken {
		return nil, errors.New("another type")
	}
	life := time.Minute
	switch token {
	case "short":
		life = 2 * time.Second
	case "ended":
		life = -time.Second
	}
	return fmt.Appendf(nil, `{"exp":%d,"rvs":7,"rvh":["h-%s"]}`, time.Now().Add(life).Unix(), strings.TrimPrefix(token, keyed)), nil
}

// startServer runs a NATS server that asks for every connection but the responder's own. Its account EDGE answers what
// partner acme may ask of it.
func startServer(t *testing.T, tokens Tokens) (url string) {
	t.Helper()
	seed, err := NewCalloutSeed()
	must(t, err)
	issuer, err := nkeys.FromSeed(seed)
	must(t, err)
	public, err := issuer.PublicKey()
	must(t, err)
	auth, edge, acme, sys := server.NewAccount("AUTH"), server.NewAccount("EDGE"), server.NewAccount("P_acme"), server.NewAccount("SYS")
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		Accounts: []*server.Account{auth, edge, acme, sys, server.NewAccount("P_globex")}, SystemAccount: "SYS",
		Users: []*server.User{
			{Username: "auth", Password: "a", Account: auth}, {Username: "edge", Password: "e", Account: edge}, {Username: "sys", Password: "s", Account: sys},
		},
		AuthCallout: &server.AuthCallout{Issuer: public, Account: "AUTH", AuthUsers: []string{"auth", "edge", "sys"}},
	})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	conn, err := nats.Connect(s.ClientURL(), nats.UserInfo("auth", "a"))
	must(t, err)
	t.Cleanup(conn.Close)
	callout, err := NewCallout(conn, tokens, seed, slog.New(slog.DiscardHandler), time.Now)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- callout.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the responder: %v", err)
		}
	})
	for range 100 { // until it has subscribed
		if s.NumSubscriptions() > 0 && conn.NumSubscriptions() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(t, conn.Flush())
	return s.ClientURL()
}

var acme = rpc.Caller{Role: rpc.RolePartner, ID: "acme-backend", Partner: "acme", Scopes: []string{"events.subscribe"}}

func TestOnlyAPartnerWithTheScopeIsLetIn(t *testing.T) {
	without, wearer, nameless := acme, acme, acme
	without.Scopes, wearer.Role, nameless.Partner = []string{"payments.read"}, rpc.RoleWearer, ""
	url := startServer(t, known{"good": acme, "without": without, "wearer": wearer, "nameless": nameless, "ended": acme})
	for token, in := range map[string]bool{"good": true, "without": false, "wearer": false, "nameless": false, "unknown": false, "ended": false, "": false} {
		conn, err := nats.Connect(url, nats.Token(token))
		if err == nil {
			conn.Close()
		}
		if (err == nil) != in {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

func TestAPartnerMayPullItsOwnConsumersAndNothingElse(t *testing.T) {
	url := startServer(t, known{"good": acme})
	refused := make(chan error, 16)
	conn, err := nats.Connect(url, nats.Token("good"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	must(t, err)
	defer conn.Close()
	publish := func(subject string) error {
		must(t, conn.Publish(subject, nil))
		must(t, conn.Flush())
		select {
		case err := <-refused:
			return err
		case <-time.After(100 * time.Millisecond):
			return nil
		}
	}
	for _, subject := range []string{
		"armlet.api.CONSUMER.MSG.NEXT.PE_acme.main", "armlet.api.CONSUMER.INFO.PE_acme.main",
		"$JS.ACK.PE_acme.main.1.2.3.4.5", "$JS.ACK._.v71kSBge.PE_acme.main.1.2.3.4.5.6",
	} {
		if err := publish(subject); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
	}
	for _, subject := range []string{
		"armlet.api.CONSUMER.MSG.NEXT.PE_globex.main", "armlet.api.CONSUMER.INFO.PE_globex.main", "armlet.api.CONSUMER.CREATE.PE_acme.x",
		"armlet.api.STREAM.INFO.PE_acme", "$JS.API.CONSUMER.MSG.NEXT.PE_acme.main", "$JS.ACK.PE_globex.main.1", "$JS.ACK._.v71kSBge.PE_globex.main.1",
		"$JS.ACK._.other.PE_acme.main.1", "$JS.ACK.PE_globex.main.PE_acme.1",
		"evt.v1.live.payments.payment.captured.acme.1", "pevt.v1.acme.live.x", "$SYS.REQ.USER.AUTH", "_INBOX.x",
	} {
		if err := publish(subject); err == nil || !strings.Contains(err.Error(), "ermissions") {
			t.Errorf("%s was allowed: %v", subject, err)
		}
	}
	for _, subject := range []string{">", "pevt.v1.>", "$SYS.>", "evt.v1.>"} {
		_, err := conn.SubscribeSync(subject)
		must(t, err)
		must(t, conn.Flush())
		select {
		case <-refused:
		case <-time.After(2 * time.Second):
			t.Errorf("subscribing to %s was allowed", subject)
		}
	}
}

func TestAConnectionEndsWithItsToken(t *testing.T) {
	url := startServer(t, known{"short": acme})
	closed := make(chan struct{})
	_, err := nats.Connect(url, nats.Token("short"), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	must(t, err)
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection outlived the token")
	}
}

func TestTheSeedMustBeAnAccounts(t *testing.T) {
	user, err := nkeys.CreateUser()
	must(t, err)
	seed, err := user.Seed()
	must(t, err)
	for _, s := range [][]byte{nil, []byte("nonsense"), seed} {
		if _, err := NewCallout(nil, nil, s, nil, nil); err == nil {
			t.Errorf("the seed %.4q was accepted", s)
		}
	}
}
