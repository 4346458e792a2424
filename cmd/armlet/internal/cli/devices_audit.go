package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

const wholeLog = "partners/-"

func (a *app) devicesAudit() *cobra.Command {
	c := &cobra.Command{
		Use: "audit DEVICE", Short: "Show who changed a band, a lot or a model, and prove that the record is untouched", Args: cobra.ExactArgs(1),
		Example: "  armlet devices audit DEVICE\n  armlet devices audit list partners/sandbox/lots/1\n  armlet devices audit verify\n" +
			"  armlet devices audit checkpoint --out kept.json\n  armlet devices audit verify --checkpoint kept.json",
		RunE: func(c *cobra.Command, args []string) error { return a.auditShow(c.Context(), args[0], 1000, "") },
	}
	c.AddCommand(a.auditList(), a.auditVerify(), a.auditCheckpoint())
	return c
}

func (a *app) auditList() *cobra.Command {
	var token string
	var size int32
	c := &cobra.Command{
		Use: "list NAME", Short: "Show who changed a band, by uid or name, a lot or a model, by name, oldest first", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.auditShow(c.Context(), args[0], size, token) },
	}
	pageFlags(c, &size, &token)
	return c
}

func (a *app) auditShow(ctx context.Context, name string, size int32, token string) error {
	return a.connected(ctx, func(ctx context.Context, s *sandbox.Sandbox) error {
		page, err := s.Operator.Devices.ListAuditEntries(ctx, &devicesv1.ListAuditEntriesRequest{Parent: deviceName(name), PageSize: size, PageToken: token})
		if err != nil {
			return err
		}
		return a.printer().message(page, func(w io.Writer) {
			rows := make([][]string, 0, len(page.GetAuditEntries()))
			for _, e := range page.GetAuditEntries() {
				stands := "-"
				if e.GetState() != 0 {
					stands = state(e.GetState().String(), "DEVICE_STATE_")
				}
				rows = append(rows, []string{
					fmt.Sprint(e.GetSequence()), clock(e.GetCreateTime()), e.GetActor(), e.GetAction(), stands,
					fmt.Sprintf("%.6x", e.GetHash()), e.GetNote(),
				})
			}
			table(w, []string{"SEQ", "TIME", "ACTOR", "ACTION", "STATE", "HASH", "NOTE"}, rows)
			more(w, page.GetNextPageToken())
		})
	})
}

// verified is what a verification, of however many calls, has found.
type verified struct {
	Parent  string `json:"parent"`
	Intact  bool   `json:"intact"`
	Entries int64  `json:"verified_entries"`
	Broken  int64  `json:"broken_at,omitempty"`
	Defect  string `json:"defect,omitempty"`
}

func (a *app) auditVerify() *cobra.Command {
	var kept string
	var first, last int64
	c := &cobra.Command{
		Use: "verify [NAME]", Short: "Recompute the record of one thing, or the log of all; exit code 3 when it was tampered with", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			req := &devicesv1.VerifyAuditRangeRequest{Parent: wholeLog, First: first, Last: last}
			if len(args) == 1 {
				req.Parent = deviceName(args[0])
			}
			if kept != "" {
				if req.GetParent() != wholeLog {
					return usageError{errors.New("--checkpoint is compared with the log of all, without NAME")}
				}
				var err error
				if req.Checkpoint, err = readCheckpoint(kept); err != nil {
					return err
				}
			}
			return a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error { return a.verifyAll(ctx, s.Operator.Devices, req) })
		},
	}
	c.Flags().Int64Var(&first, "first", 0, "the first entry; 0 for the beginning")
	c.Flags().Int64Var(&last, "last", 0, "the last entry; 0 for the end, where the thing itself is compared too")
	c.Flags().StringVar(&kept, "checkpoint", "", "file of a checkpoint that was kept, to be compared with the log")
	return c
}

// verifyAll goes on where one call does not reach the end. The deadline is of each call.
func (a *app) verifyAll(ctx context.Context, r registryClient, req *devicesv1.VerifyAuditRangeRequest) error {
	found := verified{Parent: req.GetParent(), Intact: true}
	for more := true; more && found.Intact; {
		call, cancel := context.WithTimeout(ctx, a.timeout)
		answer, err := r.VerifyAuditRange(call, req)
		cancel()
		if err != nil {
			return err
		}
		found.Entries += answer.GetVerifiedEntries()
		if found.Intact = answer.GetIntact(); !found.Intact {
			found.Broken, found.Defect = answer.GetBrokenAt(), state(answer.GetDefect().String(), "AUDIT_DEFECT_")
		}
		req.First, more = answer.GetNext(), answer.GetNext() > 0
	}
	if err := a.printer().plain(found, func(w io.Writer) {
		if found.Intact {
			fmt.Fprintf(w, "%s: %d entries are as they were written\n", found.Parent, found.Entries)
		}
	}); err != nil {
		return err
	}
	if !found.Intact {
		return refused{fmt.Sprintf("%s: broken at entry %d: %s", found.Parent, found.Broken, strings.ReplaceAll(strings.ToLower(found.Defect), "_", " "))}
	}
	return nil
}

func (a *app) auditCheckpoint() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "checkpoint", Short: "Sign the end of the log of all entries; keep it where the registry cannot reach",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				p, err := s.Operator.Devices.GetAuditCheckpoint(ctx, &devicesv1.GetAuditCheckpointRequest{})
				if err != nil {
					return err
				}
				if out != "" {
					if err := writeCheckpoint(out, p); err != nil {
						return err
					}
				}
				return a.printer().message(p, func(w io.Writer) {
					table(w, []string{"POSITION", "LOG HASH", "TIME", "PUBLIC KEY"}, [][]string{{
						fmt.Sprint(p.GetPosition()), fmt.Sprintf("%x", p.GetLogHash()), clock(p.GetSignTime()), fmt.Sprintf("%x", p.GetPublicKey()),
					}})
				})
			})
		},
	}
	c.Flags().StringVar(&out, "out", "", "write it to this file too, for `audit verify --checkpoint`")
	return c
}

func writeCheckpoint(file string, p *devicesv1.AuditCheckpoint) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p)
	if err != nil {
		return err
	}
	plain, err := plainJSON(text)
	if err != nil {
		return err
	}
	if text, err = json.MarshalIndent(plain, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

func readCheckpoint(file string) (*devicesv1.AuditCheckpoint, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := &devicesv1.AuditCheckpoint{}
	if err := protojson.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s is no checkpoint: %w", file, err)
	}
	return p, nil
}
