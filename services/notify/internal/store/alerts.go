package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

const alertColumns = `id, account, mode, kind_partner, kind_id, device, partner, sender, broadcast_id, collapse_key, category, priority,
		delivery, engagement, sequence, attempt, content, request, decisions, created_at, expires_at, release_at, resend_at`

// alertContent is what an alert says, in one column, so that it can be taken away as a whole.
type alertContent struct {
	Text     alert.Text      `json:"text"`
	Actions  []alert.Action  `json:"actions,omitempty"`
	Surfaces []alert.Surface `json:"surfaces,omitempty"`
}

func alertRow(a alert.Alert) ([]any, error) {
	content, err := json.Marshal(alertContent{Text: a.Text, Actions: a.Actions, Surfaces: a.Surfaces})
	if err != nil {
		return nil, err
	}
	request := []byte(`{}`) // what was sent is needed only until it is rendered
	if a.Delivery.Waits() {
		if request, err = json.Marshal(a.Order); err != nil {
			return nil, err
		}
	}
	decisions, err := json.Marshal(a.Decisions)
	if err != nil {
		return nil, err
	}
	return []any{
		a.ID, a.Account, a.Mode, a.Kind.Partner, a.Kind.ID, a.Device, a.Partner, a.Sender, a.Broadcast, a.CollapseKey, string(a.Category),
		int64(a.Priority), string(a.Delivery), string(a.Engagement), a.Sequence, int64(a.Attempt), string(content), string(request), string(decisions),
		micros(a.CreatedAt), nullMicros(a.ExpiresAt), nullMicros(a.ReleaseAt), nullMicros(a.ResendAt),
	}, nil
}

var insertAlerts = sqldb.NewBulk(`id text, account text, mode text, kind_partner text, kind_id text, device text, partner text, sender text,
	broadcast_id text, collapse_key text, category text, priority bigint, delivery text, engagement text, sequence bigint, attempt bigint,
	content text, request text, decisions text, created_at bigint, expires_at bigint?, release_at bigint?, resend_at bigint?`,
	`INSERT INTO alerts ({columns}) SELECT {columns} FROM {rows} AS r`, 0)

