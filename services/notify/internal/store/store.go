// Package store remembers everything of notify in SQLite or PostgreSQL: inboxes, who wears what, campaigns, vouchers,
// subscriptions, answered requests and wrapped keys. Events go to the outbox in the transaction of the change.
package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

//go:embed migrations
var migrations embed.FS

// Encoder turns a fact of the domain into an event.
type Encoder func(ctx context.Context, fact any, at time.Time) (events.Event, error)

// Store is the database of notify.
type Store struct {
	db     *sqldb.DB
	encode Encoder
	wake   func(account string)
	terms  alert.Terms
	kinds  compiled
	steps  stepReader
	// broadcasts is told that there is a new one; it may be nil.
	broadcasts func()
	// became is told after each commit what became of an alert, resent that one was sent again.
	became func(alert.Delivery)
	resent func()
}

// New makes a Store on a migrated database. wake is called after each commit that put an alert into an account's inbox;
// it must not block.
func New(db *sqldb.DB, encode Encoder, wake func(account string)) *Store {
	return &Store{db: db, encode: encode, wake: wake, terms: alert.DefaultTerms(), became: func(alert.Delivery) {}, resent: func() {}}
}

// SetTerms changes how long things take and are kept. Call it before the store is used.
func (s *Store) SetTerms(terms alert.Terms) { s.terms = terms }

// OnBroadcast has f called after each new broadcast; it must not block. Call it before the store is used.
func (s *Store) OnBroadcast(f func()) { s.broadcasts = f }

// OnAlerts has moved called after each commit with what became of an alert, and resent for each that was sent again; they
// must not block. Call it before the store is used.
func (s *Store) OnAlerts(moved func(alert.Delivery), resent func()) {
	s.became, s.resent = moved, resent
}

// Migrate brings the schema up to date.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	fsys, err := Migrations()
	if err != nil {
		return err
	}
	return db.Migrate(ctx, fsys)
}

// Migrations has the folders sqlite and postgres at its root.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// publish puts facts into the outbox.
func (s *Store) publish(ctx context.Context, tx *sqldb.Tx, at time.Time, facts ...any) error {
	all := make([]events.Event, len(facts))
	for i, fact := range facts {
		var err error
		if all[i], err = s.encode(ctx, fact, at); err != nil {
			return fmt.Errorf("encode %T: %w", fact, err)
		}
	}
	return events.Append(ctx, tx, all...)
}

// changed executes a statement that must change one row, and reports whether it did.
func changed(ctx context.Context, tx *sqldb.Tx, query string, args ...any) (bool, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
