package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/armlet-pay/armlet/test/chaos/checker"
)

// witness reads what there is, past every proxy.
type witness struct {
	t          testing.TB
	s          *suite
	db         *sql.DB
	core, edge *nats.Conn
	l          *load
}

func newWitness(s *suite, l *load) *witness {
	t := s.t
	t.Helper()
	db, err := sql.Open("pgx", s.dsn("payments", s.postgresAddrs()...))
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	at := s.natsAddr
	if s.several() {
		at = strings.Join(s.nodeAddrs, ",")
	}
	connect := func(user string) *nats.Conn {
		conn, err := nats.Connect(at, nats.UserInfo(user, s.users[user]), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
		must(t, err)
		t.Cleanup(conn.Close)
		return conn
	}
	return &witness{t: t, s: s, db: db, core: connect("core"), edge: connect("edge"), l: l}
}

func (w *witness) read(ctx context.Context) (e checker.Evidence, err error) {
	var errs [3]error
	e.Events, errs[0] = checker.ReadEvents(ctx, w.core, "EVT_PAYMENTS")
	e.Feed, errs[1] = checker.ReadEvents(ctx, w.edge, "PE_"+partnerID)
	e.DeadLetters, errs[2] = checker.CountMessages(ctx, w.core, "DLQ")
	for _, account := range w.l.history.Accounts() {
		alerts, err := checker.ReadAlerts(ctx, w.l.operator.Notify, account)
		if err != nil {
			return e, err
		}
		e.Alerts = append(e.Alerts, alerts...)
	}
	// The books come last: what has happened since the events were read is then a payment whose event may still come.
	return e, errors.Join(append(errs[:], e.ReadBooks(ctx, w.db))...)
}

// settle holds the taps, waits until everything is as it should be, lets them go on, and returns how long that took.
func (w *witness) settle() (time.Duration, error) {
	w.l.gate.Lock() // taps that were begun come to their end first
	defer w.l.gate.Unlock()
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		e, err := w.read(ctx)
		cancel()
		var wrong []checker.Violation
		if err == nil {
			wrong = checker.Check(w.l.history, e)
			if len(wrong) == 0 {
				return time.Since(began), nil
			}
		}
		// What waits for its time may still come; a payment that is lost or doubled stays so.
		if time.Since(began) > time.Minute || err == nil && !checker.Pending(wrong) {
			return 0, errors.Join(err, report(wrong))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func report(wrong []checker.Violation) error {
	var errs []error
	for i, v := range wrong {
		if i == 20 {
			errs = append(errs, fmt.Errorf("and %d more", len(wrong)-i))
			break
		}
		errs = append(errs, errors.New(v.String()))
	}
	return errors.Join(errs...)
}
