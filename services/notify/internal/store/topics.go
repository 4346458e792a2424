package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

const topicColumns = `partner, id, display_name, member_count, created_at`

func topic(ctx context.Context, q sqldb.Queryer, partner, id, lock string) (alert.Topic, error) {
	var t alert.Topic
	var created int64
	err := q.QueryRowContext(ctx, `SELECT `+topicColumns+` FROM topics WHERE partner = $1 AND id = $2`+lock, partner, id).
		Scan(&t.Partner, &t.ID, &t.DisplayName, &t.Members, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return t, alert.ErrTopicNotFound
	}
	t.CreatedAt = fromMicros(created)
	return t, err
}

// Topic reads a topic.
func (s *Store) Topic(ctx context.Context, partner, id string) (alert.Topic, error) {
	return topic(ctx, s.db, partner, id, "")
}

// CreateTopic stores a new topic.
func (s *Store) CreateTopic(ctx context.Context, req once.Request, t alert.Topic) (alert.Topic, error) {
	return inTxOnce(ctx, s.db, req, t.CreatedAt, func(ctx context.Context, tx *sqldb.Tx) (alert.Topic, error) {
		var count int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM topics WHERE partner = $1`, t.Partner).Scan(&count); err != nil {
			return t, fmt.Errorf("count topics: %w", err)
		}
		if count >= alert.MaxTopics {
			return t, alert.ErrTooManyTopics
		}
		stored, err := changed(ctx, tx, `INSERT INTO topics (`+topicColumns+`) VALUES ($1, $2, $3, 0, $4) ON CONFLICT (partner, id) DO NOTHING`,
			t.Partner, t.ID, t.DisplayName, micros(t.CreatedAt))
		if err == nil && !stored {
			err = alert.ErrTopicExists
		}
		return t, err
	})
}

// DeleteTopic deletes a topic with its members.
func (s *Store) DeleteTopic(ctx context.Context, req once.Request, partner, id string, now time.Time) error {
	_, err := inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (struct{}, error) {
		if _, err := topic(ctx, tx, partner, id, tx.ForUpdate()); err != nil {
			return struct{}{}, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM topic_members WHERE partner = $1 AND topic = $2`, partner, id); err != nil {
			return struct{}{}, fmt.Errorf("delete members: %w", err)
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM topics WHERE partner = $1 AND id = $2`, partner, id)
		return struct{}{}, err
	})
	return err
}

// Topics are the topics of an owner with a greater id, in order, at most limit.
func (s *Store) Topics(ctx context.Context, partner, after string, limit int) ([]alert.Topic, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+topicColumns+` FROM topics WHERE partner = $1 AND id > $2 ORDER BY id LIMIT $3`, partner, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []alert.Topic
	for rows.Next() {
		var t alert.Topic
		var created int64
		if err := rows.Scan(&t.Partner, &t.ID, &t.DisplayName, &t.Members, &created); err != nil {
			return nil, fmt.Errorf("read topics: %w", err)
		}
		t.CreatedAt = fromMicros(created)
		all = append(all, t)
	}
	return all, rows.Err()
}

// ChangeMembers adds and removes members of a topic.
func (s *Store) ChangeMembers(ctx context.Context, req once.Request, partner, id string, add, remove []string, now time.Time) (alert.Topic, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (alert.Topic, error) {
		t, err := topic(ctx, tx, partner, id, tx.ForUpdate())
		if err != nil {
			return t, err
		}
		for _, change := range []struct {
			members []string
			query   string
			by      int64
		}{
			{add, `INSERT INTO topic_members (partner, topic, member) VALUES ($1, $2, $3) ON CONFLICT (partner, topic, member) DO NOTHING`, 1},
			{remove, `DELETE FROM topic_members WHERE partner = $1 AND topic = $2 AND member = $3`, -1},
		} {
			for _, m := range change.members {
				ok, err := changed(ctx, tx, change.query, partner, id, m)
				if err != nil {
					return t, fmt.Errorf("change members: %w", err)
				}
				if ok {
					t.Members += change.by
				}
			}
		}
		_, err = tx.ExecContext(ctx, `UPDATE topics SET member_count = $3 WHERE partner = $1 AND id = $2`, partner, id, t.Members)
		return t, err
	})
}

// Members are the members of a topic after one, in order, at most limit.
func (s *Store) Members(ctx context.Context, partner, id, after string, limit int) ([]string, error) {
	return s.strings(ctx, `SELECT member FROM topic_members WHERE partner = $1 AND topic = $2 AND member > $3 ORDER BY member LIMIT $4`, partner, id, after, limit)
}

// Broadcast implements alert.Store.
func (s *Store) Broadcast(ctx context.Context, req once.Request, b alert.Broadcast, check func(*alert.Published) error) (out alert.Broadcast, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		id, err := answerOnce(ctx, tx, req, b.CreatedAt, func() (string, error) {
			kind, err := s.published(ctx, tx, b.Request.Kind)
			if err != nil {
				return "", err
			}
			if _, err := topic(ctx, tx, b.Partner, b.Topic, ""); err != nil {
				return "", err
			}
			if err := check(kind); err != nil {
				return "", err
			}
			content, err := json.Marshal(broadcastContent{Sender: b.Sender, Request: b.Request})
			if err != nil {
				return "", err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO broadcasts (id, sender, partner, topic, content, state, after, members, sent, held, dropped, due_at, created_at)
				VALUES ($1, $2, $3, $4, $5, $6, '', 0, 0, 0, 0, $7, $8)`,
				b.ID, b.Sender.Partner, b.Partner, b.Topic, string(content), string(b.State), micros(b.DueAt()), micros(b.CreatedAt))
			return b.ID, err
		})
		if err != nil {
			return err
		}
		out, err = broadcast(ctx, tx, id, "")
		return err
	})
	if err == nil && s.broadcasts != nil {
		s.broadcasts()
	}
	return out, err
}

