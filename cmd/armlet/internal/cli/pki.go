package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/pki"
)

const day = 24 * time.Hour

// pkiFlags are those of all commands about certificates.
type pkiFlags struct {
	dir, out string
	days     int
}

func (f *pkiFlags) on(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "dir", "./pki", "folder of the authority; keep its ca.key to yourself")
	c.Flags().StringVar(&f.out, "out", "", "folder of what it issues; the authority's when empty")
}

func (f *pkiFlags) life(c *cobra.Command, days int) {
	c.Flags().IntVar(&f.days, "days", days, "how long it is good")
}

func (f *pkiFlags) folder() string { return either(f.out, f.dir) }

func (f *pkiFlags) open() (*pki.Authority, error) { return pki.Open(f.dir, f.folder()) }

func (a *app) pkiCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "pki", Short: "Make the certificates by which services and clients are known",
		Long: `Make the certificates by which services and clients are known, for an installation that has no authority of its own.

  armlet pki services                             all that the four services need, in ./pki; again later, what is missing or ends soon
  armlet pki issue client acme-backend            for a partner's client that authenticates with a certificate
  armlet pki renew                                what ends within 30 days; services read the new files by themselves`,
	}
	c.AddCommand(a.pkiInit(), a.pkiIssue(), a.pkiServices(), a.pkiRenew(), a.pkiShow())
	return c
}

func (a *app) pkiInit() *cobra.Command {
	var f pkiFlags
	c := &cobra.Command{Use: "init", Short: "Make an authority", RunE: func(*cobra.Command, []string) error {
		i, err := pki.Init(f.dir, time.Duration(f.days)*day, time.Now())
		return a.showCertificates([]pki.Info{i}, err)
	}}
	c.Flags().StringVar(&f.dir, "dir", "./pki", "its folder")
	f.life(c, 3650)
	return c
}

func (a *app) pkiIssue() *cobra.Command {
	var f pkiFlags
	var hosts []string
	c := &cobra.Command{
		Use: "issue service|client NAME", Short: "Issue a certificate with its key", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] != string(pki.Service) && args[0] != string(pki.Client) {
				return usageError{fmt.Errorf("a certificate is for a service or a client, not a %q", args[0])}
			}
			authority, err := f.open()
			if err != nil {
				return err
			}
			r := pki.Request{Kind: pki.Kind(args[0]), Name: args[1], Hosts: hosts, Life: time.Duration(f.days) * day}
			if r.Kind == pki.Service && len(hosts) == 0 {
				r.Hosts = serviceHosts(r.Name)
			}
			i, err := authority.Issue(r, time.Now())
			return a.showCertificates([]pki.Info{i}, err)
		},
	}
	f.on(c)
	f.life(c, 397)
	c.Flags().StringSliceVar(&hosts, "host", nil, "DNS name or IP address of a service, as often as needed (default its name, localhost and 127.0.0.1)")
	return c
}

func serviceHosts(name string) []string { return []string{name, "localhost", "127.0.0.1"} }

// pkiServices may be run again and again: by hand, at each start, or by a timer.
func (a *app) pkiServices() *cobra.Command {
	var f pkiFlags
	var each bool
	c := &cobra.Command{
		Use: "services", Short: "Make what the four services need, where it is missing, and renew what ends soon",
		RunE: func(*cobra.Command, []string) error {
			now := time.Now()
			if _, err := pki.Init(f.dir, 3650*day, now); err != nil && !errors.Is(err, pki.ErrExists) {
				return err
			}
			folders := []string{f.folder()}
			if each {
				folders = nil
				for _, name := range pki.Services {
					folders = append(folders, filepath.Join(f.folder(), name))
				}
			}
			for i, name := range pki.Services {
				if err := issueOrRenew(f.dir, folders[i%len(folders)], name, time.Duration(f.days)*day, now); err != nil {
					return err
				}
			}
			var all []pki.Info
			for _, folder := range folders {
				there, err := pki.List(folder)
				if err != nil {
					return err
				}
				all = append(all, there...)
			}
			return a.showCertificates(all, nil)
		},
	}
	f.on(c)
	f.life(c, 397)
	c.Flags().BoolVar(&each, "each", false, "each service gets a folder of its own in --out, so that it sees no key but its own")
	return c
}

func issueOrRenew(dir, folder, name string, life time.Duration, now time.Time) error {
	authority, err := pki.Open(dir, folder)
	if err != nil {
		return err
	}
	if _, err := authority.Renew(nil, 30*day, life, now); err != nil {
		return err
	}
	_, err = authority.Issue(pki.Request{Kind: pki.Service, Name: name, Hosts: serviceHosts(name), Life: life}, now)
	if errors.Is(err, pki.ErrExists) {
		return nil
	}
	return err
}

func (a *app) pkiRenew() *cobra.Command {
	var f pkiFlags
	var within int
	c := &cobra.Command{
		Use: "renew [NAME...]", Short: "Renew certificates, by name or those that end soon", Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			authority, err := f.open()
			if err != nil {
				return err
			}
			renewed, err := authority.Renew(args, time.Duration(within)*day, time.Duration(f.days)*day, time.Now())
			return a.showCertificates(renewed, err)
		},
	}
	f.on(c)
	f.life(c, 397)
	c.Flags().IntVar(&within, "within", 30, "without a name: those that end within so many days")
	return c
}

func (a *app) pkiShow() *cobra.Command {
	var f pkiFlags
	c := &cobra.Command{Use: "show", Short: "Show certificates and when they end", RunE: func(*cobra.Command, []string) error {
		all, err := pki.List(f.folder())
		return a.showCertificates(all, err)
	}}
	f.on(c)
	return c
}

func (a *app) showCertificates(all []pki.Info, err error) error {
	if err != nil {
		return err
	}
	if all == nil {
		all = []pki.Info{}
	}
	return a.printer().plain(all, func(w io.Writer) {
		rows := make([][]string, 0, len(all))
		for _, i := range all {
			rows = append(rows, []string{
				i.File, either(string(i.Kind), "-"), i.Name, either(strings.Join(i.Hosts, ","), "-"),
				fmt.Sprintf("%s (%d days)", i.NotAfter.Format("2006-01-02"), int(time.Until(i.NotAfter)/day)),
			})
		}
		table(w, []string{"FILE", "KIND", "NAME", "HOSTS", "GOOD UNTIL"}, rows)
	})
}
