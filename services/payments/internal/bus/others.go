package bus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/events"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// encodeOther is for what happens to wallets.
func encodeOther(ctx context.Context, e payment.Event) (events.Event, error) {
	switch e := e.(type) {
	case payment.OpenedEvent:
		a := e.Account
		return ofAccount(ctx, "created", a.ID, a.CreateTime, &paymentsv1.AccountCreated{Account: "accounts/" + a.ID, CurrencyCode: a.Balance.Currency})
	case payment.ToppedUpEvent:
		return ofAccount(ctx, "topped_up", e.Account, e.Time, &paymentsv1.AccountToppedUp{
			Account: "accounts/" + e.Account, Amount: money(e.Amount), Transaction: "transactions/" + e.Transaction, Balance: money(e.Balance),
		})
	case payment.WithdrawnEvent:
		return ofAccount(ctx, "withdrawn", e.Account, e.Time, &paymentsv1.AccountWithdrawn{
			Account: "accounts/" + e.Account, Amount: money(e.Amount), Transaction: "transactions/" + e.Transaction, Balance: money(e.Balance),
		})
	case payment.OverdrawnEvent:
		return ofAccount(ctx, "overdrawn", e.Account, e.Time, &paymentsv1.AccountOverdrawn{
			Account: "accounts/" + e.Account, Owed: money(e.Owed), Payment: "payments/" + e.Payment,
		})
	case payment.CollectedEvent:
		return ofAccount(ctx, "debt_collected", e.Account, e.Time, &paymentsv1.AccountDebtCollected{
			Account: "accounts/" + e.Account, Amount: money(e.Amount), Owed: money(e.Owed), Transaction: "transactions/" + e.Transaction,
		})
	case payment.FrozenEvent:
		return ofAccount(ctx, "frozen", e.Account, e.Time, &paymentsv1.AccountFrozen{Account: "accounts/" + e.Account, Reason: e.Reason})
	case payment.UnfrozenEvent:
		return ofAccount(ctx, "unfrozen", e.Account, e.Time, &paymentsv1.AccountUnfrozen{Account: "accounts/" + e.Account})
	case payment.ClosedEvent:
		return ofAccount(ctx, "closed", e.Account, e.Time, &paymentsv1.AccountClosed{Account: "accounts/" + e.Account})
	}
	return encodeSetting(ctx, e)
}

// encodeSetting is for what happens to merchants, terminals and limits.
func encodeSetting(ctx context.Context, e payment.Event) (events.Event, error) {
	switch e := e.(type) {
	case payment.MerchantEvent:
		verb, msg := "changed", proto.Message(merchantChanged(e.Merchant))
		if e.New {
			verb, msg = "created", merchantCreated(e.Merchant)
		}
		return ofSetting(ctx, "merchant", verb, "merchants/", e.Merchant.ID, e.Time, msg)
	case payment.TerminalEvent:
		t, merchant := e.Terminal, "merchants/"+e.Terminal.Merchant
		if e.New {
			return ofSetting(ctx, "terminal", "created", "terminals/", t.ID, e.Time, &paymentsv1.TerminalCreated{
				Terminal: "terminals/" + t.ID, Merchant: merchant, Suspended: t.Suspended, DisplayName: t.DisplayName,
			})
		}
		return ofSetting(ctx, "terminal", "changed", "terminals/", t.ID, e.Time, &paymentsv1.TerminalChanged{
			Terminal: "terminals/" + t.ID, Merchant: merchant, Suspended: t.Suspended, DisplayName: t.DisplayName,
		})
	case payment.PolicyEvent:
		if e.Deleted {
			return ofSetting(ctx, "limit_policy", "deleted", "limitPolicies/", e.Policy.Currency, e.Time,
				&paymentsv1.LimitPolicyDeleted{Policy: "limitPolicies/" + e.Policy.Currency})
		}
		return ofSetting(ctx, "limit_policy", "set", "limitPolicies/", e.Policy.Currency, e.Time,
			&paymentsv1.LimitPolicySet{Policy: PolicyProto(e.Policy)})
	case payment.SettledEvent:
		return ofSetting(ctx, "settlement", "created", "settlements/", e.ID, e.Time, &paymentsv1.SettlementCreated{
			Settlement: "settlements/" + e.ID, Merchant: "merchants/" + e.Merchant, PaidOut: money(e.PaidOut), EndTime: timestamppb.New(e.EndTime),
		})
	}
	return events.Event{}, fmt.Errorf("no event is defined for %T", e)
}

func merchantCreated(m payment.Merchant) *paymentsv1.MerchantCreated {
	p := shown(m)
	return &paymentsv1.MerchantCreated{
		Merchant: p.GetName(), Suspended: p.GetSuspended(), DisplayName: p.GetDisplayName(), CategoryCode: p.GetCategoryCode(),
		CurrencyCode: p.GetCurrencyCode(), FeeSchedule: p.GetFeeSchedule(), Settlement: p.GetSettlement(),
	}
}

func merchantChanged(m payment.Merchant) *paymentsv1.MerchantChanged {
	p := shown(m)
	return &paymentsv1.MerchantChanged{
		Merchant: p.GetName(), Suspended: p.GetSuspended(), DisplayName: p.GetDisplayName(), CategoryCode: p.GetCategoryCode(),
		CurrencyCode: p.GetCurrencyCode(), FeeSchedule: p.GetFeeSchedule(), Settlement: p.GetSettlement(),
	}
}

// shown is what everybody may know of a merchant: where its money goes is for operators.
func shown(m payment.Merchant) *paymentsv1.Merchant {
	m.Settlement.PayoutAccount = ""
	return MerchantProto(m)
}

func ofSetting(ctx context.Context, entity, verb, collection, id string, at time.Time, msg proto.Message) (events.Event, error) {
	subject := events.Subject{Mode: string(payment.Live), Domain: domain, Entity: entity, Verb: verb, ID: id}
	return events.New(source, subject.String(), collection+id, at, msg, ctx)
}

// ofAccount is an event of a wallet. An account's id may have dots, which a subject cannot; "~" is in no id.
func ofAccount(ctx context.Context, verb, account string, at time.Time, msg proto.Message) (events.Event, error) {
	subject := events.Subject{
		Mode: string(payment.Live), Domain: domain, Entity: "account", Verb: verb, ID: strings.ReplaceAll(account, ".", "~"),
	}
	return events.New(source, subject.String(), "accounts/"+account, at, msg, ctx)
}
