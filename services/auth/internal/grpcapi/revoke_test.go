package grpcapi_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/grpcapi"
)

// void checks that the bearer is refused because the token was taken back, a second after it was.
func (f *fixture) void(bearer authv1.AuthServiceClient, what string) {
	f.t.Helper()
	f.clock.Advance(time.Second)
	_, err := bearer.GetPartner(f.t.Context(), &authv1.GetPartnerRequest{Name: "partners/acme"})
	if e, ok := fault.As(err); !ok || e.Reason != rpc.ReasonCallerUnknown || e.Meta["token"] != "revoked" {
		f.t.Errorf("after %s: %v", what, err)
	}
}

func (f *fixture) works(bearer authv1.AuthServiceClient, what string) {
	f.t.Helper()
	f.clock.Advance(time.Second)
	if _, err := bearer.GetPartner(f.t.Context(), &authv1.GetPartnerRequest{Name: "partners/acme"}); err != nil {
		f.t.Errorf("after %s: %v", what, err)
	}
}

func TestWhatIsTakenBackVoidsItsTokensAndNoOthers(t *testing.T) {
	f := newFixture(t)
	c, ctx := f.partner("acme", "devices.read", "payments.read"), t.Context()
	globex := f.partner("globex")
	op := f.asOperator()
	const grant = "partners/acme/grants/devices.read"
	fresh := func() authv1.AuthServiceClient { return f.as(f.tokenOf(c)) }
	refused := func(what string) {
		t.Helper()
		if a := f.post(form(c.assertion(f, nil))); a.Status != http.StatusUnauthorized || a.Error != "invalid_client" {
			t.Errorf("%s: %+v", what, a)
		}
	}

	token := fresh()
	f.works(token, "nothing")
	_, err := op.SuspendGrant(ctx, &authv1.SuspendGrantRequest{Name: grant, Note: "odd calls", RequestId: f.requestID()})
	must(t, err)
	f.void(token, "suspending its grant")
	a := f.post(form(c.assertion(f, nil)))
	if a.Scope != "payments.read" {
		t.Errorf("with a suspended grant the scopes are %q", a.Scope)
	}
	token = f.as(a.Token)
	_, err = op.ApproveGrant(ctx, &authv1.ApproveGrantRequest{Name: grant, Limits: &authv1.GrantLimits{CallsPerMinute: 60}, RequestId: f.requestID()})
	must(t, err)
	f.works(token, "approving a grant that it does not rest on")
	token = fresh()
	_, err = op.RevokeGrant(ctx, &authv1.RevokeGrantRequest{Name: grant, RequestId: f.requestID()})
	must(t, err)
	f.void(token, "revoking its grant")

	token = fresh()
	_, err = op.SuspendClient(ctx, &authv1.SuspendClientRequest{Name: "clients/" + c.id, RequestId: f.requestID()})
	must(t, err)
	f.void(token, "suspending the client")
	refused("a suspended client")
	_, err = op.ResumeClient(ctx, &authv1.ResumeClientRequest{Name: "clients/" + c.id, RequestId: f.requestID()})
	must(t, err)
	token = fresh()
	f.works(token, "resuming the client")

	_, err = op.SuspendPartner(ctx, &authv1.SuspendPartnerRequest{Name: "partners/acme", RequestId: f.requestID()})
	must(t, err)
	f.void(token, "suspending the partner")
	refused("a suspended partner's client")
	p, err := op.ResumePartner(ctx, &authv1.ResumePartnerRequest{Name: "partners/acme", RequestId: f.requestID()})
	must(t, err)
	if p.GetState() != authv1.PartnerState_PARTNER_STATE_ACTIVE {
		t.Errorf("resumed: %v", p)
	}

	token = fresh()
	_, err = f.as(f.tokenOf(globex)).RevokeClient(ctx, &authv1.RevokeClientRequest{Name: "clients/" + c.id, RequestId: f.requestID()})
	want(t, err, fault.NotFound, "CLIENT_NOT_FOUND")
	gone, err := token.RevokeClient(ctx, &authv1.RevokeClientRequest{Name: "clients/" + c.id, Note: "leaked", RequestId: f.requestID()})
	must(t, err)
	if gone.GetState() != authv1.ClientState_CLIENT_STATE_REVOKED {
		t.Errorf("revoked: %v", gone)
	}
	f.void(token, "revoking the client")
	refused("a revoked client")
	_, err = op.ResumeClient(ctx, &authv1.ResumeClientRequest{Name: "clients/" + c.id, RequestId: f.requestID()})
	want(t, err, fault.FailedPrecondition, "CLIENT_REVOKED")
}

