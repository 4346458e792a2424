package grpcapi_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

func move(id, from, to string, minor int64) *paymentsv1.Transfer {
	return &paymentsv1.Transfer{TransferId: id, DebitAccount: from, CreditAccount: to, Amount: amount(minor, "CNY")}
}

func (a *api) transfer(t *testing.T, linked bool, transfers ...*paymentsv1.Transfer) []*paymentsv1.TransferResult {
	t.Helper()
	out, err := a.operator.PostTransfers(t.Context(), &paymentsv1.PostTransfersRequest{Transfers: transfers, Linked: linked})
	must(t, err)
	if len(out.GetResults()) != len(transfers) {
		t.Fatalf("%d answers to %d transfers", len(out.GetResults()), len(transfers))
	}
	for i, r := range out.GetResults() {
		posted := r.GetReason() == ""
		if r.GetTransferId() != transfers[i].GetTransferId() || posted != (r.GetTransaction() != "") || posted != (r.GetPostTime() != nil) || posted != (r.GetProblem() == "") {
			t.Errorf("the answer to %v is %v", transfers[i], r)
		}
	}
	return out.GetResults()
}

// reasons are the answers' reasons, empty for what was posted.
func reasons(results []*paymentsv1.TransferResult) []string {
	out := make([]string, len(results))
	for i, r := range results {
		out[i] = r.GetReason()
	}
	return out
}

func TestEachTransferHasItsOwnAnswer(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	euro := move("euro", "wallet/alice", "suspense/CNY", 1)
	euro.Amount = amount(1, "EUR")
	batch := []*paymentsv1.Transfer{
		move("first", "wallet/alice", "wallet/bob", 1000), move("none", "wallet/alice", "wallet/nobody", 1),
		move("poor", "wallet/bob", "suspense/CNY", 1001), euro, move("nothing", "wallet/alice", "suspense/CNY", 0),
		move("less", "wallet/alice", "suspense/CNY", -1), move("least", "wallet/alice", "suspense/CNY", math.MinInt64),
		move("largest", "funding/CNY", "wallet/alice", math.MaxInt64), move("self", "wallet/alice", "wallet/alice", 1),
		move("second", "wallet/bob", "suspense/CNY", 1000),
	}
	want := []string{
		"", "LEDGER_ACCOUNT_NOT_FOUND", "INSUFFICIENT_FUNDS", "CURRENCY_MISMATCH", "AMOUNT_NOT_POSITIVE", "AMOUNT_NOT_POSITIVE",
		"AMOUNT_NOT_POSITIVE", "BALANCE_OVERFLOW", "POSTING_INVALID", "",
	}
	first := a.transfer(t, false, batch...)
	if diff := cmp.Diff(want, reasons(first)); diff != "" {
		t.Error(diff)
	}
	again := a.transfer(t, false, batch...)
	if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
		t.Errorf("the repeat differs: %s", diff)
	}
	if got := a.transfer(t, false, move("first", "wallet/alice", "wallet/bob", 999)); got[0].GetReason() != "REFERENCE_REUSED" {
		t.Errorf("other content: %v", got)
	}
	if alice, bob := a.balance(t, "alice"), a.balance(t, "bob"); alice != 4000 || bob != 0 {
		t.Errorf("alice has %d, bob %d", alice, bob)
	}
	a.balanced(t)
}

