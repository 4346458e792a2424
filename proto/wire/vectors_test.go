package wire_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/armlet-pay/armlet/proto/wire"
)

// hexBytes is a byte string that JSON holds in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectors is the file of known answers.
type vectors struct {
	Params struct {
		PMK         hexBytes `json:"pmk"`
		Epoch       *uint16  `json:"epoch"`
		DeviceUID   hexBytes `json:"device_uid"`
		BindingID   hexBytes `json:"binding_id"`
		BindNonce   hexBytes `json:"bind_nonce"`
		PongKey     hexBytes `json:"pong_key"`
		Ed25519Seed hexBytes `json:"ed25519_seed"`
		Ed25519Pub  hexBytes `json:"ed25519_pub"`
		P256Priv    hexBytes `json:"p256_priv"`
		P256Pub     hexBytes `json:"p256_pub"`
	} `json:"params"`
	Suites []vectorSuite `json:"suites"`
}

type vectorSuite struct {
	Suite          wire.Suite `json:"suite"`
	KDev           hexBytes   `json:"k_dev"`
	KBind          hexBytes   `json:"k_bind"`
	KChal          hexBytes   `json:"k_chal"`
	KResp          hexBytes   `json:"k_resp"`
	KOffl          hexBytes   `json:"k_offl"`
	KRslt          hexBytes   `json:"k_rslt"`
	Challenge      hexBytes   `json:"challenge"`
	ChallengeTag   hexBytes   `json:"challenge_tag"`
	ResponseBody   hexBytes   `json:"response_body"`
	MResponse      hexBytes   `json:"m_response"`
	ResponseAuth   hexBytes   `json:"response_auth"`
	ResultBody     hexBytes   `json:"result_body"`
	ResultTag      hexBytes   `json:"result_tag"`
	Terminal       hexBytes   `json:"terminal"`
	OfflineBody    hexBytes   `json:"offline_body"`
	MOffline       hexBytes   `json:"m_offline"`
	OfflineAuth    hexBytes   `json:"offline_auth"`
	ClaimChallenge hexBytes   `json:"claim_challenge"`
	ClaimTag       hexBytes   `json:"claim_tag"`
	ClaimBody      hexBytes   `json:"claim_body"`
	MClaim         hexBytes   `json:"m_claim"`
	ClaimAuth      hexBytes   `json:"claim_auth"`
}

// vectorsFile names the file of known answers; a relative WIRE_VECTORS counts
// from this folder. The go command reuses an earlier result unless a file that
// the test opened has changed, but it looks only at paths that begin with the
// module's folder. So a file elsewhere is opened through this folder, by a path
// that is not cleaned.
func vectorsFile() (string, error) {
	name := os.Getenv("WIRE_VECTORS")
	if name == "" {
		name = filepath.Join("testdata", "vectors.json")
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	rel := name
	if filepath.IsAbs(name) {
		if rel, err = filepath.Rel(here, name); err != nil {
			return "", err
		}
	}
	through := here + string(filepath.Separator) + rel
	if _, err = os.Stat(through); errors.Is(err, fs.ErrNotExist) {
		return name, nil // a symbolic link on the way leads elsewhere
	}
	return through, err
}

// readVectors fails on a field it does not know or does not find: either would
// go unchecked.
func readVectors() (vectors, error) {
	var v vectors
	file, err := vectorsFile()
	if err != nil {
		return v, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return v, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, fmt.Errorf("%s: %w", file, err)
	}
	if dec.More() {
		return v, fmt.Errorf("%s: more than one value", file)
	}
	if err := complete(reflect.ValueOf(v.Params)); err != nil {
		return v, fmt.Errorf("%s: params: %w", file, err)
	}
	var suites []wire.Suite
	for _, s := range v.Suites {
		if err := complete(reflect.ValueOf(s)); err != nil {
			return v, fmt.Errorf("%s: suite %d: %w", file, s.Suite, err)
		}
		suites = append(suites, s.Suite)
	}
	slices.Sort(suites)
	if !slices.Equal(suites, []wire.Suite{1, 2, 3, 4}) {
		return v, fmt.Errorf("%s: want suites 1 to 4 once each, have %d", file, suites)
	}
	return v, errors.Join(lengths(v)...)
}

// complete reports a field of v that is zero, that is, absent from the file.
func complete(v reflect.Value) error {
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			return fmt.Errorf("%s is missing", v.Type().Field(i).Tag.Get("json"))
		}
	}
	return nil
}

