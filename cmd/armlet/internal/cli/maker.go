package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	"github.com/armlet-pay/armlet/sdk"
)

// maker is the partner as which a command acts: the sandbox's, or the one whose client and key are named.
type maker struct{ partner, client, key string }

func (m *maker) flags(c *cobra.Command) {
	c.Flags().StringVar(&m.partner, "partner", "sandbox", "the partner, by its id or name")
	c.Flags().StringVar(&m.client, "client", "", "act as this client of the partner instead of the sandbox's")
	c.Flags().StringVar(&m.key, "key", "", "file of that client's private key (JWK)")
}

// name is the partner's name.
func (m *maker) name() string { return named("partners/", m.partner) }

// under is the name of a thing of the partner's, given its last part or its name.
func (m *maker) under(kind, arg string) string {
	if strings.Contains(arg, "/") {
		return arg
	}
	return m.name() + "/" + kind + "/" + arg
}

func (m *maker) check() error {
	switch {
	case (m.client == "") != (m.key == ""):
		return usageError{errors.New("--client and --key go together")}
	case m.client == "" && m.name() != sandbox.Partner:
		return usageError{errors.New("--partner other than the sandbox's needs --client and --key")}
	}
	return nil
}

// acting runs do with a connection as the partner, and with a deadline unless the command may take as long as it likes.
func (a *app) acting(ctx context.Context, m *maker, do func(context.Context, *sdk.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return a.actingLong(ctx, m, do)
}

// actingLong is acting without a deadline.
func (a *app) actingLong(ctx context.Context, m *maker, do func(context.Context, *sdk.Client) error) error {
	if err := m.check(); err != nil {
		return err
	}
	if m.client == "" {
		return a.open(ctx, func(ctx context.Context, s *sandbox.Sandbox) error {
			if _, err := s.RegisterPartner(ctx); err != nil {
				return err
			}
			return do(ctx, s.Partner)
		})
	}
	at, err := a.endpoints()
	if err != nil {
		return err
	}
	key, err := sdk.LoadKey(m.key)
	if err != nil {
		return err
	}
	secure, err := a.secure.options()
	if err != nil {
		return err
	}
	client, err := sdk.Dial(at, append(secure, sdk.WithTokens(sdk.ClientCredentials(at.TokenURL, m.client, key)))...)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, client), client.Close())
}
