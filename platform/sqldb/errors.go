package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	pgUniqueViolation      = "23505"
	pgForeignKeyViolation  = "23503"
	pgCheckViolation       = "23514"
	pgSerializationFailure = "40001"
	pgDeadlockDetected     = "40P01"
	pgTooManyConnections   = "53300"
	pgCannotConnectNow     = "57P03"
)

// IsUnique tells whether err is a violated primary key or unique constraint.
func IsUnique(err error) bool {
	if pgErr := asPostgres(err); pgErr != nil {
		return pgErr.Code == pgUniqueViolation
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return false
}

// UniqueName says which unique constraint err violates, or "" when it violates none. PostgreSQL gives the name of the
// constraint or index ("payments_request_id_key"); SQLite gives the columns ("payments.partner, payments.request_id"),
// or the index ("index 'name'") when it is one on expressions.
func UniqueName(err error) string {
	if !IsUnique(err) {
		return ""
	}
	return constraintName(err, "UNIQUE constraint failed: ")
}

// IsCheck tells whether err is a violated CHECK constraint.
func IsCheck(err error) bool {
	if pgErr := asPostgres(err); pgErr != nil {
		return pgErr.Code == pgCheckViolation
	}
	return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_CHECK
}

// CheckName is the name of the CHECK constraint err violates, or "" when it violates none. In SQLite an unnamed
// constraint goes by its expression.
func CheckName(err error) string {
	if !IsCheck(err) {
		return ""
	}
	return constraintName(err, "CHECK constraint failed: ")
}

// IsForeignKey tells whether err is a violated foreign key.
func IsForeignKey(err error) bool {
	if pgErr := asPostgres(err); pgErr != nil {
		return pgErr.Code == pgForeignKeyViolation
	}
	return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// IsConflict tells whether err is a lost race that has changed nothing and that a new transaction may win: a busy SQLite
// file, a serialization failure or a deadlock.
func IsConflict(err error) bool {
	if pgErr := asPostgres(err); pgErr != nil {
		return pgErr.Code == pgSerializationFailure || pgErr.Code == pgDeadlockDetected
	}
	switch sqliteCode(err) & 0xff { // the low byte is the primary code, for example of SQLITE_BUSY_SNAPSHOT
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return true
	}
	return false
}

// IsUnavailable tells whether err means that the database cannot be reached or is not ready, so that the same call may
// succeed later.
func IsUnavailable(err error) bool {
	if err == nil {
		return false
	}
	if pgErr := asPostgres(err); pgErr != nil {
		class08 := strings.HasPrefix(pgErr.Code, "08")   // connection exceptions
		shutdown := strings.HasPrefix(pgErr.Code, "57P") // the server stops, crashed or starts
		return class08 || shutdown || pgErr.Code == pgTooManyConnections || pgErr.Code == pgCannotConnectNow
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) && !network.Timeout() {
		return true
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	// A connection that broke before is closed, which pgx has no error value for; what ended with its context is no such thing.
	return pgconn.SafeToRetry(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

func asPostgres(err error) *pgconn.PgError {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr
	}
	return nil
}

// sqliteCode is the extended result code, or 0 when err is not from SQLite.
func sqliteCode(err error) int {
	var liteErr *sqlite.Error
	if errors.As(err, &liteErr) {
		return liteErr.Code()
	}
	return 0
}

func constraintName(err error, marker string) string {
	if pgErr := asPostgres(err); pgErr != nil {
		return pgErr.ConstraintName
	}
	var liteErr *sqlite.Error
	if !errors.As(err, &liteErr) {
		return ""
	}
	_, name, found := strings.Cut(liteErr.Error(), marker)
	if !found {
		return ""
	}
	if i := strings.LastIndex(name, " ("); i >= 0 { // the driver appends the code
		name = name[:i]
	}
	return name
}
