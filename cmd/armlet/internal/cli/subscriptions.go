package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

func (a *app) subscriptionCommands() []*cobra.Command {
	name := func(args []string) string {
		if strings.Contains(args[0], "/") {
			return args[0]
		}
		return sandbox.Partner + "/subscriptions/" + args[0]
	}
	var url string
	resume := a.onSubscription("resume", "Deliver again what is paused or disabled", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
		return n.ResumeSubscription(ctx, &notifyv1.ResumeSubscriptionRequest{Name: name(args), WebhookUrl: url})
	})
	resume.Flags().StringVar(&url, "url", "", "post to this URL from now on")
	var from string
	replay := a.onSubscription("replay", "Deliver everything again from a time on", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
		at, err := parseSince(from, time.Now())
		if err != nil {
			return nil, err
		}
		return n.ReplaySubscription(ctx, &notifyv1.ReplaySubscriptionRequest{Name: name(args), FromTime: timestamppb.New(at), RequestId: sandbox.RequestID()})
	})
	replay.Flags().StringVar(&from, "from", "1h", "a time (RFC 3339), or how long ago")
	return []*cobra.Command{
		a.eventsSubscribe(), a.eventsSubscriptions(), resume, replay,
		a.onSubscription("pause", "Hold events back", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
			return n.PauseSubscription(ctx, &notifyv1.PauseSubscriptionRequest{Name: name(args)})
		}),
		a.onSubscription("test", "Send a test event", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
			return n.SendTestEvent(ctx, &notifyv1.SendTestEventRequest{Name: name(args), RequestId: sandbox.RequestID()})
		}),
		a.onSubscription("rotate", "Sign a webhook's deliveries with a new key", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
			return n.RotateWebhookKey(ctx, &notifyv1.RotateWebhookKeyRequest{Name: name(args), RequestId: sandbox.RequestID()})
		}),
		a.onSubscription("unsubscribe", "End a subscription", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
			return n.DeleteSubscription(ctx, &notifyv1.DeleteSubscriptionRequest{Name: name(args)})
		}),
		a.onSubscription("dead-letters", "List what a webhook did not take", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
			return n.ListDeadLetters(ctx, &notifyv1.ListDeadLettersRequest{Parent: name(args), PageSize: 1000})
		}),
		a.onSubscription("redrive", "Try all dead letters again", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
			return n.RedriveDeadLetters(ctx, &notifyv1.RedriveDeadLettersRequest{Parent: name(args)})
		}),
		a.onSubscription("discard", "Drop all dead letters", func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error) {
			return n.DiscardDeadLetters(ctx, &notifyv1.DiscardDeadLettersRequest{Parent: name(args)})
		}),
	}
}

// parseSince reads a time or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usageError{fmt.Errorf("--from %q is neither a time (RFC 3339) nor a duration such as 1h", text)}
	}
	return at, nil
}

func (a *app) onSubscription(use, short string, do func(ctx context.Context, n notifyv1.NotifyServiceClient, args []string) (proto.Message, error)) *cobra.Command {
	return &cobra.Command{
		Use: use + " SUBSCRIPTION", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				if _, err := s.RegisterPartner(ctx); err != nil {
					return err
				}
				answer, err := do(ctx, s.Partner.Notify, args)
				if err != nil {
					return err
				}
				return a.printer().message(answer, func(w io.Writer) { writeSubscription(w, answer) })
			})
		},
	}
}

