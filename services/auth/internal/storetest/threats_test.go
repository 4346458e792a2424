package storetest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

// The threats of docs/threats.md, one test each, in its order. They run on SQLite with challenges in memory; that the other
// stores behave alike is what the rest of this package shows. TestEveryThreatIsListed holds text and tests together.

func threat(t *testing.T) *world {
	t.Helper()
	return newWorld(t, testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite)), live.NewMemory())
}

func TestThreatConcurrentReplay(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	answer := w.answer(b, c.Frame)
	var got [64]challenge.Verdict
	var errs [64]error
	together(64, func(i int) { got[i], errs[i] = w.verify(c, answer) })
	must(t, errors.Join(errs[:]...))
	for _, v := range got {
		if v.JTI != got[0].JTI {
			t.Fatal("one answer was approved under two ids: the second could be spent too")
		}
	}
	if n := w.decisions(c); n != 1 {
		t.Errorf("%d decisions", n)
	}
}

func TestThreatSequentialReplay(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	answer := w.answer(b, c.Frame)
	_, err := w.verify(c, answer)
	must(t, err)
	w.clock.Advance(time.Second)
	next := w.create(b, tea)
	_, err = w.verify(next, answer)
	wantReason(t, err, "RESPONSE_REJECTED")
	w.clock.Advance(life)
	_, err = w.verify(c, answer)
	wantReason(t, err, "CHALLENGE_EXPIRED")
}

func TestThreatReplayAfterRedisWasEmptied(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	answer, other := w.answer(b, c.Frame), w.answer(b, c.Frame)
	first, err := w.verify(c, answer)
	must(t, err)
	w.use(live.NewMemory())
	again, err := w.verify(c, answer)
	must(t, err)
	_, err = w.verify(c, other)
	wantReason(t, err, "CHALLENGE_USED")
	if again.JTI != first.JTI || w.decisions(c) != 1 {
		t.Error("the answer was approved twice")
	}
}

func TestThreatReplayWithAnOldRedisSnapshot(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	answer, other := w.answer(b, c.Frame), w.answer(b, c.Frame)
	first, err := w.verify(c, answer)
	must(t, err)
	old := live.NewMemory() // a replica that never heard that the challenge was used
	must(t, old.Issue(t.Context(), c, w.clock.Now()))
	w.use(old)
	_, err = w.verify(c, other)
	wantReason(t, err, "CHALLENGE_USED")
	again, err := w.verify(c, other)
	if err == nil || again.JTI != "" || w.decisions(c) != 1 || first.JTI == "" {
		t.Errorf("%d decisions", w.decisions(c))
	}
}

func TestThreatFlippedBit(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteEd25519, "accounts/ann")
	c := w.create(b, tea)
	answer := w.answer(b, c.Frame)
	for bit := range 8 * len(answer) {
		bad := bytes.Clone(answer)
		bad[bit/8] ^= 1 << (bit % 8)
		w.use(live.NewMemory()) // all tries are there again
		must(t, w.live.Issue(t.Context(), c, w.clock.Now()))
		w.forgive()
		_, err := w.verify(c, bad)
		wantReason(t, err, "RESPONSE_REJECTED")
	}
}

func TestThreatPhoneSwapsWhatIsSigned(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteP256, "accounts/ann")
	bob := w.bound(wire.SuiteP256, "accounts/bob")
	for name, change := range map[string]func(c *wire.Challenge){
		"amount": func(c *wire.Challenge) { c.Amount = 1 }, "payee": func(c *wire.Challenge) { c.Merchant[0]++ },
		"currency": func(c *wire.Challenge) { c.Currency = "EUR" }, "account": func(c *wire.Challenge) { c.BindingID = w.registry.Get(bob.UID).BindingID },
		"purpose": func(c *wire.Challenge) { c.Purpose = wire.PurposePresence }, "what is asked for": func(c *wire.Challenge) { c.Require = 0 },
	} {
		w.forgive()
		c := w.create(b, tea)
		shown := c.Content
		change(&shown)
		session, err := b.Session(shown.BindingID, c.BindNonce)
		must(t, err)
		frame, err := wire.SealChallenge(wire.Key{}, b.UID, shown)
		if err == nil || frame != nil {
			t.Errorf("%s: the phone has a key", name)
		}
		// The band would refuse the tag; even one that signed it all the same is refused.
		answer, err := b.seal(session, shown)
		must(t, err)
		_, err = w.verify(c, answer)
		wantReason(t, err, "RESPONSE_REJECTED")
	}
}

