package store

import (
	"context"
	"fmt"

	"github.com/armlet-pay/armlet/platform/group"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// reads are what every tap reads by id. What taps ask for at one time is read with one statement, after all of them asked:
// nothing is remembered, so nothing can be out of date.
type reads struct {
	payments  *group.Group[string, payment.Payment]
	merchants *group.Group[string, payment.Merchant]
	terminals *group.Group[string, payment.TerminalDevice]
	accounts  *group.Group[string, payment.Account]
	policies  *group.Group[string, limit.Policy]
	counters  *group.Group[[]string, limit.Counters]
}

func (s *Store) newReads() reads {
	cfg := group.Config{Shared: sqldb.IsUnavailable}
	return reads{
		payments: group.Load(cfg, errPaymentNotFound, byID(s.db, func(p payment.Payment) string { return p.ID }, query,
			`SELECT `+columns+` FROM payments WHERE id `)),
		merchants: group.Load(cfg, errMerchantNotFound, byID(s.db, func(m payment.Merchant) string { return m.ID }, queryMerchants, `WHERE id `)),
		terminals: group.Load(cfg, errTerminalNotFound, byID(s.db, func(t payment.TerminalDevice) string { return t.ID }, queryTerminals, `WHERE id `)),
		accounts:  group.Load(cfg, errAccountNotFound, byID(s.db, func(a payment.Account) string { return a.ID }, queryAccounts, `WHERE a.id `)),
		policies:  group.Load(cfg, nil, s.findPolicies),
		counters:  group.New(cfg, s.findCounters),
	}
}

// byID reads rows with a query whose text ends where the ids come.
func byID[T any](db *sqldb.DB, id func(T) string, query func(ctx context.Context, q sqldb.Queryer, text string, args ...any) ([]T, error),
	text string,
) func(context.Context, []string) (map[string]T, error) {
	return func(ctx context.Context, ids []string) (map[string]T, error) {
		in, arg, err := sqldb.In(db.Dialect(), ids)
		if err != nil {
			return nil, err
		}
		rows, err := query(ctx, db, text+in, arg)
		if err != nil {
			return nil, err
		}
		found := make(map[string]T, len(rows))
		for _, row := range rows {
			found[id(row)] = row
		}
		return found, nil
	}
}

// findPolicies gives a currency that has no policy an empty one.
func (s *Store) findPolicies(ctx context.Context, currencies []string) (map[string]limit.Policy, error) {
	in, arg, err := sqldb.In(s.db.Dialect(), currencies)
	if err != nil {
		return nil, err
	}
	rows, err := s.listPolicies(ctx, ` WHERE currency `+in, arg)
	if err != nil {
		return nil, err
	}
	found := make(map[string]limit.Policy, len(currencies))
	for _, c := range currencies {
		found[c] = limit.Policy{Currency: c}
	}
	for _, p := range rows {
		found[p.Currency] = p
	}
	return found, nil
}

func (s *Store) findCounters(ctx context.Context, calls []*group.Call[[]string, limit.Counters]) error {
	var ids []string
	for _, c := range calls {
		ids = append(ids, c.In...)
	}
	found := limit.Counters{}
	if err := readCounters(ctx, s.db, s.db.Dialect(), ids, "", found); err != nil {
		return err
	}
	for _, c := range calls {
		c.Out = limit.Counters{}
		for _, id := range c.In {
			if counter, ok := found[id]; ok {
				c.Out[id] = counter
			}
		}
	}
	return nil
}

// listPolicies reads policies in the order of the currencies.
func (s *Store) listPolicies(ctx context.Context, where string, args ...any) ([]limit.Policy, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT policy FROM limit_policies`+where+` ORDER BY currency`, args...)
	if err != nil {
		return nil, fmt.Errorf("read limits: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []limit.Policy
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("read limits: %w", err)
		}
		p, err := openPolicy(text)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}
