package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// removeBatch is how many rows one transaction removes.
const removeBatch = 500

// StartOffboarding remembers that a partner was offboarded, in the transaction of the event that says so.
func (s *Store) StartOffboarding(ctx context.Context, tx *sqldb.Tx, partner string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO offboardings (partner, started_at) VALUES ($1, $2) ON CONFLICT (partner) DO NOTHING`, partner, micros(now))
	if err != nil {
		return fmt.Errorf("remember an offboarding: %w", err)
	}
	return nil
}

// Offboarding implements offboarding.Store.
func (s *Store) Offboarding(ctx context.Context, partner string) (offboarding.Offboarding, error) {
	all, err := s.offboardings(ctx, `WHERE partner = $1`, partner)
	if err != nil || len(all) == 0 {
		return offboarding.Offboarding{}, err
	}
	return all[0], nil
}

// OffboardingsDue are those that are not over, and those that began since then.
func (s *Store) OffboardingsDue(ctx context.Context, since time.Time) ([]offboarding.Offboarding, error) {
	return s.offboardings(ctx, `WHERE ended_at = 0 OR started_at > $1 ORDER BY partner`, micros(since))
}

func (s *Store) offboardings(ctx context.Context, where string, args ...any) ([]offboarding.Offboarding, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT partner, started_at, ended_at FROM offboardings `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read offboardings: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []offboarding.Offboarding
	for rows.Next() {
		var o offboarding.Offboarding
		var started, ended int64
		if err := rows.Scan(&o.Partner, &started, &ended); err != nil {
			return nil, fmt.Errorf("read offboardings: %w", err)
		}
		o.StartedAt, o.EndedAt = fromMicros(started), timeOrZero(ended)
		all = append(all, o)
	}
	return all, rows.Err()
}

// OffboardedOf are those of the partners that were offboarded.
func (s *Store) OffboardedOf(ctx context.Context, tx *sqldb.Tx, partners []string) (map[string]bool, error) {
	in, arg, err := sqldb.In(tx.Dialect(), partners)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT partner FROM offboardings WHERE partner `+in, arg)
	if err != nil {
		return nil, fmt.Errorf("read offboardings: %w", err)
	}
	defer func() { _ = rows.Close() }()
	found := map[string]bool{}
	for rows.Next() {
		var partner string
		if err := rows.Scan(&partner); err != nil {
			return nil, fmt.Errorf("read offboardings: %w", err)
		}
		found[partner] = true
	}
	return found, rows.Err()
}

// Offboarded are all partners that ever were offboarded.
func (s *Store) Offboarded(ctx context.Context) ([]string, error) {
	return s.strings(ctx, `SELECT partner FROM offboardings ORDER BY partner`)
}

// What a partner's rows are found by.
const (
	webhookKeysOf   = `FROM keys WHERE name LIKE 'webhook/' || $1 || '/%'`
	waitingOf       = `sender = $1 AND release_at IS NOT NULL`
	broadcastsOf    = `FROM broadcasts WHERE partner = $1 AND state IN ('SCHEDULED', 'RUNNING')`
	openCampaignsOf = `FROM campaigns WHERE partner = $1 AND state <> 'ENDED'`
	pendingOf       = `FROM outbox WHERE published_at IS NULL AND subject LIKE '` + subscription.SubjectPrefix + `' || $1 || '.%'`
)

// Holdings implements offboarding.Store. A partner's id has no character that LIKE takes for another.
func (s *Store) Holdings(ctx context.Context, partner string) (h offboarding.Holdings, err error) {
	for _, one := range []struct {
		into *int64
		from string
	}{
		{&h.Subscriptions, `FROM subscriptions WHERE partner = $1`},
		{&h.WebhookKeys, webhookKeysOf},
		{&h.Deliveries, `FROM deliveries WHERE partner = $1`},
		{&h.AlertTypes, `FROM alert_kinds WHERE partner = $1`},
		{&h.EventTypes, `FROM custom_event_types WHERE partner = $1`},
		{&h.Topics, `FROM topics WHERE partner = $1`},
		{&h.TopicMembers, `FROM topic_members WHERE partner = $1`},
		{&h.WaitingAlerts, `FROM (SELECT id FROM alerts WHERE ` + waitingOf + ` UNION ALL SELECT id ` + broadcastsOf + `) AS waiting`},
		{&h.OpenCampaigns, openCampaignsOf},
		{&h.PendingEvents, pendingOf},
	} {
		if err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) `+one.from, partner).Scan(one.into); err != nil {
			return h, fmt.Errorf("count what a partner has: %w", err)
		}
	}
	return h, nil
}

