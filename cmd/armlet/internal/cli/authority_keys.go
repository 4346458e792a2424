package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/sdk"
)

func (a *app) keysCommand() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Lead partners' master keys and the signing keys through their lives"}
	key := func(args []string) string { return named("partners/", args[0]) + "/masterKeys/" + args[1] }
	c.AddCommand(
		a.auth("list PARTNER", "List a partner's master keys", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.ListMasterKeys(ctx, &authv1.ListMasterKeysRequest{Parent: named("partners/", args[0])})
		}),
		a.auth("prepare PARTNER", "Make the key of the next epoch, so that its factory can have it before", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.CreateMasterKey(ctx, &authv1.CreateMasterKeyRequest{Parent: named("partners/", args[0]), RequestId: sandbox.RequestID()})
		}),
		a.auth("activate PARTNER EPOCH", "Make a prepared key the one of new devices; the present one retires and its devices go on", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.ActivateMasterKey(ctx, &authv1.ActivateMasterKeyRequest{Name: key(args), RequestId: sandbox.RequestID()})
		}),
		a.auth("taint PARTNER EPOCH", "Say that others may know a key: its devices stop with the next request", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.TaintMasterKey(ctx, &authv1.TaintMasterKeyRequest{Name: key(args), RequestId: sandbox.RequestID()})
		}),
		a.auth("destroy PARTNER EPOCH", "Erase the secret of a key; its devices can never be used again", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.DestroyMasterKey(ctx, &authv1.DestroyMasterKeyRequest{Name: key(args), RequestId: sandbox.RequestID()})
		}),
		a.auth("import-key", "Show the public key that keys to be imported are encrypted for", func(ctx context.Context, auth authv1.AuthServiceClient, _ []string) (proto.Message, error) {
			return auth.GetImportKey(ctx, &authv1.GetImportKeyRequest{})
		}),
		a.auth("import PARTNER FILE", "Bring a key that was made elsewhere, as a JWE for the import key", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			jwe, err := a.readText(args[1])
			if err != nil {
				return nil, err
			}
			return auth.ImportMasterKey(ctx, &authv1.ImportMasterKeyRequest{
				Parent: named("partners/", args[0]), Key: &authv1.ImportMasterKeyRequest_Jwe{Jwe: jwe}, RequestId: sandbox.RequestID(),
			})
		}),
		a.keysExport(), a.signingKeys())
	return c
}

// keysExport acts as the partner: nobody else gets its keys.
func (a *app) keysExport() *cobra.Command {
	var m maker
	var recipient, out string
	var epoch uint32
	c := &cobra.Command{
		Use: "export", Short: "Write a master key, encrypted for the partner's factory (JWE)", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			jwk, err := a.readText(recipient)
			if err != nil {
				return err
			}
			return a.acting(c.Context(), &m, func(ctx context.Context, client *sdk.Client) error {
				answer, err := client.Auth.ExportMasterKey(ctx, &authv1.ExportMasterKeyRequest{Partner: m.name(), KeyEpoch: epoch, RecipientJwk: jwk})
				if err != nil {
					return err
				}
				if out != "" {
					return os.WriteFile(out, []byte(answer.GetJwe()+"\n"), 0o600)
				}
				return a.printer().message(answer, func(w io.Writer) { fmt.Fprintln(w, answer.GetJwe()) })
			})
		},
	}
	m.flags(c)
	c.Flags().StringVar(&recipient, "recipient", "", "file of the factory's public key (JWK on P-256); - is the standard input")
	c.Flags().StringVar(&out, "out", "", "write it into this file")
	c.Flags().Uint32Var(&epoch, "epoch", 1, "of which epoch")
	return c
}

func (a *app) signingKeys() *cobra.Command {
	c := &cobra.Command{Use: "signing", Short: "The keys that sign tokens and assertions"}
	var force bool
	rotate := a.auth("rotate", "Make the prepared key the one that signs, and prepare the next", func(ctx context.Context, auth authv1.AuthServiceClient, _ []string) (proto.Message, error) {
		return auth.RotateSigningKey(ctx, &authv1.RotateSigningKeyRequest{Force: force, RequestId: sandbox.RequestID()})
	})
	rotate.Flags().BoolVar(&force, "force", false, "even when it has not been published for long")
	c.AddCommand(rotate,
		a.auth("list", "List the signing keys", func(ctx context.Context, auth authv1.AuthServiceClient, _ []string) (proto.Message, error) {
			return auth.ListSigningKeys(ctx, &authv1.ListSigningKeysRequest{})
		}),
		a.auth("taint KEY", "Withdraw a key: within a second nobody believes what it signed", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.TaintSigningKey(ctx, &authv1.TaintSigningKeyRequest{Name: named("signingKeys/", args[0]), RequestId: sandbox.RequestID()})
		}))
	return c
}