func TestSessionsEndWhenTheyAreRevoked(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	op, ctx := f.asOperator(), t.Context()
	session := func(account string) (*authv1.Session, authv1.AuthServiceClient) {
		s, err := op.CreateWearerSession(ctx, &authv1.CreateWearerSessionRequest{Account: "accounts/" + account})
		must(t, err)
		return s, f.as(s.GetAccessToken())
	}
	b := f.band(1)
	begin := func(w authv1.AuthServiceClient) error {
		f.clock.Advance(time.Second)
		_, err := w.BeginClaim(ctx, &authv1.BeginClaimRequest{Uid: b.UID.String(), RequestId: f.requestID()})
		return err
	}
	phone, onPhone := session("ann")
	_, onTablet := session("ann")
	_, eve := session("eve")
	_, err := op.RevokeSessions(ctx, &authv1.RevokeSessionsRequest{
		Subject: &authv1.RevokeSessionsRequest_Session{Session: phone.GetName()}, RequestId: f.requestID(),
	})
	must(t, err)
	want(t, begin(onPhone), fault.Unauthenticated, "CALLER_UNKNOWN")
	must(t, begin(onTablet))
	all := &authv1.RevokeSessionsRequest{Subject: &authv1.RevokeSessionsRequest_Account{Account: "accounts/ann"}, RequestId: "all"}
	_, err = eve.RevokeSessions(ctx, all)
	want(t, err, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	first, err := onTablet.RevokeSessions(ctx, all)
	must(t, err)
	want(t, begin(onTablet), fault.Unauthenticated, "CALLER_UNKNOWN")
	must(t, begin(eve))
	_, again := session("ann")
	must(t, begin(again)) // a new login is not affected, nor does repeating the request reach it
	repeated, err := again.RevokeSessions(ctx, all)
	must(t, err)
	if !repeated.GetRevokeTime().AsTime().Equal(first.GetRevokeTime().AsTime()) {
		t.Error("a repeated request revoked again")
	}
	must(t, begin(again))
	till := f.terminal()
	_, err = op.RevokeSessions(ctx, &authv1.RevokeSessionsRequest{
		Subject: &authv1.RevokeSessionsRequest_Terminal{Terminal: "terminals/00000000000000aa"}, RequestId: f.requestID(),
	})
	must(t, err)
	f.void(till, "revoking the terminal's sessions")
	_, err = op.RevokeSessions(ctx, &authv1.RevokeSessionsRequest{RequestId: f.requestID()})
	want(t, err, fault.Invalid, "INVALID_FIELD")
}

func TestAClientsKeysAreRotatedWithoutAGap(t *testing.T) {
	f := newFixture(t)
	c, ctx := f.partner("acme"), t.Context()
	token := f.as(f.tokenOf(c))
	next := newClient(t, c.id)
	add := &authv1.AddClientKeyRequest{Name: "clients/" + c.id, PublicJwk: next.public(t), RequestId: "add"}
	two, err := token.AddClientKey(ctx, add)
	must(t, err)
	same, err := token.AddClientKey(ctx, add)
	must(t, err)
	if len(two.GetKeys()) != 2 || two.GetRevision() != 2 || same.GetRevision() != 2 {
		t.Fatalf("added: %v", two)
	}
	f.tokenOf(c)
	f.tokenOf(next)
	add.RequestId = "again"
	_, err = token.AddClientKey(ctx, add)
	want(t, err, fault.AlreadyExists, "KEY_EXISTS")
	add.PublicJwk = `{"kty":"oct","k":"c2VjcmV0"}`
	_, err = token.AddClientKey(ctx, add)
	want(t, err, fault.Invalid, "KEY_INVALID")
	old := two.GetKeys()[0].GetKeyId()
	if old == two.GetKeys()[1].GetKeyId() {
		t.Fatal("two keys have one name")
	}
	_, err = token.RemoveClientKey(ctx, &authv1.RemoveClientKeyRequest{Name: "clients/" + c.id, KeyId: strings.Repeat("A", 43), RequestId: f.requestID()})
	want(t, err, fault.NotFound, "KEY_NOT_FOUND")
	_, err = token.RemoveClientKey(ctx, &authv1.RemoveClientKeyRequest{Name: "clients/" + c.id, KeyId: old, RequestId: f.requestID()})
	must(t, err)
	f.void(token, "removing a key")
	if a := f.post(form(c.assertion(f, nil))); a.Error != "invalid_client" {
		t.Errorf("a removed key still works: %+v", a)
	}
	token = f.as(f.tokenOf(next))
	_, err = token.RemoveClientKey(ctx, &authv1.RemoveClientKeyRequest{
		Name: "clients/" + c.id, KeyId: two.GetKeys()[1].GetKeyId(), RequestId: f.requestID(),
	})
	want(t, err, fault.FailedPrecondition, "LAST_KEY")
	for range 4 {
		_, err = token.AddClientKey(ctx, &authv1.AddClientKeyRequest{Name: "clients/" + c.id, PublicJwk: newClient(t, "x").public(t), RequestId: f.requestID()})
		must(t, err)
	}
	_, err = token.AddClientKey(ctx, &authv1.AddClientKeyRequest{Name: "clients/" + c.id, PublicJwk: newClient(t, "x").public(t), RequestId: f.requestID()})
	want(t, err, fault.FailedPrecondition, "KEY_LIMIT_REACHED")
	_, err = f.asOperator().AddClientKey(ctx, &authv1.AddClientKeyRequest{Name: "clients/nobody", PublicJwk: next.public(t), RequestId: f.requestID()})
	want(t, err, fault.NotFound, "CLIENT_NOT_FOUND")
}

func TestAGrantIsAskedForTriedAndApproved(t *testing.T) {
	f := newFixture(t)
	c, ctx, op := f.partner("acme"), t.Context(), f.asOperator()
	trial := newClient(t, "acme-trial")
	_, err := op.CreateClient(ctx, &authv1.CreateClientRequest{
		ClientId: trial.id, Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: "partners/acme", PublicJwk: trial.public(t),
		Mode: typev1.Mode_MODE_TEST, RequestId: f.requestID(),
	})
	must(t, err)
	scopes := func() [2]string {
		return [2]string{f.post(form(c.assertion(f, nil))).Scope, f.post(form(trial.assertion(f, nil))).Scope}
	}
	const name = "partners/acme/grants/vouchers.issue"
	acme := f.as(f.tokenOf(c))
	g, err := acme.CreateGrant(ctx, &authv1.CreateGrantRequest{
		Parent: "partners/acme", Scope: "vouchers.issue", State: authv1.GrantState_GRANT_STATE_APPROVED, RequestId: f.requestID(),
	})
	must(t, err)
	if g.GetState() != authv1.GrantState_GRANT_STATE_REQUESTED {
		t.Fatalf("a partner granted itself %v", g)
	}
	if got := scopes(); got != [2]string{} {
		t.Errorf("a request is in force: %v", got)
	}
	_, err = acme.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: "partners/globex", Scope: "vouchers.issue", RequestId: f.requestID()})
	want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
	_, err = acme.ApproveGrant(ctx, &authv1.ApproveGrantRequest{Name: name, RequestId: f.requestID()})
	want(t, err, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	_, err = op.SuspendGrant(ctx, &authv1.SuspendGrantRequest{Name: name, RequestId: f.requestID()})
	want(t, err, fault.FailedPrecondition, "ILLEGAL_TRANSITION")
	_, err = op.ApproveGrant(ctx, &authv1.ApproveGrantRequest{Name: name, State: authv1.GrantState_GRANT_STATE_SANDBOX, RequestId: f.requestID()})
	must(t, err)
	if got := scopes(); got != [2]string{"", "vouchers.issue"} {
		t.Errorf("in the sandbox: %v", got)
	}
	_, err = op.ApproveGrant(ctx, &authv1.ApproveGrantRequest{Name: name, RequestId: f.requestID()})
	must(t, err)
	if got := scopes(); got != [2]string{"vouchers.issue", "vouchers.issue"} {
		t.Errorf("approved: %v", got)
	}
	_, err = op.ApproveGrant(ctx, &authv1.ApproveGrantRequest{Name: name, State: authv1.GrantState_GRANT_STATE_SANDBOX, RequestId: f.requestID()})
	want(t, err, fault.FailedPrecondition, "ILLEGAL_TRANSITION")
	got, err := f.asService("notify").GetGrant(ctx, &authv1.GetGrantRequest{Name: name})
	must(t, err)
	if got.GetRevision() != 3 || got.GetState() != authv1.GrantState_GRANT_STATE_APPROVED {
		t.Errorf("read: %v", got)
	}
	_, err = f.as(f.tokenOf(f.partner("globex"))).GetGrant(ctx, &authv1.GetGrantRequest{Name: name})
	want(t, err, fault.NotFound, "GRANT_NOT_FOUND")
	_, err = op.ApproveGrant(ctx, &authv1.ApproveGrantRequest{Name: "partners/acme/grants/devices.read", RequestId: f.requestID()})
	want(t, err, fault.NotFound, "GRANT_NOT_FOUND")
}