// lengths checks what is converted to arrays and keys of fixed size below.
func lengths(v vectors) (errs []error) {
	for _, f := range []struct {
		name  string
		value hexBytes
		want  int
	}{
		{"pmk", v.Params.PMK, 32}, {"device_uid", v.Params.DeviceUID, 16},
		{"binding_id", v.Params.BindingID, 8}, {"bind_nonce", v.Params.BindNonce, 16},
		{"ed25519_seed", v.Params.Ed25519Seed, 32}, {"p256_priv", v.Params.P256Priv, 32},
	} {
		if len(f.value) != f.want {
			errs = append(errs, fmt.Errorf("%s has %d bytes, want %d", f.name, len(f.value), f.want))
		}
	}
	return errs
}

// device is what both sides hold of one suite's device in the vectors.
type device struct {
	vectorSuite
	uid      wire.UID
	pongKey  wire.Key
	keys     wire.SessionKeys
	signer   wire.Signer
	verifier wire.Verifier
}

// load reads the vectors and derives everything of every suite from the parameters.
func load(tb testing.TB) (vectors, []device) {
	tb.Helper()
	v, err := readVectors()
	if err != nil {
		tb.Fatal(err)
	}
	p := v.Params
	uid, binding := wire.UID(p.DeviceUID), wire.BindingID(p.BindingID)
	var devices []device
	for _, s := range v.Suites {
		d := device{vectorSuite: s, uid: uid, pongKey: key(tb, p.PongKey)}
		kDev := must(wire.DeriveDeviceKey(key(tb, p.PMK), uid, *p.Epoch, s.Suite))(tb)
		kBind := must(wire.DeriveBindKey(s.Suite, kDev, uid, binding, wire.Nonce(p.BindNonce)))(tb)
		d.keys = must(wire.DeriveSessionKeys(s.Suite, kBind, uid, binding))(tb)
		if s.Suite.Symmetric() {
			d.signer = must(wire.NewSigner(s.Suite, d.keys))(tb)
			d.verifier = must(wire.NewVerifier(s.Suite, d.keys))(tb)
		} else {
			private, public := privateKey(tb, v, s.Suite)
			d.signer = must(wire.NewPrivateSigner(private))(tb)
			d.verifier = must(wire.ParseCredential(s.Suite, public))(tb).Verifier()
		}
		devices = append(devices, d)
	}
	return v, devices
}

func privateKey(tb testing.TB, v vectors, suite wire.Suite) (crypto.Signer, []byte) {
	tb.Helper()
	if suite == wire.SuiteP256 {
		return must(ecdsa.ParseRawPrivateKey(elliptic.P256(), v.Params.P256Priv))(tb), v.Params.P256Pub
	}
	return ed25519.NewKeyFromSeed(v.Params.Ed25519Seed), v.Params.Ed25519Pub
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return value
	}
}

