package grpcapi_test

import (
	"strings"
	"testing"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

func TestVerifyLedgerNamesWhatWasChanged(t *testing.T) {
	a := newAPI(t)
	whole, err := a.operator.VerifyLedger(t.Context(), &paymentsv1.VerifyLedgerRequest{})
	must(t, err)
	if !whole.GetIntact() || whole.GetTransactionCount() == 0 || whole.GetBrokenChain() != 0 || whole.GetProblem() != "" {
		t.Fatalf("of an untouched ledger it says %v", whole)
	}
	_, err = a.db.ExecContext(t.Context(), `UPDATE ledger_postings SET amount = amount + 1`)
	must(t, err)
	var id string
	must(t, a.db.QueryRowContext(t.Context(), `SELECT id FROM ledger_transactions ORDER BY chain, height, place LIMIT 1`).Scan(&id))
	got, err := a.operator.VerifyLedger(t.Context(), &paymentsv1.VerifyLedgerRequest{})
	must(t, err)
	if got.GetIntact() || got.GetBrokenTransaction() != "transactions/"+id || got.GetBrokenChain() == 0 || got.GetBrokenLink() != 1 ||
		!strings.Contains(got.GetProblem(), "what is stored is not what was posted") || len(got.GetDiscrepancies()) == 0 {
		t.Errorf("of a changed ledger it says %v", got)
	}
}
