package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/bulk"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk"
)

// importing is what the command line says of an import.
type importing struct {
	maker
	lot, mode, id, refused string
	dry                    bool
	patience               time.Duration
}

func (a *app) devicesImport() *cobra.Command {
	in := &importing{}
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Bring the devices of a CSV or NDJSON file into a listed lot; the same command again resumes",
		Long: `Bring the devices of a file into a listed lot; - reads standard input.

CSV has a first line of column names: uid, and as wanted suite, key_epoch, public_key and labels.KEY.
NDJSON has an object a line with the same names, labels being an object. A suite is its number or name, a
key is hexadecimal or base64; suite and key_epoch are the lot's where a row leaves them out.

The file is read through before anything is sent. Where a line cannot be read the command says which,
sends nothing and exits with 1. A row that is well formed and cannot be taken, such as one with a key that is
no point of the curve, is refused alone: it is written with line and reason to a file of the same
format (FILE.refused.csv unless --refused names another), which can be mended and imported in turn.

When the connection breaks, the import goes on by itself behind the last answer, for as long as it gets
further at least once in --retry-for. When the command was killed, the same command goes on: the import's
id follows from the rows, the lot and the mode, unless --import-id gives one. A finished import that is
run again changes nothing and writes the same refused rows; to have rows judged anew use a new --import-id.

--dry-run has the registry check every row and write nothing. Rows that are refused go to the same file.

Exit codes: 0 every row was taken, 3 some were refused or the whole import was, 4 the connection did not come
back, 1 the file cannot be read, 2 wrong usage.`,
		Example: "  armlet devices lots create 9 --model w1 --listed\n" +
			"  armlet devices import bands.csv --lot 9 --dry-run\n" +
			"  armlet devices import bands.csv --lot 9\n" +
			"  zcat bands.ndjson.gz | armlet devices import - --lot 9 --mode create-only -o json",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.importFile(c.Context(), args[0], in) },
	}
	in.flags(c)
	c.Flags().StringVar(&in.lot, "lot", "", "the listed lot, by number or name")
	c.Flags().StringVar(&in.mode, "mode", "upsert-same", "what to do about devices that are there: upsert-same takes equal ones as they are, create-only refuses all")
	c.Flags().StringVar(&in.id, "import-id", "", "name of the import; empty: made from the rows, the lot and the mode")
	c.Flags().StringVar(&in.refused, "refused", "", "file for refused rows; empty: FILE.refused.csv or .ndjson, removed when there are none")
	c.Flags().BoolVar(&in.dry, "dry-run", false, "check every row with the registry and write nothing there")
	c.Flags().DurationVar(&in.patience, "retry-for", 2*time.Minute, "how long to try again without getting further")
	return c
}

func (a *app) importFile(ctx context.Context, name string, in *importing) error {
	mode, ok := devicesv1.ImportMode_value["IMPORT_MODE_"+strings.ToUpper(strings.ReplaceAll(in.mode, "-", "_"))]
	switch {
	case !ok || mode == 0:
		return usageError{fmt.Errorf("--mode takes create-only or upsert-same, not %q", in.mode)}
	case in.lot == "":
		return usageError{errors.New("--lot is needed; make one with `armlet devices lots create NUMBER --model MODEL --listed`")}
	case in.check() != nil:
		return in.check()
	}
	file, err := bulk.Open(name, a.in)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	header := &devicesv1.ImportHeader{
		Lot: in.under("lots", in.lot), ExpectedRows: file.Rows, Digest: file.Digest[:], Mode: devicesv1.ImportMode(mode), ValidateOnly: in.dry,
	}
	header.ImportId = either(in.id, file.ImportID(header.GetLot(), in.mode))
	return a.actingLong(ctx, &in.maker, func(ctx context.Context, client *sdk.Client) error {
		return a.runImport(ctx, &bulk.Import{
			Registry: client.Devices, File: file, Header: header, Answer: a.timeout, Patience: in.patience,
		}, refusedName(name, in.refused, file.Format))
	})
}

