package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

const modelColumns = `m.partner, m.model_id, m.display_name, m.suites, m.has_display, m.has_wrist_detection, m.min_svn, m.created_at,
	m.sensors, m.proximity, m.status, m.status_authority, m.epoch, m.audit_seq, m.audit_hash`

// modelRow is a model as it is stored.
type modelRow struct {
	model   device.Model
	suites  string
	display int
	wrist   int
	created int64
	sensors string
	near    string
	head    []byte
}

func (r *modelRow) targets() []any {
	m := &r.model
	return []any{
		&m.Partner, &m.ID, &m.DisplayName, &r.suites, &r.display, &r.wrist, &m.MinSVN, &r.created,
		&r.sensors, &r.near, &m.Status, &m.StatusBy, &m.Epoch, &m.Head.Sequence, &r.head,
	}
}

func (r *modelRow) value() (device.Model, error) {
	m := r.model
	m.HasDisplay, m.HasWristDetection, m.CreatedAt = r.display == 1, r.wrist == 1, fromMicros(r.created)
	copy(m.Head.Hash[:], r.head) // null until there is an entry
	var err error
	if m.Suites, err = split[device.Suite](r.suites); err != nil {
		return device.Model{}, err
	}
	if m.Sensors, err = split[uint8](r.sensors); err != nil {
		return device.Model{}, err
	}
	m.Proximity, err = split[uint8](r.near)
	return m, err
}

// split and join keep small numbers as text, separated by commas.
func split[N ~uint8](text string) ([]N, error) {
	if text == "" {
		return nil, nil
	}
	var numbers []N
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("store: stored numbers: %w", err)
		}
		numbers = append(numbers, N(n))
	}
	return numbers, nil
}

func join[N ~uint8](numbers []N) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(int(n))
	}
	return strings.Join(texts, ",")
}

// CreateModel adds a model. It fails with MODEL_EXISTS or QUOTA_EXCEEDED.
func (s *Store) CreateModel(ctx context.Context, m device.Model, ev device.ModelEvent) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		added, err := inserted(ctx, tx, `INSERT INTO models
			(partner, model_id, display_name, suites, has_display, has_wrist_detection, min_svn, created_at, sensors, proximity, status)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (partner, model_id) DO NOTHING`,
			m.Partner, m.ID, m.DisplayName, join(m.Suites), integer(m.HasDisplay), integer(m.HasWristDetection),
			m.MinSVN, micros(m.CreatedAt), join(m.Sensors), join(m.Proximity), int(m.Status))
		if err != nil {
			return err
		}
		if !added {
			return fault.New(fault.AlreadyExists, "MODEL_EXISTS", "there is a model %s already; choose another id", m.ID)
		}
		if err := s.writeModel(ctx, tx, m, []device.ModelEvent{ev}); err != nil {
			return err
		}
		return s.charge(ctx, tx, m.Partner, quota.Amounts{Models: 1})
	})
}

// UpdateModel lets change decide on the model under a lock and writes what it returns together with the events. It fails with
// MODEL_NOT_FOUND; an error of change leaves everything as it was.
func (s *Store) UpdateModel(ctx context.Context, partner, id string,
	change func(old device.Model) (device.Model, []device.ModelEvent, error),
) (device.Model, error) {
	var changed device.Model
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var row modelRow
		err := tx.QueryRowContext(ctx, `SELECT `+modelColumns+` FROM models m WHERE m.partner = $1 AND m.model_id = $2`+tx.ForUpdate(),
			partner, id).Scan(row.targets()...)
		if err != nil {
			return missing(err, device.ErrModelNotFound)
		}
		old, err := row.value()
		if err != nil {
			return err
		}
		next, events, err := change(old)
		if err != nil {
			return err
		}
		changed = next
		return s.writeModel(ctx, tx, next, events)
	})
	return changed, err
}

// writeModel brings the row of a locked model, its audit record and the outbox up to date.
func (s *Store) writeModel(ctx context.Context, tx *sqldb.Tx, m device.Model, events []device.ModelEvent) error {
	for _, ev := range events {
		ev.Model.Head = m.Head
		entry, head := ev.Record()
		m.Head = head
		if err := s.insertEntry(ctx, tx, entry); err != nil {
			return err
		}
		if err := s.outbox.ModelEvent(ctx, tx, ev); err != nil {
			return err
		}
	}
	if len(events) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE models SET display_name = $3, has_display = $4, has_wrist_detection = $5, min_svn = $6,
			sensors = $7, proximity = $8, status = $9, status_authority = $10, epoch = $11, audit_seq = $12, audit_hash = $13
		WHERE partner = $1 AND model_id = $2`,
		m.Partner, m.ID, m.DisplayName, integer(m.HasDisplay), integer(m.HasWristDetection), m.MinSVN, join(m.Sensors), join(m.Proximity),
		int(m.Status), int(m.StatusBy), m.Epoch, m.Head.Sequence, m.Head.Hash[:])
	return err
}

// Model reads a model. It fails with MODEL_NOT_FOUND.
func (s *Store) Model(ctx context.Context, partner, id string) (device.Model, error) {
	var row modelRow
	err := s.read(ctx).QueryRowContext(ctx, `SELECT `+modelColumns+` FROM models m WHERE m.partner = $1 AND m.model_id = $2`,
		partner, id).Scan(row.targets()...)
	if err != nil {
		return device.Model{}, missing(err, device.ErrModelNotFound)
	}
	return row.value()
}

// Models lists at most limit models of a partner whose ids are above after, by id.
func (s *Store) Models(ctx context.Context, partner, after string, limit int) ([]device.Model, error) {
	rows, err := s.read(ctx).QueryContext(ctx, `SELECT `+modelColumns+` FROM models m
		WHERE m.partner = $1 AND m.model_id > $2 ORDER BY m.model_id LIMIT $3`, partner, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var models []device.Model
	for rows.Next() {
		var row modelRow
		if err := rows.Scan(row.targets()...); err != nil {
			return nil, err
		}
		m, err := row.value()
		if err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	return models, rows.Err()
}

func integer(b bool) int {
	if b {
		return 1
	}
	return 0
}
