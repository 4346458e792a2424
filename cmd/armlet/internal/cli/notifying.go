package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

// notifying is a command that asks notify one thing as the operator and shows the answer.
func notifying[M proto.Message](a *app, use, short string, args cobra.PositionalArgs,
	do func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (M, error), human func(io.Writer, M),
) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command, args []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			m, err := do(ctx, s.Operator.Notify, args)
			if err != nil {
				return err
			}
			return a.printer().message(m, func(w io.Writer) { human(w, m) })
		})
	}}
}

// readMessage reads a message from a file with JSON.
func readMessage(file string, into proto.Message) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := protojson.Unmarshal(text, into); err != nil {
		return usageError{fmt.Errorf("%s: %w", file, err)}
	}
	return nil
}

// object reads a JSON object from a flag or an argument; empty is none.
func object(what, text string) (*structpb.Struct, error) {
	if text == "" {
		return nil, nil
	}
	out := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(text), out); err != nil {
		return nil, usageError{fmt.Errorf("%s takes a JSON object: %w", what, err)}
	}
	return out, nil
}