// writeAuth writes an answer of auth for people.
func writeAuth(w io.Writer, answer proto.Message) {
	switch m := answer.(type) {
	case *authv1.Partner:
		table(w, partnerHead, [][]string{partnerRow(m)})
	case *authv1.ListPartnersResponse:
		rows(w, partnerHead, m.GetPartners(), partnerRow)
		more(w, m.GetNextPageToken())
	case *authv1.Client:
		table(w, clientHead, [][]string{clientRow(m)})
	case *authv1.ListClientsResponse:
		rows(w, clientHead, m.GetClients(), clientRow)
		more(w, m.GetNextPageToken())
	case *authv1.Grant:
		table(w, grantHead, [][]string{grantRow(m)})
	case *authv1.ListGrantsResponse:
		rows(w, grantHead, m.GetGrants(), grantRow)
	case *authv1.MasterKey:
		table(w, keyHead, [][]string{masterRow(m)})
	case *authv1.ListMasterKeysResponse:
		rows(w, keyHead, m.GetMasterKeys(), masterRow)
	case *authv1.SigningKey:
		table(w, keyHead, [][]string{signingRow(m)})
	case *authv1.ListSigningKeysResponse:
		rows(w, keyHead, m.GetSigningKeys(), signingRow)
	case *authv1.GetImportKeyResponse:
		fmt.Fprintln(w, m.GetPublicJwk())
	case *authv1.ListAuditEntriesResponse:
		rows(w, []string{"SEQ", "TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL"}, m.GetAuditEntries(), func(e *authv1.AuditEntry) []string {
			return []string{fmt.Sprint(e.GetSequence()), clock(e.GetCreateTime()), e.GetActor(), e.GetAction(), e.GetSubject(), e.GetDetail()}
		})
	}
}

func rows[T any](w io.Writer, head []string, all []T, row func(T) []string) {
	lines := make([][]string, 0, len(all))
	for _, one := range all {
		lines = append(lines, row(one))
	}
	table(w, head, lines)
}

var (
	partnerHead = []string{"PARTNER", "NAME", "NUMBER", "KEY EPOCH", "STATE"}
	clientHead  = []string{"CLIENT", "OF", "MODE", "STATE", "KEYS"}
	grantHead   = []string{"GRANT", "STATE", "ENDS", "CALLS/MIN", "LARGEST PAYMENT", "REVISION"}
	keyHead     = []string{"KEY", "STATE", "SINCE", "MADE"}
)

func partnerRow(p *authv1.Partner) []string {
	return []string{p.GetName(), p.GetDisplayName(), fmt.Sprint(p.GetPartnerNo()), fmt.Sprint(p.GetKeyEpoch()), state(p.GetState().String(), "PARTNER_STATE_")}
}

func clientRow(c *authv1.Client) []string {
	of := either(c.GetPartner(), either(c.GetTerminal(), "operator "+state(c.GetOperatorRole().String(), "OPERATOR_ROLE_")))
	var keys []string
	for _, k := range c.GetKeys() {
		keys = append(keys, k.GetKeyId())
	}
	if c.GetTlsClientAuth() {
		keys = append(keys, "certificate")
	}
	return []string{c.GetName(), of, state(c.GetMode().String(), "MODE_"), state(c.GetState().String(), "CLIENT_STATE_"), strings.Join(keys, ",")}
}

func grantRow(g *authv1.Grant) []string {
	end, calls := "-", "-"
	if g.GetExpireTime() != nil {
		end = g.GetExpireTime().AsTime().Format("2006-01-02 15:04")
	}
	if n := g.GetLimits().GetCallsPerMinute(); n > 0 {
		calls = fmt.Sprint(n)
	}
	amounts := make([]string, 0, len(g.GetLimits().GetMaxAmounts()))
	for _, m := range g.GetLimits().GetMaxAmounts() {
		amounts = append(amounts, money(m))
	}
	return []string{g.GetName(), state(g.GetState().String(), "GRANT_STATE_"), end, calls, either(strings.Join(amounts, ","), "-"), fmt.Sprint(g.GetRevision())}
}

func masterRow(k *authv1.MasterKey) []string {
	made := "here"
	if k.GetImported() {
		made = "elsewhere"
	}
	return []string{k.GetName(), state(k.GetState().String(), "KEY_STATE_"), clock(k.GetStateTime()), made}
}

func signingRow(k *authv1.SigningKey) []string {
	return []string{k.GetName(), state(k.GetState().String(), "KEY_STATE_"), clock(k.GetStateTime()), "here"}
}
