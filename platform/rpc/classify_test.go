package rpc

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/armlet-pay/armlet/platform/fault"
)

func TestAnErrorIsClassifiedBeforeItIsInternal(t *testing.T) {
	down := errors.New("the disk is gone")
	g := &guard{log: slog.New(slog.DiscardHandler), classify: func(err error) error {
		if errors.Is(err, down) {
			return fault.New(fault.Unavailable, "DISK_UNAVAILABLE", "try again later").WithCause(err)
		}
		return err
	}}
	for err, want := range map[error]codes.Code{down: codes.Unavailable, errors.New("anything else"): codes.Internal} {
		_, got := g.mapUnary(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { return nil, err })
		if status.Code(got) != want {
			t.Errorf("%v became %v, want %v", err, got, want)
		}
	}
}
