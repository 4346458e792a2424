package peers

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

const (
	// notifyPatience is how long a call to notify may take; nobody waits longer for a tap.
	notifyPatience = 5 * time.Second
	// newsWaiting is how much may wait to be told. What does not fit notify learns from the events.
	newsWaiting = 1024
	// tellers are how many calls tell it at once.
	tellers = 4
)

// Notify implements payment.Vouchers.
type Notify struct {
	client notifyv1.NotifyServiceClient
	news   chan news
}

// news is what became of a payment.
type news struct {
	payment  string
	approved bool
}

// NewNotify talks to notify over conn, which maps statuses to faults as rpc.Dial does. What it is told is passed on while
// Run runs.
func NewNotify(conn grpc.ClientConnInterface) *Notify {
	return &Notify{client: notifyv1.NewNotifyServiceClient(conn), news: make(chan news, newsWaiting)}
}

// Reserve implements payment.Vouchers.
func (n *Notify) Reserve(ctx context.Context, use payment.VoucherUse) (payment.VoucherHold, error) {
	ctx, cancel := context.WithTimeout(ctx, notifyPatience)
	defer cancel()
	in := &notifyv1.ReserveVoucherRequest{
		Code: use.Code, PurchaseAmount: &typev1.Money{MinorUnits: use.Price.Minor, CurrencyCode: use.Price.Currency},
		Merchant: "merchants/" + use.Merchant.ID, MerchantCategoryCode: use.Merchant.CategoryCode, RequestId: use.Payment,
		Payment: "payments/" + use.Payment, DeviceUid: use.Payer.DeviceUID, OnBehalfOf: use.Behalf,
	}
	if use.Payer.Account != "" {
		in.Account = "accounts/" + use.Payer.Account
	}
	out, err := n.client.ReserveVoucher(ctx, in)
	if err != nil {
		return payment.VoucherHold{}, voucherFault(err)
	}
	hold := payment.VoucherHold{
		Discount: payment.Discount{Voucher: strings.TrimPrefix(out.GetVoucher().GetName(), "vouchers/"), Minor: out.GetAmount().GetMinorUnits()},
	}
	if v := out.GetVoucher(); v.GetAccount() != "" || v.GetDevice() != "" || out.GetDevice() != "" {
		hold.Account, hold.Device = strings.TrimPrefix(out.GetAccount(), "accounts/"), out.GetDevice()
	}
	return hold, nil
}

// voucherFault passes on why notify refuses a voucher. That it cannot be asked is said plainly, and its refusing this
// service is our own trouble.
func voucherFault(err error) error {
	f, ok := fault.As(err)
	if !ok {
		return err
	}
	switch f.Kind {
	case fault.Unavailable, fault.DeadlineExceeded:
		return fault.New(fault.Unavailable, "VOUCHERS_UNAVAILABLE",
			"the voucher cannot be checked at the moment; send the same request again, or pay without the voucher").WithCause(err)
	case fault.NotFound, fault.ResourceExhausted, fault.Canceled, fault.Aborted:
		return err
	case fault.FailedPrecondition:
		if f.Reason != "REQUEST_ID_REUSED" {
			return err
		}
	case fault.Internal, fault.Invalid, fault.AlreadyExists, fault.PermissionDenied, fault.Unauthenticated, fault.Unimplemented:
	}
	return fault.New(fault.Internal, "NOTIFY_REFUSED", "notify refused a call of this service").WithCause(err)
}

// Cancel implements payment.Vouchers.
func (n *Notify) Cancel(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, notifyPatience)
	defer cancel()
	_, err := n.client.CancelRedemption(ctx, &notifyv1.CancelRedemptionRequest{Name: redemption(id), RequestId: id + ":cancel"})
	switch fault.ReasonOf(err) {
	case "REDEMPTION_NOT_FOUND", "REDEMPTION_STATE":
		return nil
	}
	return err
}

func redemption(id string) string { return "vouchers/-/redemptions/" + id }

// Tell implements payment.Vouchers.
func (n *Notify) Tell(id string, approved bool) {
	select {
	case n.news <- news{id, approved}:
	default:
	}
}

// Run tells notify what became of payments until ctx ends. A call that fails is not repeated: the events say the same.
func (n *Notify) Run(ctx context.Context) error {
	slots := make(chan struct{}, tellers)
	for {
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		}
		select {
		case <-ctx.Done():
			return nil
		case one := <-n.news:
			go func() {
				defer func() { <-slots }()
				n.pass(ctx, one)
			}()
		}
	}
}

func (n *Notify) pass(ctx context.Context, one news) {
	if !one.approved {
		_ = n.Cancel(ctx, one.payment)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, notifyPatience)
	defer cancel()
	_, _ = n.client.ConfirmRedemption(ctx, &notifyv1.ConfirmRedemptionRequest{Name: redemption(one.payment), RequestId: one.payment + ":confirm"})
}