func TestAGrantOfPaymentsIsBoundedByAmounts(t *testing.T) {
	f := newFixture(t)
	c, ctx, op := f.partner("acme"), t.Context(), f.asOperator()
	limits := func(money ...*typev1.Money) *authv1.GrantLimits {
		return &authv1.GrantLimits{CallsPerMinute: 9, MaxAmounts: money}
	}
	cny := func(minor int64) *typev1.Money { return &typev1.Money{MinorUnits: minor, CurrencyCode: "CNY"} }
	create := func(scope string, l *authv1.GrantLimits) (*authv1.Grant, error) {
		return op.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: "partners/acme", Scope: scope, Limits: l, RequestId: f.requestID()})
	}
	for what, c := range map[string]struct {
		scope string
		l     *authv1.GrantLimits
	}{
		"of another scope": {"payments.read", limits(cny(1))}, "nothing": {"payments.initiate", limits(cny(0))},
		"twice": {"payments.initiate", limits(cny(1), cny(2))}, "in no currency": {"payments.initiate", limits(&typev1.Money{MinorUnits: 1})},
	} {
		_, err := create(c.scope, c.l)
		if e, ok := fault.As(err); !ok || e.Kind != fault.Invalid || !strings.HasPrefix(e.Field, "limits.max_amounts") {
			t.Errorf("%s: %v", what, err)
		}
	}
	g, err := create("payments.initiate", limits(&typev1.Money{MinorUnits: 7, CurrencyCode: "EUR"}, cny(500)))
	must(t, err)
	amounts := func() any { return payloadOf(t, f.tokenOf(c))["amounts"] }
	wanted := map[string]any{"payments.initiate": map[string]any{"CNY": 500.0, "EUR": 7.0}}
	if diff := cmp.Diff(wanted, amounts()); diff != "" || len(g.GetLimits().GetMaxAmounts()) != 2 {
		t.Errorf("%v: %s", g, diff)
	}
	before := f.tokenOf(c)
	g, err = op.ApproveGrant(ctx, &authv1.ApproveGrantRequest{Name: g.GetName(), Limits: limits(cny(300)), RequestId: f.requestID()})
	must(t, err)
	f.clock.Advance(time.Second)
	if diff := cmp.Diff(map[string]any{"payments.initiate": map[string]any{"CNY": 300.0}}, amounts()); diff != "" || g.GetRevision() != 2 {
		t.Errorf("%v: %s", g, diff)
	}
	_, err = f.as(before).GetPartner(ctx, &authv1.GetPartnerRequest{Name: "partners/acme"})
	want(t, err, fault.Unauthenticated, "CALLER_UNKNOWN")
	if kept, err := op.GetGrant(ctx, &authv1.GetGrantRequest{Name: g.GetName()}); err != nil || !proto.Equal(kept, g) {
		t.Errorf("%v, %v", kept, err)
	}
}