// updateAlert writes what can change in an alert.
func updateAlert(ctx context.Context, tx *sqldb.Tx, a alert.Alert) error {
	row, err := alertRow(a)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE alerts SET category = $2, priority = $3, delivery = $4, engagement = $5, sequence = $6, attempt = $7,
		content = $8, request = $9, decisions = $10, expires_at = $11, release_at = $12, resend_at = $13 WHERE id = $1`,
		a.ID, row[10], row[11], row[12], row[13], row[14], row[15], row[16], row[17], row[18], row[20], row[21], row[22])
	if err != nil {
		return fmt.Errorf("update an alert: %w", err)
	}
	return nil
}

func scanAlert(scan func(...any) error, before ...any) (alert.Alert, error) {
	var a alert.Alert
	var content, request, decisions string
	var created int64
	var expires, release, resend sql.NullInt64
	// The row may be that of a join without an alert, so the columns are read by way of what can be NULL.
	err := scan(append(before, &a.ID, &a.Account, &a.Mode, &a.Kind.Partner, &a.Kind.ID, &a.Device, &a.Partner, &a.Sender, &a.Broadcast,
		&a.CollapseKey, &a.Category, &a.Priority, &a.Delivery, &a.Engagement, &a.Sequence, &a.Attempt, &content, &request, &decisions,
		&created, &expires, &release, &resend)...)
	if err != nil {
		return a, err
	}
	var c alertContent
	for _, column := range []struct {
		text string
		into any
	}{{request, &a.Order}, {content, &c}, {decisions, &a.Decisions}} {
		if err := json.Unmarshal([]byte(column.text), column.into); err != nil {
			return a, fmt.Errorf("read the alert %s: %w", a.ID, err)
		}
	}
	a.Text, a.Actions, a.Surfaces = c.Text, c.Actions, c.Surfaces
	a.CreatedAt, a.ExpiresAt, a.ReleaseAt, a.ResendAt = fromMicros(created), fromNull(expires), fromNull(release), fromNull(resend)
	return a, nil
}

func alerts(ctx context.Context, q sqldb.Queryer, query string, args ...any) ([]alert.Alert, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []alert.Alert
	for rows.Next() {
		a, err := scanAlert(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		all = append(all, a)
	}
	return all, rows.Err()
}

func oneAlert(ctx context.Context, q sqldb.Queryer, query string, args ...any) (alert.Alert, error) {
	found, err := alerts(ctx, q, query, args...)
	if err == nil && len(found) == 0 {
		err = alert.ErrNotFound
	}
	if err != nil {
		return alert.Alert{}, err
	}
	return found[0], nil
}

// Alert reads an alert by its id.
func (s *Store) Alert(ctx context.Context, id string) (alert.Alert, error) {
	return oneAlert(ctx, s.db, `SELECT `+alertColumns+` FROM alerts WHERE id = $1`, id)
}

// AlertsBefore are the newest alerts in an account's inbox with a smaller sequence, at most limit, newest first.
func (s *Store) AlertsBefore(ctx context.Context, account string, before int64, limit int) ([]alert.Alert, error) {
	return alerts(ctx, s.db, `SELECT `+alertColumns+` FROM alerts WHERE account = $1 AND sequence < $2 AND sequence > 0 AND `+inInbox+`
		ORDER BY sequence DESC LIMIT $3`, account, before, limit)
}

// inInbox is alert.Delivery.InInbox in SQL.
const inInbox = `delivery IN ('SENT', 'PHONE_RECEIVED', 'BAND_RECEIVED')`

// Acks are what surfaces said about an alert, oldest first.
func (s *Store) Acks(ctx context.Context, alertID string) ([]alert.Ack, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT surface, kind, action_id, client_id, at FROM alert_acks WHERE alert_id = $1
		ORDER BY at, surface, kind`, alertID)
	if err != nil {
		return nil, fmt.Errorf("read acknowledgements: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []alert.Ack
	for rows.Next() {
		ack := alert.Ack{AlertID: alertID}
		var at int64
		if err := rows.Scan(&ack.Surface, &ack.Kind, &ack.ActionID, &ack.ClientID, &at); err != nil {
			return nil, fmt.Errorf("read acknowledgements: %w", err)
		}
		ack.At = fromMicros(at)
		all = append(all, ack)
	}
	return all, rows.Err()
}

// Wearer implements alert.Store.
func (s *Store) Wearer(ctx context.Context, device string) (alert.Wearer, error) {
	return wearer(ctx, s.db, device)
}

func wearer(ctx context.Context, q sqldb.Queryer, device string) (alert.Wearer, error) {
	w := alert.Wearer{Device: device}
	err := q.QueryRowContext(ctx, `SELECT partner, account, mode FROM wearers WHERE device = $1`, device).
		Scan(&w.Partner, &w.Account, &w.Mode)
	if errors.Is(err, sql.ErrNoRows) {
		return alert.Wearer{}, nil
	}
	if err != nil {
		return alert.Wearer{}, fmt.Errorf("look up a wearer: %w", err)
	}
	return w, nil
}

// SetWearer records in tx who wears a device since the given epoch; an empty account is nobody. Events may overtake each
// other; an older one changes nothing.
func (s *Store) SetWearer(ctx context.Context, tx *sqldb.Tx, w alert.Wearer, epoch int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO wearers (device, partner, account, mode, auth_epoch, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (device) DO UPDATE SET partner = excluded.partner, account = excluded.account, mode = excluded.mode,
			auth_epoch = excluded.auth_epoch, updated_at = excluded.updated_at
		WHERE wearers.auth_epoch < excluded.auth_epoch`,
		w.Device, w.Partner, w.Account, w.Mode, epoch, micros(now))
	if err != nil {
		return fmt.Errorf("record a wearer: %w", err)
	}
	return nil
}

func (s *Store) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	return texts(ctx, s.db, query, args...)
}

// texts are the values of the one column of a query.
func texts(ctx context.Context, q sqldb.Queryer, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func nullMicros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micros(t)
}

func fromNull(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return fromMicros(us.Int64)
}
