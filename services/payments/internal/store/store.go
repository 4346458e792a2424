// Package store keeps accounts, merchants, terminals, payments, limits and the ledger in SQLite or PostgreSQL. What belongs
// together is written in one transaction with the events that tell of it.
//
// Whatever touches payments or moves money goes through the ledger's engine, which commits the work of many callers
// together: work.go is what rides along there. The order of locks is in ledger_engine.go.
package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// Encode turns a fact of the domain into an event for the outbox.
type Encode func(ctx context.Context, e payment.Event) (events.Event, error)

// Store implements payment.Store and payment.Directory.
type Store struct {
	*Ledger
	db     *sqldb.DB
	encode Encode
	now    func() time.Time
	watch  watch
	reads  reads
}

// Migrations are the schema, one folder per dialect.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

// New is a store on a migrated database. The clock stamps only rows that the domain does not stamp itself.
func New(db *sqldb.DB, encode Encode, now func() time.Time) *Store {
	s := &Store{Ledger: NewLedger(db, now), db: db, encode: encode, now: now}
	s.engine.cargo = s
	s.reads = s.newReads()
	return s
}

// Key is a random key of 32 bytes that is made at first use and then the same for every process on the database.
func (s *Store) Key(ctx context.Context, name string) ([]byte, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh)
	var key []byte
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO service_keys (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, name, fresh)
		if err != nil {
			return fmt.Errorf("make the key %s: %w", name, err)
		}
		return tx.QueryRowContext(ctx, `SELECT value FROM service_keys WHERE name = $1`, name).Scan(&key)
	})
	return key, err
}

// publish writes events to the outbox.
func (s *Store) publish(ctx context.Context, tx *sqldb.Tx, facts ...payment.Event) error {
	out, err := s.encodeAll(ctx, facts)
	if err != nil {
		return err
	}
	return events.Append(ctx, tx, out...)
}

func (s *Store) encodeAll(ctx context.Context, facts []payment.Event) ([]events.Event, error) {
	out := make([]events.Event, len(facts))
	for i, fact := range facts {
		var err error
		if out[i], err = s.encode(ctx, fact); err != nil {
			return nil, fmt.Errorf("encode an event: %w", err)
		}
	}
	return out, nil
}

// once runs fn in a transaction that also remembers its answer, unless the request was answered before. A request that
// fails is not remembered, so that it can be tried again.
func once[T any](ctx context.Context, s *Store, req payment.Request, fn func(context.Context, *sqldb.Tx) (T, error)) (T, error) {
	var answer T
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var zero T
		answer = zero
		found, err := s.claim(ctx, tx, req, &answer)
		if err != nil || found {
			return err
		}
		if answer, err = fn(ctx, tx); err != nil {
			return err
		}
		response, err := json.Marshal(answer)
		if err != nil {
			return fmt.Errorf("remember an answer: %w", err)
		}
		_, err = tx.ExecContext(ctx, `UPDATE requests SET response = $1 WHERE caller = $2 AND method = $3 AND request_id = $4`,
			response, req.Caller, req.Method, req.ID)
		return err
	})
	return answer, err
}

// claim takes the request's row. When another call had it first, that one's answer is read.
func (s *Store) claim(ctx context.Context, tx *sqldb.Tx, req payment.Request, answer any) (found bool, err error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO requests (caller, method, request_id, fingerprint, response, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (caller, method, request_id) DO NOTHING`,
		req.Caller, req.Method, req.ID, req.Fingerprint, []byte{}, micros(s.now()))
	if err != nil {
		return false, fmt.Errorf("claim a request: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return false, err
	}
	var fingerprint, response []byte
	err = tx.QueryRowContext(ctx, `SELECT fingerprint, response FROM requests WHERE caller = $1 AND method = $2 AND request_id = $3`,
		req.Caller, req.Method, req.ID).Scan(&fingerprint, &response)
	if err != nil {
		return false, fmt.Errorf("read a request: %w", err)
	}
	if !bytes.Equal(fingerprint, req.Fingerprint) {
		return false, errRequestReused()
	}
	return true, json.Unmarshal(response, answer)
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// orNotFound turns a missing row into the fault.
func orNotFound(err error, f *fault.Error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return f
	}
	return err
}

// changed tells whether a statement changed a row.
func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
