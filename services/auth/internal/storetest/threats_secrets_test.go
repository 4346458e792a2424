package storetest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

// These are the threats of docs/threats.md that are about secrets, tokens and services, after those about taps.

func TestThreatLeakedDatabase(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db, live.NewMemory())
		session, err := token.NewMint(issuer, w.ring, w.store).Wearer(t.Context(), "operator", "ann", w.clock.Now())
		must(t, err)
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		w.refilled(b)
		c := w.create(b, tea)
		v, err := w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		secrets := w.secrets(b, c)
		w.policy.MaxRTT = time.Second
		w.use(w.live)
		secrets["pong key"] = w.create(b, tea).PongKey
		secrets["session token"], secrets["assertion"] = []byte(session.Text), []byte(v.Assertion)
		dump := w.dump()
		if !bytes.Contains(dump, []byte(b.UID.String())) || !bytes.Contains(dump, []byte(hex.EncodeToString(c.Nonce[:]))) {
			t.Fatal("the dump is not one of this database")
		}
		wantNoSecret(t, "the database", dump, secrets)
	})
}

// secrets are all that this run has made: what was sealed, what a band has, and what seals.
func (w *world) secrets(b *Band, c challenge.Challenge) map[string][]byte {
	w.t.Helper()
	session, err := b.Session(c.Content.BindingID, c.BindNonce)
	must(w.t, err)
	all := map[string][]byte{
		"K_dev": b.dev.Bytes(), "K_chal": session.Chal.Bytes(), "K_resp": session.Resp.Bytes(),
		"K_offl": session.Offl.Bytes(), "K_rslt": session.Rslt.Bytes(),
	}
	if len(w.sealed.all) < 4 {
		w.t.Fatalf("%d secrets were sealed: the pseudonyms' key, the imports' key, a signing key and a master key should be", len(w.sealed.all))
	}
	for i, secret := range w.sealed.all {
		all["sealed secret "+strconv.Itoa(i)] = secret
	}
	keyset, err := os.ReadFile(w.keyFile)
	must(w.t, err)
	value := regexp.MustCompile(`"value":\s*"([^"]+)"`).FindSubmatch(keyset)
	if value == nil {
		w.t.Fatal("the key file holds no key")
	}
	all["key file"] = value[1]
	return all
}

// dump is every row of every table, and on SQLite the file too.
func (w *world) dump() []byte {
	w.t.Helper()
	ctx := w.t.Context()
	if w.db.Dialect() == sqldb.SQLite {
		_, err := w.db.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
		must(w.t, err)
		var file string
		must(w.t, w.db.QueryRowContext(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&file))
		dump, err := os.ReadFile(file)
		must(w.t, err)
		return dump
	}
	var dump strings.Builder
	for _, table := range w.texts(`SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`) {
		for _, row := range w.texts(`SELECT row_to_json(t)::text FROM "` + table + `" t`) {
			dump.WriteString(row)
		}
	}
	return []byte(dump.String())
}

func (w *world) texts(query string) (all []string) {
	w.t.Helper()
	rows, err := w.db.QueryContext(w.t.Context(), query)
	must(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var text string
		must(w.t, rows.Scan(&text))
		all = append(all, text)
	}
	must(w.t, rows.Err())
	return all
}

// wantNoSecret looks for secrets raw, in hex and in base64.
func wantNoSecret(t *testing.T, where string, dump []byte, secrets map[string][]byte) {
	t.Helper()
	for name, secret := range secrets {
		if len(secret) < 16 {
			t.Fatalf("the %s is no secret", name)
		}
		for _, form := range [][]byte{
			secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret)), []byte(base64.RawURLEncoding.EncodeToString(secret)),
		} {
			if bytes.Contains(dump, form) {
				t.Errorf("%s holds the %s", where, name)
			}
		}
	}
}

func TestThreatLeakedRedis(t *testing.T) {
	w, client := onRedis(t)
	w.policy.MaxRTT = time.Second
	w.use(w.live)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	secrets := w.secrets(b, c)
	secrets["pong key"] = c.PongKey
	must(t, client.ConfigSet(t.Context(), "rdbcompression", "no").Err()) // or dumps could hide what is looked for
	var dump strings.Builder
	for name, value := range snapshot(t, client) {
		dump.WriteString(name + value)
	}
	if !strings.Contains(dump.String(), base64.StdEncoding.EncodeToString(c.Body)) {
		t.Fatal("the dump is not one of this Redis")
	}
	wantNoSecret(t, "Redis", []byte(dump.String()), secrets)
}