func TestThreatChallengeForAnotherBand(t *testing.T) {
	w := threat(t)
	ann, bob := w.bound(wire.SuiteHMAC, "accounts/ann"), w.bound(wire.SuiteHMAC, "accounts/bob")
	c := w.create(ann, tea)
	if _, err := bob.Answer(c.Frame, w.registry.Get(bob.UID).BindNonce); err == nil {
		t.Error("another band answered")
	}
	forged, err := bob.Forge(c.Frame, w.registry.Get(bob.UID).BindNonce)
	must(t, err)
	_, err = w.verify(c, forged)
	wantReason(t, err, "RESPONSE_REJECTED")
}

func TestThreatExpired(t *testing.T) {
	w := threat(t)
	w.use(stopped{w.live}) // not even a store whose clock stands still helps
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	answer := w.answer(b, c.Frame)
	w.clock.Advance(life)
	_, err := w.verify(c, answer)
	wantReason(t, err, "CHALLENGE_EXPIRED")
}

func TestThreatSuperseded(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	old := w.create(b, tea)
	answer := w.answer(b, old.Frame)
	w.create(b, tea)
	_, err := w.verify(old, answer)
	wantReason(t, err, "CHALLENGE_SUPERSEDED")
}

func TestThreatPrePlayed(t *testing.T) {
	// Answers collected beforehand, for challenges that a finder of the band made up, fit no challenge that comes later.
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	early := w.create(b, tea)
	collected := w.answer(b, early.Frame)
	w.clock.Advance(time.Second)
	c := w.create(b, tea)
	if c.Nonce == early.Nonce {
		t.Fatal("a nonce came twice")
	}
	_, err := w.verify(c, collected)
	wantReason(t, err, "RESPONSE_REJECTED")
}

func TestThreatRelayWithLatency(t *testing.T) {
	w := threat(t)
	w.policy.MaxRTT = 10 * time.Millisecond
	w.use(w.live)
	for rtt, reason := range map[uint16]string{100: "", 101: "REQUIREMENT_MISSING"} {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		key, err := wire.NewKey(c.PongKey)
		must(t, err)
		pong, err := wire.PongAnswer(key, c.Nonce, 0, [4]byte{9})
		must(t, err)
		b.Change = func(r *wire.Response) {
			r.Flags |= wire.FlagRTTValid
			r.Proximity, r.MinRTT, r.Rounds = wire.ProximityRTT, rtt, []wire.Round{{BandNonce: [4]byte{9}, Answer: pong}}
		}
		_, err = w.verify(c, w.answer(b, c.Frame))
		wantReason(t, err, reason)
	}
}

func TestThreatClonedBand(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	twin := *b
	c := w.create(b, tea)
	_, err := w.verify(c, w.answer(b, c.Frame))
	must(t, err)
	w.clock.Advance(time.Second)
	c = w.create(b, tea)
	_, err = w.verify(c, w.answer(&twin, c.Frame))
	wantReason(t, err, "CLONE_SUSPECTED")
	if w.registry.Get(b.UID).Block != challenge.Suspended || w.events("CloneSuspected") != 1 {
		t.Error("the device was not suspended in the same breath")
	}
}

func TestThreatCounterRollback(t *testing.T) {
	// A power cut at every write of the band itself is in sdk/virtual: TestAPowerCutNeverRepeatsACounter. Here the platform
	// meets a band whose counter fell back by any number of steps.
	w := threat(t)
	for back := range uint32(4) {
		b := w.bound(wire.SuiteCMAC, "accounts/ann")
		c := w.create(b, tea)
		_, err := w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		w.clock.Advance(time.Second)
		b.Counter -= back + 1
		c = w.create(b, tea)
		_, err = w.verify(c, w.answer(b, c.Frame))
		wantReason(t, err, "CLONE_SUSPECTED")
	}
}

func TestThreatFinderClaimsALostBand(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.begin(b, "accounts/eve")
	done, err := w.complete("accounts/eve", c, w.answer(b, c.Frame))
	wantReason(t, err, "ALREADY_BOUND")
	if done.Result != nil || w.registry.Get(b.UID).Account != "accounts/ann" {
		t.Error("the finder got the band")
	}
}

