package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

// What becomes of a partner's bands.
const (
	keepBands    = "keep"
	suspendBands = "suspend"
)

const (
	offboardLook   = 300 * time.Millisecond
	offboardBands  = 500 // a page
	offboardPerRPC = 30 * time.Second
)

// offboarding is how a partner leaves.
type offboarding struct {
	dryRun bool
	bands  string
	note   string
	wait   time.Duration
}

// leaving is what goes with a partner, or is left of it.
type leaving struct {
	Partner string                    `json:"partner"`
	State   string                    `json:"state"`
	Removal string                    `json:"removal"`
	Clients int64                     `json:"clients"` // not revoked
	Grants  int64                     `json:"grants"`  // not revoked
	Bands   int64                     `json:"bands"`   // bound
	Notify  *notifyv1.PartnerHoldings `json:"notify"`
	// Suspended counts the bands that this run suspended.
	Suspended int64 `json:"suspended"`
}

func (a *app) partnersOffboard() *cobra.Command {
	var o offboarding
	c := &cobra.Command{
		Use: "offboard PARTNER --bands keep|suspend", Args: cobra.ExactArgs(1),
		Short: "End a partner for good: revoke all its credentials and remove its subscriptions, types, topics, campaigns and NATS account and stream",
		Long: "Payments, issued vouchers, wearers' alerts and the audit stay. The bands are their wearers': --bands says whether they pay on (keep) or are\n" +
			"suspended for RISK (suspend), which an operator can lift band by band. Whatever was cut off, the same command goes on.",
		RunE: func(c *cobra.Command, args []string) error {
			if !o.dryRun && o.bands != keepBands && o.bands != suspendBands {
				return usageError{fmt.Errorf("say what becomes of the partner's bands: --bands %s or --bands %s", keepBands, suspendBands)}
			}
			return a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				l, err := o.run(ctx, s, named("partners/", args[0]), a.err)
				if err != nil {
					return err
				}
				return a.printer().plain(l, func(w io.Writer) { writeLeaving(w, l) })
			})
		},
	}
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "only list what would be removed")
	c.Flags().StringVar(&o.bands, "bands", "", "what becomes of its bands: keep or suspend")
	c.Flags().DurationVar(&o.wait, "wait", time.Minute, "how long to wait until all is removed; it goes on without this command too")
	noteFlag(c, &o.note)
	return c
}

func (o offboarding) run(ctx context.Context, s *sandbox.Sandbox, partner string, progress io.Writer) (leaving, error) {
	if o.dryRun {
		return lookAtLeaving(ctx, s, partner)
	}
	_, err := s.Operator.Auth.OffboardPartner(within(ctx), &authv1.OffboardPartnerRequest{Name: partner, Note: o.note, RequestId: sandbox.RequestID()})
	if err != nil {
		return leaving{}, err
	}
	fmt.Fprintln(progress, "its clients and grants are revoked")
	var suspended int64
	if o.bands == suspendBands {
		if suspended, err = suspendAll(ctx, s, partner, either(o.note, "its maker was offboarded"), progress); err != nil {
			return leaving{}, err
		}
	}
	for deadline := time.Now().Add(o.wait); ; {
		l, err := lookAtLeaving(ctx, s, partner)
		l.Suspended = suspended
		if err != nil {
			return l, err
		}
		if l.Removal == "DONE" {
			return l, nil
		}
		if time.Now().After(deadline) {
			return l, fmt.Errorf("after %s the removal is still %s; it goes on by itself, and the same command looks again", o.wait, l.Removal)
		}
		select {
		case <-ctx.Done():
			return l, ctx.Err()
		case <-time.After(offboardLook):
		}
	}
}

// within bounds one call; a whole offboarding may take longer than any of its calls.
func within(ctx context.Context) context.Context {
	bounded, cancel := context.WithTimeout(ctx, offboardPerRPC)
	context.AfterFunc(bounded, cancel)
	return bounded
}

