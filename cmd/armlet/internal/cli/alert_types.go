package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

func (a *app) alertTypesCommand() *cobra.Command {
	c := &cobra.Command{Use: "types", Short: "Make types of alerts, see what they would show, and publish them"}
	c.AddCommand(a.alertTypesList(), a.alertTypesPreview(),
		notifying(a, "create ID FILE", "Make a type of the operator's as a draft; FILE is its content, an AlertTypeContent as JSON", cobra.ExactArgs(2),
			func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.AlertType, error) {
				req := &notifyv1.CreateAlertTypeRequest{AlertTypeId: args[0], Draft: &notifyv1.AlertTypeContent{}, RequestId: sandbox.RequestID()}
				if err := readMessage(args[1], req.Draft); err != nil {
					return nil, err
				}
				return notify.CreateAlertType(ctx, req)
			}, showAlertType),
		notifying(a, "update TYPE FILE", "Change a type's draft; what is published stays", cobra.ExactArgs(2),
			func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.AlertType, error) {
				kind := &notifyv1.AlertType{Name: named("alertTypes/", args[0]), Draft: &notifyv1.AlertTypeContent{}}
				if err := readMessage(args[1], kind.Draft); err != nil {
					return nil, err
				}
				return notify.UpdateAlertType(ctx, &notifyv1.UpdateAlertTypeRequest{AlertType: kind, RequestId: sandbox.RequestID()})
			}, showAlertType),
		notifying(a, "get TYPE", "Show a type; with -o json also what it says", cobra.ExactArgs(1),
			func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.AlertType, error) {
				return notify.GetAlertType(ctx, &notifyv1.GetAlertTypeRequest{Name: named("alertTypes/", args[0])})
			}, showAlertType),
		notifying(a, "publish TYPE", "Put a type's draft into effect", cobra.ExactArgs(1),
			func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.AlertType, error) {
				return notify.PublishAlertType(ctx, &notifyv1.PublishAlertTypeRequest{Name: named("alertTypes/", args[0]), RequestId: sandbox.RequestID()})
			}, showAlertType))
	return c
}

var alertTypeHead = []string{"TYPE", "REVISION", "BUILT IN", "PRIORITY", "WHAT"}

func alertTypeRow(t *notifyv1.AlertType) []string {
	return []string{
		t.GetName(), fmt.Sprint(t.GetRevision()), yes(t.GetBuiltIn()), state(t.GetDraft().GetDefaultPriority().String(), "ALERT_PRIORITY_"), t.GetDraft().GetDisplayName(),
	}
}

func showAlertType(w io.Writer, t *notifyv1.AlertType) {
	table(w, alertTypeHead, [][]string{alertTypeRow(t)})
}

func (a *app) alertTypesList() *cobra.Command {
	var token, partner string
	var size int32
	c := notifying(a, "list", "List the built-in types and the operator's, or a partner's", nil, func(ctx context.Context, notify notifyv1.NotifyServiceClient, _ []string) (*notifyv1.ListAlertTypesResponse, error) {
		req := &notifyv1.ListAlertTypesRequest{PageSize: size, PageToken: token}
		if partner != "" {
			req.Parent = named("partners/", partner)
		}
		return notify.ListAlertTypes(ctx, req)
	}, func(w io.Writer, page *notifyv1.ListAlertTypesResponse) {
		rows := make([][]string, 0, len(page.GetAlertTypes()))
		for _, one := range page.GetAlertTypes() {
			rows = append(rows, alertTypeRow(one))
		}
		table(w, alertTypeHead, rows)
		more(w, page.GetNextPageToken())
	})
	c.Flags().StringVar(&partner, "partner", "", "whose")
	pageFlags(c, &size, &token)
	return c
}

