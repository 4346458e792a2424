// Package story is `armlet demo`: a band is made, claimed, pays, redeems a voucher
// and is lost, against a real suite in a temporary folder.
package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	"github.com/armlet-pay/armlet/cmd/armlet/internal/suite"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

const (
	topUp    = 100_00
	price    = 12_00
	patience = 10 * time.Second
)

// demo is the stage and who stands on it.
type demo struct {
	teller
	spans  *Spans
	tracer *sdktrace.TracerProvider
	suite  *suite.Suite
	box    *sandbox.Sandbox
	phone  *virtual.Phone
	till   *virtual.Terminal
	lot    *devicesv1.Lot
	alerts chan *notifyv1.Alert
	events chan sandbox.Event
}

// Tell runs the demo and writes it to out. A step that goes wrong is a *Failure.
func Tell(ctx context.Context, out io.Writer, log *slog.Logger) error {
	dir, err := os.MkdirTemp("", "armlet-demo-")
	if err != nil {
		return err
	}
	spans := &Spans{}
	d := &demo{
		teller: teller{out: out, begin: time.Now()}, spans: spans,
		tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
		alerts: make(chan *notifyv1.Alert, 64), events: make(chan sandbox.Event, 64),
	}
	fmt.Fprintf(out, "\nArmlet: a wearer taps and pays\n\n")
	ctx, cancel := context.WithCancel(ctx)
	d.run(ctx, dir, log)
	cancel()
	err = errors.Join(d.err, d.close(), os.RemoveAll(dir))
	if err == nil {
		fmt.Fprintf(out, "\nDone in %.1f s. Next: `make up` in this terminal and `bin/armlet tap` in a second one.\n", time.Since(d.begin).Seconds())
	}
	return err
}

func (d *demo) run(ctx context.Context, dir string, log *slog.Logger) {
	d.setUp(ctx, dir, log)
	d.claim(ctx)
	d.pay(ctx)
	d.voucher(ctx)
	d.lose(ctx)
	d.books(ctx)
}

func (d *demo) close() error {
	var errs []error
	if d.box != nil {
		errs = append(errs, d.box.Close())
	}
	if d.suite != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		errs = append(errs, d.suite.Stop(ctx))
	}
	return errors.Join(errs...)
}

func (d *demo) setUp(ctx context.Context, dir string, log *slog.Logger) {
	d.tell("the suite starts on embedded stores", func() (string, error) {
		s, err := suite.Start(ctx, suite.Options{Data: dir, Log: log, TracerProvider: d.tracer})
		if err != nil {
			return "", err
		}
		d.suite = s
		d.box, err = sandbox.Open(s.Endpoints(), dir, d.traced())
		return "four services, SQLite, NATS with JetStream, in-process gRPC", err
	})
	d.tell("a hardware maker becomes a partner", func() (string, error) {
		p, err := d.box.RegisterPartner(ctx)
		return fmt.Sprintf("%s, number %d, granted %d scopes", p.GetName(), p.GetPartnerNo(), len(sandbox.Scopes)), err
	})
	d.tell("its factory makes a lot of 1,000 bands", func() (string, error) {
		lot, err := d.box.CreateLot(ctx)
		d.lot = lot
		return fmt.Sprintf("%s, %d devices in one row", lot.GetName(), lot.GetDeviceCount()), err
	})
}

// traced makes the demo's own calls the root of each trace.
func (d *demo) traced() sdk.Option {
	return sdk.WithDialOptions(grpc.WithStatsHandler(otelgrpc.NewClientHandler(
		otelgrpc.WithTracerProvider(d.tracer), otelgrpc.WithPropagators(propagation.TraceContext{}))))
}

func (d *demo) claim(ctx context.Context) {
	d.tell("a wearer claims a band with a knock", func() (string, error) {
		band, err := d.box.MakeBand(ctx, d.lot, 41)
		if err != nil {
			return "", err
		}
		if d.phone, err = d.box.OpenAccount(ctx, band); err != nil {
			return "", err
		}
		band.Wear()
		band.Knock()
		done, err := d.phone.Claim(ctx)
		return fmt.Sprintf("band %s belongs to %s", band.UID(), done.GetAccount()), err
	})
	d.tell("phone and partner listen for what happens", func() (string, error) {
		go func() {
			_ = d.phone.Alerts(ctx, sandbox.Account, 0, func(a *notifyv1.Alert) bool { d.alerts <- a; return true })
		}()
		// The subscription must exist before the tap, so that the demo shows the tap's own event.
		go func() { _ = d.box.Events(ctx, "", func(e sandbox.Event) bool { d.events <- e; return true }) }()
		e, err := d.awaitEvent(ctx, "armlet.devices.v1.DeviceBound")
		return "the partner's NATS consumer has " + e.Subject, err
	})
	d.tell("the account is topped up", func() (string, error) {
		a, err := d.box.TopUp(ctx, topUp, "demo-top-up")
		return "balance " + yuan(a.GetBalance()), err
	})
}

