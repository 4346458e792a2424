package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/secrets"
)

func (a *app) secretsCommand() *cobra.Command {
	var dir, out string
	var at secrets.Places
	c := &cobra.Command{
		Use: "secrets", Short: "Make the passwords of a deployment, where they are missing",
		Long: `Make the passwords by which the services, PostgreSQL, Redis and NATS know each other, one file each, where they are
missing, and the files that are made from them. The default addresses are names of hosts in one network. Nothing secret is printed.

With --out each reader (postgres, redis and the four services) also gets a folder there with copies of the files that it reads and no others,
to be mounted where it runs.`,
		RunE: func(*cobra.Command, []string) error {
			written, err := secrets.Make(dir, at)
			if err != nil {
				return err
			}
			if out != "" {
				if err := secrets.Deliver(dir, out); err != nil {
					return err
				}
			}
			if written == nil {
				written = []string{}
			}
			return a.printer().plain(written, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "%d files written in %s, the others are as they were\n", len(written), dir)
			})
		},
	}
	c.Flags().StringVar(&dir, "dir", "./secrets", "folder of the files")
	c.Flags().StringVar(&out, "out", "", "folder of the readers' folders; empty: none")
	c.Flags().StringVar(&at.Postgres, "postgres", "postgres:5432", "address of PostgreSQL for the services, or with a comma of a primary and its standby")
	c.Flags().StringVar(&at.Redis, "redis", "redis:6379", "address of Redis for auth, or with commas of nodes of a cluster or of sentinels")
	c.Flags().StringVar(&at.RedisMaster, "redis-master", "", "name by which sentinels know the primary of Redis; empty without sentinels")
	c.Flags().StringVar(&at.NATS, "nats", "nats:4222", "address of NATS for the services, or with commas of the nodes of a cluster")
	c.Flags().StringVar(&at.NATSListen, "nats-listen", "0.0.0.0:4222", "address that NATS listens on; empty for a cluster, whose nodes have files of their own")
	c.Flags().StringVar(&at.NATSStore, "nats-store", "/data", "folder of JetStream's files, for NATS")
	return c
}