func TestThreatStolenPhone(t *testing.T) {
	// The thief has the wearer's session and not the band: neither a release nor an offline grant nor a payment follows.
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	for _, wanted := range []challenge.Wanted{
		{Purpose: wire.PurposeUnbind, UID: b.UID}, {Purpose: wire.PurposeOfflineRefill, UID: b.UID, MinorUnits: 100, Currency: "CNY"},
		{Purpose: wire.PurposeVoucher, UID: b.UID},
	} {
		w.use(live.NewMemory())
		c, err := w.service.Create(t.Context(), wearerAnn, ask("CreateChallenge"), wanted, w.clock.Now())
		must(t, err)
		forged, err := b.Forge(c.Frame, wire.Nonce{}) // with any other key
		must(t, err)
		_, err = w.service.Verify(t.Context(), wearerAnn, c.Nonce, forged, w.clock.Now())
		wantReason(t, err, "RESPONSE_REJECTED")
	}
	_, err := w.service.Create(t.Context(), wearerAnn, ask("CreateChallenge"), tea, w.clock.Now())
	wantReason(t, err, "PURPOSE_NOT_ALLOWED")
	if w.registry.Get(b.UID).Account != "accounts/ann" {
		t.Error("the band was released")
	}
}

func TestThreatBothStolen(t *testing.T) {
	// A thief who cannot unlock the band gets nothing that needs level 2, and what no one is asked about is bounded.
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	held := uint32(0)
	for range challenge.MaxOpenGrants {
		held += w.refilled(b).CumulativeLimit
	}
	b.Flags = wire.FlagGesture | wire.FlagOnWrist
	wanted := tea
	wanted.MinAssurance = 2
	c := w.create(b, wanted)
	_, err := w.verify(c, w.answer(b, c.Frame))
	wantReason(t, err, "REQUIREMENT_MISSING")
	_, err = w.service.Create(t.Context(), wearerAnn, ask("CreateChallenge"),
		challenge.Wanted{Purpose: wire.PurposeOfflineRefill, UID: b.UID, MinorUnits: 1, Currency: "CNY"}, w.clock.Now())
	wantReason(t, err, "OFFLINE_LIMIT_REACHED")
	if held > challenge.MaxOpenGrants*w.policy.Offline["CNY"].Cumulative {
		t.Errorf("%d can be spent offline", held)
	}
}

func TestThreatPartnerOutsideItsSpace(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	globex := challenge.Caller{Role: challenge.RolePartner, ID: "g", Partner: "globex", Scopes: []string{"presence.verify", "vouchers.redeem"}}
	for _, p := range []wire.Purpose{wire.PurposePresence, wire.PurposeVoucher} {
		_, err := w.service.Create(t.Context(), globex, ask("CreateChallenge"), challenge.Wanted{Purpose: p, UID: b.UID}, w.clock.Now())
		wantReason(t, err, "DEVICE_NOT_FOUND")
	}
	c := w.create(b, tea)
	_, err := w.service.Verify(t.Context(), globex, c.Nonce, w.answer(b, c.Frame), w.clock.Now())
	wantReason(t, err, "CALLER_NOT_ALLOWED")
	if _, err := w.ring.Export(t.Context(), "globex", 1, "{}"); err == nil {
		t.Error("a key was exported")
	}
}

func TestThreatPlantedSmallOrderKey(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteEd25519, "accounts/ann")
	d := w.registry.Get(b.UID)
	d.PublicKey = append([]byte{1}, make([]byte, 31)...) // the identity: one signature verifies for everything
	w.registry.Put(d)
	c := w.create(b, tea)
	answer := w.answer(b, c.Frame)
	copy(answer[len(answer)-64:], append([]byte{1}, make([]byte, 63)...))
	if v, err := w.verify(c, answer); err == nil || v.Assertion != "" {
		t.Error("the constant signature was approved")
	}
}

