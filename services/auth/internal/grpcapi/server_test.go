package grpcapi_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

func TestAPartnerIsRegisteredAndReadsItself(t *testing.T) {
	f := newFixture(t)
	op, ctx := f.asOperator(), t.Context()
	in := &authv1.CreatePartnerRequest{PartnerId: "acme", DisplayName: "Acme Bands", RequestId: "one"}
	p, err := op.CreatePartner(ctx, in)
	must(t, err)
	wanted := &authv1.Partner{Name: "partners/acme", DisplayName: "Acme Bands", PartnerNo: 1, KeyEpoch: 1, CreateTime: timestamppb.New(start), State: authv1.PartnerState_PARTNER_STATE_ACTIVE}
	if diff := cmp.Diff(wanted, p, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	again, err := op.CreatePartner(ctx, in)
	must(t, err)
	if diff := cmp.Diff(p, again, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	_, err = op.CreatePartner(ctx, &authv1.CreatePartnerRequest{PartnerId: "globex", DisplayName: "Globex", RequestId: "one"})
	want(t, err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	_, err = op.CreatePartner(ctx, &authv1.CreatePartnerRequest{PartnerId: "acme", DisplayName: "Acme Bands", RequestId: "two"})
	want(t, err, fault.AlreadyExists, "PARTNER_EXISTS")
	_, err = op.CreatePartner(ctx, &authv1.CreatePartnerRequest{PartnerId: "Not.An.Id", DisplayName: "x", RequestId: "three"})
	want(t, err, fault.Invalid, "INVALID_FIELD")

	globex := f.as(f.tokenOf(f.partner("globex")))
	_, err = globex.GetPartner(ctx, &authv1.GetPartnerRequest{Name: "partners/globex"})
	must(t, err)
	for _, name := range []string{"partners/acme", "partners/nobody"} {
		_, err = globex.GetPartner(ctx, &authv1.GetPartnerRequest{Name: name})
		want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
		_, err = globex.ListGrants(ctx, &authv1.ListGrantsRequest{Parent: name})
		want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
	}
	_, err = op.GetPartner(ctx, &authv1.GetPartnerRequest{Name: "partners/nobody"})
	want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
}

func TestAClientIsRegisteredByItsPublicKey(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	op, ctx := f.asOperator(), t.Context()
	c := newClient(t, "second")
	private, err := c.private.MarshalJSON()
	must(t, err)
	request := func(change func(in *authv1.CreateClientRequest)) *authv1.CreateClientRequest {
		in := &authv1.CreateClientRequest{
			ClientId: "second", Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: "partners/acme", PublicJwk: c.public(t),
			Mode: typev1.Mode_MODE_TEST, RequestId: f.requestID(),
		}
		change(in)
		return in
	}
	for name, x := range map[string]struct {
		change func(in *authv1.CreateClientRequest)
		kind   fault.Kind
		reason string
	}{
		"a private key":   {func(in *authv1.CreateClientRequest) { in.PublicJwk = string(private) }, fault.Invalid, "KEY_INVALID"},
		"a symmetric key": {func(in *authv1.CreateClientRequest) { in.PublicJwk = `{"kty":"oct","k":"c2VjcmV0"}` }, fault.Invalid, "KEY_INVALID"},
		"no key":          {func(in *authv1.CreateClientRequest) { in.PublicJwk = `{}` }, fault.Invalid, "KEY_INVALID"},
		"a point off the curve": {func(in *authv1.CreateClientRequest) {
			in.PublicJwk = `{"kty":"EC","crv":"P-256","x":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE","y":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}`
		}, fault.Invalid, "KEY_INVALID"},
		"a key for encryption": {func(in *authv1.CreateClientRequest) {
			in.PublicJwk = strings.Replace(c.public(t), `"use":"sig"`, `"use":"enc"`, 1)
		}, fault.Invalid, "KEY_INVALID"},
		"a key that only signs": {func(in *authv1.CreateClientRequest) {
			in.PublicJwk = strings.Replace(c.public(t), `{`, `{"key_ops":["sign"],`, 1)
		}, fault.Invalid, "KEY_INVALID"},
		"a key of another algorithm": {func(in *authv1.CreateClientRequest) {
			in.PublicJwk = strings.Replace(c.public(t), `"alg":"EdDSA"`, `"alg":"ES256"`, 1)
		}, fault.Invalid, "KEY_INVALID"},
		"an unknown partner":    {func(in *authv1.CreateClientRequest) { in.Partner = "partners/nobody" }, fault.NotFound, "PARTNER_NOT_FOUND"},
		"a partner's without":   {func(in *authv1.CreateClientRequest) { in.Partner = "" }, fault.Invalid, "INVALID_FIELD"},
		"an operator's with":    {func(in *authv1.CreateClientRequest) { in.Role = authv1.ClientRole_CLIENT_ROLE_OPERATOR }, fault.Invalid, "INVALID_FIELD"},
		"no role":               {func(in *authv1.CreateClientRequest) { in.Role = 0 }, fault.Invalid, "INVALID_FIELD"},
		"an id that is taken":   {func(in *authv1.CreateClientRequest) { in.ClientId = "acme-backend" }, fault.AlreadyExists, "CLIENT_EXISTS"},
		"the operator's own id": {func(in *authv1.CreateClientRequest) { in.ClientId = "operator" }, fault.AlreadyExists, "CLIENT_EXISTS"},
	} {
		_, err := op.CreateClient(ctx, request(x.change))
		if fault.KindOf(err) != x.kind || fault.ReasonOf(err) != x.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	in := request(func(*authv1.CreateClientRequest) {})
	for range 2 {
		got, err := op.CreateClient(ctx, in)
		must(t, err)
		if got.GetName() != "clients/second" || got.GetPartner() != "partners/acme" || got.GetMode() != typev1.Mode_MODE_TEST || strings.Contains(got.GetPublicJwk(), `"d"`) {
			t.Errorf("got %v", got)
		}
	}
	in.Mode = typev1.Mode_MODE_LIVE
	_, err = op.CreateClient(ctx, in)
	want(t, err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	if mode := payloadOf(t, f.tokenOf(c))["mode"]; mode != "test" {
		t.Errorf("the token's mode is %v", mode)
	}
}

func TestGrantsAreGivenListedAndTakenBack(t *testing.T) {
	f := newFixture(t)
	c := f.partner("acme", "vouchers.issue")
	op, ctx := f.asOperator(), t.Context()
	custom := &authv1.CreateGrantRequest{
		Parent: "partners/acme", Scope: "custom:acme/sleep-score", ExpireTime: timestamppb.New(start.Add(time.Hour)), RequestId: "g",
	}
	g, err := op.CreateGrant(ctx, custom)
	must(t, err)
	wanted := &authv1.Grant{
		Name: "partners/acme/grants/custom:acme/sleep-score", Scope: "custom:acme/sleep-score", State: authv1.GrantState_GRANT_STATE_APPROVED,
		ExpireTime: timestamppb.New(start.Add(time.Hour)), Revision: 1,
	}
	if diff := cmp.Diff(wanted, g, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	gone, err := op.RevokeGrant(ctx, &authv1.RevokeGrantRequest{Name: g.GetName(), RequestId: "r"})
	must(t, err)
	if gone.GetState() != authv1.GrantState_GRANT_STATE_REVOKED || gone.GetRevision() != 2 {
		t.Errorf("revoked: %v", gone)
	}
	list, err := f.as(f.tokenOf(c)).ListGrants(ctx, &authv1.ListGrantsRequest{Parent: "partners/acme"})
	must(t, err)
	fromService, err := f.asService("notify").ListGrants(ctx, &authv1.ListGrantsRequest{Parent: "partners/acme"})
	must(t, err)
	if len(list.GetGrants()) != 2 || list.GetGrants()[0].GetScope() != "custom:acme/sleep-score" || !cmp.Equal(list, fromService, protocmp.Transform()) {
		t.Errorf("listed: %v", list)
	}
	_, err = op.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: "partners/acme", Scope: "vouchers.issue", RequestId: "h"})
	want(t, err, fault.AlreadyExists, "GRANT_EXISTS")
	_, err = op.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: "partners/acme", Scope: "everything", RequestId: "i"})
	want(t, err, fault.Invalid, "INVALID_FIELD")
	_, err = op.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: "partners/nobody", Scope: "devices.read", RequestId: "j"})
	want(t, err, fault.NotFound, "PARTNER_NOT_FOUND")
	custom.Scope = "devices.read"
	_, err = op.CreateGrant(ctx, custom)
	want(t, err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	custom.RequestId, custom.ExpireTime = "k", &timestamppb.Timestamp{Nanos: -1}
	_, err = op.CreateGrant(ctx, custom)
	want(t, err, fault.Invalid, "INVALID_FIELD")
	for _, name := range []string{"partners/acme/grants/devices.read", "partners/nobody/grants/devices.read"} {
		_, err = op.RevokeGrant(ctx, &authv1.RevokeGrantRequest{Name: name, RequestId: f.requestID()})
		want(t, err, fault.NotFound, "GRANT_NOT_FOUND")
	}
	_, err = op.RevokeGrant(ctx, &authv1.RevokeGrantRequest{Name: "partners/acme/grants/vouchers.issue", RequestId: "r"})
	want(t, err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
}

func TestAMasterKeyIsExportedForItsFactoryAlone(t *testing.T) {
	f := newFixture(t)
	acme, globex := f.as(f.tokenOf(f.partner("acme", "devices.provision"))), f.as(f.tokenOf(f.partner("globex", "devices.provision")))
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	recipient, err := jose.JSONWebKey{Key: private.Public(), KeyID: "factory"}.MarshalJSON()
	must(t, err)
	in := &authv1.ExportMasterKeyRequest{Partner: "partners/acme", KeyEpoch: 1, RecipientJwk: string(recipient)}
	out, err := acme.ExportMasterKey(t.Context(), in)
	must(t, err)
	jwe, err := jose.ParseEncryptedCompact(out.GetJwe(), []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM})
	must(t, err)
	got, err := jwe.Decrypt(private)
	must(t, err)
	wanted, err := f.ring.Master(t.Context(), "acme", 1)
	must(t, err)
	if !bytes.Equal(got, wanted) {
		t.Error("the factory got another key")
	}
	another, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	if _, err := jwe.Decrypt(another); err == nil {
		t.Error("another factory can read it")
	}
	_, err = globex.ExportMasterKey(t.Context(), in)
	want(t, err, fault.NotFound, "MASTER_KEY_NOT_FOUND")
	in.KeyEpoch = 2
	_, err = acme.ExportMasterKey(t.Context(), in)
	want(t, err, fault.NotFound, "MASTER_KEY_NOT_FOUND")
	secret, err := jose.JSONWebKey{Key: private}.MarshalJSON()
	must(t, err)
	for _, key := range []string{`{}`, "nonsense", string(secret), newClient(t, "x").public(t)} {
		in.RecipientJwk = key
		_, err = acme.ExportMasterKey(t.Context(), in)
		want(t, err, fault.Invalid, "KEY_INVALID")
	}
	f.partner("initech")
	_, err = f.as(f.tokenOf(f.partner("hooli"))).ExportMasterKey(t.Context(), in)
	want(t, err, fault.PermissionDenied, "SCOPE_MISSING")
}

func TestSessionsCarryWhoseTheyAre(t *testing.T) {
	f := newFixture(t)
	op, ctx := f.asOperator(), t.Context()
	w, err := op.CreateWearerSession(ctx, &authv1.CreateWearerSessionRequest{Account: "accounts/ann"})
	must(t, err)
	claims := payloadOf(t, w.GetAccessToken())
	if claims["role"] != "wearer" || claims["account"] != "ann" || claims["client_id"] != "operator" || !w.GetExpireTime().AsTime().Equal(start.Add(time.Hour)) {
		t.Errorf("wearer: %v until %v", claims, w.GetExpireTime().AsTime())
	}
	s, err := op.CreateTerminalSession(ctx, &authv1.CreateTerminalSessionRequest{
		Merchant: "merchants/01020304-0506-4708-890a-0b0c0d0e0f10", Terminal: "terminals/00000000000000aa",
	})
	must(t, err)
	claims = payloadOf(t, s.GetAccessToken())
	if claims["role"] != "terminal" || claims["terminal"] != "00000000000000aa" || claims["merchant"] != "01020304-0506-4708-890a-0b0c0d0e0f10" ||
		!s.GetExpireTime().AsTime().Equal(start.Add(24*time.Hour)) {
		t.Errorf("terminal: %v until %v", claims, s.GetExpireTime().AsTime())
	}
	_, err = op.CreateWearerSession(ctx, &authv1.CreateWearerSessionRequest{Account: "ann"})
	want(t, err, fault.Invalid, "INVALID_FIELD")
}

func pay(uid string, requestID string) *authv1.CreateChallengeRequest {
	return &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_PAY, Subject: &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: uid},
		Amount: &typev1.Money{MinorUnits: 1200, CurrencyCode: "CNY"}, MerchantUid: bytes.Repeat([]byte{1}, 16), MerchantCategoryCode: 5812,
		IntentUid: bytes.Repeat([]byte{2}, 16), Display: "Tea House", RequestId: requestID,
	}
}

