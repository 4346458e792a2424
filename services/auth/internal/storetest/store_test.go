package storetest

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
	"github.com/armlet-pay/armlet/services/auth/internal/store"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
)

func TestTheTablesOfEventsAreThoseOfThePlatform(t *testing.T) {
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		text, err := os.ReadFile("../store/migrations/" + string(dialect) + "/0001_init.sql")
		must(t, err)
		if !strings.HasSuffix(string(text), events.Schema(dialect)) {
			t.Errorf("the %s migration does not end with the tables that platform/events asks for", dialect)
		}
	}
}

func newPartners(w *world) *partner.Service { return partner.NewService(w.store, w.ring) }

func TestPartnersGetNumbersOfTheirOwn(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var made [32]partner.Partner
		var errs [32]error
		together(32, func(i int) {
			req := request.ID{Caller: "test", Method: "CreatePartner", ID: "create-" + strconv.Itoa(i)}
			made[i], errs[i] = newPartners(w).Create(t.Context(), req, "p"+strconv.Itoa(i), "P", start)
		})
		must(t, errors.Join(errs[:]...))
		seen := map[uint32]bool{}
		for _, p := range made {
			if p.No < 2 || p.No > 33 || seen[p.No] {
				t.Fatalf("number %d is out of order or given twice", p.No)
			}
			seen[p.No] = true
			if _, err := w.ring.Master(t.Context(), p.ID, 1); err != nil {
				t.Errorf("%s has no master key: %v", p.ID, err)
			}
		}
		if n := w.events("PartnerCreated"); n != 33 {
			t.Errorf("%d events, want 33", n)
		}
	})
}

func TestARepeatedRequestGetsTheFirstAnswerAndHasOneEffect(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		req := ask("CreatePartner")
		var made [64]partner.Partner
		var errs [64]error
		together(64, func(i int) {
			made[i], errs[i] = newPartners(w).Create(t.Context(), req, "globex", "Globex", start)
		})
		must(t, errors.Join(errs[:]...))
		for _, p := range made {
			if diff := cmp.Diff(made[0], p); diff != "" {
				t.Fatalf("two callers got different answers: %s", diff)
			}
		}
		if n := w.count(`SELECT COUNT(*) FROM partners WHERE id = 'globex'`); n != 1 || w.events("PartnerCreated") != 2 {
			t.Errorf("%d partners, %d events", n, w.events("PartnerCreated"))
		}
		req.Fingerprint[0]++
		_, err := newPartners(w).Create(t.Context(), req, "globex", "Globex", start)
		wantReason(t, err, "REQUEST_ID_REUSED")
		_, err = newPartners(w).Create(t.Context(), ask("CreatePartner"), "globex", "Globex", start)
		wantReason(t, err, "PARTNER_EXISTS")
	})
}

func TestAGrantGoesThroughItsLife(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		ctx, p := t.Context(), newPartners(w)
		end := start.Add(time.Hour)
		g := partner.Grant{Partner: "acme", Scope: "payments.read", ExpiresAt: end}
		first, err := p.Grant(ctx, ask("CreateGrant"), g, start)
		must(t, err)
		_, err = p.Grant(ctx, ask("CreateGrant"), g, start)
		wantReason(t, err, "GRANT_EXISTS")
		g.ExpiresAt = time.Time{}
		_, err = p.Grant(ctx, ask("CreateGrant"), g, end)
		must(t, err) // the first has expired
		revoke := ask("RevokeGrant")
		gone, err := p.Revoke(ctx, revoke, "acme", "payments.read", end)
		must(t, err)
		again, err := p.Revoke(ctx, revoke, "acme", "payments.read", end)
		must(t, err)
		unchanged, err := p.Revoke(ctx, ask("RevokeGrant"), "acme", "payments.read", end)
		must(t, err)
		want := partner.Grant{Partner: "acme", Scope: "payments.read", State: partner.Revoked, Revision: 3}
		if diff := cmp.Diff([]partner.Grant{want, want, want}, []partner.Grant{gone, again, unchanged}); diff != "" || first.Revision != 1 {
			t.Errorf("first %+v; revoked differs: %s", first, diff)
		}
		stored, err := w.store.Grants(ctx, "acme")
		must(t, err)
		if diff := cmp.Diff([]partner.Grant{want}, stored); diff != "" {
			t.Errorf("stored: %s", diff)
		}
		if n := w.events("GrantChanged"); n != 3 {
			t.Errorf("%d events, want 3", n)
		}
		_, err = p.Revoke(ctx, ask("RevokeGrant"), "acme", "payments.initiate", end)
		wantReason(t, err, "GRANT_NOT_FOUND")
		_, err = p.Grant(ctx, ask("CreateGrant"), partner.Grant{Partner: "nobody", Scope: "payments.read"}, start)
		wantReason(t, err, "PARTNER_NOT_FOUND")
		_, err = p.Grant(ctx, ask("CreateGrant"), partner.Grant{Partner: "acme", Scope: "devices.read", ExpiresAt: start}, start)
		wantReason(t, err, "INVALID_FIELD")
	})
}

