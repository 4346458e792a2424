package story

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

// pay is the tap itself, in its three steps, and what follows from it.
func (d *demo) pay(ctx context.Context) {
	ctx, span := d.tracer.Tracer("armlet/demo").Start(ctx, "tap", trace.WithNewRoot())
	var payment *paymentsv1.Payment
	var response []byte
	d.tell("a terminal asks for ¥12.00", func() (string, error) {
		merchant, till, err := d.box.OpenShop(ctx)
		if err != nil {
			return "", err
		}
		d.till = till
		payment, err = till.Charge(ctx, d.phone.Band.UID(), &paymentsv1.CreatePaymentRequest{
			Amount: &typev1.Money{MinorUnits: price, CurrencyCode: sandbox.Currency}, RequestId: "demo-payment",
		})
		return merchant.GetDisplayName() + " waits for the band: " + strings.Join(payment.GetTap().GetRequirements(), ", "), err
	})
	d.tell("the phone relays, the band shows and signs", func() (string, error) {
		d.phone.Band.Knock()
		var err error
		response, err = d.phone.Relay(payment.GetTap().GetChallengeFrame(), payment.GetTap().GetPongKey())
		return fmt.Sprintf("%q, then a knock", d.phone.Band.Screen()), err
	})
	d.tell("the payment is approved", func() (string, error) {
		done, err := d.till.Client.Payments.ConfirmPayment(ctx, &paymentsv1.ConfirmPaymentRequest{Name: payment.GetName(), ResponseFrame: response})
		if err != nil {
			return "", err
		}
		if s := done.GetPayment().GetState(); s != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
			return "", fmt.Errorf("the payment is %s: %s", s, done.GetPayment().GetDeclineReason())
		}
		return done.GetPayment().GetName() + " is CAPTURED", d.phone.Deliver(done.GetResultFrame())
	})
	approved := time.Now()
	d.tell("the band buzzes, by NATS and notify", func() (string, error) {
		alert, err := d.awaitAlert(ctx, "alertTypes/payment.captured")
		if err != nil {
			return "", err
		}
		if alert.GetBandText() != "Paid ¥12.00" {
			return "", fmt.Errorf("the band shows %q", alert.GetBandText())
		}
		return fmt.Sprintf("%q on the wrist %s after the approval", alert.GetBandText(), ms(time.Since(approved))), nil
	})
	d.tell("the partner's own consumer sees it too", func() (string, error) {
		e, err := d.awaitEvent(ctx, "armlet.payments.v1.PaymentCaptured")
		return e.Subject, err
	})
	span.End()
	d.steps(span.SpanContext().TraceID())
}

// steps shows which services the tap went through and how long each took.
func (d *demo) steps(id trace.TraceID) {
	d.note("the tap, from trace %s:", id)
	for _, h := range d.spans.hops(id) {
		if strings.Contains(h.what, "CreateMerchant") || strings.Contains(h.what, "CreateTerminal") {
			continue
		}
		d.note("  %-50s %10s", strings.Repeat("   ", h.depth)+h.what, ms(h.took))
	}
}