func TestEveryDecisionAboutWhoMayWhatIsOnRecord(t *testing.T) {
	f := newFixture(t)
	c, ctx, op := f.partner("acme", "devices.read"), t.Context(), f.asOperator()
	_, err := op.RevokeGrant(ctx, &authv1.RevokeGrantRequest{Name: "partners/acme/grants/devices.read", RequestId: f.requestID()})
	must(t, err)
	_, err = op.SuspendClient(ctx, &authv1.SuspendClientRequest{Name: "clients/" + c.id, Note: "leaked?", RequestId: f.requestID()})
	must(t, err)
	list, err := op.ListAuditEntries(ctx, &authv1.ListAuditEntriesRequest{})
	must(t, err)
	var got []string
	for _, e := range list.GetAuditEntries() {
		got = append(got, e.GetActor()+" "+e.GetAction()+" "+e.GetSubject()+" "+e.GetDetail())
	}
	wanted := []string{
		"operator/operator partner.created partners/acme ", "operator/operator client.created clients/acme-backend role partner acme",
		"operator/operator grant.approved partners/acme/grants/devices.read ", "operator/operator grant.revoked partners/acme/grants/devices.read ",
		"operator/operator client.suspended clients/acme-backend leaked?",
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Error(diff)
	}
	about, err := op.ListAuditEntries(ctx, &authv1.ListAuditEntriesRequest{Subject: "clients/acme-backend", AfterSequence: 2})
	must(t, err)
	if len(about.GetAuditEntries()) != 1 || about.GetAuditEntries()[0].GetSequence() != 5 {
		t.Errorf("about the client: %v", about)
	}
	ok, err := op.VerifyAudit(ctx, &authv1.VerifyAuditRequest{})
	must(t, err)
	if !ok.GetIntact() || ok.GetLastSequence() != 5 {
		t.Errorf("untouched: %v", ok)
	}
	for statement, at := range map[string]int64{
		`UPDATE audit_entries SET detail = 'x' WHERE sequence = 3`: 3,
		`DELETE FROM audit_entries WHERE sequence = 5`:             5,
	} {
		f.exec(statement)
		broken, err := op.VerifyAudit(ctx, &authv1.VerifyAuditRequest{})
		must(t, err)
		if broken.GetIntact() || broken.GetBrokenAt() == 0 || broken.GetBrokenAt() > at {
			t.Errorf("%s: %v", statement, broken)
		}
	}
}

