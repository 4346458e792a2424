package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/suite"
	"github.com/armlet-pay/armlet/sdk"
)

func (a *app) upCommand() *cobra.Command {
	opts := suite.Options{}
	var verbose bool
	c := &cobra.Command{
		Use:   "up",
		Short: "Run the whole suite on embedded stores until Ctrl-C",
		Long: `Run the whole suite on embedded stores until Ctrl-C.

Data is kept in --data: stopped or killed and started again, the suite carries on
with nothing lost. Connections are in clear text, so it listens on 127.0.0.1 only
unless --host says otherwise; a deployment runs the four services with TLS instead.`,
		Example: "  armlet up\n  armlet up --data /tmp/try --port-base 0   # any free ports",
		RunE: func(c *cobra.Command, _ []string) error {
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelInfo
			}
			opts.Data = a.data
			opts.Log = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
			return a.up(c.Context(), opts)
		},
	}
	c.Flags().StringVar(&opts.Host, "host", "127.0.0.1", "address to listen on")
	c.Flags().IntVar(&opts.PortBase, "port-base", 7400, "gRPC on base+1 to base+4, NATS on base+22, HTTP on base+80; 0 takes any free ports")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what the services do")
	return c
}

func (a *app) up(ctx context.Context, opts suite.Options) error {
	s, err := suite.Start(ctx, opts)
	if err != nil {
		return err
	}
	at := s.Endpoints()
	if err := a.printer().plain(at, func(w io.Writer) { banner(w, at, a.data) }); err != nil {
		return err
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-s.Failed():
	}
	fmt.Fprintln(a.err, "stopping…")
	stop, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return errors.Join(failed, s.Stop(stop))
}

func banner(w io.Writer, at sdk.Endpoints, data string) {
	fmt.Fprintf(w, `Armlet is up. Data is in %s; Ctrl-C stops it.

  gRPC   device-registry  %s
         auth             %s
         payments         %s
         notify           %s   (reflection and health on all four)
  HTTP   tokens           %s
         public keys      %s
  NATS   partners         %s

The first tap, in a second terminal:

  bin/armlet tap --data %s

`, data, at.Devices, at.Auth, at.Payments, at.Notify, at.TokenURL, at.JWKSURL, at.NATSURL, data)
}
