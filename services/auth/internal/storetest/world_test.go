package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
	"github.com/armlet-pay/armlet/services/auth/internal/store"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
)

const issuer = "http://auth.test"

var payments = challenge.Caller{Role: challenge.RoleService, ID: "payments"}

// world is a partner "acme" with bands, and everything of auth but its edge.
type world struct {
	t        testing.TB
	db       *sqldb.DB
	store    *store.Store
	ring     *keys.Ring
	live     challenge.LiveStore
	registry *Registry
	service  *challenge.Service
	taps     *offline.Service
	policy   challenge.Policy
	keyFile  string
	sealed   *sealed
	clock    *testkit.FakeClock
	serial   uint64
}

func newWorld(t testing.TB, db *sqldb.DB, l challenge.LiveStore) *world {
	t.Helper()
	w := &world{t: t, db: db, live: l, registry: NewRegistry(), clock: testkit.Clock(start)}
	w.policy.Offline = map[string]challenge.OfflineLimit{"CNY": {MaxTap: 500, Cumulative: 2000, MaxTaps: 5}}
	var err error
	w.store, err = store.New(t.Context(), db, bus.Encode)
	must(t, err)
	w.keyFile = filepath.Join(t.TempDir(), "keyset.json")
	kek, err := keys.OpenLocal(w.keyFile)
	must(t, err)
	w.sealed = &sealed{KEK: kek}
	w.ring, err = keys.Open(t.Context(), w.store, w.sealed, start)
	must(t, err)
	_, err = partner.NewService(w.store, w.ring).Create(t.Context(), ask("CreatePartner"), "acme", "Acme Bands", start)
	must(t, err)
	w.use(l)
	return w
}

// sealed keeps what was sealed, for tests that look for it or that sign as auth does.
type sealed struct {
	keys.KEK
	mu  sync.Mutex
	all [][]byte
}

func (s *sealed) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, bytes.Clone(plaintext))
	return s.KEK.Encrypt(plaintext, associatedData)
}

// use has the service go on with another live store, as after Redis was replaced.
func (w *world) use(l challenge.LiveStore) {
	w.live = l
	w.service = challenge.NewService(challenge.Config{
		Devices: w.registry, Live: l, Store: w.store, Claims: w.store, Denials: w.store, Keys: w.ring, Issuer: issuer, Life: life, Policy: w.policy,
	})
	w.taps = offline.NewService(w.store, w.registry, w.ring, w.service, issuer)
}

// eachWorld runs test on SQLite with challenges in memory, and on PostgreSQL with challenges in Redis.
func eachWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		if db.Dialect() == sqldb.SQLite {
			test(t, newWorld(t, db, live.NewMemory()))
			return
		}
		test(t, newWorld(t, db, openRedis(t, testkit.Redis(t))))
	})
}

// run is a subtest in this world; the registry is back when it ends.
func (w *world) run(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		outer := w.t
		w.t = t
		defer func() {
			w.t = outer
			w.registry.SetDown(false)
		}()
		test(t)
	})
}

var asked int

// ask is a request that nobody made before.
func ask(method string) request.ID {
	asked++
	return request.ID{Caller: "test", Method: method, ID: hex.EncodeToString([]byte{byte(asked >> 8), byte(asked)}), Fingerprint: digestOf(method)}
}

// band makes a band that the registry knows and that nobody has claimed.
func (w *world) band(suite wire.Suite) *Band {
	w.t.Helper()
	w.serial++
	uid := wire.NewRangeUID(1, 1, w.serial)
	master, err := w.ring.Master(w.t.Context(), "acme", 1)
	must(w.t, err)
	b, err := NewBand(master, 1, uid, suite)
	must(w.t, err)
	w.registry.Put(challenge.Device{
		Name: "partners/acme/devices/" + uid.String(), Partner: "acme", UID: uid, Suite: suite, Epoch: 1, PublicKey: b.Public,
		MinSVN: 2, WristAware: true, HasDisplay: true, CanRange: true, Block: challenge.NotBound,
	})
	return b
}

