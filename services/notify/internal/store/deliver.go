package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Deliver takes an alert through the pipeline in tx, and stores what became of it with its events.
func (s *Store) Deliver(ctx context.Context, tx *sqldb.Tx, a alert.Alert, now time.Time) (alert.Alert, error) {
	kind, err := s.published(ctx, tx, a.Kind)
	if err != nil {
		return a, err
	}
	all, err := s.deliver(ctx, tx, []alert.Alert{a}, kind, nil, now)
	if err != nil {
		return a, err
	}
	return all[0], nil
}

// Send implements alert.Store.
func (s *Store) Send(ctx context.Context, req once.Request, to alert.Recipient, key alert.Key, now time.Time,
	order func(alert.Wearer, *alert.Published) (alert.Alert, error),
) (out alert.Alert, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		id, err := answerOnce(ctx, tx, req, now, func() (string, error) {
			kind, err := s.published(ctx, tx, key)
			if err != nil {
				return "", err
			}
			var w alert.Wearer
			if to.Device != "" {
				if w, err = wearer(ctx, tx, to.Device); err != nil {
					return "", err
				}
			}
			a, err := order(w, kind)
			if err != nil {
				return "", err
			}
			sent, err := s.deliver(ctx, tx, []alert.Alert{a}, kind, map[string]alert.Wearer{to.Device: w}, now)
			if err != nil {
				return "", err
			}
			return sent[0].ID, nil
		})
		if err != nil {
			return err
		}
		out, err = oneAlert(ctx, tx, `SELECT `+alertColumns+` FROM alerts WHERE id = $1`, id)
		return err
	})
	return out, err
}

// deliver decides on alerts of one type and stores them. New alerts are inserted; alerts that waited are updated.
func (s *Store) deliver(ctx context.Context, tx *sqldb.Tx, orders []alert.Alert, kind *alert.Published, wearers map[string]alert.Wearer, now time.Time) ([]alert.Alert, error) {
	settings, err := settingsOf(ctx, tx, orders)
	if err != nil {
		return nil, err
	}
	decided := make([]alert.Alert, len(orders))
	for i, a := range orders {
		facts := alert.Facts{
			Kind: kind, Account: settings["accounts/"+a.Account], Device: settings[a.Device], Partner: settings["partners/"+a.Partner],
			Wearer: wearers[a.Device], ResendAfter: s.terms.ResendAfter,
			Take: func() (bool, error) { return takeThrottle(ctx, tx, a, kind.Throttle, now) },
		}
		if decided[i], err = alert.Decide(a, facts, now); err != nil {
			return nil, err
		}
	}
	if err := s.takeSequences(ctx, tx, decided, now); err != nil {
		return nil, err
	}
	if err := insertAlerts(ctx, tx, decided, orders); err != nil {
		return nil, err
	}
	var facts []any
	for _, a := range decided {
		if fact, ok := tell(a); ok {
			facts = append(facts, fact)
		}
		tx.OnCommit(func() { s.became(a.Delivery) })
	}
	if err := s.publish(ctx, tx, now, facts...); err != nil {
		return nil, err
	}
	for _, a := range decided {
		if err := s.replaceOlder(ctx, tx, a, now); err != nil {
			return nil, err
		}
	}
	return decided, nil
}

// takeSequences gives the alerts that go out their places, in the order of their accounts, so that two transactions never
// wait for each other's inboxes. An account that is there twice takes its second one in a second round.
func (s *Store) takeSequences(ctx context.Context, tx *sqldb.Tx, all []alert.Alert, now time.Time) error {
	var rest []int
	for i := range all {
		if all[i].Delivery == alert.SentOut {
			rest = append(rest, i)
		}
	}
	sort.SliceStable(rest, func(i, j int) bool { return all[rest[i]].Account < all[rest[j]].Account })
	for len(rest) > 0 {
		alertOf, place := map[string]string{}, map[string]int{}
		var accounts []string
		var again []int
		for _, i := range rest {
			account := all[i].Account
			if _, taken := alertOf[account]; taken {
				again = append(again, i)
				continue
			}
			alertOf[account], place[account] = all[i].ID, i
			accounts = append(accounts, account)
		}
		sequences, err := s.newSteps(ctx, tx, alert.Upsert, alertOf, accounts, now)
		if err != nil {
			return err
		}
		for account, i := range place {
			all[i].Sequence = sequences[account]
		}
		rest = again
	}
	return nil
}

