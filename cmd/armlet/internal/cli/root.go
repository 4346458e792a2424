// Package cli is the command line: it starts the suite, tells the demo's story,
// and looks into a running suite.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	"github.com/armlet-pay/armlet/sdk"
)

// EndpointsFile is what a running suite writes into its data folder.
const EndpointsFile = "endpoints.json"

type app struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	data    string
	format  string
	timeout time.Duration
	secure  secureFlags
}

// Main runs the command line and returns the exit code.
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(&app{in: in, out: out, err: errw})
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	return explain(errw, root.ExecuteContext(ctx))
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "armlet",
		Short: "Armlet lets a wristband pay",
		Long: `Armlet lets a wristband pay.

  armlet demo                     a band is claimed, pays and is lost; in under a minute
  armlet up                       the whole suite on embedded stores, until Ctrl-C
  armlet tap --amount 12.00       a virtual band pays at a virtual terminal

Exit codes: 0 done, 1 failure, 2 wrong usage, 3 the suite said no, 4 the suite cannot be reached.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.format != "text" && a.format != "json" {
				return usageError{fmt.Errorf("-o takes text or json, not %q", a.format)}
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVar(&a.data, "data", "./data", "data folder of the suite")
	root.PersistentFlags().StringVarP(&a.format, "output", "o", "text", "output format: text or json")
	root.PersistentFlags().DurationVar(&a.timeout, "timeout", 15*time.Second, "how long a command waits for the suite")
	a.secure.on(root.PersistentFlags())
	root.AddCommand(a.demoCommand(), a.upCommand(), a.healthCommand(), a.doctorCommand(), a.tapCommand(), a.devicesCommand(), a.paymentsCommand(), a.accountsCommand(),
		a.merchantsCommand(), a.terminalsCommand(), a.limitsCommand(), a.settlementsCommand(), a.transfersCommand(), a.offlineCommand(),
		a.vouchersCommand(), a.alertsCommand(), a.eventsCommand(), a.listenCommand(),
		a.partnersCommand(), a.clientsCommand(), a.grantsCommand(), a.keysCommand(), a.pkiCommand(), a.secretsCommand())
	usageArgs(root)
	return root
}

// usageArgs makes wrong arguments a usage error in every command.
func usageArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
		if c.HasSubCommands() {
			check = func(c *cobra.Command, args []string) error {
				if len(args) > 0 {
					return fmt.Errorf("there is no command %q in `%s`", args[0], c.CommandPath())
				}
				return nil
			}
		}
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
	if c.HasSubCommands() && c.RunE == nil && c.Run == nil {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

func (a *app) printer() printer { return printer{a.out, a.format == "json"} }

// endpoints reads where the suite of the data folder listens.
func (a *app) endpoints() (sdk.Endpoints, error) {
	var at sdk.Endpoints
	text, err := os.ReadFile(filepath.Join(a.data, EndpointsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return at, fmt.Errorf("no suite has run on %s yet; start one with `armlet up --data %s`", a.data, a.data)
	}
	if err != nil {
		return at, err
	}
	if err := json.Unmarshal(text, &at); err != nil {
		return at, fmt.Errorf("%s is damaged; restart `armlet up`: %w", filepath.Join(a.data, EndpointsFile), err)
	}
	return at, nil
}

// connected runs do with connections to the suite and a deadline.
func (a *app) connected(ctx context.Context, do func(context.Context, *sandbox.Sandbox) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return a.open(ctx, do)
}

func (a *app) open(ctx context.Context, do func(context.Context, *sandbox.Sandbox) error) error {
	at, err := a.endpoints()
	if err != nil {
		return err
	}
	secure, err := a.secure.options()
	if err != nil {
		return err
	}
	s, err := sandbox.Open(at, a.data, secure...)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, s), s.Close())
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	var parts []string
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.time" {
			parts = append(parts, s.Value)
		}
	}
	return strings.Join(append([]string{info.Main.Version}, parts...), " ")
}
