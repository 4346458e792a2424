package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

func (a *app) accountsCommand() *cobra.Command {
	c := &cobra.Command{Use: "accounts", Short: "Open wallets, put money in, pay it out, freeze and close them"}
	statement := a.paymentsStatement()
	statement.Example = "  armlet accounts statement wearer"
	c.AddCommand(a.accountsCreate(),
		operating(a, "get ACCOUNT", "Show a wallet and its balance", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Account, error) {
			return p.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: named("accounts/", args[0])})
		}, showAccount),
		a.accountsTopUp(), a.accountsWithdraw(), a.accountsFreeze(), a.accountsUnfreeze(), a.accountsClose(), a.accountsBalance(), statement)
	return c
}

func showAccount(w io.Writer, x *paymentsv1.Account) {
	table(w, []string{"ACCOUNT", "BALANCE", "HELD", "OPENED", "FROZEN", "CLOSED"}, [][]string{{
		x.GetName(), money(x.GetBalance()), money(x.GetHeld()), clock(x.GetCreateTime()), frozen(x), yes(x.GetClosed()),
	}})
}

// frozen is why an account is frozen.
func frozen(x *paymentsv1.Account) string {
	if x.GetFrozen() {
		return either(x.GetFreezeReason(), "yes")
	}
	return yes(false)
}

func (a *app) accountsCreate() *cobra.Command {
	var currency, id string
	c := operating(a, "create ID", "Open a wallet", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Account, error) {
		return p.CreateAccount(ctx, &paymentsv1.CreateAccountRequest{AccountId: args[0], CurrencyCode: currency, RequestId: requestID(id)})
	}, showAccount)
	c.Flags().StringVar(&currency, "currency", "CNY", "its only currency")
	return requestFlag(c, &id)
}

// ofAccount reads an amount in the account's own currency.
func ofAccount(ctx context.Context, p paymentsv1.PaymentsServiceClient, name, text string) (*typev1.Money, error) {
	x, err := p.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: name})
	if err != nil {
		return nil, err
	}
	return parseAmount(text, x.GetBalance().GetCurrencyCode())
}

func (a *app) accountsTopUp() *cobra.Command {
	var id string
	c := operating(a, "topup ACCOUNT AMOUNT", "Put money into a wallet; what it owes is paid first", cobra.ExactArgs(2), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.TopUpAccountResponse, error) {
		name := named("accounts/", args[0])
		amount, err := ofAccount(ctx, p, name, args[1])
		if err != nil {
			return nil, err
		}
		return p.TopUpAccount(ctx, &paymentsv1.TopUpAccountRequest{Name: name, Amount: amount, RequestId: requestID(id)})
	}, func(w io.Writer, done *paymentsv1.TopUpAccountResponse) {
		showAccount(w, done.GetAccount())
		if c := done.GetCollectedAmount(); c != nil {
			fmt.Fprintf(w, "%s of it paid what taps without a connection had overspent\n", money(c))
		}
	})
	c.Example = "  armlet accounts topup wearer 50.00"
	return requestFlag(c, &id)
}

func (a *app) accountsWithdraw() *cobra.Command {
	var id string
	return requestFlag(operating(a, "withdraw ACCOUNT AMOUNT", "Pay money out of a wallet", cobra.ExactArgs(2), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.WithdrawFromAccountResponse, error) {
		name := named("accounts/", args[0])
		amount, err := ofAccount(ctx, p, name, args[1])
		if err != nil {
			return nil, err
		}
		return p.WithdrawFromAccount(ctx, &paymentsv1.WithdrawFromAccountRequest{Name: name, Amount: amount, RequestId: requestID(id)})
	}, func(w io.Writer, done *paymentsv1.WithdrawFromAccountResponse) { showAccount(w, done.GetAccount()) }), &id)
}

func (a *app) accountsFreeze() *cobra.Command {
	var id, reason string
	c := operating(a, "freeze ACCOUNT --reason TEXT", "Keep a wallet from giving money, but for what is held", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Account, error) {
		return p.FreezeAccount(ctx, &paymentsv1.FreezeAccountRequest{Name: named("accounts/", args[0]), Reason: reason, RequestId: requestID(id)})
	}, showAccount)
	c.Flags().StringVar(&reason, "reason", "", "why, for people who look at it later")
	return requestFlag(c, &id)
}

func (a *app) accountsUnfreeze() *cobra.Command {
	var id string
	return requestFlag(operating(a, "unfreeze ACCOUNT", "Let a frozen wallet give money again", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Account, error) {
		return p.UnfreezeAccount(ctx, &paymentsv1.UnfreezeAccountRequest{Name: named("accounts/", args[0]), RequestId: requestID(id)})
	}, showAccount), &id)
}

func (a *app) accountsBalance() *cobra.Command {
	var at string
	c := operating(a, "balance ACCOUNT", "Show what a wallet or another ledger account held at a moment", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.GetBalanceResponse, error) {
		in := &paymentsv1.GetBalanceRequest{LedgerAccount: strings.TrimPrefix(args[0], "accounts/")}
		if !strings.Contains(in.GetLedgerAccount(), "/") {
			in.LedgerAccount = "wallet/" + in.GetLedgerAccount()
		}
		if at != "" {
			when, err := time.Parse(time.RFC3339, at)
			if err != nil {
				return nil, usageError{fmt.Errorf("--at: %w", err)}
			}
			in.AtTime = timestamppb.New(when)
		}
		return p.GetBalance(ctx, in)
	}, func(w io.Writer, b *paymentsv1.GetBalanceResponse) {
		table(w, []string{"LEDGER ACCOUNT", "BALANCE", "HELD", "AVAILABLE", "ENTRIES", "AT"}, [][]string{{
			b.GetLedgerAccount(), money(b.GetBalance()), money(b.GetHeld()), money(b.GetAvailable()), fmt.Sprint(b.GetEntryCount()), clock(b.GetAtTime()),
		}})
	})
	c.Example = "  armlet accounts balance wearer --at 2026-03-01T12:00:00Z\n  armlet accounts balance fee/CNY"
	c.Flags().StringVar(&at, "at", "", "the moment, such as 2026-03-01T12:00:00Z; now when it is not given")
	return c
}

func (a *app) accountsClose() *cobra.Command {
	var id string
	return requestFlag(operating(a, "close ACCOUNT", "End an empty wallet for good", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Account, error) {
		return p.CloseAccount(ctx, &paymentsv1.CloseAccountRequest{Name: named("accounts/", args[0]), RequestId: requestID(id)})
	}, showAccount), &id)
}
