package rpc_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
)

func TestATokenOfACertificateIsForItsHolderAlone(t *testing.T) {
	ca := testkit.PKI(t)
	cert, key := ca.Service("test")
	serverTLS, err := rpc.ServerTLS(cert, key, ca.File)
	must(t, err)
	mine, mineKey := ca.Leaf("acme", &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/client/acme"})
	another, anotherKey := ca.Leaf("acme-2", &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/client/acme"})
	bound := rpc.Caller{Role: rpc.RolePartner, ID: "acme", Partner: "acme", Certificate: rpc.Thumbprint(readCert(t, mine))}
	r := serve(t, rpc.ServerConfig{TLS: serverTLS, Verifier: tokens{"bound": bound}, Policy: rpc.Policy{
		echo: {Roles: []rpc.Role{rpc.RolePartner}}, rule: {Public: true}, feed: {Public: true}, sink: {Public: true},
	}}, handlers{echo: whoAmI})
	for name, c := range map[string]struct {
		cert, key string
		good      bool
	}{
		"the holder":                 {mine, mineKey, true},
		"another certificate":        {another, anotherKey, false},
		"a service's":                {cert, key, false},
		"a thief of the token alone": {"", "", false},
	} {
		clientTLS, err := rpc.ClientTLS(c.cert, c.key, ca.File)
		must(t, err)
		cc := connected(t)(rpc.Dial(r.tcp, rpc.DialConfig{TLS: clientTLS, Token: fixed("bound")}))
		_, err = call(within(t, 5*time.Second), cc, "x")
		switch f, _ := fault.As(err); {
		case c.good && err != nil:
			t.Errorf("%s: %v", name, err)
		case !c.good && (f == nil || f.Reason != rpc.ReasonCallerUnknown || f.Meta["token"] != "unbound"):
			t.Errorf("%s: %v", name, err)
		}
	}
	if name := rpc.CertificateClient(readCert(t, mine)); name != "acme" {
		t.Errorf("the certificate is for client %q", name)
	}
	if name := rpc.CertificateClient(readCert(t, cert)); name != "" {
		t.Errorf("a service's certificate is for client %q", name)
	}
}

func readCert(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return cert
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnOperatorsRoleLimitsWhatItMayDo(t *testing.T) {
	const get, lift, change = "/test.v1.Test/GetThing", "/test.v1.Test/LiftThing", "/test.v1.Test/ChangeThing"
	open := []rpc.Role{rpc.RoleOperator}
	for _, c := range []struct {
		role, method string
		support      bool
		allowed      bool
	}{
		{"", change, false, true},
		{rpc.OperatorAdmin, change, false, true},
		{rpc.OperatorSupport, get, false, true},
		{rpc.OperatorSupport, lift, true, true},
		{rpc.OperatorSupport, change, false, false},
		{rpc.OperatorAuditor, get, false, true},
		{rpc.OperatorAuditor, lift, true, false},
		{"root", get, false, false},
	} {
		rule := rpc.Rule{Roles: open, Support: c.support}
		err := rpc.Authorize(rule, rpc.Caller{Role: rpc.RoleOperator, ID: "op", Operator: c.role}, c.method)
		if (err == nil) != c.allowed || err != nil && fault.ReasonOf(err) != rpc.ReasonCallerNotAllowed {
			t.Errorf("%q on %s: %v", c.role, c.method, err)
		}
	}
	if err := (rpc.Policy{echo: {Roles: []rpc.Role{rpc.RoleWearer}, Support: true}}).Validate(); err == nil {
		t.Error("a rule for support without operators was accepted")
	}
}

// fading is a verifier whose tokens stop being good.
type fading struct{ gone atomic.Bool }

func (f *fading) Verify(context.Context, string) (rpc.Caller, error) {
	if f.gone.Load() {
		return rpc.Caller{}, fault.New(fault.Unauthenticated, rpc.ReasonCallerUnknown, "revoked").WithMeta("token", "revoked")
	}
	return rpc.Caller{Role: rpc.RoleWearer, ID: "w", Account: "ann"}, nil
}

func TestAStreamEndsWhenItsTokenIsTakenBack(t *testing.T) {
	v := &fading{}
	r := serve(t, rpc.ServerConfig{Verifier: v}, handlers{feed: func(_ string, ss grpc.ServerStream) error {
		if err := ss.SendMsg(wrapperspb.String("first")); err != nil {
			return err
		}
		<-ss.Context().Done()
		return ss.Context().Err()
	}})
	cs, err := openFeed(within(t, 20*time.Second), r.with(t, "token"), "x")
	must(t, err)
	must(t, cs.RecvMsg(new(wrapperspb.StringValue)))
	v.gone.Store(true)
	f := wantFault(t, cs.RecvMsg(new(wrapperspb.StringValue)), fault.Unauthenticated, rpc.ReasonCallerUnknown)
	if f != nil && f.Meta["token"] != "revoked" {
		t.Errorf("it does not say why: %v", f)
	}
}

func TestTheAuthorityIsReadAgainWhenItsFileChanges(t *testing.T) {
	before, after := testkit.PKI(t), testkit.PKI(t)
	file := t.TempDir() + "/ca.pem"
	copyFile(t, before.File, file)
	cert, key := before.Service("test")
	serverTLS, err := rpc.ServerTLS(cert, key, file)
	must(t, err)
	r := serve(t, rpc.ServerConfig{TLS: serverTLS}, handlers{echo: whoAmI})
	who := func(a *testkit.Authority) (string, error) {
		c, k := a.Service("friend")
		clientTLS, err := rpc.ClientTLS(c, k, before.File)
		must(t, err)
		return call(within(t, 5*time.Second), connected(t)(rpc.Dial(r.tcp, rpc.DialConfig{TLS: clientTLS})), "x")
	}
	if got, err := who(before); err != nil || got != "service friend" {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := who(after); err == nil {
		t.Fatal("a certificate of an authority that is not trusted yet was accepted")
	}
	// Both are trusted while certificates are renewed.
	old, err := os.ReadFile(before.File)
	must(t, err)
	next, err := os.ReadFile(after.File)
	must(t, err)
	must(t, os.WriteFile(file, append(old, next...), 0o600))
	must(t, os.Chtimes(file, time.Time{}, time.Now().Add(time.Minute)))
	for _, a := range []*testkit.Authority{before, after} {
		if got, err := who(a); err != nil || got != "service friend" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	// A file that makes no sense changes nothing.
	must(t, os.WriteFile(file, []byte("half a fi"), 0o600))
	must(t, os.Chtimes(file, time.Time{}, time.Now().Add(2*time.Minute)))
	if got, err := who(after); err != nil || got != "service friend" {
		t.Errorf("with a damaged file: %q, %v", got, err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, text, 0o600))
}

func TestAClientFollowsAChangeOfTheAuthority(t *testing.T) {
	before, after := testkit.PKI(t), testkit.PKI(t)
	file := t.TempDir() + "/ca.pem"
	copyFile(t, before.File, file)
	clientTLS, err := rpc.ClientTLS("", "", file)
	must(t, err)
	cert, key := after.Service("test")
	serverTLS, err := rpc.ServerTLS(cert, key, after.File)
	must(t, err)
	r := serve(t, rpc.ServerConfig{TLS: serverTLS, Policy: rpc.Policy{
		echo: {Public: true}, rule: {Public: true}, feed: {Public: true}, sink: {Public: true},
	}}, handlers{})
	ask := func() error {
		_, err := call(within(t, 5*time.Second), connected(t)(rpc.Dial(r.tcp, rpc.DialConfig{TLS: clientTLS})), "x")
		return err
	}
	if ask() == nil {
		t.Fatal("a server of another authority was believed")
	}
	copyFile(t, after.File, file)
	must(t, os.Chtimes(file, time.Time{}, time.Now().Add(time.Minute)))
	must(t, ask())
	// The name is checked as before: this one is good for localhost and 127.0.0.1 only.
	elsewhere := connected(t)(rpc.Dial("passthrough:///"+r.tcp, rpc.DialConfig{TLS: named(t, file, "auth.example")}))
	if _, err := call(within(t, 5*time.Second), elsewhere, "x"); err == nil {
		t.Error("a certificate for another name was believed")
	}
}

func named(t *testing.T, ca, name string) *tls.Config {
	t.Helper()
	cfg, err := rpc.ClientTLS("", "", ca)
	must(t, err)
	inner := cfg.GetConfigForClient
	cfg.ServerName = name
	cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := inner(h)
		if err == nil {
			c.ServerName = name
		}
		return c, err
	}
	return cfg
}

func TestAPartnerIsHeldToTheCallsOfItsGrant(t *testing.T) {
	r := serve(t, rpc.ServerConfig{
		Verifier: tokens{
			"bounded": {Role: rpc.RolePartner, ID: "p-1", Partner: "p", Scopes: []string{"s"}, Limits: map[string]int{"s": 12}},
			"free":    {Role: rpc.RolePartner, ID: "p-2", Partner: "p", Scopes: []string{"s"}},
		},
		Policy: rpc.Policy{echo: {Roles: []rpc.Role{rpc.RolePartner}, Scope: "s"}, rule: {Public: true}, feed: {Public: true}, sink: {Public: true}},
	}, handlers{})
	bounded, free, refused := r.with(t, "bounded"), r.with(t, "free"), 0
	for range 20 {
		if _, err := call(t.Context(), bounded, "x"); err != nil {
			wantFault(t, err, fault.ResourceExhausted, rpc.ReasonGrantLimitExceeded)
			refused++
		}
		if _, err := call(t.Context(), free, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if refused < 15 { // two at once, and one more every five seconds
		t.Errorf("only %d of 20 calls were refused", refused)
	}
}
