package grpcapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
)

// dump is a query's rows as text.
func (a *api) dump(t *testing.T, query string) (lines []string) {
	t.Helper()
	rows, err := a.db.QueryContext(t.Context(), query)
	must(t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		must(t, rows.Scan(into...))
		lines = append(lines, fmt.Sprint(values...))
	}
	must(t, rows.Err())
	return lines
}

// unchanged checks that nothing is other than it was, and that the books balance.
func (a *api) unchanged(t *testing.T, what string, before map[string][]string) {
	t.Helper()
	if diff := cmp.Diff(before, a.snapshot(t)); diff != "" {
		t.Errorf("%s left something: %s", what, diff)
	}
}

// settle makes the first settlement of the merchant, a day later, and sets the clock back.
func (s *stage) settle(t *testing.T) string {
	t.Helper()
	n := 0
	days := settlement.NewService(s.books, s.books, func() string {
		n++
		return fmt.Sprintf("01957a10-0000-7000-8000-%012d", n)
	}, time.Minute)
	_, err := days.SettleDue(t.Context(), 10, start.Add(24*time.Hour))
	must(t, err)
	list, err := s.operator.ListSettlements(t.Context(), &paymentsv1.ListSettlementsRequest{})
	must(t, err)
	return list.GetSettlements()[0].GetName()
}

// assertion is auth's statement that the band approved a payment.
func (s *stage) assertion(t testing.TB, p *paymentsv1.Payment) string {
	t.Helper()
	decision, err := s.auth.VerifyResponse(t.Context(), "challenges/"+p.GetName()[len("payments/"):], []byte("response"))
	must(t, err)
	return decision.Assertion
}