func TestAWearerClaimsABandAndPays(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	b, ann, ctx := f.band(1), f.wearer("ann"), t.Context()
	bound := f.claim(ann, b)
	if bound.GetAccount() != "accounts/ann" || bound.GetDevice() != "partners/acme/devices/"+b.UID.String() || len(bound.GetResultFrame()) == 0 {
		t.Errorf("claim: %v", bound)
	}
	payments := f.asService("payments")
	c, err := payments.CreateChallenge(ctx, pay(b.UID.String(), "p1"))
	must(t, err)
	if c.GetAccount() != "accounts/ann" || !cmp.Equal(c.GetRequirements(), []authv1.Requirement{authv1.Requirement_REQUIREMENT_ON_WRIST, authv1.Requirement_REQUIREMENT_GESTURE}) ||
		!c.GetExpireTime().AsTime().Equal(f.clock.Now().Add(time.Minute)) || len(c.GetPongKey()) != 0 {
		t.Errorf("challenge: %v", c)
	}
	same, err := payments.CreateChallenge(ctx, pay(b.UID.String(), "p1"))
	must(t, err)
	if diff := cmp.Diff(c, same, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	answer := f.answer(b, c.GetChallengeFrame())
	d, err := payments.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: c.GetName(), ResponseFrame: answer})
	must(t, err)
	if d.GetAccount() != "accounts/ann" || d.GetAssuranceLevel() != 2 || d.GetDevice() != c.GetDevice() {
		t.Errorf("decision: %v", d)
	}
	_, err = payments.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: c.GetName(), ResponseFrame: f.answer(b, c.GetChallengeFrame())})
	want(t, err, fault.FailedPrecondition, "CHALLENGE_USED")
	_, err = ann.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: c.GetName(), ResponseFrame: answer})
	want(t, err, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	_, err = payments.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: "challenges/" + strings.Repeat("0", 32), ResponseFrame: answer})
	want(t, err, fault.FailedPrecondition, "CHALLENGE_EXPIRED")
}

