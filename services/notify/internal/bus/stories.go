package bus

import (
	"strings"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

// told is an event in the words of a built-in type of alerts.
type told struct {
	kind, account, device string
	payload               map[string]any
}

// story is what a wearer hears of an event; false when nothing.
func story(msg proto.Message) (told, bool) {
	if t, ok := paymentStory(msg); ok {
		return t, true
	}
	if t, ok := deviceStory(msg); ok {
		return t, true
	}
	switch m := msg.(type) {
	case *notifyv1.VoucherIssued:
		return told{alert.VoucherIssued, accountID(m.GetVoucher().GetAccount()), "", amount(m.GetVoucher().GetValue())}, true
	case *notifyv1.VoucherAssigned:
		return told{alert.VoucherIssued, accountID(m.GetVoucher().GetAccount()), "", amount(m.GetVoucher().GetValue())}, true
	case *notifyv1.VoucherRedeemed:
		return told{alert.VoucherRedeemed, accountID(m.GetAccount()), "", amount(m.GetRedemption().GetAmount())}, true
	}
	return told{}, false
}

func paymentStory(msg proto.Message) (told, bool) {
	switch m := msg.(type) {
	case *paymentsv1.PaymentAuthorized:
		return payment(alert.PaymentAuthorized, m.GetPayment(), ""), true
	case *paymentsv1.PaymentCaptured:
		return payment(alert.PaymentCaptured, m.GetPayment(), ""), true
	case *paymentsv1.PaymentDeclined:
		return payment(alert.PaymentDeclined, m.GetPayment(), m.GetReason()), true
	case *paymentsv1.PaymentExpired:
		return payment(alert.PaymentExpired, m.GetPayment(), ""), true
	case *paymentsv1.PaymentVoided:
		return payment(alert.PaymentVoided, m.GetPayment(), ""), true
	case *paymentsv1.PaymentReleased:
		return payment(alert.PaymentReleased, m.GetPayment(), ""), true
	case *paymentsv1.PaymentRefunded:
		return payment(alert.PaymentRefunded, m.GetPayment(), ""), true
	case *paymentsv1.AccountToppedUp:
		return told{alert.AccountToppedUp, accountID(m.GetAccount()), "", amount(m.GetAmount())}, true
	case *paymentsv1.AccountOverdrawn:
		return told{alert.AccountOverdrawn, accountID(m.GetAccount()), "", amount(m.GetOwed())}, true
	case *paymentsv1.AccountDebtCollected:
		return told{alert.DebtCollected, accountID(m.GetAccount()), "", amount(m.GetAmount())}, true
	case *paymentsv1.AccountWithdrawn:
		return told{alert.AccountWithdrawn, accountID(m.GetAccount()), "", amount(m.GetAmount())}, true
	case *paymentsv1.AccountFrozen:
		return told{alert.AccountFrozen, accountID(m.GetAccount()), "", nil}, true
	case *paymentsv1.AccountUnfrozen:
		return told{alert.AccountUnfrozen, accountID(m.GetAccount()), "", nil}, true
	case *paymentsv1.AccountClosed:
		return told{alert.AccountClosed, accountID(m.GetAccount()), "", nil}, true
	}
	return told{}, false
}

func deviceStory(msg proto.Message) (told, bool) {
	switch m := msg.(type) {
	case *devicesv1.DeviceBound:
		return told{alert.DeviceBound, accountID(m.GetAccount()), m.GetDevice(), nil}, true
	case *devicesv1.DeviceReleased:
		return told{alert.DeviceReleased, accountID(m.GetAccount()), m.GetDevice(), nil}, true
	case *devicesv1.DeviceSuspended:
		return told{alert.DeviceSuspended, accountID(m.GetAccount()), m.GetDevice(), reason(m.GetReason())}, true
	case *devicesv1.SuspensionLifted:
		return told{alert.SuspensionLifted, accountID(m.GetAccount()), m.GetDevice(), reason(m.GetReason())}, true
	case *devicesv1.DeviceEnded:
		return told{alert.DeviceEnded, accountID(m.GetAccount()), m.GetDevice(), nil}, true
	case *authv1.CloneSuspected:
		return told{alert.CloneSuspected, "", m.GetDevice(), nil}, true
	}
	return told{}, false
}

func payment(kind string, p *paymentsv1.PaymentFacts, why string) told {
	payload := amount(p.GetAmount())
	if p.GetMerchantDisplayName() != "" {
		payload["merchant"] = p.GetMerchantDisplayName()
	}
	if why != "" {
		payload["reason"] = why
	}
	if off := p.GetDiscount().GetAmount(); off.GetMinorUnits() > 0 {
		payload["discount"] = money(off)
	}
	return told{kind, accountID(p.GetAccount()), p.GetDevice(), payload}
}

func reason(r devicesv1.SuspensionReason) map[string]any {
	return map[string]any{"reason": strings.TrimPrefix(r.String(), "SUSPENSION_REASON_")}
}

// amount is an empty payload for no amount, as of a voucher that takes a percentage off.
func amount(m *typev1.Money) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return map[string]any{"amount": money(m)}
}

func money(m *typev1.Money) map[string]any {
	return map[string]any{"minor_units": m.GetMinorUnits(), "currency_code": m.GetCurrencyCode()}
}