func TestAnAssertionIsUsedOnceByOneOfSixtyFour(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var used [64]bool
		var errs [64]error
		together(64, func(i int) {
			used[i], errs[i] = w.store.UseAssertion(t.Context(), "client", "jti", start.Add(time.Minute), start)
		})
		must(t, errors.Join(errs[:]...))
		fresh := 0
		for _, u := range used {
			if !u {
				fresh++
			}
		}
		if fresh != 1 {
			t.Errorf("%d callers used it first, want 1", fresh)
		}
		for client, want := range map[string]bool{"client": true, "another": false} {
			if got, err := w.store.UseAssertion(t.Context(), client, "jti", start.Add(time.Minute), start); err != nil || got != want {
				t.Errorf("%s: used %t, %v", client, got, err)
			}
		}
		if _, err := w.store.UseAssertion(t.Context(), "client", "later", start.Add(time.Hour), start.Add(2*time.Minute)); err != nil {
			t.Fatal(err)
		}
		if n := w.count(`SELECT COUNT(*) FROM client_assertions`); n != 1 {
			t.Errorf("%d assertions are kept, want the one that has not expired", n)
		}
	})
}

func TestAMasterKeyOpensInItsOwnRowOnly(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		_, err := newPartners(w).Create(ctx, ask("CreatePartner"), "globex", "Globex", start)
		must(t, err)
		must(t, w.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE keys SET sealed = (SELECT sealed FROM keys WHERE partner = 'acme' AND purpose = 'master')
				WHERE partner = 'globex' AND purpose = 'master'`)
			return err
		}))
		if _, err := w.ring.Master(ctx, "globex", 1); err == nil {
			t.Error("a ciphertext of another partner opened")
		}
		if _, err := w.ring.Master(ctx, "acme", 1); err != nil {
			t.Errorf("the partner's own does not: %v", err)
		}
		_, err = w.ring.Master(ctx, "acme", 2)
		wantReason(t, err, "MASTER_KEY_NOT_FOUND")
	})
}

func TestTwoProcessesThatStartAtOnceShareOneSigningKey(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		s, err := store.New(t.Context(), db, bus.Encode)
		must(t, err)
		kek, err := keys.OpenLocal(t.TempDir() + "/keyset.json")
		must(t, err)
		var sets [8]string
		var errs [8]error
		together(8, func(i int) {
			ring, err := keys.Open(t.Context(), s, kek, start)
			if err != nil {
				errs[i] = err
				return
			}
			document, err := ring.JWKS()
			sets[i], errs[i] = string(document), err
		})
		must(t, errors.Join(errs[:]...))
		for _, set := range sets {
			if set != sets[0] {
				t.Fatal("two processes publish different keys")
			}
		}
	})
}

func TestASchemaThatIsThereIsLeftAlone(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		newWorld(t, db, live.NewMemory())
		again, err := store.New(t.Context(), db, bus.Encode)
		must(t, err)
		p, err := again.Partner(t.Context(), "acme")
		must(t, err)
		if p.No != 1 || p.DisplayName != "Acme Bands" || !p.CreatedAt.Equal(start) {
			t.Errorf("partner %+v", p)
		}
	})
}

// Clients and grants that are made while their partner is offboarded are either refused or revoked with it.
func TestNothingIsMadeBesideAnOffboarding(t *testing.T) {
	text, err := keys.NewPrivateJWK()
	must(t, err)
	var private jose.JSONWebKey
	must(t, private.UnmarshalJSON(text))
	public, err := private.Public().MarshalJSON()
	must(t, err)
	eachWorld(t, func(t *testing.T, w *world) {
		p := newPartners(w)
		var made [33]error
		var reqs [33]request.ID
		for i := range reqs {
			reqs[i] = ask("Concurrently")
		}
		together(33, func(i int) {
			switch {
			case i == 16:
				_, made[i] = p.Offboard(t.Context(), reqs[i], "acme", "", start)
			case i%2 == 0:
				_, made[i] = p.CreateClient(t.Context(), reqs[i], partner.Client{ID: "c" + strconv.Itoa(i), Role: partner.RolePartner, Partner: "acme", Mode: partner.Live}, string(public), start)
			default:
				_, made[i] = p.Grant(t.Context(), reqs[i], partner.Grant{Partner: "acme", Scope: "custom:acme/" + strconv.Itoa(i)}, start)
			}
		})
		for i, err := range made {
			if err != nil && fault.ReasonOf(err) != "PARTNER_OFFBOARDED" || i == 16 && err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if n := w.count(`SELECT COUNT(*) FROM clients WHERE partner = 'acme' AND state <> 'REVOKED'`) +
			w.count(`SELECT COUNT(*) FROM grants WHERE partner = 'acme' AND state <> 'REVOKED'`); n != 0 {
			t.Errorf("%d clients and grants of an offboarded partner are in force", n)
		}
		got, err := w.store.Partner(t.Context(), "acme")
		if err != nil || !got.Offboarded || w.events("PartnerOffboarded") != 1 {
			t.Errorf("%+v, %v, %d events", got, err, w.events("PartnerOffboarded"))
		}
	})
}
