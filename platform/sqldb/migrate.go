package sqldb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"time"
)

// migrationLock is the key of the PostgreSQL advisory lock that keeps two processes from migrating one database at once.
// It is the first eight bytes of SHA-256("armlet/platform/sqldb/migrate").
const migrationLock int64 = 0x7f2fbf40ca06cae4

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations (
	version    BIGINT PRIMARY KEY,
	name       TEXT   NOT NULL,
	checksum   TEXT   NOT NULL,
	applied_at BIGINT NOT NULL
)`

var migrationFile = regexp.MustCompile(`^([0-9]{4})_([a-z0-9_]+)\.sql$`)

// ErrMigration is in the chain of every error of [DB.Migrate] that trying again cannot cure: badly named files, a file
// that changed after it was applied, or a database with a gap in what was applied.
var ErrMigration = errors.New("sqldb: migrations do not match the database")

type migration struct {
	version  int
	name     string
	checksum string
	sql      string
}

// Migrate brings the schema up to date. fsys has one folder per dialect, sqlite/ and postgres/, with files NNNN_name.sql
// numbered from 0001 without gaps. Each file runs once, in order, in a transaction of its own together with its row in the
// table schema_migrations(version, name, checksum, applied_at).
//
// There is no way down: what was applied must not change (line ends aside). A database that a newer program has migrated
// further is accepted as it is: migrations only add, so that the programs of the release before go on, restart and can be
// returned to while the newer ones run. Several processes may migrate one database at once; each file is still applied
// once.
func (db *DB) Migrate(ctx context.Context, fsys fs.FS) error {
	migrations, err := readMigrations(fsys, string(db.dialect))
	if err != nil {
		return err
	}
	err = db.InTx(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.lockMigrations(ctx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, createMigrations)
		return err
	})
	if err != nil {
		return fmt.Errorf("sqldb: prepare migrations: %w", err)
	}
	for applied := false; !applied; {
		err := db.InTx(ctx, func(ctx context.Context, tx *Tx) error {
			applied, err = tx.applyNext(ctx, migrations)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Schema is how far a database is migrated, compared with a program.
type Schema struct {
	// Applied is the number of migrations the database has, Known that of the program.
	Applied, Known int
}

// Schema compares the database with the migrations in fsys, as [DB.Migrate] takes them, and changes nothing. Its error says
// what Migrate would refuse.
func (db *DB) Schema(ctx context.Context, fsys fs.FS) (Schema, error) {
	known, err := readMigrations(fsys, string(db.dialect))
	if err != nil {
		return Schema{}, err
	}
	query := `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'`
	if db.dialect == Postgres {
		query = `SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('schema_migrations')`
	}
	var tables int
	if err := db.QueryRowContext(ctx, query).Scan(&tables); err != nil {
		return Schema{}, fmt.Errorf("sqldb: look for schema_migrations: %w", err)
	}
	if tables == 0 {
		return Schema{Known: len(known)}, nil
	}
	applied, err := appliedMigrations(ctx, db)
	if err != nil {
		return Schema{}, fmt.Errorf("sqldb: read schema_migrations: %w", err)
	}
	return Schema{Applied: len(applied), Known: len(known)}, compareMigrations(applied, known)
}

// applyNext applies the first migration that is missing; done means that none is.
func (tx *Tx) applyNext(ctx context.Context, migrations []migration) (done bool, err error) {
	if err := tx.lockMigrations(ctx); err != nil {
		return false, fmt.Errorf("sqldb: lock migrations: %w", err)
	}
	applied, err := appliedMigrations(ctx, tx)
	if err != nil {
		return false, fmt.Errorf("sqldb: read schema_migrations: %w", err)
	}
	if err := compareMigrations(applied, migrations); err != nil {
		return false, err
	}
	if len(applied) >= len(migrations) {
		return true, nil
	}
	next := migrations[len(applied)]
	if _, err := tx.ExecContext(ctx, next.sql); err != nil {
		return false, fmt.Errorf("sqldb: migration %04d_%s: %w", next.version, next.name, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)`,
		next.version, next.name, next.checksum, time.Now().UnixMicro())
	if err != nil {
		return false, fmt.Errorf("sqldb: record migration %04d: %w", next.version, err)
	}
	return false, nil
}

func (tx *Tx) lockMigrations(ctx context.Context) error {
	if tx.Dialect() != Postgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, migrationLock)
	return err
}

func appliedMigrations(ctx context.Context, q Queryer) ([]migration, error) {
	rows, err := q.QueryContext(ctx, `SELECT version, name, checksum FROM schema_migrations ORDER BY version`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var applied []migration
	for rows.Next() {
		var m migration
		if err := rows.Scan(&m.version, &m.name, &m.checksum); err != nil {
			return nil, err
		}
		applied = append(applied, m)
	}
	return applied, rows.Err()
}

func compareMigrations(applied, known []migration) error {
	for i, a := range applied {
		switch {
		case i >= len(known): // of a newer program, which only added
			return nil
		case a.version != known[i].version:
			return fmt.Errorf("%w: version %04d is missing from the database although %04d was applied",
				ErrMigration, known[i].version, a.version)
		case a.checksum != known[i].checksum:
			return fmt.Errorf("%w: %04d_%s changed after it was applied: restore the file and add a new migration instead",
				ErrMigration, a.version, a.name)
		}
	}
	return nil
}

func readMigrations(fsys fs.FS, dir string) ([]migration, error) {
	entries, err := fs.ReadDir(fsys, dir) // sorted by name, hence by version
	if err != nil {
		return nil, fmt.Errorf("sqldb: read migrations: %w", err)
	}
	var migrations []migration
	for _, entry := range entries {
		match := migrationFile.FindStringSubmatch(entry.Name())
		if match == nil {
			return nil, fmt.Errorf("%w: %s/%s is not named NNNN_name.sql", ErrMigration, dir, entry.Name())
		}
		version, err := strconv.Atoi(match[1])
		if err != nil || version != len(migrations)+1 {
			return nil, fmt.Errorf("%w: %s/%s should be version %04d", ErrMigration, dir, entry.Name(), len(migrations)+1)
		}
		text, err := fs.ReadFile(fsys, dir+"/"+entry.Name())
		if err != nil {
			return nil, fmt.Errorf("sqldb: read migrations: %w", err)
		}
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		sum := sha256.Sum256(text)
		migrations = append(migrations, migration{version, match[2], hex.EncodeToString(sum[:]), string(text)})
	}
	if len(migrations) == 0 {
		return nil, fmt.Errorf("%w: the folder %s has none", ErrMigration, dir)
	}
	return migrations, nil
}
