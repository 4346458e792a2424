package storetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
)

// The threats of docs/threats.md, one test each, in its order: those about taps here, the others in threats_secrets_test.go.
// They run on SQLite with challenges in memory where nothing else is said; that the other stores behave alike is what the
// rest of this package shows. TestEveryThreatIsListed holds text and tests together.

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
	w, client := onRedis(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	c := w.create(b, tea)
	answer, other := w.answer(b, c.Frame), w.answer(b, c.Frame)
	first, err := w.verify(c, answer)
	must(t, err)
	must(t, client.FlushAll(t.Context()).Err())
	again, err := w.verify(c, answer)
	must(t, err)
	_, err = w.verify(c, other)
	wantReason(t, err, "CHALLENGE_USED")
	if again.JTI != first.JTI || w.decisions(c) != 1 {
		t.Error("the answer was approved twice")
	}
}

func TestThreatReplayWithAnOldRedisSnapshot(t *testing.T) {
	w, client := onRedis(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	old := w.create(b, tea)
	early := w.answer(b, old.Frame)
	w.clock.Advance(time.Second)
	c := w.create(b, tea)
	answer, other := w.answer(b, c.Frame), w.answer(b, c.Frame)
	before := snapshot(t, client) // old is superseded, c is live
	first, err := w.verify(c, answer)
	must(t, err)
	bringBack(t, client, before)
	_, err = w.verify(c, other)
	wantReason(t, err, "CHALLENGE_USED")
	bringBack(t, client, before)
	again, err := w.verify(c, answer)
	must(t, err)
	if again.JTI != first.JTI || w.decisions(c) != 1 {
		t.Errorf("%d decisions", w.decisions(c))
	}
	// Not even a snapshot in which the superseded challenge is live makes it count, whichever counter the band answers with.
	for _, late := range [][]byte{early, w.answer(b, old.Frame)} {
		w.use(live.NewMemory())
		must(t, w.live.Issue(t.Context(), old, w.clock.Now()))
		_, err = w.verify(old, late)
		if reason := fault.ReasonOf(err); reason != "CHALLENGE_SUPERSEDED" && reason != "CHALLENGE_USED" {
			t.Errorf("a superseded challenge: %v", err)
		}
	}
	if n := w.count(`SELECT COUNT(*) FROM decisions WHERE reason = ''`); n != 1 {
		t.Errorf("%d approvals", n)
	}
}

// onRedis is a world with challenges in a Redis server of its own.
func onRedis(t *testing.T) (*world, *redis.Client) {
	t.Helper()
	addr := testkit.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { must(t, client.Close()) })
	return newWorld(t, testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite)), openRedis(t, addr)), client
}

// snapshot is everything in Redis; bringBack puts it in the place of everything in Redis.
func snapshot(t *testing.T, client *redis.Client) map[string]string {
	t.Helper()
	names, err := client.Keys(t.Context(), "*").Result()
	must(t, err)
	all := map[string]string{}
	for _, name := range names {
		all[name], err = client.Dump(t.Context(), name).Result()
		must(t, err)
	}
	return all
}

func bringBack(t *testing.T, client *redis.Client, all map[string]string) {
	t.Helper()
	must(t, client.FlushAll(t.Context()).Err())
	for name, value := range all {
		must(t, client.Restore(t.Context(), name, 0, value).Err())
	}
}

func TestThreatFlippedBit(t *testing.T) {
	w := threat(t)
	b := w.bound(wire.SuiteEd25519, "accounts/ann")
	c := w.create(b, tea)
	for bit := range 8 * len(c.Frame) { // on its way to the band
		bad := bytes.Clone(c.Frame)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := b.Answer(bad, c.BindNonce); err == nil {
			t.Fatalf("the band answers a challenge with bit %d flipped", bit)
		}
	}
	answer := w.answer(b, c.Frame)
	for bit := range 8 * len(answer) { // and on its way back
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
		swapped, err := shown.MarshalBinary()
		must(t, err)
		if _, err := b.Answer(append(swapped, c.Frame[len(c.Frame)-wire.TagLen:]...), c.BindNonce); err == nil {
			t.Errorf("%s: the band shows and signs what the phone made of it", name)
		}
		// Even what a band signed that does not look at the tag is refused.
		session, err := b.Session(shown.BindingID, c.BindNonce)
		must(t, err)
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
	guessed := c.Content // all of it guessed right but the nonce
	guessed.Nonce[15] ^= 1
	session, err := b.Session(c.Content.BindingID, c.BindNonce)
	must(t, err)
	answer, err := b.seal(session, guessed)
	must(t, err)
	_, err = w.verify(c, answer)
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
	// A band reserves counters in flash before it uses them. Its power is cut before and after each write, and it goes on with
	// what flash holds. The virtual band of the SDK is put through the same in sdk/virtual,
	// TestAPowerCutAtAnyWriteNeverRepeatsACounter.
	w := threat(t)
	b := w.bound(wire.SuiteCMAC, "accounts/ann")
	const block = 3
	flash, seen := b.Counter+block, map[uint32]bool{b.Counter: true}
	for cut := range 12 {
		if b.Counter+1 >= flash && cut%2 == 1 {
			flash = b.Counter + 1 + block // written, and cut before the counter was used
		}
		b.Counter = flash // the band starts again behind what it had reserved
		for range cut % (block + 2) {
			if b.Counter+1 >= flash {
				flash = b.Counter + 1 + block
			}
			c := w.create(b, tea)
			_, err := w.verify(c, w.answer(b, c.Frame))
			must(t, err)
			if seen[b.Counter] {
				t.Fatalf("counter %d was used twice", b.Counter)
			}
			seen[b.Counter] = true
			w.clock.Advance(time.Second)
		}
	}
	// A band that does otherwise is taken for a copy, however far its counter fell back.
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
