package grpcapi

import (
	"context"
	"encoding/hex"
	"errors"
	"io"

	"google.golang.org/grpc"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// clearTogether is how many taps of one stream are cleared at once at most.
const clearTogether = 100

type tapStream = grpc.BidiStreamingServer[paymentsv1.SubmitOfflineTapsRequest, paymentsv1.SubmitOfflineTapsResponse]

// SubmitOfflineTaps clears taps as they come in: whatever has arrived is cleared together, and answered in its order.
func (s *Server) SubmitOfflineTaps(stream tapStream) error {
	ctx, stop := context.WithCancel(stream.Context())
	defer stop()
	c, in := caller(ctx), make(chan received, clearTogether)
	go receive(ctx, stream, in)
	for first := range in {
		taps, end := more(first, in)
		if err := s.clear(ctx, c, taps, stream); err != nil {
			return err
		}
		if errors.Is(end, io.EOF) {
			return nil
		}
		if end != nil {
			return end
		}
	}
	return ctx.Err()
}

// received is a tap, or why no more come.
type received struct {
	tap *paymentsv1.SubmitOfflineTapsRequest
	err error
}

// receive reads the stream to its end.
func receive(ctx context.Context, stream tapStream, out chan<- received) {
	defer close(out)
	for {
		tap, err := stream.Recv()
		select {
		case out <- received{tap, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// more is a tap and those that are there already, and the stream's end when that is.
func more(r received, in <-chan received) (taps []*paymentsv1.SubmitOfflineTapsRequest, end error) {
	for {
		if r.err != nil {
			return taps, r.err
		}
		if taps = append(taps, r.tap); len(taps) == clearTogether {
			return taps, nil
		}
		select {
		case next, ok := <-in:
			if !ok {
				return taps, nil
			}
			r = next
		default:
			return taps, nil
		}
	}
}

func (s *Server) clear(ctx context.Context, c payment.Caller, in []*paymentsv1.SubmitOfflineTapsRequest, stream tapStream) error {
	taps := make([]payment.OfflineTap, len(in))
	for i, t := range in {
		taps[i] = payment.OfflineTap{TerminalFrame: t.GetTerminalFrame(), TapFrame: t.GetTapFrame(), Fare: fromMoney(t.GetFare())}
		if frame, err := wire.ParseTerminalTap(t.GetTerminalFrame()); err == nil {
			taps[i].Terminal = hex.EncodeToString(frame.TerminalID[:])
		}
	}
	cleared, err := s.payments.Clear(ctx, c, taps, s.now())
	if err != nil {
		return err
	}
	for i, x := range cleared {
		out := &paymentsv1.SubmitOfflineTapsResponse{
			Sequence: in[i].GetSequence(), Status: tapStatuses[x.Status], Reason: tapReason(x.Reason), MissingTaps: x.Missing, Problem: x.Problem,
		}
		if x.Payment != "" {
			out.Payment, out.Fare = "payments/"+x.Payment, money(x.Fare)
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
	return nil
}

var tapStatuses = map[payment.ClearingStatus]paymentsv1.OfflineTapStatus{
	payment.NotCleared:   paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_UNSPECIFIED,
	payment.TapAccepted:  paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_ACCEPTED,
	payment.TapDuplicate: paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_DUPLICATE,
	payment.TapRejected:  paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_REJECTED,
}

// tapReason is a reason of the device protocol, by its name.
func tapReason(name string) paymentsv1.OfflineTapReason {
	return paymentsv1.OfflineTapReason(paymentsv1.OfflineTapReason_value["OFFLINE_TAP_REASON_"+name])
}