func TestThreatSuiteDowngrade(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteP256, "accounts/ann")
	c := w.create(b, tea)
	b.Suite = wire.SuiteHMAC // of suites 3 and 4 the band has a K_dev too
	b.sign = func(session wire.SessionKeys) (wire.Signer, error) { return wire.NewSigner(wire.SuiteHMAC, session) }
	forged, err := b.Forge(c.Frame, w.registry.Get(b.UID).BindNonce)
	must(t, err)
	_, err = w.verify(c, forged)
	wantReason(t, err, "RESPONSE_REJECTED")
}

func TestThreatTokenConfusion(t *testing.T) {
	w := threat(t)
	verifier := w.verifier()
	now := w.clock.Now()
	good, err := token.NewMint(issuer, w.ring, w.store).Wearer(t.Context(), "operator", "ann", now)
	must(t, err)
	if _, err := verifier.Verify(t.Context(), good.Text); err != nil {
		t.Fatalf("a good token: %v", err)
	}
	parts := strings.Split(good.Text, ".")
	private, kid := w.signingKey()
	public, _ := private.Public().(ed25519.PublicKey)
	_, attacker, err := ed25519.GenerateKey(nil)
	must(t, err)
	claims := string(decoded(t, parts[1]))
	header := `{"alg":"EdDSA","kid":"` + kid + `","typ":"at+jwt"}`
	if _, err := verifier.Verify(t.Context(), compact(header, claims, edSign(private))); err != nil {
		t.Fatalf("a token signed by this test: %v", err)
	}
	with := func(old, fresh string) string { return strings.Replace(claims, old, fresh, 1) }
	embedded := `{"alg":"EdDSA","typ":"at+jwt","jwk":{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(attacker[32:]) + `"}}`
	mac := func(m []byte) []byte { h := hmac.New(sha256.New, public); h.Write(m); return h.Sum(nil) }
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	es := func(m []byte) []byte {
		digest := sha256.Sum256(m)
		r, s, err := ecdsa.Sign(rand.Reader, ec, digest[:])
		must(t, err)
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	nothing := func([]byte) []byte { return nil }
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	v, err := w.verify(c, w.answer(b, c.Frame))
	must(t, err)
	piece, _, err := w.taps.DenyList(t.Context(), 0, now)
	must(t, err)
	for name, text := range map[string]string{
		"alg none":                      compact(`{"alg":"none","kid":"`+kid+`","typ":"at+jwt"}`, claims, nothing),
		"alg none over a signature":     compact(`{"alg":"none","kid":"`+kid+`","typ":"at+jwt"}`, claims, edSign(private)),
		"no alg":                        compact(`{"kid":"`+kid+`","typ":"at+jwt"}`, claims, edSign(private)),
		"no signature":                  compact(header, claims, nothing),
		"a MAC of the public key":       compact(`{"alg":"HS256","kid":"`+kid+`","typ":"at+jwt"}`, claims, mac),
		"another key type":              compact(`{"alg":"ES256","kid":"`+kid+`","typ":"at+jwt"}`, claims, es),
		"another key type, said EdDSA":  compact(header, claims, es),
		"another's key under our kid":   compact(header, claims, edSign(attacker)),
		"the kid of another of ours":    compact(`{"alg":"EdDSA","kid":"`+w.preparedKid()+`","typ":"at+jwt"}`, claims, edSign(private)),
		"a kid that nobody has":         compact(`{"alg":"EdDSA","kid":"x","typ":"at+jwt"}`, claims, edSign(private)),
		"no kid":                        compact(`{"alg":"EdDSA","typ":"at+jwt"}`, claims, edSign(private)),
		"a key in the header":           compact(embedded, claims, edSign(attacker)),
		"an extension":                  compact(`{"alg":"EdDSA","kid":"`+kid+`","typ":"at+jwt","crit":["exp"],"exp":1}`, claims, edSign(private)),
		"an unencoded payload":          compact(`{"alg":"EdDSA","kid":"`+kid+`","typ":"at+jwt","crit":["b64"],"b64":true}`, claims, edSign(private)),
		"alg twice":                     compact(`{"alg":"EdDSA","alg":"none","kid":"`+kid+`","typ":"at+jwt"}`, claims, edSign(private)),
		"another typ: JWT":              compact(`{"alg":"EdDSA","kid":"`+kid+`","typ":"JWT"}`, claims, edSign(private)),
		"no typ":                        compact(`{"alg":"EdDSA","kid":"`+kid+`"}`, claims, edSign(private)),
		"another typ: an assertion":     v.Assertion,
		"another typ: a deny-list":      piece.Signed,
		"another audience":              compact(header, with(`"aud":"armlet"`, `"aud":"another"`), edSign(private)),
		"another audience, in capitals": compact(header, with(`"aud"`, `"AUD"`), edSign(private)),
		"another issuer":                compact(header, with(issuer, "http://elsewhere"), edSign(private)),
		"a claim twice":                 compact(header, with(`{`, `{"role":"operator",`), edSign(private)),
		"a role without its claim":      compact(header, with(`"role":"wearer"`, `"role":"partner"`), edSign(private)),
		"no end":                        compact(header, with(`"exp"`, `"exq"`), edSign(private)),
		"from the future":               compact(header, with(`"iat":`, `"nbf":32503680000,"iat":`), edSign(private)),
		"the signature of another":      parts[0] + "." + parts[1] + "." + strings.Split(v.Assertion, ".")[2],
		"cut short":                     good.Text[:len(good.Text)-2],
		"as JSON":                       `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"twice":                         good.Text + "." + good.Text,
	} {
		if _, err := verifier.Verify(t.Context(), text); err == nil {
			t.Errorf("%s opened the service", name)
		}
	}
	if _, err := verifier.VerifyJWS(t.Context(), good.Text, challenge.AssertionType); err == nil {
		t.Error("an access token passed for an assertion")
	}
	w.clock.Advance(24 * time.Hour)
	if _, err := verifier.Verify(t.Context(), good.Text); err == nil {
		t.Error("an expired token opened the service")
	}
}

func TestThreatClientAssertionReused(t *testing.T) {
	// One assertion gives one token, also when it comes to two endpoints at once, and none that was not made for this endpoint.
	w := threat(t)
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	x := base64.RawURLEncoding.EncodeToString(private[32:])
	_, err = partner.NewService(w.store, w.ring).CreateClient(t.Context(), ask("CreateClient"),
		partner.Client{ID: "acme-backend", Role: partner.RolePartner, Partner: "acme", Mode: partner.Live}, `{"kty":"OKP","crv":"Ed25519","x":"`+x+`"}`, w.clock.Now())
	must(t, err)
	mint := token.NewMint(issuer, w.ring, w.store)
	endpoint := token.NewEndpoint(w.store, mint, issuer)
	claims := fmt.Sprintf(`{"iss":"acme-backend","sub":"acme-backend","aud":%q,"jti":"once","exp":%d}`, issuer, w.clock.Now().Unix()+60)
	text := compact(`{"alg":"EdDSA"}`, claims, edSign(private))
	for name, wrong := range map[string]string{
		"alg none":         compact(`{"alg":"none"}`, claims, edSign(private)),
		"another audience": compact(`{"alg":"EdDSA"}`, strings.Replace(claims, issuer, "http://elsewhere", 1), edSign(private)),
		"another typ":      compact(`{"alg":"EdDSA","typ":"dpop+jwt"}`, claims, edSign(private)),
		"another's kid":    compact(`{"alg":"EdDSA","kid":"operator"}`, claims, edSign(private)),
	} {
		if _, err := endpoint.Token(t.Context(), token.Request{Assertion: wrong}, w.clock.Now()); fault.ReasonOf(err) != "INVALID_CLIENT" {
			t.Errorf("%s: %v", name, err)
		}
	}
	var errs [16]error
	together(len(errs), func(i int) { _, errs[i] = endpoint.Token(t.Context(), token.Request{Assertion: text}, w.clock.Now()) })
	tokens := 0
	for _, err := range errs {
		if err == nil {
			tokens++
			continue
		}
		wantReason(t, err, "INVALID_CLIENT")
	}
	if tokens != 1 {
		t.Errorf("one assertion gave %d tokens", tokens)
	}
}

// verifier believes the keys of this world.
func (w *world) verifier() *rpc.JWTVerifier {
	w.t.Helper()
	published := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		document, err := w.ring.JWKS()
		if err != nil {
			w.t.Error(err)
		}
		_, _ = rw.Write(document)
	}))
	w.t.Cleanup(published.Close)
	must(w.t, keys.NewService(w.store, w.ring, keys.Schedule{Life: 720 * time.Hour, Ahead: 24 * time.Hour, Kept: 25 * time.Hour}).
		Maintain(w.t.Context(), w.clock.Now()))
	return rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: issuer, Audience: token.Audience, KeysURL: published.URL, Now: w.clock.Now})
}

// signingKey is the key that signs now, which only a test has.
func (w *world) signingKey() (private ed25519.PrivateKey, kid string) {
	w.t.Helper()
	kid = w.kidIn(keys.Active)
	for _, secret := range w.sealed.all {
		key := ed25519.NewKeyFromSeed(secret)
		jwk := jose.JSONWebKey{Key: key.Public()}
		sum, err := jwk.Thumbprint(crypto.SHA256)
		must(w.t, err)
		if base64.RawURLEncoding.EncodeToString(sum) == kid {
			return key, kid
		}
	}
	w.t.Fatal("the signing key was never sealed")
	return nil, ""
}

func (w *world) preparedKid() string { return w.kidIn(keys.Prepared) }

func (w *world) kidIn(state keys.State) string {
	w.t.Helper()
	all, err := w.ring.List(w.t.Context(), keys.Signing, "")
	must(w.t, err)
	for _, k := range all {
		if k.State == state {
			return k.Kid
		}
	}
	w.t.Fatalf("no signing key is %s", state)
	return ""
}

func compact(header, payload string, sign func([]byte) []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(payload))
	return text + "." + encode(sign([]byte(text)))
}

func edSign(private ed25519.PrivateKey) func([]byte) []byte {
	return func(m []byte) []byte { return ed25519.Sign(private, m) }
}

func decoded(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	must(t, err)
	return b
}

func TestThreatEnumerationByUID(t *testing.T) {
	w := threat(t)
	free, owned, unknown := w.band(wire.SuiteHMAC), w.bound(wire.SuiteHMAC, "accounts/bob"), &Band{UID: wire.NewRangeUID(1, 9, 9)}
	var first wire.Challenge
	for i, b := range []*Band{free, owned, unknown} {
		c := w.begin(b, "accounts/eve")
		got := c.Content
		got.Nonce, got.BindingID = wire.Nonce{}, wire.BindingID{}
		if i == 0 {
			first = got
		}
		if got != first {
			t.Errorf("band %d is told apart", i)
		}
		_, err := w.complete("accounts/eve", c, bytes.Repeat([]byte{1}, 32))
		wantReason(t, err, "RESPONSE_REJECTED")
	}
	_, err := w.service.Create(t.Context(), challenge.Caller{Role: challenge.RoleWearer, Account: "accounts/eve"}, ask("CreateChallenge"),
		challenge.Wanted{Purpose: wire.PurposeVoucher, UID: owned.UID}, w.clock.Now())
	wantReason(t, err, "DEVICE_NOT_FOUND")
}

func TestThreatEnumerationByTiming(t *testing.T) {
	// What is done for a band that is there is done for one that is not: the same calls of the stores, of the keys and of the
	// registry, in the same order, and a verification under a key of the same suite, whatever the suite.
	for suite := wire.SuiteHMAC; suite <= wire.SuiteEd25519; suite++ {
		w := threat(t)
		there, gone := w.bound(suite, "accounts/ann"), w.bound(suite, "accounts/bob")
		trace := w.traced()
		var did [2][]string
		for i, b := range []*Band{there, gone} {
			c := w.create(b, tea)
			answer := w.answer(b, c.Frame)
			if b == gone {
				w.registry.Remove(gone.UID)
			} else {
				answer[len(answer)-1] ^= 1
			}
			*trace = nil
			_, err := w.verify(c, answer) // of the band that is gone not even a good answer counts
			wantReason(t, err, "RESPONSE_REJECTED")
			did[i] = *trace
		}
		if diff := cmp.Diff(did[0], did[1]); diff != "" || len(did[0]) < 4 {
			t.Errorf("suite %s, there and gone: %s", suite, diff)
		}
	}
	w := threat(t)
	free, owned, unknown := w.band(wire.SuiteHMAC), w.bound(wire.SuiteHMAC, "accounts/bob"), &Band{UID: wire.NewRangeUID(1, 9, 9)}
	trace := w.traced()
	var first []string
	for i, b := range []*Band{free, owned, unknown} {
		*trace = nil
		c := w.begin(b, "accounts/eve")
		_, err := w.complete("accounts/eve", c, bytes.Repeat([]byte{1}, 32))
		wantReason(t, err, "RESPONSE_REJECTED")
		forged := append([]byte{0x12, 1, 0, 2}, make([]byte, 28)...) // a frame with a wrong authenticator
		_, err = w.complete("accounts/eve", c, forged)
		wantReason(t, err, "RESPONSE_REJECTED")
		if i == 0 {
			first = *trace
		}
		if diff := cmp.Diff(first, *trace); diff != "" || len(first) < 4 {
			t.Errorf("claims of band %d and of a free one: %s", i, diff)
		}
	}
}

// traced has the service go on with a trace of what it asks.
func (w *world) traced() *[]string {
	calls := &[]string{}
	w.service = challenge.NewService(challenge.Config{
		Devices: tracedRegistry{w.registry, calls}, Live: w.live, Store: tracedStore{w.store, calls}, Claims: w.store, Denials: w.store,
		Keys: tracedKeys{w.ring, calls}, Issuer: issuer, Life: life, Policy: w.policy,
	})
	return calls
}

type tracedStore struct {
	challenge.Store
	calls *[]string
}

func (s tracedStore) Standing(ctx context.Context, of challenge.Subject) (challenge.Standing, error) {
	*s.calls = append(*s.calls, "Standing")
	return s.Store.Standing(ctx, of)
}

func (s tracedStore) UpdateLockout(ctx context.Context, uid wire.UID, account string, change func(challenge.Lockout) challenge.Lockout) error {
	*s.calls = append(*s.calls, "UpdateLockout")
	return s.Store.UpdateLockout(ctx, uid, account, change)
}

type tracedKeys struct {
	*keys.Ring
	calls *[]string
}

func (k tracedKeys) Master(ctx context.Context, partner string, epoch int) ([]byte, error) {
	*k.calls = append(*k.calls, "Master")
	return k.Ring.Master(ctx, partner, epoch)
}

func (k tracedKeys) MasterIn(ctx context.Context, partner string, epoch int, state keys.State) ([]byte, error) {
	*k.calls = append(*k.calls, "MasterIn")
	return k.Ring.MasterIn(ctx, partner, epoch, state)
}

type tracedRegistry struct {
	*Registry
	calls *[]string
}

func (r tracedRegistry) ByUID(ctx context.Context, uid wire.UID) (challenge.Device, error) {
	*r.calls = append(*r.calls, "ByUID")
	return r.Registry.ByUID(ctx, uid)
}

func (r tracedRegistry) BeginBinding(ctx context.Context, uid wire.UID, account, requestID string) (challenge.Binding, error) {
	*r.calls = append(*r.calls, "BeginBinding")
	return r.Registry.BeginBinding(ctx, uid, account, requestID)
}

func TestThreatLockoutAsDenialOfService(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	for range 4 { // a stranger sends wrong answers to claims of ann's band
		c := w.begin(b, "accounts/eve")
		answer := w.answer(b, c.Frame)
		answer[len(answer)-1] ^= 1
		for range challenge.MaxTries {
			if _, err := w.complete("accounts/eve", c, answer); err == nil {
				t.Fatal("a wrong answer was accepted")
			}
		}
	}
	claim := w.begin(b, "accounts/eve")
	_, err := w.complete("accounts/eve", claim, w.answer(b, claim.Frame))
	wantReason(t, err, "DEVICE_LOCKED")
	c := w.create(b, tea)
	_, err = w.verify(c, w.answer(b, c.Frame))
	must(t, err)
}

func TestThreatCompromisedPaymentsService(t *testing.T) {
	// Payments can ask; only a band can answer, and only for what it was asked.
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	for _, p := range []wire.Purpose{wire.PurposeClaim, wire.PurposeVoucher, wire.PurposeUnbind, wire.PurposePresence} {
		_, err := w.service.Create(t.Context(), payments, ask("CreateChallenge"), challenge.Wanted{Purpose: p, UID: b.UID}, w.clock.Now())
		wantReason(t, err, "PURPOSE_NOT_ALLOWED")
	}
	c := w.create(b, tea)
	for range challenge.MaxTries {
		forged, err := b.Forge(c.Frame, wire.Nonce{})
		must(t, err)
		_, err = w.verify(c, forged)
		wantReason(t, err, "RESPONSE_REJECTED")
	}
	if v := w.clear(offline.Submission{TerminalFrame: make([]byte, 32), TapFrame: make([]byte, 40), MCC: 4111}); v.Reason != offline.BadMAC {
		t.Errorf("a tap made up is %q", v.Reason)
	}
	if n := w.count(`SELECT COUNT(*) FROM decisions WHERE reason = ''`); n != 0 {
		t.Errorf("%d approvals", n)
	}
}

func TestEveryThreatIsListed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "threats.md"))
	must(t, err)
	var tests []string
	for _, file := range []string{"threats_test.go", "threats_secrets_test.go"} {
		source, err := os.ReadFile(file)
		must(t, err)
		for _, m := range regexp.MustCompile(`func (TestThreat\w+)`).FindAllStringSubmatch(string(source), -1) {
			tests = append(tests, m[1])
		}
	}
	var listed []string
	for _, m := range regexp.MustCompile("`(TestThreat\\w+)` \\|").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	if diff := cmp.Diff(listed, tests); diff != "" {
		t.Errorf("docs/threats.md lists other tests, or in another order (-listed +there):\n%s", diff)
	}
}
