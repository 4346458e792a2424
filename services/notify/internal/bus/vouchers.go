package bus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

func encodeVoucher(ctx context.Context, fact any, at time.Time) (events.Event, error) {
	switch f := fact.(type) {
	case voucher.Issued:
		return encode(ctx, at, VoucherName(f.Voucher), &notifyv1.VoucherIssued{Voucher: VoucherProto(f.Voucher, f.Campaign)},
			voucherSubject(f.Campaign, f.Voucher, "issued"))
	case voucher.Assigned:
		return encode(ctx, at, VoucherName(f.Voucher), &notifyv1.VoucherAssigned{Voucher: VoucherProto(f.Voucher, f.Campaign)},
			voucherSubject(f.Campaign, f.Voucher, "assigned"))
	case voucher.Generated:
		return encode(ctx, at, CampaignName(f.Campaign),
			&notifyv1.VouchersGenerated{Campaign: CampaignName(f.Campaign), Count: int32(f.Batch.Count)},
			campaignSubject(f.Campaign, "generated"))
	case voucher.Changed:
		return encode(ctx, at, CampaignName(f.Campaign), &notifyv1.CampaignChanged{Campaign: CampaignProto(f.Campaign, at)},
			campaignSubject(f.Campaign, "changed"))
	case voucher.MovedRedemption:
		return encodeRedemption(ctx, f, at)
	}
	return events.Event{}, fmt.Errorf("no event is known for the fact %T", fact)
}

func encodeRedemption(ctx context.Context, f voucher.MovedRedemption, at time.Time) (events.Event, error) {
	v, r := f.Redemption.Voucher, RedemptionProto(f.Redemption, f.Campaign)
	key := VoucherName(v)
	switch {
	case f.Redemption.State == voucher.Reserved:
		return encode(ctx, at, key, &notifyv1.VoucherReserved{Redemption: r}, voucherSubject(f.Campaign, v, "reserved"))
	case f.Redemption.State == voucher.Confirmed && f.From != voucher.Confirmed:
		return encode(ctx, at, key, &notifyv1.VoucherRedeemed{Redemption: r, Account: AccountName(f.Redemption.Account)},
			voucherSubject(f.Campaign, v, "redeemed"))
	case f.Redemption.State == voucher.Confirmed, f.Redemption.State == voucher.RolledBack:
		return encode(ctx, at, key, &notifyv1.RedemptionRolledBack{Redemption: r}, voucherSubject(f.Campaign, v, "rolled_back"))
	}
	return encode(ctx, at, key, &notifyv1.VoucherReleased{Redemption: r}, voucherSubject(f.Campaign, v, "released"))
}

func voucherSubject(c voucher.Campaign, v voucher.Voucher, verb string) events.Subject {
	return events.Subject{Mode: c.Mode, Domain: "vouchers", Entity: "voucher", Verb: verb, Partner: c.Partner, ID: v.ID}
}

func campaignSubject(c voucher.Campaign, verb string) events.Subject {
	return events.Subject{Mode: c.Mode, Domain: "vouchers", Entity: "campaign", Verb: verb, Partner: c.Partner, ID: c.ID}
}

// VoucherName is `vouchers/{uuid}`.
func VoucherName(v voucher.Voucher) string { return "vouchers/" + v.ID }

// CampaignName is `campaigns/{uuid}`.
func CampaignName(c voucher.Campaign) string { return "campaigns/" + c.ID }

// voucherMoney is nil where there is no currency, which is with entitlements.
func voucherMoney(minor int64, c voucher.Campaign) *typev1.Money {
	if c.Currency == "" {
		return nil
	}
	return &typev1.Money{MinorUnits: minor, CurrencyCode: c.Currency}
}

