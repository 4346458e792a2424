package bus

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// known makes an empty message of every event type that this service reads. A type that is not here is never shown to a
// partner, because nobody has said which of its fields tell whose account it is about.
var known = func() map[string]func() proto.Message {
	all := map[string]func() proto.Message{}
	for _, m := range []proto.Message{
		&paymentsv1.PaymentCreated{}, &paymentsv1.PaymentCaptured{}, &paymentsv1.PaymentDeclined{}, &paymentsv1.PaymentExpired{},
		&paymentsv1.PaymentAuthorized{}, &paymentsv1.PaymentVoided{}, &paymentsv1.PaymentReleased{}, &paymentsv1.PaymentRefunded{},
		&paymentsv1.AccountToppedUp{}, &paymentsv1.AccountWithdrawn{}, &paymentsv1.AccountClosed{},
		&paymentsv1.MerchantChanged{}, &paymentsv1.SettlementCreated{},
		&devicesv1.DeviceBound{}, &devicesv1.DeviceSuspended{}, &devicesv1.SuspensionLifted{}, &devicesv1.LotCreated{},
		&devicesv1.DeviceReleased{}, &devicesv1.DeviceEnded{}, &devicesv1.LotReleased{}, &devicesv1.LotRecalled{}, &devicesv1.ModelStatusChanged{},
		&authv1.PartnerCreated{}, &authv1.GrantChanged{}, &authv1.DecisionMade{}, &authv1.CloneSuspected{},
		&notifyv1.VoucherIssued{}, &notifyv1.VoucherRedeemed{}, &notifyv1.AlertSent{}, &notifyv1.AlertStateChanged{},
		&notifyv1.SubscriptionTested{}, &notifyv1.SubscriptionDisabled{},
		&notifyv1.VouchersGenerated{}, &notifyv1.CampaignChanged{}, &notifyv1.VoucherAssigned{}, &notifyv1.VoucherReserved{},
		&notifyv1.VoucherReleased{}, &notifyv1.RedemptionRolledBack{},
	} {
		reflected := m.ProtoReflect()
		all[string(reflected.Descriptor().FullName())] = func() proto.Message { return reflected.New().Interface() }
	}
	return all
}()

// decode reads an event's message. What cannot be read now never can, so its faults are permanent.
func decode(ev events.Event) (proto.Message, error) {
	empty, ok := known[ev.Type]
	if !ok {
		return nil, fault.New(fault.Invalid, "EVENT_UNKNOWN", "the event type %s is not known here", ev.Type)
	}
	msg := empty()
	if err := proto.Unmarshal(ev.Data, msg); err != nil {
		return nil, fault.New(fault.Invalid, "EVENT_INVALID", "the event %s cannot be read", ev.Type).WithCause(err)
	}
	return msg, nil
}

// redact removes from a message what tells whose account it is about.
func redact(msg proto.Message) {
	switch m := msg.(type) {
	case *paymentsv1.PaymentCreated:
		clearAccount(m.GetPayment())
	case *paymentsv1.PaymentCaptured:
		clearAccount(m.GetPayment())
	case *paymentsv1.PaymentDeclined:
		clearAccount(m.GetPayment())
	case *paymentsv1.PaymentExpired:
		clearAccount(m.GetPayment())
	case *paymentsv1.PaymentAuthorized:
		clearAccount(m.GetPayment())
	case *paymentsv1.PaymentVoided:
		clearAccount(m.GetPayment())
	case *paymentsv1.PaymentReleased:
		clearAccount(m.GetPayment())
	case *paymentsv1.PaymentRefunded:
		clearAccount(m.GetPayment())
	case *paymentsv1.AccountToppedUp:
		m.Account = ""
	case *paymentsv1.AccountWithdrawn:
		m.Account = ""
	case *paymentsv1.AccountClosed:
		m.Account = ""
	case *devicesv1.DeviceReleased:
		m.Account = ""
	case *devicesv1.DeviceEnded:
		m.Account = ""
	case *devicesv1.DeviceBound:
		m.Account = ""
	case *devicesv1.DeviceSuspended:
		m.Account = ""
	case *devicesv1.SuspensionLifted:
		m.Account = ""
	case *notifyv1.VoucherIssued:
		ClearWearer(m.GetVoucher())
	case *notifyv1.VoucherAssigned:
		ClearWearer(m.GetVoucher())
	case *notifyv1.VoucherRedeemed:
		m.Account = ""
		ClearRedeemer(m.GetRedemption())
	case *notifyv1.VoucherReserved:
		ClearRedeemer(m.GetRedemption())
	case *notifyv1.VoucherReleased:
		ClearRedeemer(m.GetRedemption())
	case *notifyv1.RedemptionRolledBack:
		ClearRedeemer(m.GetRedemption())
	case *notifyv1.AlertSent:
		m.Alert = WithoutAccount(m.GetAlert())
	case *notifyv1.AlertStateChanged:
		m.Alert = WithoutAccount(m.GetAlert())
	}
}

func clearAccount(p *paymentsv1.PaymentFacts) {
	if p != nil {
		p.Account = ""
	}
}

// WithoutAccount is a resource name with the account replaced by "-", which AIP-159 reads as "any".
func WithoutAccount(name string) string {
	rest, found := strings.CutPrefix(name, "accounts/")
	if !found {
		return name
	}
	_, rest, found = strings.Cut(rest, "/")
	if !found {
		return "accounts/-"
	}
	return "accounts/-/" + rest
}