func key(tb testing.TB, b []byte) wire.Key {
	tb.Helper()
	return must(wire.NewKey(b))(tb)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

func eachSuite(t *testing.T, check func(t *testing.T, d device)) {
	t.Helper()
	_, devices := load(t)
	for _, d := range devices {
		t.Run(d.Suite.String(), func(t *testing.T) { check(t, d) })
	}
}

func TestVectorsPublicKeysBelongToPrivateKeys(t *testing.T) {
	v, _ := load(t)
	for _, suite := range []wire.Suite{wire.SuiteP256, wire.SuiteEd25519} {
		private, public := privateKey(t, v, suite)
		credential := must(wire.NewCredential(private.Public()))(t)
		if credential.Suite() != suite {
			t.Errorf("suite of the credential is %v, want %v", credential.Suite(), suite)
		}
		equal(t, suite.String(), credential.Bytes(), public)
	}
}

func TestVectorsDeriveEveryKey(t *testing.T) {
	v, devices := load(t)
	p := v.Params
	uid, binding := wire.UID(p.DeviceUID), wire.BindingID(p.BindingID)
	for _, d := range devices {
		t.Run(d.Suite.String(), func(t *testing.T) {
			kDev := must(wire.DeriveDeviceKey(key(t, p.PMK), uid, *p.Epoch, d.Suite))(t)
			equal(t, "K_dev", kDev.Bytes(), d.KDev)
			kBind := must(wire.DeriveBindKey(d.Suite, kDev, uid, binding, wire.Nonce(p.BindNonce)))(t)
			equal(t, "K_bind", kBind.Bytes(), d.KBind)
			keys := must(wire.DeriveSessionKeys(d.Suite, kBind, uid, binding))(t)
			equal(t, "K_chal", keys.Chal.Bytes(), d.KChal)
			equal(t, "K_resp", keys.Resp.Bytes(), d.KResp)
			equal(t, "K_offl", keys.Offl.Bytes(), d.KOffl)
			equal(t, "K_rslt", keys.Rslt.Bytes(), d.KRslt)
		})
	}
}

func TestVectorsTap(t *testing.T) {
	eachSuite(t, func(t *testing.T, d device) {
		c := checkChallenge(t, d, d.Challenge, d.ChallengeTag)
		r := checkResponse(t, d, c, exchange{d.ResponseBody, d.MResponse, d.ResponseAuth})
		if err := wire.VerifyRounds(d.pongKey, c.Nonce, r.Rounds); err != nil {
			t.Errorf("rounds: %v", err)
		}
		for i, round := range r.Rounds {
			answer := must(wire.PongAnswer(d.pongKey, c.Nonce, uint8(i), round.BandNonce))(t)
			equal(t, "answer in a round", answer[:], round.Answer[:])
		}
		checkResult(t, d, c.Nonce)
	})
}

func TestVectorsClaim(t *testing.T) {
	v, _ := load(t)
	eachSuite(t, func(t *testing.T, d device) {
		c := checkChallenge(t, d, d.ClaimChallenge, d.ClaimTag)
		equal(t, "nonce, which is the bind_nonce", c.Nonce[:], v.Params.BindNonce)
		checkResponse(t, d, c, exchange{d.ClaimBody, d.MClaim, d.ClaimAuth})
	})
}

func TestVectorsOfflineTap(t *testing.T) {
	eachSuite(t, func(t *testing.T, d device) {
		terminal := must(wire.ParseTerminalTap(d.Terminal))(t)
		equal(t, "terminal tap encoded again", must(terminal.MarshalBinary())(t), d.Terminal)
		o, auth, err := wire.ParseOfflineTap(join(d.OfflineBody, d.OfflineAuth))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "offline tap encoded again", must(o.MarshalBinary())(t), d.OfflineBody)
		equal(t, "authenticator", auth, d.OfflineAuth)
		equal(t, "M", must(wire.OfflineMessage(d.uid, terminal, o))(t), d.MOffline)
		if err := wire.VerifyOffline(d.verifier, d.uid, terminal, o, d.OfflineAuth); err != nil {
			t.Errorf("known authenticator: %v", err)
		}
		made := must(wire.SignOffline(d.signer, d.uid, terminal, o))(t)
		if d.Suite != wire.SuiteP256 { // ECDSA signatures are random
			equal(t, "authenticator made", made, d.OfflineAuth)
		}
		if err := wire.VerifyOffline(d.verifier, d.uid, terminal, o, made); err != nil {
			t.Errorf("authenticator made: %v", err)
		}
		frame := must(wire.SealOffline(d.signer, d.uid, terminal, o))(t)
		equal(t, "frame without authenticator", frame[:wire.OfflineTapLen], d.OfflineBody)
	})
}

func checkChallenge(t *testing.T, d device, body, known []byte) wire.Challenge {
	t.Helper()
	c, tag, err := wire.ParseChallenge(join(body, known))
	if err != nil {
		t.Fatal(err)
	}
	if c.Suite != d.Suite {
		t.Fatalf("challenge has suite %v", c.Suite)
	}
	equal(t, "tag parsed", tag[:], known)
	equal(t, "challenge encoded again", must(c.MarshalBinary())(t), body)
	if stored := must(wire.ParseChallengeBody(body))(t); stored != c {
		t.Errorf("body alone parses to %+v, frame to %+v", stored, c)
	}
	made := must(wire.TagChallenge(d.keys.Chal, d.uid, c))(t)
	equal(t, "tag of the challenge", made[:], known)
	if err := wire.VerifyChallengeTag(d.keys.Chal, d.uid, c, tag); err != nil {
		t.Errorf("tag of the challenge: %v", err)
	}
	equal(t, "challenge frame", must(wire.SealChallenge(d.keys.Chal, d.uid, c))(t), join(body, known))
	return c
}

// exchange is a response in the vectors: its bytes, M and the authenticator.
type exchange struct{ body, message, auth []byte }

