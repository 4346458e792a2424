package keys

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheLocalKeyIsMadeOnceAndPrivate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "keyset.json")
	keks := make([]KEK, 8)
	var all sync.WaitGroup
	for i := range keks {
		all.Go(func() {
			kek, err := OpenLocal(file)
			if err != nil {
				t.Error(err)
				return
			}
			keks[i] = kek
		})
	}
	all.Wait()
	sealed, err := keks[0].Encrypt([]byte("secret"), []byte("place"))
	must(t, err)
	for _, kek := range keks {
		if opened, err := kek.Decrypt(sealed, []byte("place")); err != nil || string(opened) != "secret" {
			t.Fatalf("eight that opened one file at once have different keys: %v", err)
		}
	}
	if _, err := keks[0].Decrypt(sealed, []byte("elsewhere")); err == nil {
		t.Error("the associated data does not matter")
	}
	info, err := os.Stat(file)
	must(t, err)
	entries, err := os.ReadDir(filepath.Dir(file))
	must(t, err)
	if info.Mode().Perm() != 0o600 || len(entries) != 1 {
		t.Errorf("mode %s, %d files in the folder", info.Mode(), len(entries))
	}
	must(t, os.Chmod(file, 0o640))
	if _, err := OpenLocal(file); err == nil {
		t.Error("a file that others may read was accepted")
	}
	must(t, os.Chmod(file, 0o600))
	must(t, os.WriteFile(file, []byte("{}"), 0o600))
	if _, err := OpenLocal(file); err == nil {
		t.Error("a file that is no keyset was accepted")
	}
}

func TestAPlaceHasOneAssociatedData(t *testing.T) {
	seen := map[string]Row{}
	for _, row := range []Row{
		{ID: "1", Purpose: Master, Partner: "acme", Epoch: 1}, {ID: "2", Purpose: Master, Partner: "acme", Epoch: 1},
		{ID: "1", Purpose: Signing, Partner: "acme", Epoch: 1}, {ID: "1", Purpose: Master, Partner: "acm", Epoch: 1},
		{ID: "1", Purpose: "emaster", Partner: "acm", Epoch: 1}, {ID: "1", Purpose: Master, Partner: "acme", Epoch: 2},
		{ID: "r1", Purpose: "maste", Partner: "acme", Epoch: 1},
	} {
		ad := string(row.associatedData())
		if other, ok := seen[ad]; ok {
			t.Errorf("%+v and %+v have the same associated data", row, other)
		}
		seen[ad] = row
	}
}

// rows is a store in memory; the real one is under test in storetest.
type rows struct{ all []Row }

func (r *rows) InsertKey(_ context.Context, row Row) (Row, error) {
	r.all = append(r.all, row)
	return row, nil
}

func (r *rows) Key(context.Context, Purpose, string, int) (Row, error) { return Row{}, ErrNotFound }

func (r *rows) KeyState(context.Context, Purpose, string, int) (State, error) { return "", ErrNotFound }

func (r *rows) Keys(_ context.Context, p Purpose, _ string) (found []Row, _ error) {
	for _, row := range r.all {
		if row.Purpose == p {
			found = append(found, row)
		}
	}
	return found, nil
}

// retire has the signing keys only verify.
func (r *rows) retire() {
	for i := range r.all {
		if r.all[i].Purpose == Signing {
			r.all[i].State = Retiring
		}
	}
}