// bound makes a band and claims it for the account.
func (w *world) bound(suite wire.Suite, account string) *Band {
	w.t.Helper()
	b := w.band(suite)
	c := w.begin(b, account)
	_, err := w.service.CompleteClaim(w.t.Context(), account, c.ID, w.answer(b, c.Frame), "", w.clock.Now())
	must(w.t, err)
	w.clock.Advance(time.Second)
	return b
}

func (w *world) begin(b *Band, account string) challenge.Claim {
	w.t.Helper()
	c, err := w.service.BeginClaim(w.t.Context(), ask("BeginClaim"), account, b.UID, w.clock.Now())
	must(w.t, err)
	return c
}

// answer has the band answer under the binding that the registry has.
func (w *world) answer(b *Band, frame []byte) []byte {
	w.t.Helper()
	text, err := b.Answer(frame, w.registry.Get(b.UID).BindNonce)
	must(w.t, err)
	return text
}

var tea = challenge.Wanted{
	Purpose: wire.PurposePay, MinorUnits: 1200, Currency: "CNY", MCC: 5812, Display: "Tea House",
	Merchant: [16]byte{1, 2, 3}, Intent: [16]byte{4, 5, 6},
}

func (w *world) create(b *Band, wanted challenge.Wanted) challenge.Challenge {
	w.t.Helper()
	wanted.UID = b.UID
	c, err := w.service.Create(w.t.Context(), payments, ask("CreateChallenge"), wanted, w.clock.Now())
	must(w.t, err)
	return c
}

func (w *world) verify(c challenge.Challenge, answer []byte) (challenge.Verdict, error) {
	return w.service.Verify(context.WithoutCancel(w.t.Context()), payments, c.Nonce, answer, w.clock.Now())
}

func (w *world) count(query string, args ...any) (n int) {
	w.t.Helper()
	must(w.t, w.db.QueryRowContext(w.t.Context(), query, args...).Scan(&n))
	return n
}

func (w *world) decisions(c challenge.Challenge) int {
	return w.count(`SELECT COUNT(*) FROM decisions WHERE nonce = $1`, hex.EncodeToString(c.Nonce[:]))
}

func (w *world) events(suffix string) int {
	return w.count(`SELECT COUNT(*) FROM outbox WHERE type = $1`, "armlet.auth.v1."+suffix)
}

// opened verifies an assertion with the published keys and reads it.
func (w *world) opened(text string) challenge.Assertion {
	w.t.Helper()
	document, err := w.ring.JWKS()
	must(w.t, err)
	var set jose.JSONWebKeySet
	must(w.t, json.Unmarshal(document, &set))
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.EdDSA})
	must(w.t, err)
	if typ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; typ != challenge.AssertionType {
		w.t.Fatalf("typ is %v", typ)
	}
	payload, err := jws.Verify(set.Key(jws.Signatures[0].Protected.KeyID)[0])
	must(w.t, err)
	var a challenge.Assertion
	must(w.t, json.Unmarshal(payload, &a))
	return a
}

// wantResult verifies a RESULT frame as the band does.
func (w *world) wantResult(b *Band, nonce wire.Nonce, frame []byte, outcome wire.Outcome) {
	w.t.Helper()
	r, tag, err := wire.ParseResult(frame)
	must(w.t, err)
	d := w.registry.Get(b.UID)
	session, err := b.Session(d.BindingID, d.BindNonce)
	must(w.t, err)
	must(w.t, wire.VerifyResultTag(session.Rslt, b.UID, nonce, r, tag))
	if r.Outcome != outcome || r.CounterEcho != b.Counter {
		w.t.Errorf("the result is %s for counter %d, want %s for %d", r.Outcome, r.CounterEcho, outcome, b.Counter)
	}
}

func sum(b []byte) [32]byte { return sha256.Sum256(b) }
