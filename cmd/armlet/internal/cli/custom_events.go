package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/sdk"
)

// eventTypesCommand is about a partner's own event types.
func (a *app) eventTypesCommand() *cobra.Command {
	c := &cobra.Command{Use: "types", Short: "Make types of a partner's own events"}
	var m maker
	var schema, name string
	var quota int32
	create := &cobra.Command{
		Use: "create ID", Short: "Make a type; its payloads are what the JSON Schema in a file says", Args: cobra.ExactArgs(1),
		Example: "  armlet events types create slept --schema slept.schema.json",
		RunE: func(c *cobra.Command, args []string) error {
			text, err := os.ReadFile(schema)
			if err != nil {
				return usageError{fmt.Errorf("--schema: %w", err)}
			}
			return a.acting(c.Context(), &m, func(ctx context.Context, client *sdk.Client) error {
				t, err := client.Notify.CreateEventType(ctx, &notifyv1.CreateEventTypeRequest{
					Parent: m.name(), EventTypeId: args[0], RequestId: sandbox.RequestID(),
					EventType: &notifyv1.EventType{DisplayName: name, PayloadSchema: string(text), DailyQuota: quota},
				})
				if err != nil {
					return err
				}
				return a.printer().message(t, func(w io.Writer) { showEventTypes(w, t) })
			})
		},
	}
	create.Flags().StringVar(&schema, "schema", "", "file with the JSON Schema of its payloads")
	create.Flags().StringVar(&name, "name", "", "what people call it")
	create.Flags().Int32Var(&quota, "quota", 0, "how many events a day; 0 is 10,000")
	list := &cobra.Command{Use: "list", Short: "List the types", RunE: func(c *cobra.Command, _ []string) error {
		return a.acting(c.Context(), &m, func(ctx context.Context, client *sdk.Client) error {
			page, err := client.Notify.ListEventTypes(ctx, &notifyv1.ListEventTypesRequest{Parent: m.name()})
			if err != nil {
				return err
			}
			return a.printer().message(page, func(w io.Writer) { showEventTypes(w, page.GetEventTypes()...) })
		})
	}}
	remove := &cobra.Command{Use: "delete TYPE", Short: "End a type; what was published stays", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.acting(c.Context(), &m, func(ctx context.Context, client *sdk.Client) error {
			gone, err := client.Notify.DeleteEventType(ctx, &notifyv1.DeleteEventTypeRequest{Name: m.under("eventTypes", args[0]), RequestId: sandbox.RequestID()})
			if err != nil {
				return err
			}
			return a.printer().message(gone, func(w io.Writer) { fmt.Fprintln(w, "deleted") })
		})
	}}
	for _, sub := range []*cobra.Command{create, list, remove} {
		m.flags(sub)
	}
	c.AddCommand(create, list, remove)
	return c
}

func showEventTypes(w io.Writer, types ...*notifyv1.EventType) {
	rows := make([][]string, 0, len(types))
	for _, t := range types {
		rows = append(rows, []string{t.GetName(), fmt.Sprint(t.GetRevision()), fmt.Sprint(t.GetDailyQuota()), either(t.GetDisplayName(), "-")})
	}
	table(w, []string{"TYPE", "REVISION", "A DAY", "NAME"}, rows)
}

func (a *app) eventsPublish() *cobra.Command {
	var m maker
	var id, resource string
	c := &cobra.Command{
		Use: "publish TYPE PAYLOAD", Short: "Publish an event of a partner's own type into its own stream", Args: cobra.ExactArgs(2),
		Example: "  armlet events publish slept '{\"minutes\": 431}' --id night-1",
		RunE: func(c *cobra.Command, args []string) error {
			payload, err := object("PAYLOAD", args[1])
			if err != nil {
				return err
			}
			return a.acting(c.Context(), &m, func(ctx context.Context, client *sdk.Client) error {
				out, err := client.Notify.PublishEvents(ctx, &notifyv1.PublishEventsRequest{Parent: m.name(), Events: []*notifyv1.PublishedEvent{{
					EventId: either(id, sandbox.RequestID()), Type: m.under("eventTypes", args[0]), Payload: payload, Resource: resource,
				}}})
				if err != nil {
					return err
				}
				if len(out.GetResults()) != 1 {
					return errors.New("one event was published, and the answer is about another number")
				}
				one := out.GetResults()[0]
				if one.GetReason() != "" {
					return refused{one.GetMessage() + " (" + one.GetReason() + ")"}
				}
				return a.printer().message(one, func(w io.Writer) { fmt.Fprintln(w, one.GetId()) })
			})
		},
	}
	m.flags(c)
	c.Flags().StringVar(&id, "id", "", "the partner's own id of the event, which makes it safe to repeat")
	c.Flags().StringVar(&resource, "resource", "", "what it is about, in the partner's own words")
	return c
}