func (a *app) alertTypesPreview() *cobra.Command {
	var payload, locale string
	c := notifying(a, "preview TYPE", "Say what a type's draft would show", cobra.ExactArgs(1), func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.PreviewAlertTypeResponse, error) {
		values, err := object("--payload", payload)
		if err != nil {
			return nil, err
		}
		return notify.PreviewAlertType(ctx, &notifyv1.PreviewAlertTypeRequest{Name: named("alertTypes/", args[0]), Payload: values, Locale: locale})
	}, func(w io.Writer, p *notifyv1.PreviewAlertTypeResponse) {
		fmt.Fprintf(w, "band   %s\nphone  %s: %s\nfull   %s\n", p.GetBandText(), p.GetTitle(), p.GetPhoneText(), p.GetFullText())
	})
	c.Example = "  armlet alerts types preview maintenance --payload '{\"hours\": 2}' --locale zh-CN"
	c.Flags().StringVar(&payload, "payload", "", "what the type's schema wants, as JSON")
	c.Flags().StringVar(&locale, "locale", "", "the language, BCP 47")
	return c
}

func (a *app) alertTopicsCommand() *cobra.Command {
	c := &cobra.Command{Use: "topics", Short: "Keep lists of recipients"}
	var name string
	create := notifying(a, "create ID", "Make a topic without members", cobra.ExactArgs(1), func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.Topic, error) {
		return notify.CreateTopic(ctx, &notifyv1.CreateTopicRequest{TopicId: args[0], DisplayName: either(name, args[0]), RequestId: sandbox.RequestID()})
	}, showTopic)
	create.Flags().StringVar(&name, "name", "", "what people call it; empty is the id")
	change := func(use, short string, set func(*notifyv1.ChangeTopicMembersRequest, []string)) *cobra.Command {
		return notifying(a, use+" TOPIC MEMBER…", short, cobra.MinimumNArgs(2), func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.Topic, error) {
			req := &notifyv1.ChangeTopicMembersRequest{Topic: topicName(args[0]), RequestId: sandbox.RequestID()}
			set(req, args[1:])
			return notify.ChangeTopicMembers(ctx, req)
		}, showTopic)
	}
	c.AddCommand(create,
		change("add", "Add accounts and bands, by their full names", func(r *notifyv1.ChangeTopicMembersRequest, m []string) { r.Add = m }),
		change("remove", "Remove accounts and bands", func(r *notifyv1.ChangeTopicMembersRequest, m []string) { r.Remove = m }),
		notifying(a, "list", "List the operator's topics", nil, func(ctx context.Context, notify notifyv1.NotifyServiceClient, _ []string) (*notifyv1.ListTopicsResponse, error) {
			return notify.ListTopics(ctx, &notifyv1.ListTopicsRequest{PageSize: 1000})
		}, func(w io.Writer, page *notifyv1.ListTopicsResponse) {
			for _, t := range page.GetTopics() {
				showTopic(w, t)
			}
		}),
		notifying(a, "members TOPIC", "List a topic's members", cobra.ExactArgs(1), func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.ListTopicMembersResponse, error) {
			return notify.ListTopicMembers(ctx, &notifyv1.ListTopicMembersRequest{Parent: topicName(args[0]), PageSize: 1000})
		}, func(w io.Writer, page *notifyv1.ListTopicMembersResponse) {
			for _, m := range page.GetMembers() {
				fmt.Fprintln(w, m)
			}
			more(w, page.GetNextPageToken())
		}),
		notifying(a, "delete TOPIC", "Delete a topic with its members", cobra.ExactArgs(1), func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.DeleteTopicResponse, error) {
			return notify.DeleteTopic(ctx, &notifyv1.DeleteTopicRequest{Name: topicName(args[0]), RequestId: sandbox.RequestID()})
		}, func(w io.Writer, _ *notifyv1.DeleteTopicResponse) { fmt.Fprintln(w, "deleted") }))
	return c
}

func topicName(arg string) string { return named("topics/", arg) }

func showTopic(w io.Writer, t *notifyv1.Topic) {
	fmt.Fprintf(w, "%s  %s  %d members\n", t.GetName(), t.GetDisplayName(), t.GetMemberCount())
}
