package storetest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/store"
)

// decisionOf is a decision of its own for a device and a number.
func decisionOf(device, number uint64) challenge.Decision {
	d := challenge.Decision{
		UID: wire.NewRangeUID(1, 1, device), Device: fmt.Sprintf("partners/acme/devices/%d", device), Partner: "acme", Account: "accounts/ann",
		Owner: "payments", Purpose: wire.PurposePay, JTI: fmt.Sprintf("jti-%d-%d", device, number), Counter: uint32(number), Currency: "CNY",
		Amount: number, ExpiresAt: start.Add(time.Minute), DecidedAt: start,
	}
	copy(d.Nonce[:], fmt.Sprintf("%d/%d", device, number))
	return d
}

var errSettle = errors.New("this one cannot be settled")

// settled takes the decision as it is, after it has looked at the mark that those before it left.
func settled(d challenge.Decision, m challenge.Mark) (challenge.Decision, challenge.Mark, []any, error) {
	switch {
	case int64(d.Counter) <= m.HighWater:
		d.Reason = "CLONE_SUSPECTED"
	default:
		m.HighWater = int64(d.Counter)
	}
	return d, m, []any{challenge.DecisionMade{Decision: d}}, nil
}

func TestDecisionsThatAreCommittedTogetherAreEachTheirOwn(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		s, err := store.New(t.Context(), db, bus.Encode)
		must(t, err)
		const devices, taps = 40, 5
		var all sync.WaitGroup
		for device := range uint64(devices) {
			all.Go(func() {
				for n := range uint64(taps) {
					d := decisionOf(device, n+1)
					settle := settled
					if device%10 == 3 { // among those that can be settled
						settle = func(challenge.Decision, challenge.Mark) (challenge.Decision, challenge.Mark, []any, error) {
							return challenge.Decision{}, challenge.Mark{}, nil, errSettle
						}
					}
					got, err := s.Record(t.Context(), d, settle)
					switch {
					case device%10 == 3 && !errors.Is(err, errSettle):
						t.Errorf("device %d got %v", device, err)
					case device%10 != 3 && (err != nil || got.JTI != d.JTI || got.Reason != ""):
						t.Errorf("device %d got %q %q, %v", device, got.JTI, got.Reason, err)
					}
				}
			})
		}
		all.Wait()
		made, want := 0, (devices-devices/10)*taps
		must(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM decisions`).Scan(&made))
		told := 0
		must(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM outbox`).Scan(&told))
		if made != want || told != want {
			t.Errorf("%d decisions and %d events, want %d of each", made, told, want)
		}
		for device := range uint64(devices) {
			if device%10 == 3 {
				continue
			}
			var high int64
			must(t, db.QueryRowContext(t.Context(), `SELECT high_water FROM counters WHERE uid = $1`, wire.NewRangeUID(1, 1, device).String()).Scan(&high))
			if high != taps {
				t.Errorf("the mark of device %d is %d, want %d", device, high, taps)
			}
		}
	})
}

func TestOfManyAnswersOfOneBandEachSeesWhatThoseBeforeItLeft(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		s, err := store.New(t.Context(), db, bus.Encode)
		must(t, err)
		var approved sync.Map
		together(64, func(i int) {
			d := decisionOf(1, 9) // one counter for all: a copied band
			d.JTI, d.Nonce[0] = fmt.Sprint(i), byte(i)
			got, err := s.Record(t.Context(), d, settled)
			if err != nil {
				t.Error(err)
			}
			if got.Reason == "" {
				approved.Store(i, true)
			}
		})
		n := 0
		approved.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("%d answers with one counter were approved", n)
		}
	})
}

func TestADecisionThatCannotBeWrittenFailsAlone(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		encode := func(ctx context.Context, ev any, now time.Time) (events.Event, error) {
			if made, ok := ev.(challenge.DecisionMade); ok && made.Decision.Device == "partners/acme/devices/5" {
				return events.Event{}, errSettle
			}
			return bus.Encode(ctx, ev, now)
		}
		s, err := store.New(t.Context(), db, encode)
		must(t, err)
		together(32, func(i int) {
			d := decisionOf(uint64(i), 1)
			if i == 7 {
				d.JTI = "jti-8-1" // taken by another: the database refuses the one or the other
			}
			_, err := s.Record(t.Context(), d, settled)
			if want := i == 5; want != errors.Is(err, errSettle) || i != 5 && i != 7 && i != 8 && err != nil {
				t.Errorf("device %d got %v", i, err)
			}
		})
		made := 0
		must(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM decisions`).Scan(&made))
		if made != 30 { // without 5, and 7 or 8
			t.Errorf("%d decisions were made", made)
		}
	})
}

// What a caller was told is on the disk, with its event, when the database is killed in the middle of it.
func TestAnAcknowledgedDecisionOutlivesTheDatabase(t *testing.T) {
	server := testkit.NewPostgres(t)
	db := testkit.OpenDB(t, server.URL())
	s, err := store.New(t.Context(), db, bus.Encode)
	must(t, err)
	var mu sync.Mutex
	acknowledged := map[string]string{}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	var all sync.WaitGroup
	for device := range uint64(32) {
		all.Go(func() {
			for n := uint64(1); ; n++ {
				d := decisionOf(device, n)
				got, err := s.Record(ctx, d, settled)
				if err != nil {
					return
				}
				mu.Lock()
				acknowledged[hex.EncodeToString(d.Nonce[:])] = got.JTI
				mu.Unlock()
			}
		})
	}
	time.Sleep(400 * time.Millisecond)
	server.Kill()
	all.Wait()
	server.Start()
	if len(acknowledged) == 0 {
		t.Fatal("nothing was acknowledged before the end")
	}
	db = testkit.OpenDB(t, server.URL()) // connections of the old pool may still have its farewell to read
	rows, err := db.QueryContext(t.Context(), `SELECT d.nonce, d.jti, (SELECT COUNT(*) FROM outbox AS o WHERE o.subject LIKE '%.' || d.nonce) FROM decisions AS d`)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var nonce, jti string
		var told int
		must(t, rows.Scan(&nonce, &jti, &told))
		if want, ok := acknowledged[nonce]; ok && !strings.EqualFold(want, jti) || told != 1 {
			t.Errorf("decision %s is %s with %d events, acknowledged as %s", nonce, jti, told, want)
		}
		delete(acknowledged, nonce)
	}
	must(t, rows.Err())
	if len(acknowledged) > 0 {
		t.Errorf("%d acknowledged decisions are lost", len(acknowledged))
	}
}