func insertAlerts(ctx context.Context, tx *sqldb.Tx, decided, orders []alert.Alert) error {
	rows := insertAlertRows.Rows(len(decided))
	for i, a := range decided {
		if orders[i].Delivery.Waits() {
			if err := updateAlert(ctx, tx, a); err != nil {
				return err
			}
			continue
		}
		row, err := alertRow(a)
		if err != nil {
			return err
		}
		rows.Add(row...)
	}
	if _, err := rows.Exec(ctx, tx); err != nil {
		return fmt.Errorf("store alerts: %w", err)
	}
	return nil
}

// tell is the fact of what became of an alert; false when nobody hears of it.
func tell(a alert.Alert) (any, bool) {
	if a.Delivery == alert.SentOut {
		return alert.Sent{Alert: a}, true
	}
	return alert.Moved{Alert: a}, a.Sender != "" && a.Sender != alert.Operator
}

// replaceOlder takes the alerts away whose place one has taken.
func (s *Store) replaceOlder(ctx context.Context, tx *sqldb.Tx, a alert.Alert, now time.Time) error {
	if a.CollapseKey == "" || a.Delivery == alert.Dropped || a.Delivery == alert.Expired {
		return nil
	}
	if err := s.lockInbox(ctx, tx, a.Account, now); err != nil {
		return err
	}
	older, err := alerts(ctx, tx, `SELECT `+alertColumns+` FROM alerts WHERE account = $1 AND collapse_key = $2 AND sender = $3 AND device = $4
		AND mode = $5 AND id <> $6 AND (`+inInbox+` OR delivery IN ('SCHEDULED', 'HELD'))`, a.Account, a.CollapseKey, a.Sender, a.Device, a.Mode, a.ID)
	if err != nil {
		return err
	}
	for _, old := range older {
		if err := s.moved(ctx, tx, alert.Remove, old.Leave(now, alert.Replaced, alert.StepCollapse, "COLLAPSED"), "", now); err != nil {
			return err
		}
	}
	return nil
}

// takeThrottle counts one more alert, unless that would be too many.
func takeThrottle(ctx context.Context, tx *sqldb.Tx, a alert.Alert, t alert.Throttle, now time.Time) (bool, error) {
	ok, err := changed(ctx, tx, `INSERT INTO alert_throttles (account, device, kind_partner, kind_id, window_start, count) VALUES ($1, $2, $3, $4, $5, 1)
		ON CONFLICT (account, device, kind_partner, kind_id) DO UPDATE SET
			count = CASE WHEN alert_throttles.window_start = excluded.window_start THEN alert_throttles.count + 1 ELSE 1 END,
			window_start = excluded.window_start
		WHERE alert_throttles.window_start <> excluded.window_start OR alert_throttles.count < $6`,
		a.Account, a.Device, a.Kind.Partner, a.Kind.ID, micros(t.Window(now)), t.Max)
	if err != nil {
		return false, fmt.Errorf("count for the throttle: %w", err)
	}
	return ok, nil
}

// settingsOf are the settings that matter for alerts, by subject.
func settingsOf(ctx context.Context, tx *sqldb.Tx, all []alert.Alert) (map[string]alert.Settings, error) {
	subjects := map[string]bool{}
	for _, a := range all {
		subjects["accounts/"+a.Account] = true
		if a.Device != "" {
			subjects[a.Device] = true
		}
		if a.Partner != "" {
			subjects["partners/"+a.Partner] = true
		}
	}
	in, arg, err := sqldb.In(tx.Dialect(), slices.Collect(maps.Keys(subjects)))
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	rows, err := tx.QueryContext(ctx, `SELECT content FROM alert_settings WHERE subject `+in, arg)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	defer func() { _ = rows.Close() }()
	found := map[string]alert.Settings{}
	for rows.Next() {
		var content string
		var one alert.Settings
		if err := rows.Scan(&content); err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		if err := json.Unmarshal([]byte(content), &one); err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		found[one.Subject] = one
	}
	return found, rows.Err()
}