func TestAChallengeIsRefusedForTheRightReason(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	globex := f.as(f.tokenOf(f.partner("globex", "presence.verify")))
	bound, free, lost := f.band(1), f.band(2), f.band(3)
	ann, eve, payments, till := f.wearer("ann"), f.wearer("eve"), f.asService("payments"), f.terminal()
	f.claim(ann, bound)
	d := f.registry.Get(lost.UID)
	d.Block = challenge.Suspended
	f.registry.Put(d)
	for name, c := range map[string]struct {
		by     authv1.AuthServiceClient
		uid    string
		change func(in *authv1.CreateChallengeRequest)
		kind   fault.Kind
		reason string
	}{
		"unknown":                    {payments, strings.Repeat("0", 26), nil, fault.NotFound, "DEVICE_NOT_FOUND"},
		"no uid":                     {payments, strings.Repeat("z", 26), nil, fault.Invalid, "INVALID_FIELD"},
		"free":                       {payments, free.UID.String(), nil, fault.FailedPrecondition, "DEVICE_NOT_BOUND"},
		"lost":                       {payments, lost.UID.String(), nil, fault.FailedPrecondition, "DEVICE_SUSPENDED"},
		"an account without a band":  {payments, "", account("accounts/nobody"), fault.NotFound, "DEVICE_NOT_FOUND"},
		"nothing to pay":             {payments, bound.UID.String(), func(in *authv1.CreateChallengeRequest) { in.Amount = nil }, fault.Invalid, "INVALID_FIELD"},
		"a negative amount":          {payments, bound.UID.String(), func(in *authv1.CreateChallengeRequest) { in.Amount.MinorUnits = -1 }, fault.Invalid, "INVALID_FIELD"},
		"a currency that is none":    {payments, bound.UID.String(), func(in *authv1.CreateChallengeRequest) { in.Amount.CurrencyCode = "yuan" }, fault.Invalid, "INVALID_FIELD"},
		"a text that is too long":    {payments, bound.UID.String(), func(in *authv1.CreateChallengeRequest) { in.Display = strings.Repeat("x", 25) }, fault.Invalid, "INVALID_FIELD"},
		"a claim":                    {payments, bound.UID.String(), purpose(authv1.Purpose_PURPOSE_CLAIM), fault.Invalid, "INVALID_FIELD"},
		"no subject":                 {payments, "", func(in *authv1.CreateChallengeRequest) { in.Subject = nil }, fault.Invalid, "INVALID_FIELD"},
		"payment by a terminal":      {till, bound.UID.String(), nil, fault.PermissionDenied, "PURPOSE_NOT_ALLOWED"},
		"payment by its wearer":      {ann, bound.UID.String(), nil, fault.PermissionDenied, "PURPOSE_NOT_ALLOWED"},
		"voucher by payments":        {payments, bound.UID.String(), purpose(authv1.Purpose_PURPOSE_VOUCHER), fault.PermissionDenied, "PURPOSE_NOT_ALLOWED"},
		"presence by a terminal":     {till, bound.UID.String(), purpose(authv1.Purpose_PURPOSE_PRESENCE), fault.PermissionDenied, "PURPOSE_NOT_ALLOWED"},
		"voucher without the scope":  {globex, bound.UID.String(), purpose(authv1.Purpose_PURPOSE_VOUCHER), fault.PermissionDenied, "PURPOSE_NOT_ALLOWED"},
		"another's band":             {eve, bound.UID.String(), purpose(authv1.Purpose_PURPOSE_VOUCHER), fault.NotFound, "DEVICE_NOT_FOUND"},
		"another's account":          {eve, "", both(account("accounts/ann"), purpose(authv1.Purpose_PURPOSE_VOUCHER)), fault.NotFound, "DEVICE_NOT_FOUND"},
		"a band of another's making": {globex, bound.UID.String(), purpose(authv1.Purpose_PURPOSE_PRESENCE), fault.NotFound, "DEVICE_NOT_FOUND"},
	} {
		in := pay(c.uid, f.requestID())
		if c.change != nil {
			c.change(in)
		}
		_, err := c.by.CreateChallenge(t.Context(), in)
		if fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %s %s", name, err, c.kind, c.reason)
		}
	}
	in := pay(bound.UID.String(), "reused")
	_, err := payments.CreateChallenge(t.Context(), in)
	must(t, err)
	in.Display = "Another House"
	_, err = payments.CreateChallenge(t.Context(), in)
	want(t, err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	in = pay(bound.UID.String(), f.requestID())
	purpose(authv1.Purpose_PURPOSE_VOUCHER)(in)
	_, err = till.CreateChallenge(t.Context(), in)
	want(t, err, fault.FailedPrecondition, "CHALLENGE_BUSY")
}

