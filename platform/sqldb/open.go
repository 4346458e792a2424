package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// Dialect names a kind of database; it is also the name of its folder of migrations.
type Dialect string

// The supported dialects.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

const (
	busyTimeout     = 5 * time.Second
	defaultPgConns  = 16
	connMaxIdleTime = 5 * time.Minute
	connMaxLifetime = 30 * time.Minute
	// connectTimeout is how long one host of PostgreSQL may take to let a connection in before the next one is tried.
	connectTimeout = 5 * time.Second

	// sqliteCacheKiB is the most memory that the writer of SQLite keeps pages in; a transaction that changes more has to write
	// some of them twice. sqliteCheckpointPages is how long the write-ahead log grows before its pages are brought into the
	// file: a page that was changed in many transactions is brought there once.
	sqliteCacheKiB        = 64 << 10
	sqliteCheckpointPages = 8192

	// paramMaxConns is spelled as in pgxpool, the name operators know.
	paramMaxConns = "pool_max_conns"
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	dialect Dialect
	writer  *sql.DB
	reader  *sql.DB // the same pool as writer in PostgreSQL
	// pipeline says that statements may be sent together. Connection poolers that cannot keep prepared statements, for which
	// the URL has default_query_exec_mode, get one at a time.
	pipeline bool
	// prepared are statements of SQLite's writer, preparedReads those of its readers.
	prepared, preparedReads prepared

	attached sync.Map
	observer *observer
}

// Open opens the database at rawURL and checks that it answers.
//
// "sqlite:/path/file.db" (or a relative path) opens a file, creating it and its folder readable by the owner only;
// in-memory databases are refused because nothing in them survives. "postgres://…" and "postgresql://…" take every
// parameter of libpq that pgx knows. In both, pool_max_conns sets the number of connections: of the whole pool in
// PostgreSQL (default 16), of the readers in SQLite (default 4 or the number of processors, whichever is greater).
//
// A primary and its standbys are named together, "postgres://user@host1:5432,host2:5432/name?target_session_attrs=read-write":
// connections are made to the one that takes writes, after a promotion too. A host that does not answer is given up after
// connect_timeout seconds, 5 by default.
//
// Errors name what is wrong with the URL but never repeat it, since it may hold a password.
func Open(ctx context.Context, rawURL string) (*DB, error) {
	scheme, _, found := strings.Cut(rawURL, ":")
	if !found {
		return nil, errors.New("sqldb: the database URL has no scheme: use sqlite:/path/file.db or postgres://user@host/name")
	}
	var db *DB
	var err error
	switch scheme {
	case "sqlite":
		db, err = openSQLite(ctx, strings.TrimPrefix(rawURL, "sqlite:"))
	case "postgres", "postgresql":
		db, err = openPostgres(rawURL)
	default:
		return nil, fmt.Errorf("sqldb: unknown database scheme %q: use sqlite or postgres", scheme)
	}
	if err != nil {
		return nil, err
	}
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sqldb: the database does not answer: %w", err), db.Close())
	}
	return db, nil
}

func openSQLite(ctx context.Context, rest string) (*DB, error) {
	path, query, _ := strings.Cut(rest, "?")
	path = strings.TrimPrefix(path, "//")
	if path == "" || path == ":memory:" {
		return nil, errors.New("sqldb: a SQLite URL needs the path of a file, for example sqlite:/var/lib/app/app.db")
	}
	readers, err := sqliteReaders(query)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("sqldb: %w", err)
	}
	if err := createPrivate(path); err != nil {
		return nil, err
	}

	db := &DB{dialect: SQLite, observer: unobserved()}
	writer, err := newWriterConnector(sqliteDSN(path, false))
	if err != nil {
		return nil, fmt.Errorf("sqldb: %w", err)
	}
	db.writer = sql.OpenDB(writer)
	db.writer.SetMaxOpenConns(1)
	db.writer.SetMaxIdleConns(1)
	// The writer goes first: it turns the file to WAL mode, which the readers may not do.
	if err := db.writer.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sqldb: open %s: %w", path, err), db.writer.Close())
	}
	if db.reader, err = sql.Open("sqlite", sqliteDSN(path, true)); err != nil {
		return nil, errors.Join(fmt.Errorf("sqldb: %w", err), db.writer.Close())
	}
	db.reader.SetMaxOpenConns(readers)
	db.reader.SetMaxIdleConns(readers)
	db.reader.SetConnMaxIdleTime(connMaxIdleTime)
	return db, nil
}