func writeSubscription(w io.Writer, answer proto.Message) {
	switch m := answer.(type) {
	case *notifyv1.Subscription:
		fmt.Fprintf(w, "%s  %s  %s\n", m.GetName(), sinkText(m), stateText(m))
	case *notifyv1.SendTestEventResponse:
		fmt.Fprintf(w, "event %s is on its way\n", m.GetEventId())
	case *notifyv1.DeleteSubscriptionResponse:
		fmt.Fprintln(w, "it is gone")
	case *notifyv1.RedriveDeadLettersResponse:
		fmt.Fprintf(w, "%d tried again\n", m.GetCount())
	case *notifyv1.DiscardDeadLettersResponse:
		fmt.Fprintf(w, "%d dropped\n", m.GetCount())
	case *notifyv1.ListDeadLettersResponse:
		rows := make([][]string, 0, len(m.GetDeadLetters()))
		for _, d := range m.GetDeadLetters() {
			rows = append(rows, []string{d.GetName(), d.GetEventType(), strconv.Itoa(int(d.GetAttempts())), d.GetLastError()})
		}
		table(w, []string{"DEAD LETTER", "TYPE", "TRIES", "LAST"}, rows)
	}
}

func sinkText(m *notifyv1.Subscription) string {
	if m.GetWebhook() != nil {
		return m.GetWebhook().GetUrl()
	}
	return strings.TrimPrefix(m.GetSink().String(), "SINK_")
}

func stateText(m *notifyv1.Subscription) string {
	state := strings.TrimPrefix(m.GetState().String(), "SUBSCRIPTION_STATE_")
	if m.GetDisableReason() != "" {
		state += " (" + m.GetDisableReason() + ")"
	}
	return state
}

func (a *app) eventsSubscribe() *cobra.Command {
	req := &notifyv1.CreateSubscriptionRequest{Webhook: &notifyv1.Webhook{}}
	var hmac, thin bool
	c := &cobra.Command{
		Use: "subscribe SUBSCRIPTION --url URL", Short: "Post the partner's events to a URL", Args: cobra.ExactArgs(1),
		Example: "  armlet events subscribe shop --url https://shop.example/hooks --filter 'live.payments.>'",
		RunE: func(c *cobra.Command, args []string) error {
			req.Parent, req.SubscriptionId, req.RequestId, req.Sink = sandbox.Partner, args[0], sandbox.RequestID(), notifyv1.Sink_SINK_WEBHOOK
			if hmac {
				req.Webhook.Signature = notifyv1.WebhookSignature_WEBHOOK_SIGNATURE_HMAC_SHA256
			}
			if thin {
				req.Content = notifyv1.EventContent_EVENT_CONTENT_THIN
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				if _, err := s.RegisterPartner(ctx); err != nil {
					return err
				}
				sub, err := s.Partner.Notify.CreateSubscription(ctx, req)
				if err != nil {
					return err
				}
				return a.printer().message(sub, func(w io.Writer) {
					writeSubscription(w, sub)
					for _, key := range sub.GetWebhook().GetPublicKeys() {
						fmt.Fprintf(w, "verify with %s\n", key)
					}
				})
			})
		},
	}
	c.Flags().StringVar(&req.Webhook.Url, "url", "", "where to post them, https")
	c.Flags().StringArrayVar(&req.Filters, "filter", nil, "only subjects below pevt.v1.<partner>., such as live.payments.>; may be repeated")
	c.Flags().BoolVar(&hmac, "hmac", false, "sign with a shared secret instead of Ed25519")
	c.Flags().BoolVar(&thin, "thin", false, "say only that something happened")
	_ = c.MarkFlagRequired("url")
	return c
}

func (a *app) eventsSubscriptions() *cobra.Command {
	return &cobra.Command{
		Use: "subscriptions", Short: "List the partner's subscriptions",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				if _, err := s.RegisterPartner(ctx); err != nil {
					return err
				}
				list, err := s.Partner.Notify.ListSubscriptions(ctx, &notifyv1.ListSubscriptionsRequest{Parent: sandbox.Partner})
				if err != nil {
					return err
				}
				return a.printer().message(list, func(w io.Writer) {
					rows := make([][]string, 0, len(list.GetSubscriptions()))
					for _, m := range list.GetSubscriptions() {
						rows = append(rows, []string{m.GetName(), strings.Join(m.GetFilters(), " "), sinkText(m), stateText(m)})
					}
					table(w, []string{"SUBSCRIPTION", "FILTERS", "SINK", "STATE"}, rows)
				})
			})
		},
	}
}
