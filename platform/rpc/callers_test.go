package rpc_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
)

func outgoing(ctx context.Context, kv ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, kv...)
}

func reasonOf(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// whoAmI answers with the caller that the handler sees.
func whoAmI(ctx context.Context, _ string) (string, error) { return rpc.CallerFrom(ctx).String(), nil }

func TestThePolicyDecidesWhoMayCall(t *testing.T) {
	verifier := tokens{
		"operator": {Role: rpc.RoleOperator, ID: "op"},
		"wearer":   {Role: rpc.RoleWearer, ID: "w", Account: "accounts/1"},
		"partner":  {Role: rpc.RolePartner, ID: "p-1", Partner: "p"},
		"scoped":   {Role: rpc.RolePartner, ID: "p-2", Partner: "p", Scopes: []string{"other", "things.read"}},
		"service":  {Role: rpc.RoleService, ID: "friend"},
		"nobody":   {ID: "x"},
	}
	r := serve(t, rpc.ServerConfig{Verifier: verifier, Policy: rpc.Policy{
		echo: {Roles: []rpc.Role{rpc.RoleOperator, rpc.RolePartner, rpc.RoleService}, Services: []string{"friend"}, Scope: "things.read"},
		rule: {Roles: []rpc.Role{rpc.RoleOperator}},
		feed: {Roles: []rpc.Role{rpc.RoleOperator, rpc.RoleService}, Services: []string{"friend"}},
		sink: {Roles: []rpc.Role{rpc.RoleOperator}},
	}}, handlers{echo: whoAmI})

	for name, c := range map[string]struct {
		cc     *grpc.ClientConn
		kind   fault.Kind
		reason string
		sees   string
	}{
		"operator":                        {cc: r.with(t, "operator"), sees: "operator op"},
		"partner with the scope":          {cc: r.with(t, "scoped"), sees: "partner p-2 partner=p"},
		"friend":                          {cc: r.as(t, "friend"), sees: "service friend"},
		"partner without the scope":       {cc: r.with(t, "partner"), kind: fault.PermissionDenied, reason: rpc.ReasonScopeMissing},
		"wearer":                          {cc: r.with(t, "wearer"), kind: fault.PermissionDenied, reason: rpc.ReasonCallerNotAllowed},
		"a service that is not named":     {cc: r.as(t, "stranger"), kind: fault.PermissionDenied, reason: rpc.ReasonCallerNotAllowed},
		"nobody":                          {cc: r.as(t, ""), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"a token nobody knows":            {cc: r.with(t, "forged"), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"a token that names a service":    {cc: r.with(t, "service"), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"a token that names no role":      {cc: r.with(t, "nobody"), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"a friend with somebody's token":  {cc: connected(t)(r.net.Dial("friend", "test", rpc.DialConfig{Token: fixed("wearer")})), kind: fault.PermissionDenied, reason: rpc.ReasonCallerNotAllowed},
		"a friend with a token that lies": {cc: connected(t)(r.net.Dial("friend", "test", rpc.DialConfig{Token: fixed("forged")})), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := call(t.Context(), c.cc, "x")
			if c.reason == "" {
				if err != nil || got != c.sees {
					t.Errorf("got %q, %v, want %q", got, err, c.sees)
				}
				return
			}
			f := wantFault(t, err, c.kind, c.reason)
			if c.reason == rpc.ReasonScopeMissing && f.Meta["scope"] != "things.read" {
				t.Errorf("it does not name the scope: %+v", f)
			}
		})
	}
	cs, err := openFeed(t.Context(), r.as(t, "stranger"), "x")
	if err == nil {
		err = cs.RecvMsg(new(wrapperspb.StringValue))
	}
	wantFault(t, err, fault.PermissionDenied, rpc.ReasonCallerNotAllowed)
}

func TestWithoutAVerifierEveryTokenIsRefused(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{})
	_, err := call(t.Context(), r.with(t, "any"), "x")
	wantFault(t, err, fault.Unauthenticated, rpc.ReasonCallerUnknown)
}

func TestAPublicMethodLooksAtNoToken(t *testing.T) {
	p := open()
	p[echo] = rpc.Rule{Public: true}
	r := serve(t, rpc.ServerConfig{Policy: p}, handlers{echo: whoAmI})
	for name, c := range map[string]struct {
		cc   *grpc.ClientConn
		want string
	}{
		"nobody":        {r.as(t, ""), "unknown caller"},
		"a stale token": {r.with(t, "stale"), "unknown caller"},
		"a service":     {r.as(t, "friend"), "service friend"},
	} {
		if got, err := call(t.Context(), c.cc, "x"); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestAServiceCannotBeForgedOverTCP(t *testing.T) {
	r := serve(t, rpc.ServerConfig{Verifier: tokens{"op": {Role: rpc.RoleOperator, ID: "op"}}}, handlers{echo: whoAmI})
	cc := r.raw(t)
	for name, kv := range map[string][]string{
		"nothing":           nil,
		"names of headers":  {"caller", "service friend", "x-caller", "friend", "service", "friend", "role", "service", "from", "friend"},
		"spiffe":            {"x-spiffe-id", "spiffe://armlet/service/friend", "x-forwarded-client-cert", "URI=spiffe://armlet/service/friend"},
		"bearer of a name":  {"authorization", "Bearer friend"},
		"other scheme":      {"authorization", "Service friend"},
		"bearer of nothing": {"authorization", "Bearer "},
		"two good tokens":   {"authorization", "Bearer op", "authorization", "Bearer op"},
		"a token unnamed":   {"authorization", "op"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := call(outgoing(within(t, 5*time.Second), kv...), cc, "x")
			if st := status.Convert(err); st.Code() != codes.Unauthenticated || reasonOf(st) != rpc.ReasonCallerUnknown {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	// The same server, at the same time, believes its in-process listener.
	if got, err := call(t.Context(), r.as(t, "friend"), "x"); err != nil || got != "service friend" {
		t.Errorf("in-process: got %q, %v", got, err)
	}
}

func TestMutualTLSNamesServices(t *testing.T) {
	ca, other := testkit.PKI(t), testkit.PKI(t)
	cert, key := ca.Service("test")
	serverTLS, err := rpc.ServerTLS(cert, key, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	r := serve(t, rpc.ServerConfig{TLS: serverTLS, Verifier: tokens{"op": {Role: rpc.RoleOperator, ID: "op"}}}, handlers{echo: whoAmI})

	leaf := func(from *testkit.Authority, uri string) func() (string, string) {
		return func() (string, string) {
			if uri == "" {
				return from.Leaf("leaf", nil)
			}
			u, err := url.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			return from.Leaf("leaf", u)
		}
	}
	none := func() (string, string) { return "", "" }
	for name, c := range map[string]struct {
		files  func() (string, string)
		token  string
		sees   string
		kind   fault.Kind
		reason string
	}{
		"a service's certificate":        {files: leaf(ca, "spiffe://armlet/service/friend"), sees: "service friend"},
		"no certificate, a token":        {files: none, token: "op", sees: "operator op"},
		"a certificate and a token":      {files: leaf(ca, "spiffe://armlet/service/friend"), token: "op", sees: "operator op"},
		"a service that is not named":    {files: leaf(ca, "spiffe://armlet/service/stranger"), kind: fault.PermissionDenied, reason: rpc.ReasonCallerNotAllowed},
		"no certificate":                 {files: none, kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"a certificate without a URI":    {files: leaf(ca, ""), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"another trust domain":           {files: leaf(ca, "spiffe://evil/service/friend"), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"another kind of workload":       {files: leaf(ca, "spiffe://armlet/job/friend"), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"a longer path":                  {files: leaf(ca, "spiffe://armlet/service/friend/x"), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"a query behind the name":        {files: leaf(ca, "spiffe://armlet/service/friend?x=1"), kind: fault.Unauthenticated, reason: rpc.ReasonCallerUnknown},
		"an authority nobody here knows": {files: leaf(other, "spiffe://armlet/service/friend"), kind: fault.Unavailable, reason: "UNAVAILABLE"},
	} {
		t.Run(name, func(t *testing.T) {
			certFile, keyFile := c.files()
			clientTLS, err := rpc.ClientTLS(certFile, keyFile, ca.File)
			if err != nil {
				t.Fatal(err)
			}
			cc := connected(t)(rpc.Dial(r.tcp, rpc.DialConfig{TLS: clientTLS, Token: fixed(c.token)}))
			got, err := call(within(t, 5*time.Second), cc, "x")
			if c.reason != "" {
				wantFault(t, err, c.kind, c.reason)
			} else if err != nil || got != c.sees {
				t.Errorf("got %q, %v, want %q", got, err, c.sees)
			}
		})
	}
	t.Run("plaintext to a TLS listener", func(t *testing.T) {
		if _, err := call(within(t, 5*time.Second), r.raw(t), "x"); status.Code(err) != codes.Unavailable {
			t.Errorf("got %v", err)
		}
	})
	t.Run("in-process beside TLS", func(t *testing.T) {
		if got, err := call(t.Context(), r.as(t, "friend"), "x"); err != nil || got != "service friend" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestAPolicyThatMakesNoSenseIsRefused(t *testing.T) {
	for name, r := range map[string]rpc.Rule{
		"nobody":                      {},
		"public and for some":         {Public: true, Roles: []rpc.Role{rpc.RoleOperator}},
		"public with a scope":         {Public: true, Scope: "x"},
		"unknown role":                {Roles: []rpc.Role{"root"}},
		"service without a name":      {Roles: []rpc.Role{rpc.RoleService}},
		"names without role service":  {Roles: []rpc.Role{rpc.RoleOperator}, Services: []string{"friend"}},
		"a scope that nobody can use": {Roles: []rpc.Role{rpc.RoleOperator}, Scope: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rpc.NewServer(rpc.ServerConfig{Policy: rpc.Policy{"/a.B/C": r}})
			if err == nil || !strings.Contains(err.Error(), "/a.B/C") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCallerInAContextAndInALog(t *testing.T) {
	want := rpc.Caller{Role: rpc.RoleTerminal, ID: "t", Merchant: "merchants/m", Terminal: "terminals/1", Mode: "test", Scopes: []string{"a"}}
	if diff := cmp.Diff(want, rpc.CallerFrom(rpc.WithCaller(t.Context(), want))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(rpc.Caller{}, rpc.CallerFrom(t.Context())); diff != "" {
		t.Errorf("an empty context has a caller: %s", diff)
	}
	if got := want.String(); got != "terminal t merchant=merchants/m terminal=terminals/1 mode=test" {
		t.Errorf("got %q", got)
	}
	if !want.HasScope("a") || want.HasScope("b") {
		t.Error("scopes")
	}
}
