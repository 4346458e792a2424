package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/conf"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

// Migrations are those of a service's database; nil for a service without one.
type Migrations func() (fs.FS, error)

const (
	commandCheck   = "check"
	commandHealth  = "health"
	commandMigrate = "migrate"
	commandVersion = "version"

	healthTimeout = 4 * time.Second
)

const commandsHelp = `
Commands, with the same flags, variables and file:

  migrate    bring the database up to date and exit; the release before may go on running
  health     ask the program that runs with this configuration whether it is ready, by its http-listen
  --check    test everything that the configuration names, say what is wrong, and exit
  --version  say what was built, and exit
`

// commandOf takes the command out of the arguments.
func commandOf(args []string) (command string, rest []string) {
	if len(args) > 0 && (args[0] == commandMigrate || args[0] == commandHealth) {
		return args[0], args[1:]
	}
	for _, c := range []string{commandCheck, commandVersion} {
		if i := slices.IndexFunc(args, func(a string) bool { return a == "--"+c || a == "-"+c }); i >= 0 {
			return c, slices.Delete(slices.Clone(args), i, i+1)
		}
	}
	return "", args
}

// run does a command; cfg is the loaded configuration.
func (p process) run(ctx context.Context, name, command string, cfg any) int {
	var err error
	switch command {
	case commandCheck:
		err = p.check(ctx, name, cfg)
	case commandHealth:
		err = health(ctx, conf.Value(cfg, "http-listen"))
	case commandMigrate:
		err = p.migrate(ctx, conf.Reveal(cfg, "db-url"))
	}
	if err != nil {
		_, _ = fmt.Fprintf(p.stderr, "%s: %v\n", name, err)
		return ExitFailure
	}
	return ExitOK
}

func (p process) migrate(ctx context.Context, url string) error {
	if p.migrations == nil || url == "" {
		return errors.New("there is no database to migrate")
	}
	files, err := p.migrations()
	if err != nil {
		return err
	}
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return fmt.Errorf("db-url: %w", err)
	}
	defer func() { _ = db.Close() }()
	before, err := db.Schema(ctx, files)
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx, files); err != nil {
		return err
	}
	after, err := db.Schema(ctx, files)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "migrated from version %d to %d\n", before.Applied, after.Applied)
	return err
}

// health asks whoever listens at the address of HTTP; an address of every interface is asked on this machine.
func health(ctx context.Context, listen string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return errors.New("http-listen: needs a fixed port to be asked")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", resp.Status)
	}
	return nil
}