func checkResponse(t *testing.T, d device, c wire.Challenge, x exchange) wire.Response {
	t.Helper()
	r, auth, err := wire.ParseResponse(join(x.body, x.auth))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "response encoded again", must(r.MarshalBinary())(t), x.body)
	equal(t, "authenticator parsed", auth, x.auth)
	equal(t, "M", must(wire.ResponseMessage(d.uid, c, r))(t), x.message)
	if err := wire.VerifyResponse(d.verifier, d.uid, c, r, x.auth); err != nil {
		t.Errorf("known authenticator: %v", err)
	}
	made := must(wire.SignResponse(d.signer, d.uid, c, r))(t)
	if d.Suite != wire.SuiteP256 { // ECDSA signatures are random
		equal(t, "authenticator made", made, x.auth)
	}
	if err := wire.VerifyResponse(d.verifier, d.uid, c, r, made); err != nil {
		t.Errorf("authenticator made: %v", err)
	}
	frame := must(wire.SealResponse(d.signer, d.uid, c, r))(t)
	equal(t, "frame without authenticator", frame[:len(x.body)], x.body)
	return r
}

func checkResult(t *testing.T, d device, nonce wire.Nonce) {
	t.Helper()
	r, tag, err := wire.ParseResult(join(d.ResultBody, d.ResultTag))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "result encoded again", must(r.MarshalBinary())(t), d.ResultBody)
	equal(t, "tag parsed", tag[:], d.ResultTag)
	made := must(wire.TagResult(d.keys.Rslt, d.uid, nonce, r))(t)
	equal(t, "tag of the result", made[:], d.ResultTag)
	if err := wire.VerifyResultTag(d.keys.Rslt, d.uid, nonce, r, tag); err != nil {
		t.Errorf("tag of the result: %v", err)
	}
	frame := must(wire.SealResult(d.keys.Rslt, d.uid, nonce, r))(t)
	equal(t, "result frame", frame, join(d.ResultBody, d.ResultTag))
}

// The parsed payment is compared with what its bytes say in words; this does
// not depend on WIRE_VECTORS.
func TestParsedFieldsAreTheOnesInTheText(t *testing.T) {
	frame := must(hex.DecodeString("11030103a0a1a2a3a4a5a6a7a8a9aaabacadaeafb1b2b3b4b5b6b7b8" +
		"00000000000004e2434e590211112222333344445555666677778888100f01890a5d7c3a7000800000000000abcd" +
		"6955b900001e0001000c536875617368756120427573" + "0e19ed4b57505131"))(t)
	c, tag, err := wire.ParseChallenge(frame)
	if err != nil {
		t.Fatal(err)
	}
	want := wire.Challenge{
		Suite: wire.SuiteP256, Purpose: wire.PurposePay, Require: wire.RequireOnWrist | wire.RequireGesture,
		Nonce:     wire.Nonce(must(hex.DecodeString("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"))(t)),
		BindingID: wire.BindingID{0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8},
		Amount:    1250, Currency: "CNY", Exponent: 2,
		Merchant: [16]byte(must(hex.DecodeString("11112222333344445555666677778888"))(t)), MCC: 4111,
		Intent:   [16]byte(must(hex.DecodeString("01890a5d7c3a7000800000000000abcd"))(t)),
		IssuedAt: 0x6955b900, TTL: 30, Epoch: 1, Display: "Shuashua Bus",
	}
	if c != want {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
	if tag != (wire.Tag{0x0e, 0x19, 0xed, 0x4b, 0x57, 0x50, 0x51, 0x31}) {
		t.Errorf("tag %x", tag)
	}
	if got := c.Expires().Sub(c.Issued()).Seconds(); got != 30 {
		t.Errorf("lives %v seconds, want 30", got)
	}
	o, _, err := wire.ParseOfflineTap(join(must(hex.DecodeString("220100050000000700000003a11a5a11a5a11a5000000258"))(t), make([]byte, 16)))
	if err != nil {
		t.Fatal(err)
	}
	wantTap := wire.OfflineTap{
		Suite: wire.SuiteHMAC, Flags: wire.FlagOnWrist | wire.FlagUnlocked, Counter: 7, GrantID: 3,
		Alias: wire.Alias{0xa1, 0x1a, 0x5a, 0x11, 0xa5, 0xa1, 0x1a, 0x50}, Cumulative: 600,
	}
	if o != wantTap {
		t.Errorf("got %+v\nwant %+v", o, wantTap)
	}
}
