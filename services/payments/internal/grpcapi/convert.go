package grpcapi

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/payments/internal/bus"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// id is the last part of a resource name, which the field rules have checked.
func id(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func fromCaller(c rpc.Caller) payment.Caller {
	out := payment.Caller{
		Role: payment.Role(c.Role), ID: c.ID, Partner: id(c.Partner), PartnerNo: c.PartnerNo,
		Account: id(c.Account), Merchant: id(c.Merchant), Terminal: id(c.Terminal), Mode: payment.Live,
		MaxAmounts: c.Amounts[scopeInitiate],
	}
	if c.Mode != "" {
		out.Mode = payment.Mode(c.Mode)
	}
	return out
}

// repeatable is a request that may be repeated; named is one that names what it is about.
type (
	repeatable interface {
		proto.Message
		GetRequestId() string
	}
	named interface {
		repeatable
		GetName() string
	}
)

// request identifies a call by all it says but its request_id.
func request(c payment.Caller, method string, in repeatable) (payment.Request, error) {
	content := proto.Clone(in)
	m := content.ProtoReflect()
	m.Clear(m.Descriptor().Fields().ByName("request_id"))
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(content)
	if err != nil {
		return payment.Request{}, fmt.Errorf("fingerprint: %w", err)
	}
	sum := sha256.Sum256(b)
	return payment.Request{Caller: c.Key(), Method: method, ID: in.GetRequestId(), Fingerprint: sum[:]}, nil
}

func payer(in *paymentsv1.CreatePaymentRequest) (payment.Payer, error) {
	if in.GetAccount() != "" {
		return payment.Payer{Account: id(in.GetAccount())}, nil
	}
	uid, err := wire.ParseUID(in.GetDeviceUid())
	if err != nil {
		return payment.Payer{}, fault.InvalidField("device_uid", "must be the uid of a band, 26 characters")
	}
	return payment.Payer{DeviceUID: uid.String(), DevicePartnerNo: uid.PartnerNo()}, nil
}

func fromMoney(m *typev1.Money) payment.Money {
	return payment.Money{Minor: m.GetMinorUnits(), Currency: m.GetCurrencyCode()}
}

func money(m payment.Money) *typev1.Money {
	return &typev1.Money{MinorUnits: m.Minor, CurrencyCode: m.Currency}
}

func account(a payment.Account) *paymentsv1.Account {
	return &paymentsv1.Account{
		Name: "accounts/" + a.ID, Balance: money(a.Balance), Held: money(a.Held), Closed: a.Closed, CreateTime: timestamppb.New(a.CreateTime),
		Frozen: a.Frozen, FreezeReason: a.FreezeReason,
	}
}

var states = map[payment.State]paymentsv1.PaymentState{
	payment.AwaitingTap:       paymentsv1.PaymentState_PAYMENT_STATE_AWAITING_TAP,
	payment.Authorized:        paymentsv1.PaymentState_PAYMENT_STATE_AUTHORIZED,
	payment.PartiallyCaptured: paymentsv1.PaymentState_PAYMENT_STATE_PARTIALLY_CAPTURED,
	payment.Captured:          paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED,
	payment.PartiallyRefunded: paymentsv1.PaymentState_PAYMENT_STATE_PARTIALLY_REFUNDED,
	payment.Refunded:          paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED,
	payment.Declined:          paymentsv1.PaymentState_PAYMENT_STATE_DECLINED,
	payment.Expired:           paymentsv1.PaymentState_PAYMENT_STATE_EXPIRED,
	payment.Voided:            paymentsv1.PaymentState_PAYMENT_STATE_VOIDED,
}

func stateOf(want paymentsv1.PaymentState) payment.State {
	for s, p := range states {
		if p == want {
			return s
		}
	}
	return ""
}

// view shows a payment to a caller, as far as that caller may see it.
func view(c payment.Caller, p payment.Payment) *paymentsv1.Payment {
	out := &paymentsv1.Payment{
		Name: "payments/" + p.ID, State: states[p.State], Amount: money(p.Amount), Merchant: "merchants/" + p.Merchant,
		Device: p.Device, DeclineReason: p.DeclineReason,
		CreateTime: timestamppb.New(p.CreateTime), UpdateTime: timestamppb.New(p.UpdateTime),
		CaptureMode: paymentsv1.CaptureMode_CAPTURE_MODE_AUTOMATIC, CapturedAmount: money(p.CapturedAmount()),
		RefundedAmount: money(p.RefundedAmount()), Offline: p.Offline, AssuranceLevel: int32(p.Assurance), Revision: p.Revision,
	}
	if p.CaptureMode == payment.Manual {
		out.CaptureMode = paymentsv1.CaptureMode_CAPTURE_MODE_MANUAL
	}
	if !p.AuthorizationExpireTime.IsZero() {
		out.AuthorizationExpireTime = timestamppb.New(p.AuthorizationExpireTime)
	}
	if p.Offline {
		out.TapTime = timestamppb.New(p.TapTime)
	}
	if !c.SeesDevice(p) {
		out.Device = ""
	}
	out.Discount = bus.DiscountProto(p)
	if p.Terminal != "" {
		out.Terminal = "terminals/" + p.Terminal
	}
	if c.SeesAccount() {
		out.Account = "accounts/" + p.Account
	}
	if c.SeesTap(p) {
		out.Tap = &paymentsv1.Tap{
			ChallengeFrame: p.Tap.Frame, ExpireTime: timestamppb.New(p.Tap.ExpireTime),
			Requirements: p.Tap.Requirements, PongKey: p.Tap.PongKey,
			AssuranceLevel: int32(p.Need.Level), AssuranceReason: p.Need.Reason,
		}
	}
	return out
}