func sqliteReaders(query string) (int, error) {
	params, err := url.ParseQuery(query)
	if err != nil {
		return 0, errors.New("sqldb: the parameters of the SQLite URL cannot be parsed")
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	for name := range params {
		if name != paramMaxConns {
			return 0, fmt.Errorf("sqldb: unknown parameter %q of a SQLite URL: only %s is known", name, paramMaxConns)
		}
		if readers, err = maxConns(params.Get(name)); err != nil {
			return 0, err
		}
	}
	return readers, nil
}

func maxConns(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 1000 {
		return 0, fmt.Errorf("sqldb: %s must be a number from 1 to 1000", paramMaxConns)
	}
	return n, nil
}

// createPrivate makes the file before SQLite does, because SQLite would make it readable by everybody the umask lets and
// gives the WAL and shared-memory files the same mode.
func createPrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("sqldb: cannot make the folder of the database: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("sqldb: cannot open the database file: %w", err)
	}
	return f.Close()
}

func sqliteDSN(path string, readOnly bool) string {
	params := url.Values{
		"_busy_timeout": {strconv.FormatInt(busyTimeout.Milliseconds(), 10)},
		"_foreign_keys": {"on"},
		"_synchronous":  {"FULL"},
		"_txlock":       {"immediate"},
		"_dqs":          {"0"}, // a misspelled column in double quotes is an error, as in PostgreSQL
	}
	if readOnly {
		params.Set("_query_only", "on")
		params.Set("_txlock", "deferred")
	} else {
		params.Set("_journal_mode", "WAL")
		params["_pragma"] = []string{
			fmt.Sprintf("cache_size(-%d)", sqliteCacheKiB), "temp_store(memory)", fmt.Sprintf("wal_autocheckpoint(%d)", sqliteCheckpointPages),
		}
	}
	file := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: params.Encode()}
	return file.String()
}

func openPostgres(rawURL string) (*DB, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("sqldb: the PostgreSQL URL cannot be parsed: use postgres://user:password@host:5432/name")
	}
	conns := defaultPgConns
	query := u.Query()
	if value := query.Get(paramMaxConns); value != "" {
		if conns, err = maxConns(value); err != nil {
			return nil, err
		}
		query.Del(paramMaxConns)
		u.RawQuery = query.Encode()
	}
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("sqldb: %w", err) // pgx redacts the password
	}
	if !query.Has("connect_timeout") {
		cfg.ConnectTimeout = connectTimeout
	}
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	pool.SetConnMaxIdleTime(connMaxIdleTime)
	pool.SetConnMaxLifetime(connMaxLifetime)
	return &DB{
		dialect: Postgres, writer: pool, reader: pool,
		observer: unobserved(),
		pipeline: cfg.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement,
	}, nil
}

// Dialect tells which kind of database this is.
func (db *DB) Dialect() Dialect { return db.dialect }

// Ping checks that the database answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.writer.PingContext(ctx); err != nil {
		return err
	}
	if db.reader == db.writer {
		return nil
	}
	return db.reader.PingContext(ctx)
}

// Close waits for running queries and closes all connections. In SQLite the last one to close folds the write-ahead log
// into the file, which only the writer can do.
func (db *DB) Close() error {
	var err error
	if db.reader != db.writer {
		err = errors.Join(db.preparedReads.close(), db.reader.Close(), db.prepared.close())
	}
	return errors.Join(err, db.writer.Close())
}

// Attach returns the value kept with the database under key, making it at first use. It lets a package built on this one
// share state per database, such as a wake-up signal, without a global table.
func (db *DB) Attach(key any, make func() any) any {
	if v, ok := db.attached.Load(key); ok {
		return v
	}
	v, _ := db.attached.LoadOrStore(key, make())
	return v
}
