package grpcapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

func TestAMasterKeyGoesThroughItsLife(t *testing.T) {
	f := newFixture(t)
	c, ctx, op := f.partner("acme", "devices.provision"), t.Context(), f.asOperator()
	next, err := op.CreateMasterKey(ctx, &authv1.CreateMasterKeyRequest{Parent: "partners/acme", RequestId: "k"})
	must(t, err)
	same, err := op.CreateMasterKey(ctx, &authv1.CreateMasterKeyRequest{Parent: "partners/acme", RequestId: "k"})
	must(t, err)
	if next.GetKeyEpoch() != 2 || next.GetState() != authv1.KeyState_KEY_STATE_PREPARED || same.GetKeyEpoch() != 2 {
		t.Fatalf("made %v, again %v", next, same)
	}
	const first, second = "partners/acme/masterKeys/1", "partners/acme/masterKeys/2"
	_, err = op.DestroyMasterKey(ctx, &authv1.DestroyMasterKeyRequest{Name: first, RequestId: f.requestID()})
	want(t, err, fault.FailedPrecondition, "ILLEGAL_TRANSITION")
	_, err = op.ActivateMasterKey(ctx, &authv1.ActivateMasterKeyRequest{Name: second, RequestId: f.requestID()})
	must(t, err)
	p, err := op.GetPartner(ctx, &authv1.GetPartnerRequest{Name: "partners/acme"})
	must(t, err)
	list, err := f.as(f.tokenOf(c)).ListMasterKeys(ctx, &authv1.ListMasterKeysRequest{Parent: "partners/acme"})
	must(t, err)
	if p.GetKeyEpoch() != 2 || len(list.GetMasterKeys()) != 2 || list.GetMasterKeys()[0].GetState() != authv1.KeyState_KEY_STATE_RETIRING {
		t.Errorf("partner %v, keys %v", p, list)
	}

	// A device of the first epoch pays until the epoch is tainted, and not once more.
	b, ann, payments := f.band(1), f.wearer("ann"), f.asService("payments")
	f.claim(ann, b)
	ch, err := payments.CreateChallenge(ctx, pay(b.UID.String(), f.requestID()))
	must(t, err)
	_, err = op.TaintMasterKey(ctx, &authv1.TaintMasterKeyRequest{Name: first, RequestId: f.requestID()})
	must(t, err)
	if _, err = payments.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: ch.GetName(), ResponseFrame: f.answer(b, ch.GetChallengeFrame())}); err == nil {
		t.Error("a tainted epoch approved")
	}
	_, err = payments.CreateChallenge(ctx, pay(b.UID.String(), f.requestID()))
	want(t, err, fault.FailedPrecondition, "KEY_EPOCH_TAINTED")
	_, err = op.DestroyMasterKey(ctx, &authv1.DestroyMasterKeyRequest{Name: first, RequestId: f.requestID()})
	must(t, err)
	_, err = op.TaintMasterKey(ctx, &authv1.TaintMasterKeyRequest{Name: first, RequestId: f.requestID()})
	want(t, err, fault.FailedPrecondition, "ILLEGAL_TRANSITION")
	for _, name := range []string{"partners/acme/masterKeys/9", "partners/nobody/masterKeys/1", "partners/acme/masterKeys/99999"} {
		_, err = op.ActivateMasterKey(ctx, &authv1.ActivateMasterKeyRequest{Name: name, RequestId: f.requestID()})
		want(t, err, fault.NotFound, "MASTER_KEY_NOT_FOUND")
	}
}

