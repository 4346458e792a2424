package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// compiled keeps published types ready to render. A revision never changes, so nothing in it is ever stale.
type compiled struct {
	mu  sync.Mutex
	all map[string]*alert.Published
}

const maxCompiled = 4096

func (c *compiled) get(key alert.Key, revision int, read func() (alert.Content, error)) (*alert.Published, error) {
	name := fmt.Sprint(key.Partner, "/", key.ID, "/", revision)
	c.mu.Lock()
	p, ok := c.all[name]
	c.mu.Unlock()
	if ok {
		return p, nil
	}
	content, err := read()
	if err != nil {
		return nil, err
	}
	if p, err = alert.Compile(content, revision); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxCompiled {
		c.all = map[string]*alert.Published{}
	}
	c.all[name] = p
	return p, nil
}

// published is what a type says now.
func (s *Store) published(ctx context.Context, q sqldb.Queryer, key alert.Key) (*alert.Published, error) {
	var revision int
	err := q.QueryRowContext(ctx, `SELECT revision FROM alert_kinds WHERE partner = $1 AND id = $2`, key.Partner, key.ID).Scan(&revision)
	builtIn, isBuiltIn := alert.BuiltIn(key.ID)
	isBuiltIn = isBuiltIn && key.Partner == ""
	switch {
	case errors.Is(err, sql.ErrNoRows) && isBuiltIn:
		return s.kinds.get(key, 1, func() (alert.Content, error) { return builtIn, nil })
	case errors.Is(err, sql.ErrNoRows):
		return nil, alert.ErrKindNotFound.WithField("type")
	case err != nil:
		return nil, fmt.Errorf("read a type: %w", err)
	case revision == 0:
		return nil, alert.ErrKindDraft.WithField("type")
	}
	return s.kinds.get(key, revision, func() (alert.Content, error) {
		kind, err := readKind(ctx, q, key, "")
		if err != nil {
			return alert.Content{}, err
		}
		return *kind.Published, nil
	})
}

// Kind implements alert.Store.
func (s *Store) Kind(ctx context.Context, key alert.Key) (alert.Kind, error) {
	kind, err := readKind(ctx, s.db, key, "")
	if err != nil {
		return alert.Kind{}, err
	}
	return *kind, nil
}

func builtInKind(key alert.Key) (*alert.Kind, bool) {
	content, ok := alert.BuiltIn(key.ID)
	if !ok || key.Partner != "" {
		return nil, false
	}
	return &alert.Kind{Key: key, Draft: content, Published: &content, Revision: 1, BuiltIn: true, Version: 1}, true
}

func readKind(ctx context.Context, q sqldb.Queryer, key alert.Key, lock string) (*alert.Kind, error) {
	row := q.QueryRowContext(ctx, `SELECT draft, published, revision, version, created_at, updated_at FROM alert_kinds
		WHERE partner = $1 AND id = $2`+lock, key.Partner, key.ID)
	kind := &alert.Kind{Key: key}
	var draft, published string
	var created, updated int64
	err := row.Scan(&draft, &published, &kind.Revision, &kind.Version, &created, &updated)
	builtIn, isBuiltIn := builtInKind(key)
	if errors.Is(err, sql.ErrNoRows) {
		if isBuiltIn {
			return builtIn, nil
		}
		return nil, alert.ErrKindNotFound
	}
	if err == nil {
		err = json.Unmarshal([]byte(draft), &kind.Draft)
	}
	if err == nil && published != "" {
		err = json.Unmarshal([]byte(published), &kind.Published)
	}
	if err != nil {
		return nil, fmt.Errorf("read a type: %w", err)
	}
	kind.BuiltIn, kind.CreatedAt, kind.UpdatedAt = isBuiltIn, fromMicros(created), fromMicros(updated)
	return kind, nil
}

