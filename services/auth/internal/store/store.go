// Package store remembers what must survive: partners, clients, grants, keys, decisions, counters and claims, in SQLite
// or PostgreSQL. Live challenges, which may be lost, are in the package live.
//
// Every change commits together with its events and with the request it answers.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/group"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

//go:embed migrations
var migrations embed.FS

// Encoder turns an event of the domain into one for the outbox.
type Encoder func(ctx context.Context, event any, now time.Time) (events.Event, error)

// Store implements the stores of the domain packages.
type Store struct {
	db     *sqldb.DB
	encode Encoder

	records   *group.Group[recording, challenge.Decision]
	standings *group.Group[challenge.Subject, challenge.Standing]
}

// New brings the schema of db up to date and returns a Store on it.
func New(ctx context.Context, db *sqldb.DB, encode Encoder) (*Store, error) {
	fsys, err := Migrations()
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, fsys); err != nil {
		return nil, err
	}
	s := &Store{db: db, encode: encode}
	s.records = s.newRecords()
	s.standings = group.Load(group.Config{Shared: sqldb.IsUnavailable}, errNoStanding, s.readStandings)
	return s, nil
}

// errNoStanding cannot happen: the statement has a row for whatever it is asked.
var errNoStanding = errors.New("store: the database left out the standing of a device")

type scanner interface{ Scan(dest ...any) error }

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// optional is NULL for the zero time.
func optional(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func optionalTime(micros sql.NullInt64) time.Time {
	if !micros.Valid {
		return time.Time{}
	}
	return timeOf(micros.Int64)
}

// bytesOf is b, or an empty slice where nil would be NULL.
func bytesOf(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
