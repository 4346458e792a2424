package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/bus"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
	"github.com/armlet-pay/armlet/services/device-registry/internal/store"
)

const limit = 5

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	acme     = device.Actor{Role: device.RolePartner, ID: "acme-1", Partner: "acme", PartnerNo: 7}
	auth     = device.Actor{Role: device.RoleService, ID: "auth"}
	operator = device.Actor{Role: device.RoleOperator, ID: "desk"}
)

// suite is a store with what the tests start from: one model and a lot of a million devices nobody has seen.
type suite struct {
	*store.Store
	t        *testing.T
	db       *sqldb.DB
	devices  *device.Service
	bindings *binding.Service
	lot      lot.Lot
}

func onBoth(t *testing.T, test func(t *testing.T, s suite)) {
	t.Helper()
	t.Parallel() // each has a database of its own, and most of the time the disk is waited for
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		if err := store.Migrate(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		st := store.New(db, bus.Outbox{}, quota.Amounts{})
		s := suite{Store: st, t: t, db: db, devices: device.NewService(st), bindings: binding.NewService(st, limit)}
		model := device.Model{
			Partner: "acme", ID: "w1", DisplayName: "W1", Suites: []device.Suite{device.HMACSHA256, device.AESCMAC, device.Ed25519},
			HasDisplay: true, MinSVN: 3,
		}
		if _, err := s.devices.CreateModel(t.Context(), acme, model, noon); err != nil {
			t.Fatal(err)
		}
		var err error
		s.lot, err = lot.NewService(st).Create(t.Context(), acme, lot.Lot{
			Kind: lot.Range, State: device.LotReleased, Partner: "acme", No: 3, ModelID: "w1", Suite: device.HMACSHA256, KeyEpoch: 2, First: 1000, Count: 1_000_000,
		}, noon)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
}

func (s suite) begin(uid device.UID, account string) binding.Binding {
	s.t.Helper()
	b, err := s.bindings.Begin(s.t.Context(), uid, account, noon)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s suite) bind(uid device.UID, account string, at time.Time) binding.Binding {
	s.t.Helper()
	b, err := s.bindings.Confirm(s.t.Context(), auth, s.begin(uid, account).ID, at)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s suite) device(uid device.UID) device.Device {
	s.t.Helper()
	d, err := s.Device(s.t.Context(), uid)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s suite) count(query string, args ...any) int {
	s.t.Helper()
	var n int
	if err := s.db.QueryRowContext(s.t.Context(), query, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// chain reads the audit record of a device, checks that each entry follows the one before and that the device's head is
// its end, and returns the actions.
func (s suite) chain(uid device.UID) []string {
	s.t.Helper()
	entries, err := s.Entries(s.t.Context(), uid, 0, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	var head device.Head
	var actions []string
	for _, e := range entries {
		if !e.Follows(head) {
			s.t.Errorf("entry %d does not follow", e.Sequence)
		}
		head = device.Head{Sequence: e.Sequence, Hash: e.Hash}
		actions = append(actions, e.Action)
	}
	if got := s.device(uid).Head; got != head {
		s.t.Errorf("the device's head is %d, its chain ends at %d", got.Sequence, head.Sequence)
	}
	return actions
}

func (s suite) subjects() []string {
	s.t.Helper()
	rows, err := s.db.QueryContext(s.t.Context(), `SELECT subject FROM outbox ORDER BY seq`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var subjects []string
	for rows.Next() {
		var subject string
		if err := rows.Scan(&subject); err != nil {
			s.t.Fatal(err)
		}
		subjects = append(subjects, subject)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return subjects
}

// atOnce runs n calls that start together and returns their errors.
func atOnce(ctx context.Context, n int, call func(ctx context.Context, i int) error) []error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = call(ctx, i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// tally counts the reasons of errors; no error counts as "".
func tally(errs []error) map[string]int {
	counts := map[string]int{}
	for _, err := range errs {
		reason := fault.ReasonOf(err)
		if err != nil && reason == "" {
			reason = err.Error()
		}
		counts[reason]++
	}
	return counts
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	if got := fault.ReasonOf(err); got != reason {
		t.Errorf("reason is %q (%v), want %q", got, err, reason)
	}
}