func TestAMasterKeyIsImported(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	ctx, op := t.Context(), f.asOperator()
	out, err := op.GetImportKey(ctx, &authv1.GetImportKeyRequest{})
	must(t, err)
	var to jose.JSONWebKey
	must(t, to.UnmarshalJSON([]byte(out.GetPublicJwk())))
	if !to.IsPublic() {
		t.Fatal("the import key is not public")
	}
	wrap := func(secret string) string {
		enc, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: to.Key}, nil)
		must(t, err)
		jwe, err := enc.Encrypt([]byte(secret))
		must(t, err)
		text, err := jwe.CompactSerialize()
		must(t, err)
		return text
	}
	secret := strings.Repeat("k", keys.MasterLen)
	m, err := op.ImportMasterKey(ctx, &authv1.ImportMasterKeyRequest{Parent: "partners/acme", Key: &authv1.ImportMasterKeyRequest_Jwe{Jwe: wrap(secret)}, RequestId: f.requestID()})
	must(t, err)
	got, err := f.ring.Master(ctx, "acme", 2)
	must(t, err)
	if !m.GetImported() || m.GetKeyEpoch() != 2 || string(got) != secret {
		t.Errorf("imported %v", m)
	}
	for _, jwe := range []string{"x", wrap("short")} {
		_, err = op.ImportMasterKey(ctx, &authv1.ImportMasterKeyRequest{Parent: "partners/acme", Key: &authv1.ImportMasterKeyRequest_Jwe{Jwe: jwe}, RequestId: f.requestID()})
		want(t, err, fault.Invalid, "KEY_INVALID")
	}
}

func TestSigningKeysRotateAndAreWithdrawn(t *testing.T) {
	f := newFixture(t)
	ctx, op := t.Context(), f.asOperator()
	c := f.partner("acme")
	list := func() map[authv1.KeyState]string {
		out, err := op.ListSigningKeys(ctx, &authv1.ListSigningKeysRequest{})
		must(t, err)
		got := map[authv1.KeyState]string{}
		for _, k := range out.GetSigningKeys() {
			got[k.GetState()] = k.GetName()
		}
		return got
	}
	before := list()
	_, err := op.RotateSigningKey(ctx, &authv1.RotateSigningKeyRequest{RequestId: f.requestID()})
	want(t, err, fault.FailedPrecondition, "KEY_TOO_YOUNG")
	old := f.as(f.tokenOf(c))
	k, err := op.RotateSigningKey(ctx, &authv1.RotateSigningKeyRequest{Force: true, RequestId: f.requestID()})
	must(t, err)
	if k.GetName() != before[authv1.KeyState_KEY_STATE_PREPARED] {
		t.Errorf("%s signs, the prepared one was %v", k.GetName(), before)
	}
	f.works(old, "a rotation")
	f.works(f.as(f.tokenOf(c)), "a rotation, with a new token")
	if now := list(); len(now) != 3 || now[authv1.KeyState_KEY_STATE_RETIRING] != before[authv1.KeyState_KEY_STATE_ACTIVE] {
		t.Errorf("after the rotation: %v", now)
	}
	stolen := f.as(f.tokenOf(c))
	_, err = op.TaintSigningKey(ctx, &authv1.TaintSigningKeyRequest{Name: k.GetName(), RequestId: f.requestID()})
	must(t, err)
	f.void(stolen, "withdrawing the key that signed it")
	f.works(f.as(f.tokenOf(c)), "withdrawing a key, with a new token")
	op = f.asOperator()
	if now := list(); now[authv1.KeyState_KEY_STATE_TAINTED] != k.GetName() || now[authv1.KeyState_KEY_STATE_ACTIVE] == "" || now[authv1.KeyState_KEY_STATE_PREPARED] == "" {
		t.Errorf("after the withdrawal: %v", now)
	}
	_, err = op.TaintSigningKey(ctx, &authv1.TaintSigningKeyRequest{Name: "signingKeys/" + strings.Repeat("A", 43), RequestId: f.requestID()})
	want(t, err, fault.NotFound, "SIGNING_KEY_NOT_FOUND")
	f.clock.Advance(31 * 24 * time.Hour)
	must(t, f.keys.Maintain(ctx, f.clock.Now()))
	if a := f.post(form(c.assertion(f, nil))); a.Status != http.StatusOK {
		t.Errorf("after the rotation by schedule: %+v", a)
	}
}