// ChangeKind implements alert.Store.
func (s *Store) ChangeKind(ctx context.Context, req once.Request, key alert.Key, now time.Time,
	change func(old *alert.Kind, count int) (alert.Kind, error),
) (alert.Kind, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (alert.Kind, error) {
		old, err := readKind(ctx, tx, key, tx.ForUpdate())
		if errors.Is(err, alert.ErrKindNotFound) {
			old, err = nil, nil
		}
		if err != nil {
			return alert.Kind{}, err
		}
		var count int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM alert_kinds WHERE partner = $1`, key.Partner).Scan(&count); err != nil {
			return alert.Kind{}, fmt.Errorf("count types: %w", err)
		}
		next, err := change(old, count)
		if err != nil {
			return next, err
		}
		return next, writeKind(ctx, tx, old, next, now)
	})
}

// writeKind stores a type, unless somebody else did so since old was read.
func writeKind(ctx context.Context, tx *sqldb.Tx, old *alert.Kind, next alert.Kind, now time.Time) error {
	draft, err := json.Marshal(next.Draft)
	if err != nil {
		return err
	}
	published := []byte{}
	if next.Published != nil {
		if published, err = json.Marshal(next.Published); err != nil {
			return err
		}
	}
	created := next.CreatedAt
	if created.IsZero() {
		created = now
	}
	var before int64
	if old != nil {
		before = old.Version
	}
	stored, err := changed(ctx, tx, `INSERT INTO alert_kinds (partner, id, draft, published, revision, version, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (partner, id) DO UPDATE SET draft = excluded.draft, published = excluded.published, revision = excluded.revision,
			version = excluded.version, updated_at = excluded.updated_at
		WHERE alert_kinds.version = $9`,
		next.Partner, next.ID, string(draft), string(published), next.Revision, next.Version, micros(created), micros(now), before)
	if err != nil {
		return fmt.Errorf("store a type: %w", err)
	}
	switch {
	case stored:
		return nil
	case old == nil:
		return alert.ErrKindExists
	}
	return alert.ErrETag
}

// Kinds are the types of an owner with a greater id, in order, at most limit; for the operator with the built-in ones.
func (s *Store) Kinds(ctx context.Context, partner, after string, limit int) ([]alert.Kind, error) {
	ids, err := s.strings(ctx, `SELECT id FROM alert_kinds WHERE partner = $1 AND id > $2 ORDER BY id LIMIT $3`, partner, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	if partner == "" {
		for _, id := range alert.BuiltIns() {
			if id > after {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	var all []alert.Kind
	for _, id := range ids[:min(limit, len(ids))] {
		kind, err := s.Kind(ctx, alert.Key{Partner: partner, ID: id})
		if err != nil {
			return nil, err
		}
		all = append(all, kind)
	}
	return all, nil
}

// Settings are those of a subject; those that nobody made are empty.
func (s *Store) Settings(ctx context.Context, subject string) (alert.Settings, error) {
	return readSettings(ctx, s.db, subject, "")
}

func readSettings(ctx context.Context, q sqldb.Queryer, subject, lock string) (alert.Settings, error) {
	var content string
	out := alert.Settings{Subject: subject}
	err := q.QueryRowContext(ctx, `SELECT content FROM alert_settings WHERE subject = $1`+lock, subject).Scan(&content)
	if errors.Is(err, sql.ErrNoRows) {
		return out, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(content), &out)
	}
	if err != nil {
		return out, fmt.Errorf("read settings: %w", err)
	}
	return out, nil
}

// ChangeSettings implements alert.Store.
func (s *Store) ChangeSettings(ctx context.Context, req once.Request, subject string, now time.Time,
	change func(alert.Settings, alert.Wearer) (alert.Settings, error),
) (alert.Settings, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (alert.Settings, error) {
		old, err := readSettings(ctx, tx, subject, tx.ForUpdate())
		if err != nil {
			return old, err
		}
		w, err := wearer(ctx, tx, subject)
		if err != nil {
			return old, err
		}
		next, err := change(old, w)
		if err != nil {
			return next, err
		}
		content, err := json.Marshal(next)
		if err != nil {
			return next, err
		}
		stored, err := changed(ctx, tx, `INSERT INTO alert_settings (subject, content, version, updated_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (subject) DO UPDATE SET content = excluded.content, version = excluded.version, updated_at = excluded.updated_at
			WHERE alert_settings.version = $5`, subject, string(content), next.Version, micros(now), old.Version)
		if err == nil && !stored {
			err = alert.ErrETag // two made the first settings at once
		}
		return next, err
	})
}
