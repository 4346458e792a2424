package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/doctor"
	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
)

func (a *app) doctorCommand() *cobra.Command {
	ledger := false
	c := &cobra.Command{
		Use: "doctor", Short: "Examine a deployment from outside",
		Long: `Examine the deployment that endpoints.json of the data folder names, from outside: certificates, clocks, versions, migrations,
outboxes, streams and how far their consumers are behind, dead letters, the key set, partners' entrance to NATS, and the trial balance.
Every replica is asked; a part that is down fails its own checks and holds up no other. --timeout is for each check.

The exit code is 0 when nothing failed, warnings or not, and 1 when something did.`,
		Example: "  armlet doctor\n  armlet --data data/suite --tls-ca data/suite/certificates/ca.pem doctor --ledger\n  armlet doctor -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error { return a.doctor(ctx, s, ledger) })
		},
	}
	c.Flags().BoolVar(&ledger, "ledger", false, "walk every transaction of the ledger too; a long one needs a longer --timeout")
	return c
}

func (a *app) doctor(ctx context.Context, s *sandbox.Sandbox, ledger bool) error {
	config, err := a.secure.config()
	if err != nil {
		return err
	}
	found := doctor.Deployment{
		At: s.Endpoints, TLS: config, Tokens: s.OperatorTokens, Payments: s.Operator.Payments, WholeLedger: ledger, Patience: a.timeout, Now: time.Now,
	}.Examine(ctx)
	if err := a.printer().plain(found, func(w io.Writer) { diagnose(w, found) }); err != nil {
		return err
	}
	return verdict(found)
}

func diagnose(w io.Writer, found []doctor.Finding) {
	var rows [][]string
	for _, f := range found {
		rows = append(rows, []string{string(f.State), f.Part, f.Check, f.Found})
		if f.Do != "" {
			rows = append(rows, []string{"", "", "", "-> " + f.Do})
		}
	}
	table(w, []string{"STATE", "PART", "CHECK", "FOUND"}, rows)
}

func verdict(found []doctor.Finding) error {
	failed := 0
	for _, f := range found {
		if f.State == doctor.Fail {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(found))
	}
	return nil
}
