package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/custom"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

const eventTypeColumns = `partner, id, display_name, payload_schema, daily_quota, revision, created_at, updated_at`

// EventType implements custom.Store.
func (s *Store) EventType(ctx context.Context, partner, id string) (custom.Type, error) {
	return readEventType(ctx, s.db, partner, id, "")
}

func readEventType(ctx context.Context, q sqldb.Queryer, partner, id, lock string) (custom.Type, error) {
	t, err := scanEventType(q.QueryRowContext(ctx, `SELECT `+eventTypeColumns+` FROM custom_event_types WHERE partner = $1 AND id = $2`+lock, partner, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return t, custom.ErrTypeNotFound
	}
	return t, err
}

func scanEventType(scan func(...any) error) (custom.Type, error) {
	var t custom.Type
	var created, updated int64
	err := scan(&t.Partner, &t.ID, &t.DisplayName, &t.Schema, &t.DailyQuota, &t.Revision, &created, &updated)
	t.CreatedAt, t.UpdatedAt = fromMicros(created), fromMicros(updated)
	return t, err
}

// EventTypes are a partner's types by id.
func (s *Store) EventTypes(ctx context.Context, partner string) ([]custom.Type, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+eventTypeColumns+` FROM custom_event_types WHERE partner = $1 ORDER BY id`, partner)
	if err != nil {
		return nil, fmt.Errorf("read event types: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []custom.Type
	for rows.Next() {
		t, err := scanEventType(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("read event types: %w", err)
		}
		all = append(all, t)
	}
	return all, rows.Err()
}

// ChangeEventType implements custom.Store. Of two that make the same type at once the second gets ErrTypeExists.
func (s *Store) ChangeEventType(ctx context.Context, req once.Request, partner, id string, now time.Time,
	change func(*custom.Type, int) (custom.Type, error),
) (custom.Type, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (custom.Type, error) {
		var old *custom.Type
		switch found, err := readEventType(ctx, tx, partner, id, tx.ForUpdate()); {
		case err == nil:
			old = &found
		case !errors.Is(err, custom.ErrTypeNotFound):
			return custom.Type{}, err
		}
		var count int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM custom_event_types WHERE partner = $1`, partner).Scan(&count); err != nil {
			return custom.Type{}, fmt.Errorf("count event types: %w", err)
		}
		t, err := change(old, count)
		if err != nil {
			return t, err
		}
		stored, err := changed(ctx, tx, `INSERT INTO custom_event_types (`+eventTypeColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (partner, id) DO UPDATE SET display_name = excluded.display_name, payload_schema = excluded.payload_schema,
				daily_quota = excluded.daily_quota, revision = excluded.revision, updated_at = excluded.updated_at
			WHERE custom_event_types.revision = excluded.revision - 1`,
			t.Partner, t.ID, t.DisplayName, t.Schema, t.DailyQuota, t.Revision, micros(t.CreatedAt), micros(t.UpdatedAt))
		if err == nil && !stored {
			err = custom.ErrTypeExists
		}
		return t, err
	})
}

// DeleteEventType implements custom.Store.
func (s *Store) DeleteEventType(ctx context.Context, req once.Request, partner, id string, now time.Time) error {
	_, err := inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (struct{}, error) {
		gone, err := changed(ctx, tx, `DELETE FROM custom_event_types WHERE partner = $1 AND id = $2`, partner, id)
		if err == nil && !gone {
			err = custom.ErrTypeNotFound
		}
		return struct{}{}, err
	})
	return err
}

// PublishEvents implements custom.Store. The events are taken in the order of their ids, so that two calls with the same
// ones wait for each other instead of locking each other out.
func (s *Store) PublishEvents(ctx context.Context, partner string, all []custom.Published, now time.Time) ([]custom.Result, error) {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(all[a].Event.ID, all[b].Event.ID) })
	var results []custom.Result
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		results = make([]custom.Result, len(all))
		for _, i := range order {
			var err error
			if results[i], err = s.publishCustom(ctx, tx, partner, all[i], now); err != nil {
				return err
			}
		}
		return nil
	})
	return results, err
}

func (s *Store) publishCustom(ctx context.Context, tx *sqldb.Tx, partner string, p custom.Published, now time.Time) (custom.Result, error) {
	req := once.Request{Caller: "events/" + p.Mode + "/" + partner, Method: "PublishEvents", ID: p.Event.ID, Fingerprint: p.Event.Fingerprint}
	isNew, err := changed(ctx, tx, `INSERT INTO requests (caller, method, request_id, fingerprint, response, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (caller, method, request_id) DO NOTHING`,
		req.Caller, req.Method, req.ID, req.Fingerprint, `"`+p.ID+`"`, micros(now))
	if err != nil {
		return custom.Result{}, fmt.Errorf("record an event: %w", err)
	}
	if !isNew {
		id, _, err := answered[string](ctx, tx, req)
		if errors.Is(err, once.ErrReused) {
			return custom.Result{Err: once.ErrReused.WithField("event_id")}, nil
		}
		return custom.Result{ID: id, Repeated: true}, err
	}
	within, err := changed(ctx, tx, `INSERT INTO custom_event_counts (partner, type, mode, day, published) VALUES ($1, $2, $3, $4, 1)
		ON CONFLICT (partner, type, mode, day) DO UPDATE SET published = custom_event_counts.published + 1 WHERE custom_event_counts.published < $5`,
		partner, p.Type.ID, p.Mode, now.UTC().Format(time.DateOnly), p.Type.DailyQuota)
	if err != nil {
		return custom.Result{}, fmt.Errorf("count an event: %w", err)
	}
	if !within { // it was not published, so that its id is free for tomorrow
		_, err := tx.ExecContext(ctx, `DELETE FROM requests WHERE caller = $1 AND method = $2 AND request_id = $3`, req.Caller, req.Method, req.ID)
		return custom.Result{Err: custom.ErrQuota}, err
	}
	return custom.Result{ID: p.ID}, s.publish(ctx, tx, now, p)
}
