package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

func (a *app) accountsCommand() *cobra.Command {
	c := &cobra.Command{Use: "accounts", Short: "Open wallets, put money in, pay it out, close them"}
	statement := a.paymentsStatement()
	statement.Example = "  armlet accounts statement wearer"
	c.AddCommand(a.accountsCreate(),
		operating(a, "get ACCOUNT", "Show a wallet and its balance", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Account, error) {
			return p.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: named("accounts/", args[0])})
		}, showAccount),
		a.accountsTopUp(), a.accountsWithdraw(), a.accountsClose(), statement)
	return c
}

func showAccount(w io.Writer, x *paymentsv1.Account) {
	table(w, []string{"ACCOUNT", "BALANCE", "HELD", "OPENED", "CLOSED"}, [][]string{{
		x.GetName(), money(x.GetBalance()), money(x.GetHeld()), clock(x.GetCreateTime()), yes(x.GetClosed()),
	}})
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

func (a *app) accountsClose() *cobra.Command {
	var id string
	return requestFlag(operating(a, "close ACCOUNT", "End an empty wallet for good", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Account, error) {
		return p.CloseAccount(ctx, &paymentsv1.CloseAccountRequest{Name: named("accounts/", args[0]), RequestId: requestID(id)})
	}, showAccount), &id)
}