type broadcastContent struct {
	Sender  alert.Sender
	Request alert.Request
}

func broadcast(ctx context.Context, q sqldb.Queryer, id, lock string) (alert.Broadcast, error) {
	b := alert.Broadcast{ID: id}
	var content string
	var created int64
	err := q.QueryRowContext(ctx, `SELECT partner, topic, content, state, after, members, sent, held, dropped, created_at FROM broadcasts WHERE id = $1`+lock, id).
		Scan(&b.Partner, &b.Topic, &content, &b.State, &b.After, &b.Members, &b.Sent, &b.Held, &b.Dropped, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return b, alert.ErrBroadcastNotFound
	}
	if err != nil {
		return b, fmt.Errorf("read a broadcast: %w", err)
	}
	var c broadcastContent
	if err := json.Unmarshal([]byte(content), &c); err != nil {
		return b, fmt.Errorf("read a broadcast: %w", err)
	}
	b.Sender, b.Request, b.CreatedAt = c.Sender, c.Request, fromMicros(created)
	return b, nil
}

// BroadcastByID reads a broadcast.
func (s *Store) BroadcastByID(ctx context.Context, id string) (alert.Broadcast, error) {
	return broadcast(ctx, s.db, id, "")
}

// AdvanceBroadcast alerts the next members of the broadcast that has waited longest, at most limit, in one transaction with
// the place it has come to, so that each member is alerted once. It is false when no broadcast is due.
func (s *Store) AdvanceBroadcast(ctx context.Context, now time.Time, limit int) (bool, error) {
	var id string
	err := s.db.QueryRowContext(ctx, `SELECT id FROM broadcasts WHERE state IN ('SCHEDULED', 'RUNNING') AND due_at <= $1 ORDER BY due_at LIMIT 1`, micros(now)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for broadcasts: %w", err)
	}
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		b, err := broadcast(ctx, tx, id, tx.ForUpdate())
		if err != nil || b.State == alert.BroadcastDone || b.State == alert.BroadcastExpired {
			return err
		}
		if b, err = s.advance(ctx, tx, b, now, limit); err != nil {
			return err
		}
		// It goes to the end of the line, so that a large one does not hold up small ones.
		_, err = tx.ExecContext(ctx, `UPDATE broadcasts SET state = $2, after = $3, members = $4, sent = $5, held = $6, dropped = $7, due_at = $8 WHERE id = $1`,
			b.ID, string(b.State), b.After, b.Members, b.Sent, b.Held, b.Dropped, micros(now))
		return err
	})
	return true, err
}

func (s *Store) advance(ctx context.Context, tx *sqldb.Tx, b alert.Broadcast, now time.Time, limit int) (alert.Broadcast, error) {
	if b.Over(now) {
		b.State = alert.BroadcastExpired
		return b, nil
	}
	b.State = alert.BroadcastRunning
	members, err := nextMembers(ctx, tx, b, limit)
	if err != nil {
		return b, err
	}
	if len(members) < limit {
		b.State = alert.BroadcastDone
	}
	var orders []alert.Alert
	wearers := map[string]alert.Wearer{}
	for _, m := range members {
		b.After = m.Name
		b.Members++
		id, err := uuid.NewV7()
		if err != nil {
			return b, err
		}
		if order, ok := b.Order(m, id.String(), now); ok {
			orders = append(orders, order)
			wearers[m.Name] = m.Wearer
		} else {
			b.Dropped++
		}
	}
	if len(orders) == 0 {
		return b, nil
	}
	kind, err := s.published(ctx, tx, b.Request.Kind)
	if err != nil {
		return b, err
	}
	decided, err := s.deliver(ctx, tx, delivery{orders: orders, kinds: map[alert.Key]*alert.Published{b.Request.Kind: kind}, wearers: wearers}, now)
	for _, a := range decided {
		switch {
		case a.Delivery == alert.SentOut:
			b.Sent++
		case a.Delivery.Waits():
			b.Held++
		default:
			b.Dropped++
		}
	}
	return b, err
}

func nextMembers(ctx context.Context, tx *sqldb.Tx, b alert.Broadcast, limit int) ([]alert.Member, error) {
	rows, err := tx.QueryContext(ctx, `SELECT m.member, COALESCE(w.partner, ''), COALESCE(w.account, ''), COALESCE(w.mode, '')
		FROM topic_members m LEFT JOIN wearers w ON w.device = m.member
		WHERE m.partner = $1 AND m.topic = $2 AND m.member > $3 ORDER BY m.member LIMIT $4`, b.Partner, b.Topic, b.After, limit)
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []alert.Member
	for rows.Next() {
		var m alert.Member
		if err := rows.Scan(&m.Name, &m.Wearer.Partner, &m.Wearer.Account, &m.Wearer.Mode); err != nil {
			return nil, fmt.Errorf("read members: %w", err)
		}
		m.Wearer.Device = m.Name
		all = append(all, m)
	}
	return all, rows.Err()
}
