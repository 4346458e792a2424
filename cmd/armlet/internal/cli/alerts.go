package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/sdk"
)

func (a *app) alertsCommand() *cobra.Command {
	c := &cobra.Command{Use: "alerts", Short: "Send alerts, watch an inbox, and see why an alert came or did not"}
	c.AddCommand(a.alertsSend(), a.alertsList(), a.alertsWatch(), a.alertsExplain(), a.alertsPreferences(), a.alertTypesCommand(), a.alertTopicsCommand())
	return c
}

func (a *app) alertsSend() *cobra.Command {
	var account, device, topic, kind, payload, priority, requestID string
	var ttl time.Duration
	c := &cobra.Command{
		Use: "send [TEXT]", Short: "Send an alert as the operator; TEXT is what a band shows", Args: cobra.MaximumNArgs(1),
		Example: "  armlet alerts send 'Hello'\n  armlet alerts send --topic topics/news --type alertTypes/maintenance --payload '{\"hours\": 2}'",
		RunE: func(c *cobra.Command, args []string) error {
			req := &notifyv1.SendAlertRequest{Device: device, Topic: topic, Type: kind, RequestId: either(requestID, sandbox.RequestID())}
			if device == "" && topic == "" {
				req.Account = named("accounts/", account)
			}
			if len(args) == 1 {
				req.BandText, req.PhoneText = args[0], args[0]
			}
			level, ok := notifyv1.AlertPriority_value["ALERT_PRIORITY_"+strings.ToUpper(either(priority, "unspecified"))]
			if !ok {
				return usageError{fmt.Errorf("--priority takes low, normal, high or critical, not %q", priority)}
			}
			req.Priority = notifyv1.AlertPriority(level)
			if c.Flags().Changed("ttl") {
				req.Ttl = durationpb.New(ttl)
			}
			if payload != "" {
				req.Payload = &structpb.Struct{}
				if err := protojson.Unmarshal([]byte(payload), req.Payload); err != nil {
					return usageError{fmt.Errorf("--payload takes a JSON object: %w", err)}
				}
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				sent, err := s.Operator.Notify.SendAlert(ctx, req)
				if err != nil {
					return err
				}
				return a.printer().message(sent, func(w io.Writer) {
					if b := sent.GetBroadcast(); b != nil {
						fmt.Fprintf(w, "%s  %s\n", b.GetName(), state(b.GetState().String(), "BROADCAST_STATE_"))
						return
					}
					fmt.Fprintf(w, "%s  %s\n", sent.GetAlert().GetName(), state(sent.GetAlert().GetDelivery().String(), "DELIVERY_STATE_"))
				})
			})
		},
	}
	f := c.Flags()
	f.StringVar(&account, "account", sandbox.Account, "the account that is meant, when no device or topic is")
	f.StringVar(&device, "device", "", "full name of the band whose wearer is meant")
	f.StringVar(&topic, "topic", "", "name of the topic whose members are meant")
	f.StringVar(&kind, "type", "", "name of a published type; empty sends TEXT as it is")
	f.StringVar(&payload, "payload", "", "what the type's schema wants, as JSON")
	f.StringVar(&priority, "priority", "", "low, normal, high or critical; empty is the type's")
	f.DurationVar(&ttl, "ttl", 0, "how long it may take to be delivered; 0 is now or never")
	f.StringVar(&requestID, "request-id", "", "repeat an earlier sending safely")
	return c
}

func (a *app) alertsList() *cobra.Command {
	var account, token string
	var size int32
	c := &cobra.Command{Use: "list", Short: "List the alerts in an inbox, newest first", RunE: func(c *cobra.Command, _ []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			page, err := s.Operator.Notify.ListAlerts(ctx, &notifyv1.ListAlertsRequest{Parent: named("accounts/", account), PageSize: size, PageToken: token})
			if err != nil {
				return err
			}
			return a.printer().message(page, func(w io.Writer) {
				rows := make([][]string, 0, len(page.GetAlerts()))
				for _, one := range page.GetAlerts() {
					rows = append(rows, []string{
						one.GetName(), clock(one.GetCreateTime()), one.GetBandText(), state(one.GetDelivery().String(), "DELIVERY_STATE_"),
						state(one.GetEngagement().String(), "ENGAGEMENT_"),
					})
				}
				table(w, []string{"ALERT", "TIME", "BAND", "DELIVERY", "ENGAGEMENT"}, rows)
				more(w, page.GetNextPageToken())
			})
		})
	}}
	c.Flags().StringVar(&account, "account", sandbox.Account, "whose inbox")
	pageFlags(c, &size, &token)
	return c
}