// DropSubscriptions implements offboarding.Store. The subscriptions go first, so that nobody serves them, and their deliveries
// with them; a webhook that was being served just then may have made a key anew, which is why all keys of the partner go.
func (s *Store) DropSubscriptions(ctx context.Context, partner string) error {
	subs, err := s.SubscriptionsOf(ctx, partner)
	if err != nil {
		return err
	}
	for _, sub := range subs {
		if _, err := s.DeleteSubscription(ctx, partner, sub.ID); err != nil && !errors.Is(err, subscription.ErrNotFound) {
			return err
		}
	}
	return s.remove(ctx, partner, `DELETE `+webhookKeysOf)
}

// DropWaiting implements offboarding.Store.
func (s *Store) DropWaiting(ctx context.Context, partner string, now time.Time) error {
	if err := s.remove(ctx, partner, `UPDATE broadcasts SET state = 'EXPIRED' WHERE id IN (SELECT id `+broadcastsOf+`)`); err != nil {
		return err
	}
	for {
		n, err := s.due(ctx, waitingOf, partner, removeBatch, now, func(ctx context.Context, tx *sqldb.Tx, a alert.Alert) error {
			tx.OnCommit(func() { s.became(alert.Dropped) })
			return updateAlert(ctx, tx, a.Leave(now, alert.Dropped, alert.StepAuthorise, "PARTNER_OFFBOARDED"))
		})
		if err != nil || n < removeBatch {
			return err
		}
	}
}

// DropTypes implements offboarding.Store.
func (s *Store) DropTypes(ctx context.Context, partner string) error {
	for {
		gone := int64(0)
		err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			res, err := tx.ExecContext(ctx, `DELETE FROM topic_members WHERE partner = $1 AND (topic, member) IN (
				SELECT topic, member FROM topic_members WHERE partner = $1 ORDER BY topic, member LIMIT $2)`, partner, int64(removeBatch))
			if err == nil {
				gone, err = res.RowsAffected()
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("remove the members of topics: %w", err)
		}
		if gone < removeBatch {
			break
		}
	}
	return s.remove(ctx, partner,
		`DELETE FROM topics WHERE partner = $1`,
		`DELETE FROM alert_kinds WHERE partner = $1`,
		`DELETE FROM alert_throttles WHERE kind_partner = $1`,
		`DELETE FROM custom_event_types WHERE partner = $1`,
		`DELETE FROM custom_event_counts WHERE partner = $1`)
}

// EndCampaigns implements offboarding.Store: each campaign in a transaction of its own, since redemptions wait for its row.
func (s *Store) EndCampaigns(ctx context.Context, partner string, now time.Time) error {
	ids, err := s.strings(ctx, `SELECT id `+openCampaignsOf+` ORDER BY id`, partner)
	if err != nil {
		return fmt.Errorf("read campaigns: %w", err)
	}
	for _, id := range ids {
		err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			c, err := campaign(ctx, tx, id, tx.ForUpdate())
			if err != nil || c.State == voucher.Ended {
				return err
			}
			c.State = voucher.Ended
			if _, err := tx.ExecContext(ctx, `UPDATE campaigns SET state = $2 WHERE id = $1`, id, c.State); err != nil {
				return err
			}
			return s.publish(ctx, tx, now, voucher.Changed{Campaign: c})
		})
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("end the campaign %s: %w", id, err)
		}
	}
	return nil
}

// DropPending implements offboarding.Store.
func (s *Store) DropPending(ctx context.Context, partner string) error {
	return s.remove(ctx, partner, `DELETE `+pendingOf)
}

// EndOffboarding implements offboarding.Store. The first end counts.
func (s *Store) EndOffboarding(ctx context.Context, partner string, now time.Time) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE offboardings SET ended_at = $2 WHERE partner = $1 AND ended_at = 0`, partner, micros(now))
		return err
	})
}

// remove executes statements about a partner in one transaction.
func (s *Store) remove(ctx context.Context, partner string, statements ...string) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, statement, partner); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove what a partner has: %w", err)
	}
	return nil
}
