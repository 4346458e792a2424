package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
)

// auth is a command of the operator's that asks auth one thing and prints its answer.
func (a *app) auth(use, short string, do func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(len(strings.Fields(use)) - 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				answer, err := do(ctx, s.Operator.Auth, args)
				if err != nil {
					return err
				}
				return a.printer().message(answer, func(w io.Writer) { writeAuth(w, answer) })
			})
		},
	}
}

func (a *app) partnersCommand() *cobra.Command {
	c := &cobra.Command{Use: "partners", Short: "Register makers, suspend, resume and offboard them"}
	var displayName string
	create := a.auth("create PARTNER", "Register a partner with its first master key", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
		return auth.CreatePartner(ctx, &authv1.CreatePartnerRequest{
			PartnerId: args[0], DisplayName: either(displayName, args[0]), RequestId: sandbox.RequestID(),
		})
	})
	create.Flags().StringVar(&displayName, "display-name", "", "how people call it (default its id)")
	var size int32
	var token string
	list := a.auth("list", "List partners", func(ctx context.Context, auth authv1.AuthServiceClient, _ []string) (proto.Message, error) {
		return auth.ListPartners(ctx, &authv1.ListPartnersRequest{PageSize: size, PageToken: token})
	})
	pageFlags(list, &size, &token)
	var note string
	suspend := a.auth("suspend PARTNER", "Stop all its clients, within a second everywhere", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
		return auth.SuspendPartner(ctx, &authv1.SuspendPartnerRequest{Name: named("partners/", args[0]), Note: note, RequestId: sandbox.RequestID()})
	})
	noteFlag(suspend, &note)
	c.AddCommand(create, list, suspend, a.partnersOffboard(),
		a.auth("get PARTNER", "Show one partner", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.GetPartner(ctx, &authv1.GetPartnerRequest{Name: named("partners/", args[0])})
		}),
		a.auth("resume PARTNER", "Let its clients get tokens again", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.ResumePartner(ctx, &authv1.ResumePartnerRequest{Name: named("partners/", args[0]), RequestId: sandbox.RequestID()})
		}),
		a.auth("audit SUBJECT", "Show who decided what about a partner, client, grant or key, by its name", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.ListAuditEntries(ctx, &authv1.ListAuditEntriesRequest{Subject: args[0], PageSize: 1000})
		}))
	return c
}

func noteFlag(c *cobra.Command, note *string) {
	c.Flags().StringVar(note, "note", "", "why, for the record")
}

// grantFlags are what a grant may be bounded by.
type grantFlags struct {
	sandbox bool
	expires string
	calls   uint32
	amounts []string
}

func (f *grantFlags) on(c *cobra.Command) {
	c.Flags().BoolVar(&f.sandbox, "sandbox", false, "in force for clients of mode test only")
	c.Flags().StringVar(&f.expires, "expires", "", "when it ends: a time (RFC 3339), or in how long, such as 720h")
	c.Flags().StringSliceVar(&f.amounts, "max-amount", nil, "of payments.initiate: the largest payment of a currency, such as CNY=500.00, as often as needed")
	c.Flags().Uint32Var(&f.calls, "calls-per-minute", 0, "how many calls a minute it permits; 0 is without bound")
}

func (f *grantFlags) read() (state authv1.GrantState, limits *authv1.GrantLimits, end *timestamppb.Timestamp, err error) {
	state = authv1.GrantState_GRANT_STATE_APPROVED
	if f.sandbox {
		state = authv1.GrantState_GRANT_STATE_SANDBOX
	}
	if f.calls > 0 || len(f.amounts) > 0 {
		limits = &authv1.GrantLimits{CallsPerMinute: f.calls}
	}
	for _, text := range f.amounts {
		currency, amount, _ := strings.Cut(text, "=")
		most, err := parseAmount(amount, currency)
		if err != nil {
			return state, nil, nil, err
		}
		limits.MaxAmounts = append(limits.MaxAmounts, most)
	}
	if f.expires == "" {
		return state, limits, nil, nil
	}
	at, err := time.Parse(time.RFC3339, f.expires)
	if in, bad := time.ParseDuration(f.expires); bad == nil {
		at, err = time.Now().Add(in), nil
	}
	if err != nil {
		return state, limits, nil, usageError{fmt.Errorf("--expires %q is neither a time (RFC 3339) nor a duration such as 720h", f.expires)}
	}
	return state, limits, timestamppb.New(at), nil
}

func (a *app) grantsCommand() *cobra.Command {
	c := &cobra.Command{Use: "grants", Short: "Allow partners scopes, and take them back"}
	grant := func(args []string) string { return named("partners/", args[0]) + "/grants/" + args[1] }
	var begin, approve grantFlags
	create := a.auth("create PARTNER SCOPE", "Allow a partner one scope", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
		state, limits, end, err := begin.read()
		if err != nil {
			return nil, err
		}
		return auth.CreateGrant(ctx, &authv1.CreateGrantRequest{
			Parent: named("partners/", args[0]), Scope: args[1], State: state, Limits: limits, ExpireTime: end, RequestId: sandbox.RequestID(),
		})
	})
	begin.on(create)
	allow := a.auth("approve PARTNER SCOPE", "Let a grant that was requested, tried or suspended come into force", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
		state, limits, end, err := approve.read()
		if err != nil {
			return nil, err
		}
		return auth.ApproveGrant(ctx, &authv1.ApproveGrantRequest{Name: grant(args), State: state, Limits: limits, ExpireTime: end, RequestId: sandbox.RequestID()})
	})
	approve.on(allow)
	var note string
	suspend := a.auth("suspend PARTNER SCOPE", "Take a grant out of force for now", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
		return auth.SuspendGrant(ctx, &authv1.SuspendGrantRequest{Name: grant(args), Note: note, RequestId: sandbox.RequestID()})
	})
	noteFlag(suspend, &note)
	c.AddCommand(create, allow, suspend,
		a.auth("bundle PARTNER BUNDLE", "Allow a partner all scopes of a bundle, basic or extended", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			bundle, ok := authv1.GrantBundle_value["GRANT_BUNDLE_"+strings.ToUpper(args[1])]
			if !ok {
				return nil, usageError{fmt.Errorf("a bundle is basic or extended, not %q", args[1])}
			}
			return auth.ApplyGrantBundle(ctx, &authv1.ApplyGrantBundleRequest{
				Parent: named("partners/", args[0]), Bundle: authv1.GrantBundle(bundle), RequestId: sandbox.RequestID(),
			})
		}),
		a.auth("list PARTNER", "List a partner's grants", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.ListGrants(ctx, &authv1.ListGrantsRequest{Parent: named("partners/", args[0])})
		}),
		a.auth("get PARTNER SCOPE", "Show one grant", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.GetGrant(ctx, &authv1.GetGrantRequest{Name: grant(args)})
		}),
		a.auth("revoke PARTNER SCOPE", "Take a scope back, within a second everywhere", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.RevokeGrant(ctx, &authv1.RevokeGrantRequest{Name: grant(args), RequestId: sandbox.RequestID()})
		}))
	return c
}

// readText reads a file that holds one text, or the standard input for "-".
func (a *app) readText(file string) (string, error) {
	var text []byte
	var err error
	switch file {
	case "":
		return "", usageError{errors.New("a file is missing; - is the standard input")}
	case "-":
		text, err = io.ReadAll(io.LimitReader(a.in, 64<<10))
	default:
		text, err = os.ReadFile(file)
	}
	return strings.TrimSpace(string(text)), err
}
