package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Acknowledge records what surfaces say about alerts of an account and returns the alerts as they are then.
func (s *Store) Acknowledge(ctx context.Context, req once.Request, account string, acks []alert.Ack, now time.Time) (out []alert.Alert, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		out = nil
		if err := s.lockInbox(ctx, tx, account, now); err != nil {
			return err
		}
		_, err := answerOnce(ctx, tx, req, now, func() (struct{}, error) {
			for _, ack := range acks {
				if err := s.acknowledge(ctx, tx, account, ack, now); err != nil {
					return struct{}{}, err
				}
			}
			return struct{}{}, nil
		})
		if err != nil {
			return err
		}
		for _, ack := range acks {
			a, err := alertOf(ctx, tx, account, ack.AlertID)
			if err != nil {
				return err
			}
			out = append(out, a)
		}
		return nil
	})
	return out, err
}

func (s *Store) acknowledge(ctx context.Context, tx *sqldb.Tx, account string, ack alert.Ack, now time.Time) error {
	a, err := alertOf(ctx, tx, account, ack.AlertID)
	if err != nil {
		return err
	}
	next, moved, err := a.Acknowledge(ack)
	if err != nil {
		return err
	}
	isNew, err := changed(ctx, tx, `INSERT INTO alert_acks (alert_id, surface, kind, action_id, client_id, at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (alert_id, surface, kind, action_id) DO NOTHING`, ack.AlertID, string(ack.Surface), string(ack.Kind), ack.ActionID, ack.ClientID, micros(now))
	if err != nil {
		return fmt.Errorf("record an acknowledgement: %w", err)
	}
	switch {
	case moved, isNew && ack.Kind == alert.AckActed && next.Delivery.InInbox(): // each action once, also a second one
		return s.moved(ctx, tx, alert.State, next, ack.ActionID, now)
	case !next.ResendAt.Equal(a.ResendAt):
		return updateAlert(ctx, tx, next)
	}
	return nil
}

func alertOf(ctx context.Context, tx *sqldb.Tx, account, id string) (alert.Alert, error) {
	return oneAlert(ctx, tx, `SELECT `+alertColumns+` FROM alerts WHERE id = $1 AND account = $2`, id, account)
}

// due has each alert that a condition selects handled in a transaction of its own, in which its inbox is locked and the
// condition still holds, and returns how many there were. Two replicas may look at the same time: the second finds the
// condition gone. An alert that cannot be handled does not stop those after it.
func (s *Store) due(ctx context.Context, condition string, arg any, limit int, now time.Time,
	handle func(context.Context, *sqldb.Tx, alert.Alert) error,
) (int, error) {
	found, err := alerts(ctx, s.db, `SELECT `+alertColumns+` FROM alerts WHERE `+condition+` LIMIT $2`, arg, limit)
	if err != nil {
		return 0, err
	}
	var failed error
	for _, a := range found {
		err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			if err := s.lockInbox(ctx, tx, a.Account, now); err != nil {
				return err
			}
			current, err := oneAlert(ctx, tx, `SELECT `+alertColumns+` FROM alerts WHERE `+condition+` AND id = $2`, arg, a.ID)
			if errors.Is(err, alert.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			return handle(ctx, tx, current)
		})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("the alert %s: %w", a.ID, err))
		}
	}
	return len(found), failed
}

// ReleaseDue decides again on alerts whose wait is over, at most limit.
func (s *Store) ReleaseDue(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.due(ctx, `release_at <= $1`, micros(now), limit, now, func(ctx context.Context, tx *sqldb.Tx, a alert.Alert) error {
		kind, err := s.published(ctx, tx, a.Kind)
		if err != nil {
			return err
		}
		w, err := wearer(ctx, tx, a.Device)
		if err != nil {
			return err
		}
		_, err = s.deliverOne(ctx, tx, a, kind, w, now)
		return err
	})
}

// ResendDue puts CRITICAL alerts that nobody acknowledged into their inboxes again, at most limit.
func (s *Store) ResendDue(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.due(ctx, `resend_at <= $1`, micros(now), limit, now, func(ctx context.Context, tx *sqldb.Tx, a alert.Alert) error {
		if err := updateAlert(ctx, tx, a.Resend(now, s.terms.ResendAfter)); err != nil {
			return err
		}
		_, err := s.newStep(ctx, tx, alert.Upsert, a, now)
		tx.OnCommit(s.resent)
		return err
	})
}