func TestSessionsAndRefusedTokensAreOnRecord(t *testing.T) {
	f := newFixture(t)
	c, ctx, op := f.partner("acme", "devices.read"), t.Context(), f.asOperator()
	head, err := op.VerifyAudit(ctx, &authv1.VerifyAuditRequest{})
	must(t, err)
	session, err := op.CreateWearerSession(ctx, &authv1.CreateWearerSessionRequest{Account: "accounts/ann"})
	must(t, err)
	f.terminal()
	stranger := newClient(t, "nobody")
	thief := newClient(t, c.id) // with a key of its own
	for range 3 {
		f.post(form(thief.assertion(f, nil)))
		f.post(form(stranger.assertion(f, nil)))
	}
	bad := form(c.assertion(f, nil))
	bad.Set("scope", "payments.read")
	f.post(bad)
	must(t, f.store.RecordAudit(ctx, f.clock.Now(), f.endpoint.Refused()...))
	must(t, f.store.RecordAudit(ctx, f.clock.Now(), f.endpoint.Refused()...)) // nothing is left
	list, err := op.ListAuditEntries(ctx, &authv1.ListAuditEntriesRequest{AfterSequence: head.GetLastSequence()})
	must(t, err)
	var got []string
	for _, e := range list.GetAuditEntries() {
		got = append(got, e.GetActor()+" "+e.GetAction()+" "+e.GetSubject()+" "+e.GetDetail())
		if strings.Contains(e.GetDetail(), session.GetAccessToken()) {
			t.Error("the record holds a token")
		}
	}
	wanted := []string{
		"operator/operator session.created accounts/ann " + session.GetName(), "operator/operator session.created terminals/00000000000000aa",
		"auth token.refused clients/- 3 × INVALID_CLIENT", "auth token.refused clients/acme-backend 1 × INVALID_SCOPE",
		"auth token.refused clients/acme-backend 3 × INVALID_CLIENT",
	}
	if len(got) == len(wanted) {
		got[1] = got[1][:strings.LastIndexByte(got[1], ' ')]
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Error(diff)
	}
	if ok, err := op.VerifyAudit(ctx, &authv1.VerifyAuditRequest{}); err != nil || !ok.GetIntact() {
		t.Errorf("%v, %v", ok, err)
	}
}

func (f *fixture) exec(statement string) {
	f.t.Helper()
	must(f.t, f.db.InTx(f.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	}))
}