func TestThreatLeakedDatabase(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	v, err := w.verify(c, w.answer(b, c.Frame))
	must(t, err)
	w.refilled(b)
	master, err := w.ring.Master(t.Context(), "acme", 1)
	must(t, err)
	d := w.registry.Get(b.UID)
	session, err := b.Session(d.BindingID, d.BindNonce)
	must(t, err)
	secrets := map[string][]byte{
		"master key": master, "K_dev": b.dev.Bytes(), "K_chal": session.Chal.Bytes(), "K_resp": session.Resp.Bytes(),
		"K_offl": session.Offl.Bytes(), "K_rslt": session.Rslt.Bytes(), "assertion": []byte(v.Assertion),
	}
	must(t, mustExec(w, `PRAGMA wal_checkpoint(TRUNCATE)`))
	var file string
	must(t, w.db.QueryRowContext(t.Context(), `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&file))
	for _, name := range []string{file, file + "-wal"} {
		dump, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		wantNoSecret(t, name, dump, secrets)
	}
}

func mustExec(w *world, query string) error {
	_, err := w.db.ExecContext(w.t.Context(), query)
	return err
}

// wantNoSecret looks for secrets raw, in hex and in base64.
func wantNoSecret(t *testing.T, where string, dump []byte, secrets map[string][]byte) {
	t.Helper()
	if len(dump) == 0 && strings.HasSuffix(where, ".db") {
		t.Fatalf("%s is empty", where)
	}
	for name, secret := range secrets {
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
	addr := testkit.Redis(t)
	w := newWorld(t, testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite)), openRedis(t, addr))
	w.policy.MaxRTT = time.Second
	w.use(w.live)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	master, err := w.ring.Master(t.Context(), "acme", 1)
	must(t, err)
	d := w.registry.Get(b.UID)
	session, err := b.Session(d.BindingID, d.BindNonce)
	must(t, err)
	secrets := map[string][]byte{
		"master key": master, "K_dev": b.dev.Bytes(), "K_chal": session.Chal.Bytes(), "K_resp": session.Resp.Bytes(), "pong key": c.PongKey,
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	keys, err := client.Keys(t.Context(), "armlet:*").Result()
	must(t, err)
	if len(keys) == 0 {
		t.Fatal("nothing is in Redis")
	}
	for _, key := range keys {
		dump, err := client.Dump(t.Context(), key).Result()
		must(t, err)
		wantNoSecret(t, key, []byte(dump), secrets)
	}
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
	keys := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		document, err := w.ring.JWKS()
		if err != nil {
			t.Error(err)
		}
		_, _ = rw.Write(document)
	}))
	defer keys.Close()
	verifier := rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: issuer, Audience: token.Audience, KeysURL: keys.URL, Now: w.clock.Now})
	good, err := token.NewMint(issuer, w.ring, w.store).Wearer(t.Context(), "operator", "ann", w.clock.Now())
	must(t, err)
	if _, err := verifier.Verify(t.Context(), good.Text); err != nil {
		t.Fatalf("a good token: %v", err)
	}
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	v, err := w.verify(c, w.answer(b, c.Frame))
	must(t, err)
	other := newWorld(t, testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite)), live.NewMemory())
	foreign, err := token.NewMint(issuer, other.ring, other.store).Wearer(t.Context(), "operator", "ann", w.clock.Now())
	must(t, err)
	audience, err := w.ring.Sign("at+jwt", map[string]any{"iss": issuer, "aud": "another", "sub": "x", "exp": w.clock.Now().Unix() + 60, "iat": w.clock.Now().Unix()})
	must(t, err)
	parts := strings.Split(good.Text, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + "."
	hs := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." + parts[1] + "." + parts[2]
	piece, _, err := w.taps.DenyList(t.Context(), 0, w.clock.Now())
	must(t, err)
	for name, text := range map[string]string{
		"alg none": none, "another key type": hs, "another typ: an assertion": v.Assertion, "another typ: a deny-list": piece.Signed,
		"another audience": audience, "another issuer's key": foreign.Text, "cut short": good.Text[:len(good.Text)-2],
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
	source, err := os.ReadFile("threats_test.go")
	must(t, err)
	tests := regexp.MustCompile(`func (TestThreat\w+)`).FindAllStringSubmatch(string(source), -1)
	for _, m := range tests {
		if !strings.Contains(string(text), "`"+m[1]+"`") {
			t.Errorf("docs/threats.md does not list %s", m[1])
		}
	}
	listed := regexp.MustCompile("`(TestThreat\\w+)`").FindAllStringSubmatch(string(text), -1)
	if len(listed) != len(tests) {
		t.Errorf("docs/threats.md lists %d tests, there are %d", len(listed), len(tests))
	}
}