func (a *app) alertsWatch() *cobra.Command {
	var count int
	c := &cobra.Command{
		Use: "watch", Short: "Print what happens in the sandbox wearer's inbox until Ctrl-C: first what is there, then what comes",
		RunE: func(c *cobra.Command, _ []string) error {
			err := a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				phone, _, err := s.Ready(ctx, func(what string) { fmt.Fprintln(a.err, what) })
				if err != nil {
					return err
				}
				inbox := &sdk.Inbox{Client: phone.Client.Notify, Account: sandbox.Account, ClientID: "armlet-watch", Surface: notifyv1.Surface_SURFACE_PHONE}
				seen := 0
				return inbox.Follow(ctx, func(change sdk.InboxChange) error {
					for _, one := range change.Upserts {
						fmt.Fprintf(a.out, "%s  %s  %s\n", clock(one.GetCreateTime()), one.GetName(), either(one.GetPhoneText(), one.GetBandText()))
						if seen++; seen == count {
							return sdk.ErrStop
						}
					}
					for _, moved := range change.States {
						fmt.Fprintf(a.out, "moved  %s  %s  %s\n", moved.GetAlert(), state(moved.GetDelivery().String(), "DELIVERY_STATE_"), state(moved.GetEngagement().String(), "ENGAGEMENT_"))
					}
					for _, name := range change.Removes {
						fmt.Fprintf(a.out, "gone  %s\n", name)
					}
					return nil
				})
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	c.Flags().IntVar(&count, "count", 0, "stop after this many alerts; 0 goes on")
	return c
}

func (a *app) alertsExplain() *cobra.Command {
	return &cobra.Command{
		Use: "explain ALERT", Short: "Tell in order why an alert was sent, held or dropped, and what was acknowledged", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if !strings.Contains(name, "/") {
				name = "accounts/-/alerts/" + name
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				why, err := s.Operator.Notify.ExplainAlert(ctx, &notifyv1.ExplainAlertRequest{Name: name})
				if err != nil {
					return err
				}
				return a.printer().message(why, func(w io.Writer) {
					var rows [][]string
					for _, d := range why.GetDecisions() {
						rows = append(rows, []string{clock(d.GetTime()), d.GetStep(), state(d.GetOutcome().String(), "DECISION_OUTCOME_"), either(d.GetReason(), "-"), d.GetDetail()})
					}
					for _, d := range why.GetDeliveries() {
						rows = append(rows, []string{
							clock(d.GetTime()), state(d.GetSurface().String(), "SURFACE_"), state(d.GetKind().String(), "ACK_KIND_"), either(d.GetActionId(), "-"), d.GetClientId(),
						})
					}
					table(w, []string{"TIME", "STEP", "OUTCOME", "REASON", "DETAIL"}, rows)
				})
			})
		},
	}
}

func (a *app) alertsPreferences() *cobra.Command {
	var account, zone, locale, quiet string
	c := &cobra.Command{
		Use: "preferences", Short: "Show how a wearer wants alerts, and change what flags name",
		Example: "  armlet alerts preferences --quiet 22:00-07:00 --time-zone Asia/Shanghai\n  armlet alerts preferences --quiet none",
		RunE: func(c *cobra.Command, _ []string) error {
			settings := &notifyv1.AlertSettings{Name: named("accounts/", account) + "/alertSettings", TimeZone: zone, Locale: locale}
			if quiet != "" && quiet != "none" {
				start, end, ok := strings.Cut(quiet, "-")
				if !ok {
					return usageError{fmt.Errorf("--quiet takes 22:00-07:00 or none, not %q", quiet)}
				}
				settings.QuietHours = &notifyv1.QuietHours{Start: start, End: end}
			}
			var paths []string
			for _, field := range [][2]string{{"time-zone", "time_zone"}, {"locale", "locale"}, {"quiet", "quiet_hours"}} {
				if c.Flags().Changed(field[0]) {
					paths = append(paths, field[1])
				}
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				got, err := changeSettings(ctx, s, settings, paths)
				if err != nil {
					return err
				}
				return a.printer().message(got, func(w io.Writer) {
					hours := "none"
					if q := got.GetQuietHours(); q != nil {
						hours = q.GetStart() + "-" + q.GetEnd()
					}
					fmt.Fprintf(w, "time zone %s, language %s, quiet hours %s\n", either(got.GetTimeZone(), "-"), either(got.GetLocale(), "-"), hours)
					for _, p := range got.GetPreferences() {
						fmt.Fprintf(w, "%s on %s: %t\n", state(p.GetCategory().String(), "ALERT_CATEGORY_"), state(p.GetSurface().String(), "SURFACE_"), p.GetEnabled())
					}
				})
			})
		},
	}
	c.Flags().StringVar(&account, "account", sandbox.Account, "whose")
	c.Flags().StringVar(&zone, "time-zone", "", "IANA time zone")
	c.Flags().StringVar(&locale, "locale", "", "language of texts, BCP 47")
	c.Flags().StringVar(&quiet, "quiet", "", "quiet hours in local time, 22:00-07:00, or none")
	return c
}

// changeSettings changes the fields that paths name, and only reads when there are none.
func changeSettings(ctx context.Context, s *sandbox.Sandbox, settings *notifyv1.AlertSettings, paths []string) (*notifyv1.AlertSettings, error) {
	if len(paths) == 0 {
		return s.Operator.Notify.GetAlertSettings(ctx, &notifyv1.GetAlertSettingsRequest{Name: settings.GetName()})
	}
	return s.Operator.Notify.UpdateAlertSettings(ctx, &notifyv1.UpdateAlertSettingsRequest{
		Settings: settings, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}, RequestId: sandbox.RequestID(),
	})
}
