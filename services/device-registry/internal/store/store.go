// Package store keeps the registry in SQLite or PostgreSQL.
//
// Locks are taken in one order everywhere, so that no two transactions wait for each other: the row of the request or the
// import, the row of the model or the lot, the row of the device, the row of the account, the row of the partner's usage.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/platform/group"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

//go:embed migrations
var migrations embed.FS

// Outbox takes events into the transaction of their change.
type Outbox interface {
	DeviceEvent(ctx context.Context, tx *sqldb.Tx, ev device.Event) error
	LotEvent(ctx context.Context, tx *sqldb.Tx, ev lot.Event) error
	ModelEvent(ctx context.Context, tx *sqldb.Tx, ev device.ModelEvent) error
}

// Store remembers models, lots, devices, bindings and their audit record.
type Store struct {
	db     *sqldb.DB
	outbox Outbox
	limits quota.Amounts
	placed chan struct{} // has an item when there may be entries without a place in the log

	standings *group.Group[device.UID, binding.Standing]

	grownMu sync.Mutex
	grown   chan struct{} // closed and made anew when the log has grown
}

// New makes a Store on a database whose schema Migrate has brought up to date. limits are each partner's quota.
func New(db *sqldb.DB, outbox Outbox, limits quota.Amounts) *Store {
	s := &Store{db: db, outbox: outbox, limits: limits, placed: make(chan struct{}, 1), grown: make(chan struct{})}
	s.standings = group.Load(group.Config{Shared: sqldb.IsUnavailable}, device.ErrNotFound, s.standingsByUID)
	return s
}

func (s *Store) wake() {
	select {
	case s.placed <- struct{}{}:
	default:
	}
}

// Migrate brings the schema up to date.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	fsys, err := Migrations()
	if err != nil {
		return err
	}
	return db.Migrate(ctx, fsys)
}

type txKey struct{ s *Store }

// inTx runs fn in the transaction that ctx carries, or in one of its own. A call inside Once thereby commits together
// with the answer that Once remembers.
func (s *Store) inTx(ctx context.Context, fn func(ctx context.Context, tx *sqldb.Tx) error) error {
	if tx, ok := ctx.Value(txKey{s}).(*sqldb.Tx); ok {
		return fn(ctx, tx)
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return fn(context.WithValue(ctx, txKey{s}, tx), tx)
	})
}

// read is where to read: in the transaction that ctx carries, or outside any.
func (s *Store) read(ctx context.Context) sqldb.Queryer {
	if tx, ok := ctx.Value(txKey{s}).(*sqldb.Tx); ok {
		return tx
	}
	return s.db
}

// Secret returns the named key of 32 random bytes, which all processes on the database share; it is made at first use.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	var value []byte
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, fresh)
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT value FROM secrets WHERE name = $1`, name).Scan(&value)
	})
	if err != nil {
		return nil, fmt.Errorf("store: secret %s: %w", name, err)
	}
	return value, nil
}

// inserted runs an INSERT … ON CONFLICT DO NOTHING and reports whether it added the row. A failed statement would spoil
// the rest of a PostgreSQL transaction; this does not.
func inserted(ctx context.Context, tx *sqldb.Tx, query string, args ...any) (bool, error) {
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// missing turns the absence of a row into a refusal.
func missing(err, refusal error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return refusal
	}
	return err
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

func uidText(uid device.UID) string { return wire.UID(uid).String() }

func parseUID(text string) (device.UID, error) {
	uid, err := wire.ParseUID(text)
	if err != nil {
		return device.UID{}, fmt.Errorf("store: stored uid: %w", err)
	}
	return device.UID(uid), nil
}
