package bus

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// known makes an empty message of every event type of the four services: all messages of their events.proto.
var known = func() map[string]func() proto.Message {
	all := map[string]func() proto.Message{}
	for _, file := range []protoreflect.FileDescriptor{
		devicesv1.File_armlet_devices_v1_events_proto, authv1.File_armlet_auth_v1_events_proto,
		paymentsv1.File_armlet_payments_v1_events_proto, notifyv1.File_armlet_notify_v1_events_proto,
	} {
		for i := range file.Messages().Len() {
			name := file.Messages().Get(i).FullName()
			if kind, err := protoregistry.GlobalTypes.FindMessageByName(name); err == nil {
				all[string(name)] = func() proto.Message { return kind.New().Interface() }
			}
		}
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

// redact removes from a message what tells whose account it is about: what is known of each type, and then whatever else
// names an account, so that a field which is added later is not shown by mistake.
func redact(msg proto.Message) {
	redactKnown(msg)
	hideAccounts(msg.ProtoReflect())
}

// hideAccounts replaces the account in every resource name of a message and of the messages in it.
func hideAccounts(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			for i := range v.List().Len() {
				v.List().Set(i, protoreflect.ValueOfString(WithoutAccount(v.List().Get(i).String())))
			}
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				hideAccounts(v.List().Get(i).Message())
			}
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(WithoutAccount(v.String())))
		case f.Message() != nil:
			hideAccounts(v.Message())
		}
		return true
	})
}

func redactKnown(msg proto.Message) {
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
	case *paymentsv1.AccountOverdrawn:
		m.Account = ""
	case *paymentsv1.AccountDebtCollected:
		m.Account = ""
	case *paymentsv1.AccountWithdrawn:
		m.Account = ""
	case *paymentsv1.AccountClosed:
		m.Account = ""
	case *paymentsv1.AccountFrozen:
		m.Account, m.Reason = "", ""
	case *paymentsv1.AccountUnfrozen:
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