func TestLinkedTransfersArePostedAllOrNone(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	chain := []*paymentsv1.Transfer{ // bob has nothing but what the first brings
		move("l1", "wallet/alice", "wallet/bob", 700), move("l2", "wallet/bob", "suspense/CNY", 700),
	}
	first := a.transfer(t, true, chain...)
	if diff := cmp.Diff([]string{"", ""}, reasons(first)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(first, a.transfer(t, true, chain...), protocmp.Transform()); diff != "" {
		t.Errorf("the repeat differs: %s", diff)
	}
	broken := a.transfer(t, true, move("b1", "wallet/alice", "wallet/bob", 1), move("b2", "wallet/bob", "wallet/nobody", 1), move("b3", "wallet/alice", "wallet/bob", 1))
	if diff := cmp.Diff([]string{"LINKED_TRANSFER_REFUSED", "LEDGER_ACCOUNT_NOT_FOUND", "LINKED_TRANSFER_REFUSED"}, reasons(broken)); diff != "" {
		t.Error(diff)
	}
	mixed := a.transfer(t, true, chain[0], move("new", "wallet/alice", "wallet/bob", 1))
	if diff := cmp.Diff([]string{"REFERENCE_REUSED", "REFERENCE_REUSED"}, reasons(mixed)); diff != "" {
		t.Error(diff)
	}
	if alice, bob := a.balance(t, "alice"), a.balance(t, "bob"); alice != 4300 || bob != 0 {
		t.Errorf("alice has %d, bob %d", alice, bob)
	}
	a.balanced(t)
}

func TestABatchOfTransfersHasItsBounds(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var full []*paymentsv1.Transfer
	for i := range 1000 {
		full = append(full, move(fmt.Sprint(i), "wallet/alice", "wallet/bob", 1))
	}
	for _, r := range a.transfer(t, false, full...) {
		if r.GetReason() != "" {
			t.Fatalf("refused: %v", r)
		}
	}
	for name, transfers := range map[string][]*paymentsv1.Transfer{
		"none": nil, "one too many": append(full, move("x", "wallet/alice", "wallet/bob", 1)),
		"one id twice": {move("y", "wallet/alice", "wallet/bob", 1), move("y", "wallet/alice", "wallet/bob", 1)},
		"no id":        {move("", "wallet/alice", "wallet/bob", 1)}, "no amount": {{TransferId: "z", DebitAccount: "wallet/alice", CreditAccount: "wallet/bob"}},
	} {
		_, err := a.operator.PostTransfers(t.Context(), &paymentsv1.PostTransfersRequest{Transfers: transfers})
		wants{codes.InvalidArgument, "INVALID_FIELD"}.check(t, name, err)
	}
	if bob := a.balance(t, "bob"); bob != 1000 {
		t.Errorf("bob has %d", bob)
	}
	_, err := a.operator.CloseAccount(t.Context(), &paymentsv1.CloseAccountRequest{Name: "accounts/bob", RequestId: uuid.NewString()})
	wants{codes.FailedPrecondition, "ACCOUNT_NOT_EMPTY"}.check(t, "close", err)
	a.transfer(t, false, move(uuid.NewString(), "wallet/bob", "funding/CNY", 1000))
	_, err = a.operator.CloseAccount(t.Context(), &paymentsv1.CloseAccountRequest{Name: "accounts/bob", RequestId: uuid.NewString()})
	must(t, err)
	if got := a.transfer(t, false, move("closed", "wallet/alice", "wallet/bob", 1)); got[0].GetReason() != "LEDGER_ACCOUNT_CLOSED" {
		t.Errorf("into a closed account: %v", got)
	}
	a.balanced(t)
}

func TestATransferIsReversedOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	reverse := func(transaction string) (string, error) {
		out, err := a.operator.ReverseTransfer(t.Context(), &paymentsv1.ReverseTransferRequest{Transaction: transaction})
		return out.GetTransaction(), err
	}
	moved := a.transfer(t, false, move("there", "wallet/alice", "wallet/bob", 700))[0].GetTransaction()
	first, err := reverse(moved)
	must(t, err)
	again, err := reverse(moved)
	must(t, err)
	if first != again || first == moved {
		t.Errorf("reversed %s by %s and %s", moved, first, again)
	}
	if alice, bob := a.balance(t, "alice"), a.balance(t, "bob"); alice != 5000 || bob != 0 {
		t.Errorf("alice has %d, bob %d", alice, bob)
	}
	_, err = reverse(first) // a reversal is not reversed; the transfer is made again
	wants{codes.FailedPrecondition, "TRANSACTION_NOT_REVERSIBLE"}.check(t, "a reversal", err)
	top, err := a.operator.TopUpAccount(t.Context(), &paymentsv1.TopUpAccountRequest{Name: "accounts/alice", Amount: amount(1, "CNY"), RequestId: "one"})
	must(t, err)
	_, err = reverse(top.GetTransaction())
	wants{codes.FailedPrecondition, "TRANSACTION_NOT_REVERSIBLE"}.check(t, "a top-up", err)
	spent := a.transfer(t, true, move("in", "wallet/alice", "wallet/bob", 5), move("out", "wallet/bob", "suspense/CNY", 5))[0].GetTransaction()
	_, err = reverse(spent)
	wants{codes.FailedPrecondition, "INSUFFICIENT_FUNDS"}.check(t, "what was spent", err)
	a.balanced(t)
}
