package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
)

func (a *app) eventsCommand() *cobra.Command {
	c := &cobra.Command{Use: "events", Short: "Follow the events that a partner gets, and publish its own"}
	c.AddCommand(append(a.subscriptionCommands(), a.eventsTail(), a.eventTypesCommand(), a.eventsPublish())...)
	return c
}

func (a *app) eventsTail() *cobra.Command {
	var filter string
	var count int
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print the sandbox partner's events as they come, until Ctrl-C",
		Long: `Print the sandbox partner's events as they come, until Ctrl-C.

The command connects to NATS with the partner's own token, as a partner's program
does, and pulls from a durable consumer: the next tail with the same filter goes on
where this one stopped. With -o json each event is one line.`,
		Example: "  armlet events tail\n  armlet events tail --filter 'live.payments.>' --count 1 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if count < 0 {
				return usageError{errors.New("--count takes 0 for no end, or more")}
			}
			err := a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				if _, err := s.RegisterPartner(ctx); err != nil {
					return err
				}
				return s.Events(ctx, filter, a.eventPrinter(count))
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	c.Flags().StringVar(&filter, "filter", "", "only subjects below pevt.v1.<partner>., such as live.payments.>")
	c.Flags().IntVar(&count, "count", 0, "stop after this many events; 0 goes on")
	return c
}

func (a *app) eventPrinter(count int) func(sandbox.Event) bool {
	seen := 0
	return func(e sandbox.Event) bool {
		data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e.Data)
		if err != nil {
			data = []byte(`{}`)
		}
		if a.format == "json" {
			_ = json.NewEncoder(a.out).Encode(map[string]any{
				"subject": e.Subject, "id": e.ID, "type": e.Type, "time": e.Time, "data": json.RawMessage(data),
			})
		} else {
			fmt.Fprintf(a.out, "%s  %s  %s\n", e.Time, e.Subject, data)
		}
		seen++
		return count == 0 || seen < count
	}
}