func TestAPartnerProvesThatAWearerIsThereAndNotWho(t *testing.T) {
	f := newFixture(t)
	acme := f.as(f.tokenOf(f.partner("acme", "presence.verify")))
	b := f.band(1)
	f.claim(f.wearer("ann"), b)
	in := pay(b.UID.String(), "here")
	purpose(authv1.Purpose_PURPOSE_PRESENCE)(in)
	c, err := acme.CreateChallenge(t.Context(), in)
	must(t, err)
	v, err := acme.VerifyResponse(t.Context(), &authv1.VerifyResponseRequest{Challenge: c.GetName(), ResponseFrame: f.answer(b, c.GetChallengeFrame())})
	must(t, err)
	jws, err := jose.ParseSignedCompact(v.GetAssertion(), []jose.SignatureAlgorithm{jose.EdDSA})
	must(t, err)
	var a challenge.Assertion
	must(t, json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &a))
	if a.Audience != "partners/acme" || a.Purpose != "PRESENCE" || c.GetAccount() != "" || v.GetAccount() != "" {
		t.Errorf("assertion %+v, account %q", a, v.GetAccount())
	}
}

func account(name string) func(*authv1.CreateChallengeRequest) {
	return func(in *authv1.CreateChallengeRequest) {
		in.Subject = &authv1.CreateChallengeRequest_Account{Account: name}
	}
}

