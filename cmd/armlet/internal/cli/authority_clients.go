package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/sdk"
)

func (a *app) clientsCommand() *cobra.Command {
	c := &cobra.Command{Use: "clients", Short: "Register programs of partners, terminals and the operator, and rotate their keys"}
	var partner, token string
	var size int32
	list := a.auth("list", "List clients", func(ctx context.Context, auth authv1.AuthServiceClient, _ []string) (proto.Message, error) {
		return auth.ListClients(ctx, &authv1.ListClientsRequest{Parent: named("partners/", partner), PageSize: size, PageToken: token})
	})
	list.Flags().StringVar(&partner, "partner", "-", "only this partner's")
	pageFlags(list, &size, &token)
	var note string
	change := func(use, short string, call func(ctx context.Context, auth authv1.AuthServiceClient, name, request string) (*authv1.Client, error)) *cobra.Command {
		return a.auth(use+" CLIENT", short, func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return call(ctx, auth, named("clients/", args[0]), sandbox.RequestID())
		})
	}
	suspend := change("suspend", "Stop a client for now, within a second everywhere", func(ctx context.Context, auth authv1.AuthServiceClient, name, request string) (*authv1.Client, error) {
		return auth.SuspendClient(ctx, &authv1.SuspendClientRequest{Name: name, Note: note, RequestId: request})
	})
	revoke := change("revoke", "Stop a client for good, within a second everywhere", func(ctx context.Context, auth authv1.AuthServiceClient, name, request string) (*authv1.Client, error) {
		return auth.RevokeClient(ctx, &authv1.RevokeClientRequest{Name: name, Note: note, RequestId: request})
	})
	noteFlag(suspend, &note)
	noteFlag(revoke, &note)
	c.AddCommand(a.clientsCreate(), list, suspend, revoke, a.clientsRotate(),
		change("get", "Show one client", func(ctx context.Context, auth authv1.AuthServiceClient, name, _ string) (*authv1.Client, error) {
			return auth.GetClient(ctx, &authv1.GetClientRequest{Name: name})
		}),
		change("resume", "Let a suspended client get tokens again", func(ctx context.Context, auth authv1.AuthServiceClient, name, request string) (*authv1.Client, error) {
			return auth.ResumeClient(ctx, &authv1.ResumeClientRequest{Name: name, RequestId: request})
		}),
		a.auth("remove-key CLIENT KEY_ID", "Take a key from a client; its tokens are void within a second", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
			return auth.RemoveClientKey(ctx, &authv1.RemoveClientKeyRequest{Name: named("clients/", args[0]), KeyId: args[1], RequestId: sandbox.RequestID()})
		}))
	return c
}

// clientKey is where a client's public key comes from.
type clientKey struct{ public, out string }

func (k *clientKey) on(c *cobra.Command) {
	c.Flags().StringVar(&k.public, "public-jwk", "", "file of its public key (JWK); - is the standard input")
	c.Flags().StringVar(&k.out, "key-out", "", "make a key and write it, private, into this new file")
}

// jwk is the public key, empty when none was asked for.
func (k *clientKey) jwk(a *app) (string, error) {
	switch {
	case k.public != "" && k.out != "":
		return "", usageError{errors.New("--public-jwk and --key-out exclude each other")}
	case k.public != "":
		return a.readText(k.public)
	case k.out == "":
		return "", nil
	}
	if _, err := os.Lstat(k.out); err == nil {
		return "", usageError{fmt.Errorf("--key-out: %s is there already and is not overwritten", k.out)}
	}
	key, err := sdk.LoadOrCreateKey(k.out)
	if err != nil {
		return "", err
	}
	return key.PublicJWK()
}

func (a *app) clientsCreate() *cobra.Command {
	var key clientKey
	var partner, role, merchant, terminal string
	var tls, test bool
	c := a.auth("create CLIENT", "Register a client by its key or its certificate", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
		in := &authv1.CreateClientRequest{ClientId: args[0], Mode: typev1.Mode_MODE_LIVE, TlsClientAuth: tls, RequestId: sandbox.RequestID()}
		switch {
		case terminal != "":
			in.Role, in.Terminal, in.Merchant = authv1.ClientRole_CLIENT_ROLE_TERMINAL, named("terminals/", terminal), named("merchants/", merchant)
		case role != "":
			in.Role, in.OperatorRole = authv1.ClientRole_CLIENT_ROLE_OPERATOR, operatorRoles[role]
			if in.GetOperatorRole() == 0 {
				return nil, usageError{fmt.Errorf("--operator takes admin, support or auditor, not %q", role)}
			}
		case partner != "":
			in.Role, in.Partner = authv1.ClientRole_CLIENT_ROLE_PARTNER, named("partners/", partner)
		default:
			return nil, usageError{errors.New("say whose it is: --partner, --operator, or --terminal with --merchant")}
		}
		if test {
			in.Mode = typev1.Mode_MODE_TEST
		}
		var err error
		if in.PublicJwk, err = key.jwk(a); err != nil {
			return nil, err
		}
		if in.GetPublicJwk() == "" && !tls {
			return nil, usageError{errors.New("say how it proves itself: --public-jwk, --key-out or --tls")}
		}
		return auth.CreateClient(ctx, in)
	})
	key.on(c)
	c.Flags().StringVar(&partner, "partner", "", "a program of this partner")
	c.Flags().StringVar(&role, "operator", "", "a program or person of the operator: admin, support or auditor")
	c.Flags().StringVar(&terminal, "terminal", "", "a terminal")
	c.Flags().StringVar(&merchant, "merchant", "", "whose terminal it is")
	c.Flags().BoolVar(&tls, "tls", false, "it authenticates with a certificate (`armlet pki issue client CLIENT`)")
	c.Flags().BoolVar(&test, "test", false, "its tokens are of mode test")
	return c
}

var operatorRoles = map[string]authv1.OperatorRole{
	"admin": authv1.OperatorRole_OPERATOR_ROLE_ADMIN, "support": authv1.OperatorRole_OPERATOR_ROLE_SUPPORT, "auditor": authv1.OperatorRole_OPERATOR_ROLE_AUDITOR,
}

// clientsRotate gives a client another key; the old ones work until they are removed, at once or when the client has moved.
func (a *app) clientsRotate() *cobra.Command {
	var key clientKey
	var now bool
	c := a.auth("rotate CLIENT", "Give a client a new key beside the old one, or in its place", func(ctx context.Context, auth authv1.AuthServiceClient, args []string) (proto.Message, error) {
		name := named("clients/", args[0])
		before, err := auth.GetClient(ctx, &authv1.GetClientRequest{Name: name})
		if err != nil {
			return nil, err
		}
		public, err := key.jwk(a)
		if err == nil && public == "" {
			err = usageError{errors.New("say which: --public-jwk or --key-out")}
		}
		if err != nil {
			return nil, err
		}
		client, err := auth.AddClientKey(ctx, &authv1.AddClientKeyRequest{Name: name, PublicJwk: public, RequestId: sandbox.RequestID()})
		if err != nil || !now {
			return client, err
		}
		for _, old := range before.GetKeys() {
			if client, err = auth.RemoveClientKey(ctx, &authv1.RemoveClientKeyRequest{Name: name, KeyId: old.GetKeyId(), RequestId: sandbox.RequestID()}); err != nil {
				return nil, err
			}
		}
		return client, nil
	})
	key.on(c)
	c.Flags().BoolVar(&now, "now", false, "remove the old keys at once; the client's tokens are void within a second")
	return c
}