// CampaignProto is a campaign in the contract's words.
func CampaignProto(c voucher.Campaign, now time.Time) *notifyv1.Campaign {
	out := &notifyv1.Campaign{
		Name: CampaignName(c), DisplayName: c.DisplayName, VoucherLimit: c.Limit, IssuedCount: c.Issued, RedeemedCount: c.RedeemedCount,
		ExpireTime: timestamppb.New(c.ExpiresAt), State: notifyv1.CampaignState(notifyv1.CampaignState_value["CAMPAIGN_STATE_"+string(c.StateAt(now))]),
		Kind: kindProto(c), Percent: percentProto(c), Entitlement: c.Entitlement, StartTime: timestamppb.New(c.StartsAt),
		MerchantCategoryCodes: c.Rules.Categories, AssertionRequired: c.ProofRequired, RedeemedAmount: voucherMoney(c.Redeemed, c),
		ReservedAmount: voucherMoney(c.Held, c), ReservedCount: c.HeldCount, CreateTime: timestamppb.New(c.CreatedAt),
	}
	if c.Partner != "" {
		out.Partner = "partners/" + c.Partner
	}
	if c.Value != 0 {
		out.Value = voucherMoney(c.Value, c)
	}
	if c.Budget != 0 {
		out.Budget = voucherMoney(c.Budget, c)
	}
	if c.Kind != voucher.StoredValue {
		out.UsesPerVoucher = int32(c.Uses)
	}
	for _, m := range c.Rules.Merchants {
		out.Merchants = append(out.Merchants, "merchants/"+m)
	}
	for _, l := range c.Rules.Limits {
		out.Limits = append(out.Limits, &notifyv1.CampaignLimit{
			Scope:  notifyv1.LimitScope(notifyv1.LimitScope_value["LIMIT_SCOPE_"+string(l.Scope)]),
			Metric: notifyv1.LimitMetric(notifyv1.LimitMetric_value["LIMIT_METRIC_"+string(l.Metric)]),
			Period: notifyv1.LimitPeriod(notifyv1.LimitPeriod_value["LIMIT_PERIOD_"+string(l.Period)]), Value: l.Value,
		})
	}
	return out
}

func kindProto(c voucher.Campaign) notifyv1.VoucherKind {
	return notifyv1.VoucherKind(notifyv1.VoucherKind_value["VOUCHER_KIND_"+string(c.Kind)])
}

func percentProto(c voucher.Campaign) *notifyv1.PercentOff {
	if c.Kind != voucher.Percent {
		return nil
	}
	return &notifyv1.PercentOff{BasisPoints: int32(c.BasisPoints), Cap: voucherMoney(c.Cap, c)}
}

// VoucherProto is a voucher in the contract's words, its account and device included.
func VoucherProto(v voucher.Voucher, c voucher.Campaign) *notifyv1.Voucher {
	out := &notifyv1.Voucher{
		Name: VoucherName(v), Campaign: CampaignName(c), Account: AccountName(v.Account), Device: v.Device, State: notifyv1.VoucherState_VOUCHER_STATE_ISSUED,
		ExpireTime: timestamppb.New(c.ExpiresAt), CreateTime: timestamppb.New(v.CreatedAt),
		Kind: kindProto(c), Percent: percentProto(c), Entitlement: c.Entitlement,
	}
	switch {
	case v.Redeemed(c):
		out.State = notifyv1.VoucherState_VOUCHER_STATE_REDEEMED
	case v.Reserved(c):
		out.State = notifyv1.VoucherState_VOUCHER_STATE_RESERVED
	}
	if c.Value != 0 {
		out.Value = voucherMoney(c.Value, c)
	}
	if c.Kind == voucher.StoredValue {
		out.Balance = voucherMoney(v.Balance, c)
	} else {
		out.UsesLeft = int32(v.MaxUses - v.Uses - v.HeldUses)
	}
	return out
}

// RedemptionProto is a redemption in the contract's words, accounts and devices included.
func RedemptionProto(r voucher.Redemption, c voucher.Campaign) *notifyv1.Redemption {
	out := &notifyv1.Redemption{
		Name: VoucherName(r.Voucher) + "/redemptions/" + r.ID, Voucher: VoucherProto(r.Voucher, c), Amount: voucherMoney(r.Amount.MinorUnits, c),
		CreateTime: timestamppb.New(r.CreatedAt), State: notifyv1.RedemptionState(notifyv1.RedemptionState_value["REDEMPTION_STATE_"+string(r.State)]),
		RolledBackAmount: voucherMoney(r.Undone, c), Account: AccountName(r.Account), Device: r.Device,
	}
	if r.State == voucher.Reserved {
		out.HoldExpireTime = timestamppb.New(r.HoldExpiresAt)
	}
	if r.Merchant != "" {
		out.Merchant = "merchants/" + r.Merchant
	}
	if r.Payment != "" {
		out.Payment = "payments/" + r.Payment
	}
	return out
}

