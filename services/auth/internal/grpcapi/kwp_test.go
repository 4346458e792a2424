package grpcapi_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
)

// kwpOf is the other side of KwpKey, written from the contract's text.
func kwpOf(t *testing.T, own *ecdh.PrivateKey, other *ecdh.PublicKey, epoch byte, ephemeral []byte, partner string) *subtle.KWP {
	t.Helper()
	z, err := own.ECDH(other)
	must(t, err)
	wrapping := sha256.Sum256(slices.Concat(z, []byte{0, 0, 0, 1}, []byte("ARML1/KWP"), []byte{0, 0, epoch}, ephemeral, []byte(partner)))
	cipher, err := subtle.NewKWP(wrapping[:])
	must(t, err)
	return cipher
}

func TestAMasterKeyIsExportedForAnHSM(t *testing.T) {
	f := newFixture(t)
	acme := f.as(f.tokenOf(f.partner("acme", "devices.provision")))
	factory, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	jwk, err := jose.JSONWebKey{Key: factory.Public()}.MarshalJSON()
	must(t, err)
	in := &authv1.ExportMasterKeyRequest{
		Partner: "partners/acme", KeyEpoch: 1, RecipientJwk: string(jwk), Wrap: authv1.KeyWrap_KEY_WRAP_AES_KWP,
	}
	out, err := acme.ExportMasterKey(t.Context(), in)
	must(t, err)
	w := out.GetAesKwp()
	point, err := ecdh.P256().NewPublicKey(w.GetEphemeralPoint())
	must(t, err)
	private, err := factory.ECDH()
	must(t, err)
	got, err := kwpOf(t, private, point, 1, w.GetEphemeralPoint(), "acme").Unwrap(w.GetWrappedKey())
	must(t, err)
	master, err := f.ring.Master(t.Context(), "acme", 1)
	must(t, err)
	if !bytes.Equal(got, master) || out.GetJwe() != "" {
		t.Errorf("got %x beside %q", got, out.GetJwe())
	}
	in.Wrap = 9
	_, err = acme.ExportMasterKey(t.Context(), in)
	want(t, err, fault.Invalid, "INVALID_FIELD")
	in.Wrap, in.KeyEpoch = authv1.KeyWrap_KEY_WRAP_AES_KWP, 2
	_, err = acme.ExportMasterKey(t.Context(), in)
	want(t, err, fault.NotFound, "MASTER_KEY_NOT_FOUND")
	in.KeyEpoch, in.RecipientJwk = 1, `{"kty":"oct","k":"c2VjcmV0"}`
	_, err = acme.ExportMasterKey(t.Context(), in)
	want(t, err, fault.Invalid, "KEY_INVALID")
	in.RecipientJwk = string(jwk)
	_, err = f.as(f.tokenOf(f.partner("globex", "devices.provision"))).ExportMasterKey(t.Context(), in)
	want(t, err, fault.NotFound, "MASTER_KEY_NOT_FOUND")
}

func TestAMasterKeyIsImportedFromAnHSM(t *testing.T) {
	f := newFixture(t)
	f.partner("acme")
	f.partner("globex")
	ctx, op := t.Context(), f.asOperator()
	to, err := op.GetImportKey(ctx, &authv1.GetImportKeyRequest{})
	must(t, err)
	var jwk jose.JSONWebKey
	must(t, jwk.UnmarshalJSON([]byte(to.GetPublicJwk())))
	point, ok := jwk.Key.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("the import key is %T", jwk.Key)
	}
	recipient, err := point.ECDH()
	must(t, err)
	secret := bytes.Repeat([]byte{5}, 32)
	wrap := func(partner string, epoch byte, secret []byte) *authv1.KwpKey {
		ephemeral, err := ecdh.P256().GenerateKey(rand.Reader)
		must(t, err)
		w := &authv1.KwpKey{EphemeralPoint: ephemeral.PublicKey().Bytes()}
		w.WrappedKey, err = kwpOf(t, ephemeral, recipient, epoch, w.GetEphemeralPoint(), partner).Wrap(secret)
		must(t, err)
		return w
	}
	imports := func(w *authv1.KwpKey) (*authv1.MasterKey, error) {
		return op.ImportMasterKey(ctx, &authv1.ImportMasterKeyRequest{
			Parent: "partners/acme", Key: &authv1.ImportMasterKeyRequest_AesKwp{AesKwp: w}, RequestId: f.requestID(),
		})
	}
	good := wrap("acme", 0, secret)
	flipped := wrap("acme", 0, secret)
	flipped.WrappedKey[39] ^= 1
	off := wrap("acme", 0, secret)
	off.EphemeralPoint[64] ^= 1
	for name, w := range map[string]*authv1.KwpKey{
		"wrapped for another partner": wrap("globex", 0, secret), "as if it were exported": wrap("acme", 1, secret),
		"with a bit flipped": flipped, "with a point off the curve": off, "of 31 bytes": wrap("acme", 0, secret[:31]),
	} {
		if _, err := imports(w); fault.ReasonOf(err) != "KEY_INVALID" {
			t.Errorf("a key %s: %v", name, err)
		}
	}
	for _, w := range []*authv1.KwpKey{wrap("acme", 0, secret[:16]), {}} {
		_, err := imports(w)
		want(t, err, fault.Invalid, "INVALID_FIELD")
	}
	_, err = op.ImportMasterKey(ctx, &authv1.ImportMasterKeyRequest{Parent: "partners/acme", RequestId: f.requestID()})
	want(t, err, fault.Invalid, "INVALID_FIELD")
	m, err := imports(good)
	must(t, err)
	got, err := f.ring.Master(ctx, "acme", 2)
	must(t, err)
	if !m.GetImported() || m.GetKeyEpoch() != 2 || !bytes.Equal(got, secret) {
		t.Errorf("imported %v as %x", m, got)
	}
}