func (d *demo) awaitAlert(ctx context.Context, kind string) (*notifyv1.Alert, error) {
	timeout := time.After(patience)
	for {
		select {
		case a := <-d.alerts:
			if a.GetType() == kind {
				return a, nil
			}
		case <-timeout:
			return nil, fmt.Errorf("no alert %s within %s", kind, patience)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (d *demo) awaitEvent(ctx context.Context, kind string) (sandbox.Event, error) {
	timeout := time.After(patience)
	for {
		select {
		case e := <-d.events:
			if e.Type == kind {
				return e, nil
			}
		case <-timeout:
			return sandbox.Event{}, fmt.Errorf("no event %s within %s", kind, patience)
		case <-ctx.Done():
			return sandbox.Event{}, ctx.Err()
		}
	}
}

func (d *demo) voucher(ctx context.Context) {
	var code string
	d.tell("the partner issues a voucher to the wearer", func() (string, error) {
		campaign, err := d.box.Partner.Notify.CreateCampaign(ctx, &notifyv1.CreateCampaignRequest{
			DisplayName: "Free tea", Value: &typev1.Money{MinorUnits: 500, CurrencyCode: sandbox.Currency}, VoucherLimit: 10,
			ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), RequestId: "demo-campaign",
		})
		if err != nil {
			return "", err
		}
		v, err := d.box.Partner.Notify.IssueVoucher(ctx, &notifyv1.IssueVoucherRequest{
			Campaign: campaign.GetName(), Account: sandbox.Account, RequestId: "demo-voucher",
		})
		code = v.GetCode()
		return code + " is worth " + yuan(v.GetVoucher().GetValue()), err
	})
	d.tell("it is verified with the band and redeemed", func() (string, error) {
		d.phone.Band.Knock()
		done, err := d.till.Redeem(ctx, d.phone.Band, code, "demo-redeem")
		return yuan(done.GetAmount()) + " off", err
	})
	d.tell("redeemed a second time it is refused", func() (string, error) {
		d.phone.Band.Knock()
		_, err := d.till.Redeem(ctx, d.phone.Band, code, "demo-redeem-again")
		return refusedWith(err, "VOUCHER_REDEEMED")
	})
}

func (d *demo) lose(ctx context.Context) {
	d.tell("the band is reported lost", func() (string, error) {
		device, err := d.phone.Client.Devices.ReportDeviceLost(ctx, &devicesv1.ReportDeviceLostRequest{
			Name: "partners/-/devices/" + d.phone.Band.UID().String(), RequestId: "demo-lost",
		})
		return fmt.Sprintf("%d suspension", len(device.GetSuspensions())), err
	})
	d.tell("the finder's tap is refused", func() (string, error) {
		_, err := d.till.Charge(ctx, d.phone.Band.UID(), &paymentsv1.CreatePaymentRequest{
			Amount: &typev1.Money{MinorUnits: price, CurrencyCode: sandbox.Currency},
		})
		return refusedWith(err, "DEVICE_SUSPENDED")
	})
}

func (d *demo) books(ctx context.Context) {
	d.tell("the ledger's trial balance is zero", func() (string, error) {
		books, err := d.box.Operator.Payments.GetTrialBalance(ctx, &paymentsv1.GetTrialBalanceRequest{})
		if err != nil {
			return "", err
		}
		if !books.GetBalanced() {
			return "", errors.New("the books do not balance")
		}
		account, err := d.phone.Client.Payments.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: sandbox.Account})
		if err != nil {
			return "", err
		}
		if got, want := account.GetBalance().GetMinorUnits(), int64(topUp-price); got != want {
			return "", fmt.Errorf("the wearer has %d minor units, not %d", got, want)
		}
		total := books.GetTotals()[0]
		return fmt.Sprintf("%s: %d transactions, difference %d; the wearer has %s",
			total.GetCurrencyCode(), total.GetTransactionCount(), total.GetDifference(), yuan(account.GetBalance())), nil
	})
}

func refusedWith(err error, reason string) (string, error) {
	switch got := sdk.Reason(err); {
	case err == nil:
		return "", fmt.Errorf("it went through; it should have been refused with %s", reason)
	case got != reason:
		return "", fmt.Errorf("refused for another reason than %s: %w", reason, err)
	default:
		return reason, nil
	}
}

func yuan(m *typev1.Money) string {
	return fmt.Sprintf("¥%d.%02d", m.GetMinorUnits()/100, m.GetMinorUnits()%100)
}
