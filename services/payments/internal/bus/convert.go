package bus

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// DiscountProto is what a voucher took off the payment's price in the contract's words, nil without one.
func DiscountProto(p payment.Payment) *paymentsv1.Discount {
	d := p.Discount
	if d.Voucher == "" {
		return nil
	}
	voucher := "vouchers/" + d.Voucher
	return &paymentsv1.Discount{
		Voucher: voucher, Redemption: voucher + "/redemptions/" + p.ID, Amount: money(payment.Money{Minor: d.Minor, Currency: p.Amount.Currency}),
		GrossAmount: money(payment.Money{Minor: p.Amount.Minor + d.Minor, Currency: p.Amount.Currency}),
	}
}

// MerchantProto is a merchant in the contract's words.
func MerchantProto(m payment.Merchant) *paymentsv1.Merchant {
	out := &paymentsv1.Merchant{
		Name: "merchants/" + m.ID, DisplayName: m.DisplayName, CategoryCode: m.CategoryCode, CurrencyCode: m.Currency,
		Suspended: m.Suspended, CreateTime: timestamppb.New(m.CreateTime),
	}
	if f := m.Fees; f != (payment.FeeSchedule{}) {
		out.FeeSchedule = &paymentsv1.FeeSchedule{
			BasisPoints: f.BasisPoints, FixedMinorUnits: f.FixedMinor, ReturnedOnRefund: f.ReturnedOnRefund,
		}
	}
	if d := m.Settlement; d != (payment.SettlementSchedule{}) {
		out.Settlement = &paymentsv1.SettlementSchedule{CutOff: d.CutOff, TimeZone: d.TimeZone, PayoutAccount: d.PayoutAccount}
	}
	return out
}

// PolicyProto is what the limits of a currency are in the contract's words.
func PolicyProto(p limit.Policy) *paymentsv1.LimitPolicy {
	out := &paymentsv1.LimitPolicy{
		Name: "limitPolicies/" + p.Currency, TapLimit: p.TapLimit, AccountDayLimit: p.AccountDayLimit,
		DeviceDayLimit: p.DeviceDayLimit, TimeZone: p.TimeZone, UpdateTime: timestamppb.New(p.UpdateTime),
	}
	for _, c := range p.Categories {
		out.CategoryLimits = append(out.CategoryLimits, &paymentsv1.CategoryLimit{
			FirstCategoryCode: c.First, LastCategoryCode: c.Last, TapLimit: c.TapLimit, DayLimit: c.DayLimit,
		})
	}
	if sa := p.Strong; sa != nil {
		out.StrongAuthentication = &paymentsv1.StrongAuthentication{
			TapThreshold: sa.TapThreshold, CumulativeThreshold: sa.CumulativeThreshold, ConsecutiveTaps: sa.ConsecutiveTaps,
			Counting: paymentsv1.ScaCounting_SCA_COUNTING_EITHER, AssuranceLevel: uint32(sa.Level),
			ExemptCategoryCodes: sa.Exempt,
		}
		switch sa.Counting {
		case limit.AmountOnly:
			out.StrongAuthentication.Counting = paymentsv1.ScaCounting_SCA_COUNTING_AMOUNT
		case limit.TapsOnly:
			out.StrongAuthentication.Counting = paymentsv1.ScaCounting_SCA_COUNTING_TAPS
		case limit.Either:
		}
	}
	return out
}