// ClearWearer removes from a voucher whose it is.
func ClearWearer(v *notifyv1.Voucher) {
	if v != nil {
		v.Account, v.Device = "", ""
	}
}

// ClearRedeemer removes from a redemption whose it is.
func ClearRedeemer(r *notifyv1.Redemption) {
	if r != nil {
		r.Account, r.Device = "", ""
		ClearWearer(r.GetVoucher())
	}
}

// Redemptions follow payments.
type Redemptions interface {
	// Redeemed are those of the payments that have a redemption, each of which it locks.
	Redeemed(ctx context.Context, tx *sqldb.Tx, payments []string) (map[string]bool, error)
	FollowPayment(ctx context.Context, tx *sqldb.Tx, payment string, o voucher.Outcome, now time.Time) error
}

// Follower brings redemptions to where their payments are: what payments could not tell heals from its events, and
// refunds are known from them alone.
type Follower struct {
	redemptions Redemptions
	now         func() time.Time
}

// NewFollower makes a Follower.
func NewFollower(redemptions Redemptions, now func() time.Time) *Follower {
	return &Follower{redemptions: redemptions, now: now}
}

// Consumers are the consumers of what becomes of payments.
func (f *Follower) Consumers(src Source) []*events.Consumer {
	var filters []string
	for _, verb := range []string{"authorized", "captured", "declined", "expired", "voided", "refunded"} {
		filters = append(filters, "evt.v1.*.payments.payment."+verb+".>")
	}
	return []*events.Consumer{src.consumer("EVT_PAYMENTS", "notify-vouchers-payments", f.Handle, filters...)}
}

// Handle moves the payments' redemptions, where they have some, in the transaction of the consumer.
func (f *Follower) Handle(ctx context.Context, tx *sqldb.Tx, evs []events.Event) error {
	type step struct {
		payment string
		outcome voucher.Outcome
	}
	var steps []step
	var payments []string
	for _, ev := range evs {
		msg, err := decode(ev)
		if err != nil {
			return err
		}
		if payment, o, ok := outcomeOf(msg); ok {
			steps, payments = append(steps, step{payment, o}), append(payments, payment)
		}
	}
	redeemed, err := f.redemptions.Redeemed(ctx, tx, payments) // most payments are without a voucher
	if err != nil {
		return err
	}
	for _, s := range steps {
		if !redeemed[s.payment] {
			continue
		}
		if err := f.redemptions.FollowPayment(ctx, tx, s.payment, s.outcome, f.now()); err != nil {
			return err
		}
	}
	return nil
}

// outcomeOf is what an event says about the money of which payment.
func outcomeOf(msg any) (payment string, o voucher.Outcome, ok bool) {
	var facts *paymentsv1.PaymentFacts
	switch m := msg.(type) {
	case *paymentsv1.PaymentAuthorized:
		facts, o.Approved = m.GetPayment(), true
	case *paymentsv1.PaymentCaptured:
		facts, o.Approved = m.GetPayment(), true
	case *paymentsv1.PaymentRefunded:
		facts, o.Approved = m.GetPayment(), true
		o.Refunded = facts.GetRefundedAmount().GetMinorUnits()
	case *paymentsv1.PaymentDeclined:
		facts, o.Over = m.GetPayment(), true
	case *paymentsv1.PaymentExpired:
		facts, o.Over = m.GetPayment(), true
	case *paymentsv1.PaymentVoided:
		facts, o.Over = m.GetPayment(), true
	default:
		return "", o, false
	}
	o.Captured = facts.GetCapturedAmount().GetMinorUnits()
	return strings.TrimPrefix(facts.GetPayment(), "payments/"), o, true
}
