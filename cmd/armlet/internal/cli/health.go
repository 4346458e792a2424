package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// healthCommand is also how the image's health check asks.
func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Ask the four services whether they serve",
		Long: `Ask the four services of the data folder's suite, by gRPC health, whether they serve. The exit code is 0 when all of them do, 1 when
one (or one of its replicas) does not, and 4 when one cannot be reached.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), a.timeout)
			defer cancel()
			return a.health(ctx)
		},
	}
}

func (a *app) health(ctx context.Context) error {
	at, err := a.endpoints()
	if err != nil {
		return err
	}
	config, err := a.secure.config()
	if err != nil {
		return err
	}
	var rows [][]string
	var bad error
	states := map[string]string{}
	for _, s := range [...]struct{ name, target string }{
		{"device-registry", at.Devices}, {"auth", at.Auth}, {"payments", at.Payments}, {"notify", at.Notify},
	} {
		targets := strings.Split(s.target, ",") // of replicas
		for _, target := range targets {
			name, target := s.name, strings.TrimSpace(target)
			if len(targets) > 1 {
				name += " " + target
			}
			state, err := serving(ctx, target, config)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if state != healthv1.HealthCheckResponse_SERVING {
				bad = errors.Join(bad, fmt.Errorf("%s is %s", name, state))
			}
			states[name] = state.String()
			rows = append(rows, []string{name, state.String()})
		}
	}
	return errors.Join(bad, a.printer().plain(states, func(w io.Writer) { table(w, []string{"SERVICE", "STATE"}, rows) }))
}

func serving(ctx context.Context, target string, config *tls.Config) (healthv1.HealthCheckResponse_ServingStatus, error) {
	transport := insecure.NewCredentials()
	if config != nil {
		transport = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(transport))
	if err != nil {
		return 0, err
	}
	answer, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return answer.GetStatus(), errors.Join(err, conn.Close())
}
