package sdk

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// WatchPayment calls see with a payment as it is and after every change, until nothing can follow, ctx ends, see returns
// an error, which is returned ([ErrStop] is none), or the platform refuses for good. When the connection breaks it goes on
// by itself, at another replica where there is one; see is not called twice with the same revision.
func WatchPayment(ctx context.Context, client paymentsv1.PaymentsServiceClient, name string, see func(*paymentsv1.Payment) error) error {
	w := watcher{client: client, name: name, see: see}
	for pause := resumeFirst; ; pause = min(2*pause, resumeMost) {
		before := w.seen
		err := w.session(ctx)
		var stop followError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &stop):
			if errors.Is(stop.error, ErrStop) {
				return nil
			}
			return stop.error
		case ctx.Err() != nil:
			return ctx.Err()
		case !Retryable(err):
			return err
		case w.seen != before:
			pause = resumeFirst
		}
		wait := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // so that many do not come back together
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}

type watcher struct {
	client paymentsv1.PaymentsServiceClient
	name   string
	see    func(*paymentsv1.Payment) error
	seen   int64 // the revision that was seen last
}

// session is one stream, until it ends (nil) or breaks.
func (w *watcher) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.WatchPayment(ctx, &paymentsv1.WatchPaymentRequest{Name: w.name})
	if err != nil {
		return err
	}
	for {
		p, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if p.GetRevision() <= w.seen {
			continue
		}
		if err := w.see(p); err != nil {
			return followError{err}
		}
		w.seen = p.GetRevision()
	}
}