// suspendAll suspends the bound bands that are not suspended for RISK yet, page by page.
func suspendAll(ctx context.Context, s *sandbox.Sandbox, partner, note string, progress io.Writer) (n int64, err error) {
	err = boundBands(ctx, s, partner, func(d *devicesv1.Device) error {
		for _, one := range d.GetSuspensions() {
			if one.GetReason() == devicesv1.SuspensionReason_SUSPENSION_REASON_RISK {
				return nil
			}
		}
		_, err := s.Operator.Devices.SuspendDevice(within(ctx), &devicesv1.SuspendDeviceRequest{
			Name: d.GetName(), Reason: devicesv1.SuspensionReason_SUSPENSION_REASON_RISK, Note: note, RequestId: sandbox.RequestID(),
		})
		if err != nil {
			return fmt.Errorf("suspend %s (%d are suspended by now; the same command goes on): %w", d.GetName(), n, err)
		}
		if n++; n%offboardBands == 0 {
			fmt.Fprintf(progress, "%d bands are suspended\n", n)
		}
		return nil
	})
	return n, err
}

func boundBands(ctx context.Context, s *sandbox.Sandbox, partner string, do func(*devicesv1.Device) error) error {
	req := &devicesv1.ListDevicesRequest{Parent: partner, PageSize: offboardBands, Filter: "state = BOUND"}
	for {
		page, err := s.Operator.Devices.ListDevices(within(ctx), req)
		if err != nil {
			return err
		}
		for _, d := range page.GetDevices() {
			if err := do(d); err != nil {
				return err
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return nil
		}
	}
}

// lookAtLeaving counts what the services have of a partner.
func lookAtLeaving(ctx context.Context, s *sandbox.Sandbox, partner string) (l leaving, err error) {
	p, err := s.Operator.Auth.GetPartner(within(ctx), &authv1.GetPartnerRequest{Name: partner})
	if err != nil {
		return l, err
	}
	l.Partner, l.State = p.GetName(), state(p.GetState().String(), "PARTNER_STATE_")
	clients := &authv1.ListClientsRequest{Parent: partner, PageSize: 100}
	for {
		page, err := s.Operator.Auth.ListClients(within(ctx), clients)
		if err != nil {
			return l, err
		}
		for _, c := range page.GetClients() {
			if c.GetState() != authv1.ClientState_CLIENT_STATE_REVOKED {
				l.Clients++
			}
		}
		if clients.PageToken = page.GetNextPageToken(); clients.PageToken == "" {
			break
		}
	}
	grants, grantsErr := s.Operator.Auth.ListGrants(within(ctx), &authv1.ListGrantsRequest{Parent: partner})
	for _, g := range grants.GetGrants() {
		if g.GetState() != authv1.GrantState_GRANT_STATE_REVOKED {
			l.Grants++
		}
	}
	bandsErr := boundBands(ctx, s, partner, func(*devicesv1.Device) error { l.Bands++; return nil })
	removal, removalErr := s.Operator.Notify.GetOffboarding(within(ctx), &notifyv1.GetOffboardingRequest{Name: partner + "/offboarding"})
	l.Removal, l.Notify = state(removal.GetState().String(), "OFFBOARDING_STATE_"), removal.GetHoldings()
	return l, errors.Join(grantsErr, bandsErr, removalErr)
}

func writeLeaving(w io.Writer, l leaving) {
	n := l.Notify
	stream := "none"
	if n.GetStream() {
		stream = fmt.Sprintf("%d events, %d consumers", n.GetStreamEvents(), n.GetStreamConsumers())
	}
	fmt.Fprintf(w, "%s is %s, its removal %s\n", l.Partner, l.State, l.Removal)
	table(w, []string{"WHAT", "THERE IS"}, [][]string{
		{"clients", fmt.Sprint(l.Clients)}, {"grants", fmt.Sprint(l.Grants)},
		{"subscriptions", fmt.Sprint(n.GetSubscriptions())}, {"webhook keys", fmt.Sprint(n.GetWebhookKeys())},
		{"undelivered events, dead letters", fmt.Sprint(n.GetDeliveries())},
		{"alert types", fmt.Sprint(n.GetAlertTypes())}, {"event types", fmt.Sprint(n.GetEventTypes())},
		{"topics", fmt.Sprintf("%d with %d members", n.GetTopics(), n.GetTopicMembers())},
		{"waiting alerts", fmt.Sprint(n.GetWaitingAlerts())}, {"open campaigns", fmt.Sprint(n.GetOpenCampaigns())},
		{"NATS account", yes(n.GetNatsAccount())}, {"stream", stream}, {"unpublished events", fmt.Sprint(n.GetPendingEvents())},
		{"bound bands (stay)", fmt.Sprint(l.Bands)},
	})
	if l.Suspended > 0 {
		fmt.Fprintf(w, "%d bands were suspended\n", l.Suspended)
	}
}