// ExpireDue takes alerts whose ttl ran out before anything received them out of their inboxes, at most limit.
func (s *Store) ExpireDue(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.due(ctx, `expires_at <= $1 AND delivery = 'SENT'`, micros(now), limit, now, func(ctx context.Context, tx *sqldb.Tx, a alert.Alert) error {
		tx.OnCommit(func() { s.became(alert.Expired) })
		return s.moved(ctx, tx, alert.Remove, a.Leave(now, alert.Expired, alert.StepExpire, "TTL_OVER"), "", now)
	})
}

// RedactDue takes away what alerts say that were kept as long as they are kept, at most limit.
func (s *Store) RedactDue(ctx context.Context, now time.Time, limit int) (int, error) {
	before := micros(now.Add(-s.terms.KeepAlerts))
	return s.due(ctx, `created_at < $1 AND redacted = 0`, before, limit, now, func(ctx context.Context, tx *sqldb.Tx, a alert.Alert) error {
		return s.redact(ctx, tx, a, now)
	})
}

func (s *Store) redact(ctx context.Context, tx *sqldb.Tx, a alert.Alert, now time.Time) error {
	inbox := a.Delivery.InInbox()
	if inbox || a.Delivery.Waits() {
		a = a.Leave(now, alert.Removed, alert.StepRetention, "KEPT_LONG_ENOUGH")
	}
	a = a.Redact()
	if err := updateAlert(ctx, tx, a); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE alerts SET redacted = 1 WHERE id = $1`, a.ID); err != nil {
		return fmt.Errorf("redact an alert: %w", err)
	}
	if !inbox {
		return nil
	}
	_, err := s.newStep(ctx, tx, alert.Remove, a, now)
	return err
}

// Forget deletes what is older than it is kept: steps, after which streams from before start over, and records of alerts
// that were redacted, with their acknowledgements.
func (s *Store) Forget(ctx context.Context, now time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		steps, records := micros(now.Add(-s.terms.KeepSteps)), micros(now.Add(-s.terms.KeepRecords))
		if _, err := tx.ExecContext(ctx, `DELETE FROM custom_event_counts WHERE day < $1`, now.UTC().AddDate(0, 0, -7).Format(time.DateOnly)); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
		for _, st := range []struct {
			query string
			arg   int64
		}{
			{`UPDATE inboxes SET trimmed_through = (SELECT MAX(sequence) FROM inbox_steps WHERE inbox_steps.account = inboxes.account AND created_at < $1)
				WHERE account IN (SELECT account FROM inbox_steps WHERE created_at < $1)`, steps},
			{`DELETE FROM inbox_steps WHERE sequence <= (SELECT trimmed_through FROM inboxes WHERE inboxes.account = inbox_steps.account) AND created_at < $1`, steps},
			{`DELETE FROM alert_acks WHERE alert_id IN (SELECT id FROM alerts WHERE created_at < $1 AND redacted = 1)`, records},
			{`DELETE FROM alerts WHERE created_at < $1 AND redacted = 1
				AND NOT EXISTS (SELECT 1 FROM inbox_steps WHERE inbox_steps.alert_id = alerts.id AND inbox_steps.account = alerts.account)`, records},
		} {
			if _, err := tx.ExecContext(ctx, st.query, st.arg); err != nil {
				return fmt.Errorf("forget: %w", err)
			}
		}
		return nil
	})
}

// EraseInbox takes away what all alerts of an account say. The inbox gets a new epoch, so that every stream starts over.
func (s *Store) EraseInbox(ctx context.Context, req once.Request, account, epoch string, now time.Time) (int64, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (int64, error) {
		if err := s.lockInbox(ctx, tx, account, now); err != nil {
			return 0, err
		}
		found, err := alerts(ctx, tx, `SELECT `+alertColumns+` FROM alerts WHERE account = $1 AND redacted = 0`, account)
		if err != nil {
			return 0, err
		}
		for _, a := range found {
			if err := s.redact(ctx, tx, a, now); err != nil {
				return 0, err
			}
		}
		_, err = tx.ExecContext(ctx, `UPDATE inboxes SET epoch = $2, updated_at = $3 WHERE account = $1`, account, epoch, micros(now))
		tx.OnCommit(func() { s.wake(account) })
		return int64(len(found)), err
	})
}