// purpose makes it a request without an amount.
func purpose(p authv1.Purpose) func(*authv1.CreateChallengeRequest) {
	return func(in *authv1.CreateChallengeRequest) { in.Purpose, in.Amount = p, nil }
}

func both(a, b func(*authv1.CreateChallengeRequest)) func(*authv1.CreateChallengeRequest) {
	return func(in *authv1.CreateChallengeRequest) { a(in); b(in) }
}

func TestClaimsAreRefusedForTheRightReason(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	ctx, ann, eve, b := t.Context(), f.wearer("ann"), f.wearer("eve"), f.band(1)
	for _, uid := range []string{strings.Repeat("z", 26), b.UID.String() + "!", b.UID.String()[:25]} {
		_, err := ann.BeginClaim(ctx, &authv1.BeginClaimRequest{Uid: uid, RequestId: f.requestID()})
		want(t, err, fault.Invalid, "INVALID_FIELD")
	}
	begin := &authv1.BeginClaimRequest{Uid: strings.ToUpper(b.UID.String()), RequestId: "c"}
	c, err := ann.BeginClaim(ctx, begin)
	must(t, err)
	same, err := ann.BeginClaim(ctx, begin)
	must(t, err)
	if diff := cmp.Diff(c, same, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	begin.Uid = f.band(2).UID.String()
	_, err = ann.BeginClaim(ctx, begin)
	want(t, err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
	answer := f.answer(b, c.GetChallengeFrame())
	complete := &authv1.CompleteClaimRequest{Name: c.GetName(), ResponseFrame: answer}
	_, err = eve.CompleteClaim(ctx, complete)
	want(t, err, fault.NotFound, "CLAIM_NOT_FOUND")
	_, err = ann.CompleteClaim(ctx, &authv1.CompleteClaimRequest{Name: "claims/01020304-0506-4708-890a-0b0c0d0e0f10", ResponseFrame: answer})
	want(t, err, fault.NotFound, "CLAIM_NOT_FOUND")
	_, err = ann.CompleteClaim(ctx, &authv1.CompleteClaimRequest{Name: c.GetName(), ResponseFrame: []byte("no")})
	want(t, err, fault.Invalid, "RESPONSE_REJECTED")
	f.registry.SetDown(true)
	_, err = ann.CompleteClaim(ctx, complete)
	want(t, err, fault.Unavailable, "UNAVAILABLE")
	_, err = ann.BeginClaim(ctx, &authv1.BeginClaimRequest{Uid: b.UID.String(), RequestId: "d"})
	want(t, err, fault.Unavailable, "UNAVAILABLE_TRY_AGAIN")
	f.registry.SetDown(false)
	_, err = ann.CompleteClaim(ctx, complete)
	must(t, err)
	c, err = eve.BeginClaim(ctx, &authv1.BeginClaimRequest{Uid: b.UID.String(), RequestId: "e"})
	must(t, err)
	f.clock.Advance(time.Second)
	_, err = eve.CompleteClaim(ctx, &authv1.CompleteClaimRequest{Name: c.GetName(), ResponseFrame: f.answer(b, c.GetChallengeFrame())})
	want(t, err, fault.FailedPrecondition, "ALREADY_BOUND")
}