func TestSigningKeysFollowTheirSchedule(t *testing.T) {
	day := 24 * time.Hour
	s := Schedule{Life: 30 * day, Ahead: day, Kept: 25 * time.Hour}
	key := func(id string, state State, created, changed time.Time) Row {
		return Row{ID: id, Purpose: Signing, State: state, CreatedAt: created, ChangedAt: changed, Sealed: []byte{1}}
	}
	active := key("a", Active, noon, noon)
	for name, c := range map[string]struct {
		rows    []Row
		at      time.Time
		changed string
		prepare bool
	}{
		"the first key alone":            {[]Row{active}, noon, "", true},
		"a prepared key waits":           {[]Row{active, key("p", Prepared, noon, noon)}, noon.Add(30*day - 1), "", false},
		"its time has come":              {[]Row{active, key("p", Prepared, noon, noon)}, noon.Add(30 * day), "a=RETIRING p=ACTIVE ", true},
		"but it is too young":            {[]Row{active, key("p", Prepared, noon.Add(30*day), noon)}, noon.Add(31*day - 1), "", false},
		"a retired key verifies a while": {[]Row{key("r", Retiring, noon, noon), active, key("p", Prepared, noon, noon)}, noon.Add(25*time.Hour - 1), "", false},
		"and is erased":                  {[]Row{key("r", Retiring, noon, noon), active, key("p", Prepared, noon, noon)}, noon.Add(25 * time.Hour), "r=DESTROYED ", false},
	} {
		d := s.due(c.rows, c.at)
		got := ""
		for _, r := range d.changed {
			got += r.ID + "=" + string(r.State) + " "
			if r.State == Destroyed && len(r.Sealed) > 0 {
				t.Errorf("%s: the secret is still there", name)
			}
		}
		if got != c.changed || d.prepare != c.prepare {
			t.Errorf("%s: %q, prepare %t", name, got, d.prepare)
		}
	}
}

func TestASecretIsNowhereInItsRow(t *testing.T) {
	store := &rows{}
	kek, err := OpenLocal(filepath.Join(t.TempDir(), "keyset.json"))
	must(t, err)
	ring, err := Open(t.Context(), store, kek, noon)
	must(t, err)
	for _, row := range store.all {
		secret, err := ring.open(row)
		must(t, err)
		text, err := json.Marshal(row)
		must(t, err)
		if len(secret) != 32 || bytes.Contains(row.Sealed, secret) || bytes.Contains(text, secret) {
			t.Errorf("%s: the secret of %d bytes is readable", row.Purpose, len(secret))
		}
	}
	other, err := OpenLocal(filepath.Join(t.TempDir(), "another.json"))
	must(t, err)
	if _, err := Open(t.Context(), store, other, noon); err == nil {
		t.Error("another key file opened the keys")
	}
}

func TestTheNewestKeySignsAndTheEarlierOnesStillVerify(t *testing.T) {
	store := &rows{}
	kek, err := OpenLocal(filepath.Join(t.TempDir(), "keyset.json"))
	must(t, err)
	ring, err := Open(t.Context(), store, kek, noon)
	must(t, err)
	before, err := ring.Sign("t", map[string]int{"n": 1})
	must(t, err)
	store.retire()
	row, err := ring.newRow(Signing, "", 2, noon)
	must(t, err)
	store.all = append(store.all, row)
	ring, err = Open(t.Context(), store, kek, noon)
	must(t, err)
	after, err := ring.Sign("t", map[string]int{"n": 2})
	must(t, err)
	document, err := ring.JWKS()
	must(t, err)
	var set jose.JSONWebKeySet
	must(t, json.Unmarshal(document, &set))
	var kids []string
	for _, text := range []string{before, after} {
		jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.EdDSA})
		must(t, err)
		kid := jws.Signatures[0].Protected.KeyID
		found := set.Key(kid)
		if len(found) != 1 || !found[0].IsPublic() {
			t.Fatalf("kid %q has %d keys", kid, len(found))
		}
		if _, err := jws.Verify(found[0]); err != nil {
			t.Error(err)
		}
		kids = append(kids, kid)
	}
	if kids[0] == kids[1] {
		t.Error("the new key does not sign")
	}
	if bytes.Contains(document, []byte(`"d"`)) {
		t.Error("the document has a private member")
	}
}

func TestAnAccountHasOnePseudonymThatIsTheInstallationsOwn(t *testing.T) {
	open := func() *Ring {
		kek, err := OpenLocal(filepath.Join(t.TempDir(), "keyset.json"))
		must(t, err)
		ring, err := Open(t.Context(), &rows{}, kek, noon)
		must(t, err)
		return ring
	}
	one, two := open(), open()
	ann := one.AccountRef("accounts/ann")
	if again := one.AccountRef("accounts/ann"); again != ann || ann == one.AccountRef("accounts/bob") {
		t.Error("a pseudonym is not that of its account")
	}
	if one.AccountRef("accounts/ann") == two.AccountRef("accounts/ann") {
		t.Error("two installations share pseudonyms")
	}
}

func TestIDsAreRandomUUIDs(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("%q is no UUID of version 4, or came twice", id)
		}
		seen[id] = true
	}
}