// refusedName is where refused rows go unless it is said.
func refusedName(name, said string, format bulk.Format) string {
	switch {
	case said != "":
		return said
	case name == "-":
		return "stdin.refused." + string(format)
	}
	return strings.TrimSuffix(name, filepath.Ext(name)) + ".refused." + string(format)
}

func (a *app) runImport(ctx context.Context, job *bulk.Import, refusedFile string) error {
	id := job.Header.GetImportId()
	if job.Header.GetValidateOnly() {
		id += " (dry run)" // its answers are not those of the import
	}
	journal, err := bulk.OpenJournal(refusedFile, id, job.File)
	if err != nil {
		return err
	}
	show := &progress{out: a.err, live: terminal(a.err), total: job.File.Rows}
	job.Journal, job.Progress = journal, show.at
	job.Broken = func(err error) { show.say("the connection broke (%s); trying again", status.Convert(err).Message()) }
	if n := journal.Chunk(); n > 0 {
		show.say("going on with import %s behind chunk %d", id, n)
	}
	summary, err := job.Run(ctx)
	show.end()
	if closeErr := journal.Close(err == nil); err != nil || closeErr != nil {
		if err != nil && !job.Header.GetValidateOnly() {
			fmt.Fprintln(a.err, "the import is not through; the same command goes on with it")
		}
		return errors.Join(err, closeErr)
	}
	return a.importDone(summary, job.Header, refusedFile)
}

func (a *app) importDone(summary *devicesv1.ImportSummary, header *devicesv1.ImportHeader, refusedFile string) error {
	in := summary.GetImport()
	if in.GetFailed() == 0 {
		refusedFile = ""
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(in)
	if err != nil {
		return err
	}
	plain, err := plainJSON(text)
	if err != nil {
		return err
	}
	result := map[string]any{
		"import": plain, "digest": fmt.Sprintf("%x", summary.GetDigest()), "dry_run": header.GetValidateOnly(), "refused_file": refusedFile,
	}
	if err := a.printer().plain(result, func(w io.Writer) { writeImport(w, in, header.GetValidateOnly(), refusedFile) }); err != nil {
		return err
	}
	if n := in.GetFailed(); n > 0 {
		return refused{fmt.Sprintf("%d of %d rows were refused; see %s", n, in.GetRows(), refusedFile)}
	}
	return nil
}

func writeImport(w io.Writer, in *devicesv1.Import, dry bool, refusedFile string) {
	verb := "created"
	if dry {
		verb = "would be created"
	}
	fmt.Fprintf(w, "%s  %d rows: %d %s, %d unchanged, %d refused\n", in.GetName(), in.GetRows(), in.GetCreated(), verb, in.GetUnchanged(), in.GetFailed())
	if refusedFile != "" {
		fmt.Fprintf(w, "refused rows are in %s\n", refusedFile)
	}
}

// terminal reports whether people see what is written as it comes.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress shows how far an import is: a bar on a terminal, elsewhere a line for every tenth.
type progress struct {
	out   io.Writer
	live  bool
	total uint64
	tenth uint64
	open  bool // a bar stands on the present line
}

func (p *progress) at(rows, refused uint64) {
	tenth := 10 * rows / max(p.total, 1)
	switch {
	case p.live:
		full := int(barWidth * rows / max(p.total, 1))
		fmt.Fprintf(p.out, "\r[%s%s] %d of %d rows, %d refused ", strings.Repeat("#", full), strings.Repeat(" ", barWidth-full), rows, p.total, refused)
		p.open = true
	case tenth > p.tenth:
		fmt.Fprintf(p.out, "%d of %d rows, %d refused\n", rows, p.total, refused)
	}
	p.tenth = tenth
}

func (p *progress) say(format string, args ...any) {
	p.end()
	fmt.Fprintf(p.out, format+"\n", args...)
}

func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.out)
	}
	p.open = false
}
