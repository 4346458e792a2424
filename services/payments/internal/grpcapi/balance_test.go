package grpcapi_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

func TestTheBalanceOfAMoment(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.transfer(t, false, move("first", "wallet/alice", "wallet/bob", 1000))
	a.clock.Advance(time.Minute)
	then := timestamppb.New(a.clock.Now())
	a.clock.Advance(time.Minute)
	a.transfer(t, false, move("second", "wallet/alice", "wallet/bob", 500))
	for name, c := range map[string]struct {
		at   *timestamppb.Timestamp
		want *paymentsv1.GetBalanceResponse
	}{
		"before all": {timestamppb.New(start.Add(-time.Hour)), &paymentsv1.GetBalanceResponse{
			LedgerAccount: "wallet/alice", Balance: amount(0, "CNY"), Held: amount(0, "CNY"), Available: amount(0, "CNY"), AtTime: timestamppb.New(start.Add(-time.Hour)),
		}},
		"in between": {then, &paymentsv1.GetBalanceResponse{
			LedgerAccount: "wallet/alice", Balance: amount(4000, "CNY"), Held: amount(0, "CNY"), Available: amount(4000, "CNY"), EntryCount: 2, AtTime: then,
		}},
		"now": {nil, &paymentsv1.GetBalanceResponse{
			LedgerAccount: "wallet/alice", Balance: amount(3500, "CNY"), Held: amount(0, "CNY"), Available: amount(3500, "CNY"), EntryCount: 3, AtTime: timestamppb.New(a.clock.Now()),
		}},
	} {
		for who, client := range map[string]paymentsv1.PaymentsServiceClient{"the operator": a.operator, "alice": a.alice} {
			got, err := client.GetBalance(t.Context(), &paymentsv1.GetBalanceRequest{LedgerAccount: "wallet/alice", AtTime: c.at})
			must(t, err)
			if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s, %s: %s", name, who, diff)
			}
		}
	}
	shop := "merchant/" + a.merchant[len("merchants/"):]
	_, err := a.till.GetBalance(t.Context(), &paymentsv1.GetBalanceRequest{LedgerAccount: shop})
	must(t, err)
	_, err = a.otherTill.GetBalance(t.Context(), &paymentsv1.GetBalanceRequest{LedgerAccount: shop})
	wants{codes.NotFound, "LEDGER_ACCOUNT_NOT_FOUND"}.check(t, "another merchant's", err)
}

func TestOnlyOperatorsSeeWhyAnAccountIsFrozen(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	frozen, err := a.operator.FreezeAccount(t.Context(), &paymentsv1.FreezeAccountRequest{Name: "accounts/alice", Reason: "odd taps", RequestId: uuid.NewString()})
	must(t, err)
	if !frozen.GetFrozen() || frozen.GetFreezeReason() != "odd taps" {
		t.Errorf("the operator: %v", frozen)
	}
	seen, err := a.alice.GetAccount(t.Context(), &paymentsv1.GetAccountRequest{Name: "accounts/alice"})
	must(t, err)
	if !seen.GetFrozen() || seen.GetFreezeReason() != "" {
		t.Errorf("alice: %v", seen)
	}
	_, err = a.till.CreatePayment(t.Context(), a.order())
	wants{codes.FailedPrecondition, "ACCOUNT_FROZEN"}.check(t, "a payment", err)
	if got := a.transfer(t, false, move("frozen", "wallet/alice", "wallet/bob", 1)); got[0].GetReason() != "LEDGER_ACCOUNT_FROZEN" {
		t.Errorf("a transfer: %v", got)
	}
	a.balanced(t)
}
