package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// DeliverAll takes alerts of any types through the pipeline in tx, with as many statements as one takes. Those of one
// account enter its inbox in their order. causes are the trace contexts that their events get; nil for that of ctx.
func (s *Store) DeliverAll(ctx context.Context, tx *sqldb.Tx, all []alert.Alert, causes []string, now time.Time) ([]alert.Alert, error) {
	kinds := map[alert.Key]*alert.Published{}
	for _, a := range all {
		if kinds[a.Kind] != nil {
			continue
		}
		kind, err := s.published(ctx, tx, a.Kind)
		if err != nil {
			return nil, err
		}
		kinds[a.Kind] = kind
	}
	return s.deliver(ctx, tx, delivery{orders: all, kinds: kinds, causes: causes}, now)
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
			sent, err := s.deliverOne(ctx, tx, a, kind, w, now)
			return sent.ID, err
		})
		if err != nil {
			return err
		}
		out, err = oneAlert(ctx, tx, `SELECT `+alertColumns+` FROM alerts WHERE id = $1`, id)
		return err
	})
	return out, err
}

// delivery is what is delivered together.
type delivery struct {
	orders  []alert.Alert
	kinds   map[alert.Key]*alert.Published
	wearers map[string]alert.Wearer
	// causes are the trace contexts of the orders; nil when all are that of the context.
	causes []string
}

func (s *Store) deliverOne(ctx context.Context, tx *sqldb.Tx, a alert.Alert, kind *alert.Published, w alert.Wearer, now time.Time) (alert.Alert, error) {
	all, err := s.deliver(ctx, tx, delivery{
		orders: []alert.Alert{a}, kinds: map[alert.Key]*alert.Published{a.Kind: kind}, wearers: map[string]alert.Wearer{a.Device: w},
	}, now)
	if err != nil {
		return a, err
	}
	return all[0], nil
}

// deliver decides on alerts and stores them. New alerts are inserted; alerts that waited are updated. Throttles are locked
// before inboxes and both in an order of their own, so that two deliveries never wait for each other crosswise.
func (s *Store) deliver(ctx context.Context, tx *sqldb.Tx, d delivery, now time.Time) ([]alert.Alert, error) {
	decided, err := s.decide(ctx, tx, d, now)
	if err != nil {
		return nil, err
	}
	steps, err := s.takeSequences(ctx, tx, decided, now)
	if err != nil {
		return nil, err
	}
	rows, err := alertRows(ctx, tx, decided, d.orders)
	if err != nil {
		return nil, err
	}
	facts, err := s.facts(ctx, tx, d, decided, now)
	if err != nil {
		return nil, err
	}
	if _, err := sqldb.ExecAll(ctx, tx, steps, rows, facts); err != nil {
		return nil, fmt.Errorf("store alerts: %w", err)
	}
	for _, a := range decided {
		if err := s.collapse(ctx, tx, a, now); err != nil {
			return nil, err
		}
		tx.OnCommit(func() { s.became(a.Delivery) })
	}
	return decided, nil
}

func (s *Store) decide(ctx context.Context, tx *sqldb.Tx, d delivery, now time.Time) ([]alert.Alert, error) {
	settings, err := settingsOf(ctx, tx, d.orders)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(d.orders))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := d.orders[i], d.orders[j]
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Kind.Partner, b.Kind.Partner),
			cmp.Compare(a.Kind.ID, b.Kind.ID))
	})
	decided := make([]alert.Alert, len(d.orders))
	for _, i := range order {
		a := d.orders[i]
		kind := d.kinds[a.Kind]
		facts := alert.Facts{
			Kind: kind, Account: settings["accounts/"+a.Account], Device: settings[a.Device], Partner: settings["partners/"+a.Partner],
			Wearer: d.wearers[a.Device], ResendAfter: s.terms.ResendAfter,
			Take: func() (bool, error) { return takeThrottle(ctx, tx, a, kind.Throttle, now) },
		}
		if decided[i], err = alert.Decide(a, facts, now); err != nil {
			return nil, err
		}
	}
	return decided, nil
}

// takeSequences gives the alerts that go out their places, in their order, and returns the steps to be stored. It locks every
// inbox that this delivery is going to touch.
func (s *Store) takeSequences(ctx context.Context, tx *sqldb.Tx, all []alert.Alert, now time.Time) (*sqldb.BulkRows, error) {
	more := map[string]int64{}
	for _, a := range all {
		switch {
		case a.Delivery == alert.SentOut:
			more[a.Account]++
		case collapses(a):
			more[a.Account] += 0
		}
	}
	inboxes := make([]growth, 0, len(more))
	for _, account := range slices.Sorted(maps.Keys(more)) {
		inboxes = append(inboxes, growth{account, more[account]})
	}
	last, err := s.grow(ctx, tx, inboxes, now)
	if err != nil {
		return nil, err
	}
	steps := insertSteps.Rows(len(all))
	for i := range all {
		a := &all[i]
		if a.Delivery != alert.SentOut {
			continue
		}
		more[a.Account]--
		a.Sequence = last[a.Account] - more[a.Account]
		steps.Add(a.Account, a.Sequence, string(alert.Upsert), a.ID, micros(now))
	}
	return steps, nil
}

// alertRows are the alerts to be inserted; those that waited are updated.
func alertRows(ctx context.Context, tx *sqldb.Tx, decided, orders []alert.Alert) (*sqldb.BulkRows, error) {
	rows := insertAlerts.Rows(len(decided))
	for i, a := range decided {
		if orders[i].Delivery.Waits() {
			if err := updateAlert(ctx, tx, a); err != nil {
				return nil, err
			}
			continue
		}
		row, err := alertRow(a)
		if err != nil {
			return nil, err
		}
		rows.Add(row...)
	}
	return rows, nil
}

// facts are the events of what became of alerts.
func (s *Store) facts(ctx context.Context, tx *sqldb.Tx, d delivery, decided []alert.Alert, now time.Time) (*sqldb.BulkRows, error) {
	var evs []events.Event
	for i, a := range decided {
		var fact any
		switch {
		case a.Delivery == alert.SentOut:
			fact = alert.Sent{Alert: a}
		case a.Sender != "" && a.Sender != alert.Operator:
			fact = alert.Moved{Alert: a}
		default:
			continue
		}
		ev, err := s.encode(ctx, fact, now)
		if err != nil {
			return nil, fmt.Errorf("encode %T: %w", fact, err)
		}
		if d.causes != nil {
			ev.TraceParent = d.causes[i]
		}
		evs = append(evs, ev)
	}
	return events.Rows(tx, evs...)
}

// collapses says whether an alert takes the place of older ones.
func collapses(a alert.Alert) bool {
	return a.CollapseKey != "" && a.Delivery != alert.Dropped && a.Delivery != alert.Expired
}

// collapse takes those away whose place an alert has taken. Its inbox is locked.
func (s *Store) collapse(ctx context.Context, tx *sqldb.Tx, a alert.Alert, now time.Time) error {
	if !collapses(a) {
		return nil
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
		return nil, err
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