func TestATerminalHasACredentialOfItsOwn(t *testing.T) {
	f := newFixture(t)
	ctx, op, till := t.Context(), f.asOperator(), newClient(t, "till-1")
	in := &authv1.CreateClientRequest{
		ClientId: till.id, Role: authv1.ClientRole_CLIENT_ROLE_TERMINAL, PublicJwk: till.public(t), RequestId: f.requestID(),
		Merchant: "merchants/01020304-0506-4708-890a-0b0c0d0e0f10", Terminal: "terminals/00000000000000aa",
	}
	_, err := op.CreateClient(ctx, in)
	must(t, err)
	claims := payloadOf(t, f.tokenOf(till))
	if claims["role"] != "terminal" || claims["terminal"] != "00000000000000aa" || claims["merchant"] != "01020304-0506-4708-890a-0b0c0d0e0f10" || claims["client_id"] != "till-1" {
		t.Errorf("claims %v", claims)
	}
	for name, change := range map[string]func(in *authv1.CreateClientRequest){
		"no merchant":          func(in *authv1.CreateClientRequest) { in.Merchant = "" },
		"no terminal":          func(in *authv1.CreateClientRequest) { in.Terminal = "" },
		"a partner":            func(in *authv1.CreateClientRequest) { in.Partner = "partners/acme" },
		"an operator's role":   func(in *authv1.CreateClientRequest) { in.OperatorRole = authv1.OperatorRole_OPERATOR_ROLE_SUPPORT },
		"operator's at a till": func(in *authv1.CreateClientRequest) { in.Role = authv1.ClientRole_CLIENT_ROLE_OPERATOR },
		"test mode":            func(in *authv1.CreateClientRequest) { in.Mode = typev1.Mode_MODE_TEST },
	} {
		bad := &authv1.CreateClientRequest{
			ClientId: "till-2", Role: in.GetRole(), PublicJwk: in.GetPublicJwk(), Merchant: in.GetMerchant(), Terminal: in.GetTerminal(), RequestId: f.requestID(),
		}
		change(bad)
		if _, err := op.CreateClient(ctx, bad); fault.ReasonOf(err) != "INVALID_FIELD" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSixtyFourCallersWithOneAssertionGetOneToken(t *testing.T) {
	f := newFixture(t)
	c := f.partner("acme")
	text := c.assertion(f, nil)
	var tokens atomic.Int32
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			resp, err := http.PostForm(f.http.URL+grpcapi.TokenPath, form(text))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				tokens.Add(1)
			}
		})
	}
	wg.Wait()
	if tokens.Load() != 1 {
		t.Errorf("%d tokens", tokens.Load())
	}
}

