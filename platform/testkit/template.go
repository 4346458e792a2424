package testkit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

// Template makes databases that have a schema already. The schema is made once in the test process and then copied, which
// takes a fraction of the time of all migrations.
//
// The PostgreSQL databases answer a commit before it is on disk (synchronous_commit is off), which changes nothing for
// tests that do not kill the server. For those that do there are [DBURL] and [NewPostgres].
type Template struct {
	migrations fs.FS
	sqlite     func() ([]byte, error)
	postgres   func() (string, error)
}

// NewTemplate is a template with the migrations as [sqldb.DB.Migrate] takes them. It belongs into a variable of the package.
func NewTemplate(migrations fs.FS) *Template {
	m := &Template{migrations: migrations}
	m.sqlite, m.postgres = sync.OnceValues(m.makeSQLite), sync.OnceValues(m.makePostgres)
	return m
}

// DBs runs test as two subtests, sqlite and postgres, each with a migrated database of its own.
func (m *Template) DBs(t *testing.T, test func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(dialect), func(t *testing.T) { test(t, m.Open(t, dialect)) })
	}
}

// Open opens a migrated database of the test's own.
func (m *Template) Open(t testing.TB, dialect sqldb.Dialect) *sqldb.DB {
	t.Helper()
	if dialect == sqldb.Postgres {
		return OpenDB(t, m.copyPostgres(t))
	}
	content, err := m.sqlite()
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	url := DBURL(t, sqldb.SQLite)
	if err := os.WriteFile(strings.TrimPrefix(url, "sqlite:"), content, 0o600); err != nil {
		t.Fatalf("testkit: %v", err)
	}
	return OpenDB(t, url)
}

func (m *Template) makeSQLite() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "testkit-template-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "db")
	if err := m.migrate("sqlite:" + file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

func (m *Template) makePostgres() (string, error) {
	server, err := sharedPostgres()
	if err != nil {
		return "", err
	}
	name := "migrated" + strconv.FormatInt(pgCount.Add(1), 10)
	if err := server.admin("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		return "", err
	}
	return name, m.migrate(server.url(name))
}

func (m *Template) migrate(url string) error {
	ctx, cancel := adminContext()
	defer cancel()
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return err
	}
	if err := errors.Join(db.Migrate(ctx, m.migrations), db.Close()); err != nil {
		return fmt.Errorf("make the template: %w", err)
	}
	return nil
}

func (m *Template) copyPostgres(t testing.TB) string {
	t.Helper()
	template, err := m.postgres()
	if err != nil {
		t.Fatalf("testkit: PostgreSQL: %v", err)
	}
	name := newPostgresDatabase(t, template)
	if err := pgServer.admin("ALTER DATABASE " + name + " SET synchronous_commit = off"); err != nil {
		t.Fatalf("testkit: PostgreSQL: %v", err)
	}
	return pgServer.url(name)
}