func TestAClientAuthenticatesWithItsCertificate(t *testing.T) {
	f := newFixture(t)
	ctx, op, ca := t.Context(), f.asOperator(), testkit.PKI(t)
	f.partner("acme")
	for _, id := range []string{"acme-tls", "acme-other"} {
		_, err := op.CreateClient(ctx, &authv1.CreateClientRequest{
			ClientId: id, Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: "partners/acme", TlsClientAuth: true, RequestId: f.requestID(),
		})
		must(t, err)
	}
	cert, key := ca.Service("auth")
	serverTLS, err := rpc.ServerTLS(cert, key, ca.File)
	must(t, err)
	srv := httptest.NewUnstartedServer(f.http.Config.Handler)
	srv.TLS = serverTLS
	srv.StartTLS()
	t.Cleanup(srv.Close)
	spiffe := func(path string) *url.URL { return &url.URL{Scheme: "spiffe", Host: "armlet", Path: path} }
	ask := func(uri *url.URL, extra url.Values) (answer, string) {
		cfg, err := rpc.ClientTLS("", "", ca.File)
		must(t, err)
		thumb := ""
		if uri != nil {
			c, k := ca.Leaf("client", uri)
			cfg, err = rpc.ClientTLS(c, k, ca.File)
			must(t, err)
			pair, err := tls.LoadX509KeyPair(c, k)
			must(t, err)
			thumb = rpc.Thumbprint(pair.Leaf)
		}
		values := url.Values{"grant_type": {"client_credentials"}}
		for k, v := range extra {
			values[k] = v
		}
		resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}).PostForm(srv.URL+grpcapi.TokenPath, values)
		must(t, err)
		defer resp.Body.Close()
		a := answer{Status: resp.StatusCode}
		must(t, json.NewDecoder(resp.Body).Decode(&a))
		return a, thumb
	}
	a, thumb := ask(spiffe("/client/acme-tls"), url.Values{"client_id": {"acme-tls"}})
	if a.Status != http.StatusOK {
		t.Fatalf("refused: %+v", a)
	}
	cnf, ok := payloadOf(t, a.Token)["cnf"].(map[string]any)
	if !ok || cnf["x5t#S256"] != thumb {
		t.Errorf("the token is bound to %v, want %s", cnf, thumb)
	}
	// Without the certificate, as over the in-memory connection here, the token is worth nothing.
	_, err = f.as(a.Token).GetPartner(ctx, &authv1.GetPartnerRequest{Name: "partners/acme"})
	if e, ok := fault.As(err); !ok || e.Meta["token"] != "unbound" {
		t.Errorf("a stolen token: %v", err)
	}
	for name, c := range map[string]struct {
		uri  *url.URL
		form url.Values
	}{
		"no client_id":                {spiffe("/client/acme-tls"), nil},
		"another client's id":         {spiffe("/client/acme-tls"), url.Values{"client_id": {"acme-other"}}},
		"no certificate":              {nil, url.Values{"client_id": {"acme-tls"}}},
		"a service's certificate":     {spiffe("/service/payments"), url.Values{"client_id": {"payments"}}},
		"a client that uses keys":     {spiffe("/client/acme-backend"), url.Values{"client_id": {"acme-backend"}}},
		"a client that is not there":  {spiffe("/client/nobody"), url.Values{"client_id": {"nobody"}}},
		"an assertion that is broken": {spiffe("/client/acme-tls"), url.Values{"client_id": {"acme-tls"}, "client_assertion": {"x"}}},
	} {
		if a, _ := ask(c.uri, c.form); a.Status != http.StatusUnauthorized || a.Error != "invalid_client" {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestPartnersAndClientsAreListedPageByPage(t *testing.T) {
	f := newFixture(t)
	ctx, op := t.Context(), f.asOperator()
	acme, _, _ := f.partner("acme"), f.partner("globex"), f.partner("initech")
	var partners, clients []string
	for token := ""; ; {
		page, err := op.ListPartners(ctx, &authv1.ListPartnersRequest{PageSize: 2, PageToken: token})
		must(t, err)
		for _, p := range page.GetPartners() {
			partners = append(partners, p.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	for token := ""; ; {
		page, err := op.ListClients(ctx, &authv1.ListClientsRequest{Parent: "partners/-", PageSize: 1, PageToken: token})
		must(t, err)
		for _, c := range page.GetClients() {
			clients = append(clients, c.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"partners/acme", "partners/globex", "partners/initech"}, partners); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"clients/acme-backend", "clients/globex-backend", "clients/initech-backend", "clients/operator"}, clients); diff != "" {
		t.Error(diff)
	}
	self := f.as(f.tokenOf(acme))
	own, err := self.ListClients(ctx, &authv1.ListClientsRequest{Parent: "partners/acme"})
	must(t, err)
	if len(own.GetClients()) != 1 {
		t.Errorf("its own: %v", own)
	}
	for _, parent := range []string{"partners/-", "partners/globex"} {
		_, err = self.ListClients(ctx, &authv1.ListClientsRequest{Parent: parent})
		want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
	}
	_, err = self.GetClient(ctx, &authv1.GetClientRequest{Name: "clients/globex-backend"})
	want(t, err, fault.NotFound, "CLIENT_NOT_FOUND")
	_, err = op.ListClients(ctx, &authv1.ListClientsRequest{Parent: "partners/nobody"})
	want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
	_, err = op.SuspendPartner(ctx, &authv1.SuspendPartnerRequest{Name: "partners/nobody", RequestId: f.requestID()})
	want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
}

func (f *fixture) count(query string) (n int) {
	f.t.Helper()
	must(f.t, f.db.QueryRowContext(f.t.Context(), query).Scan(&n))
	return n
}

func TestAnOffboardedPartnerIsGoneForGoodWithAllItActsWith(t *testing.T) {
	f := newFixture(t)
	op, ctx := f.as(f.tokenOf(f.operator)), t.Context()
	acme, globex := f.partner("acme", "payments.read", "devices.read"), f.partner("globex", "payments.read")
	token, other := f.as(f.tokenOf(acme)), f.as(f.tokenOf(globex))
	f.works(token, "nothing")
	_, err := token.OffboardPartner(ctx, &authv1.OffboardPartnerRequest{Name: "partners/acme", RequestId: f.requestID()})
	want(t, err, fault.PermissionDenied, rpc.ReasonCallerNotAllowed)
	request := &authv1.OffboardPartnerRequest{Name: "partners/acme", Note: "contract ended", RequestId: f.requestID()}
	for range 2 { // the same request, and then another one
		for range 2 {
			p, err := op.OffboardPartner(ctx, request)
			must(t, err)
			if p.GetState() != authv1.PartnerState_PARTNER_STATE_OFFBOARDED {
				t.Errorf("offboarded: %v", p)
			}
		}
		request.RequestId = f.requestID()
	}
	f.void(token, "offboarding the partner")
	_, err = other.GetPartner(ctx, &authv1.GetPartnerRequest{Name: "partners/globex"})
	must(t, err)
	if f.count(`SELECT COUNT(*) FROM outbox WHERE subject = 'evt.v1.live.auth.partner.offboarded.acme.acme'`) != 1 {
		t.Error("it is not told once")
	}
	if f.count(`SELECT COUNT(*) FROM outbox WHERE seq > (SELECT seq FROM outbox WHERE subject LIKE '%partner.offboarded%') AND subject LIKE '%.acme.%'`) != 0 {
		t.Error("something about the partner is told behind its end")
	}
	clients, err := op.ListClients(ctx, &authv1.ListClientsRequest{Parent: "partners/acme"})
	must(t, err)
	for _, c := range clients.GetClients() {
		if c.GetState() != authv1.ClientState_CLIENT_STATE_REVOKED {
			t.Errorf("%s is %s", c.GetName(), c.GetState())
		}
	}
	grants, err := op.ListGrants(ctx, &authv1.ListGrantsRequest{Parent: "partners/acme"})
	must(t, err)
	for _, g := range grants.GetGrants() {
		if g.GetState() != authv1.GrantState_GRANT_STATE_REVOKED {
			t.Errorf("%s is %s", g.GetName(), g.GetState())
		}
	}
	if len(clients.GetClients()) != 1 || len(grants.GetGrants()) != 2 {
		t.Errorf("%v, %v", clients, grants)
	}
	for what, call := range map[string]func() error{
		"resumed": func() error {
			_, err := op.ResumePartner(ctx, &authv1.ResumePartnerRequest{Name: "partners/acme", RequestId: f.requestID()})
			return err
		},
		"suspended": func() error {
			_, err := op.SuspendPartner(ctx, &authv1.SuspendPartnerRequest{Name: "partners/acme", RequestId: f.requestID()})
			return err
		},
		"given a client": func() error {
			_, err := op.CreateClient(ctx, &authv1.CreateClientRequest{
				ClientId: "acme-2", Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: "partners/acme", PublicJwk: newClient(t, "acme-2").public(t), RequestId: f.requestID(),
			})
			return err
		},
		"given a grant": func() error {
			_, err := op.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: "partners/acme", Scope: "payments.read", RequestId: f.requestID()})
			return err
		},
		"given a bundle": func() error {
			_, err := op.ApplyGrantBundle(ctx, &authv1.ApplyGrantBundleRequest{
				Parent: "partners/acme", Bundle: authv1.GrantBundle_GRANT_BUNDLE_BASIC, RequestId: f.requestID(),
			})
			return err
		},
	} {
		if err := call(); fault.KindOf(err) != fault.FailedPrecondition || fault.ReasonOf(err) != "PARTNER_OFFBOARDED" {
			t.Errorf("it is %s: %v", what, err)
		}
	}
	_, err = op.CreatePartner(ctx, &authv1.CreatePartnerRequest{PartnerId: "acme", DisplayName: "Acme", RequestId: f.requestID()})
	want(t, err, fault.AlreadyExists, "PARTNER_EXISTS")
	_, err = op.OffboardPartner(ctx, &authv1.OffboardPartnerRequest{Name: "partners/nobody", RequestId: f.requestID()})
	want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
	audit, err := op.ListAuditEntries(ctx, &authv1.ListAuditEntriesRequest{Subject: "partners/acme", PageSize: 100})
	must(t, err)
	last := audit.GetAuditEntries()[len(audit.GetAuditEntries())-1]
	if last.GetAction() != "partner.offboarded" || last.GetDetail() != "contract ended" {
		t.Errorf("the last entry is %v", last)
	}
}
