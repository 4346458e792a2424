package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/sdk"
)

// The exit codes, told in `armlet --help`.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnreachable = 4
)

// refused is an answer that was understood and is a no, such as a declined payment.
type refused struct{ text string }

func (r refused) Error() string { return r.text }

// usageError is a command line that makes no sense.
type usageError struct{ error }

// explain writes the error for people and says which exit code it is.
func explain(w io.Writer, err error) int {
	var usage usageError
	var no refused
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(w, "armlet: %v\nSee `armlet --help`.\n", err)
		return exitUsage
	case errors.As(err, &no):
		fmt.Fprintf(w, "armlet: %v\n", err)
		return exitRefused
	}
	return explainStatus(w, err)
}

func explainStatus(w io.Writer, err error) int {
	var coded interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &coded) {
		fmt.Fprintf(w, "armlet: %v\n", err)
		return exitFailure
	}
	st := coded.GRPCStatus()
	reason := sdk.Reason(st.Err())
	text := st.Message()
	if field := sdk.Field(st.Err()); field != "" {
		text = field + ": " + text
	}
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded:
		if reason == "" {
			fmt.Fprintf(w, "armlet: the suite cannot be reached: %s\nIs `armlet up` running? --data must be its folder; a deployment with TLS needs --tls-ca.\n", st.Message())
			return exitUnreachable
		}
		fmt.Fprintf(w, "armlet: %s (%s)\n", text, reason)
		return exitUnreachable
	default:
		fmt.Fprintf(w, "armlet: %s (%s)\n", text, either(reason, st.Code().String()))
		return exitRefused
	}
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// printer writes results as a table or, with -o json, as JSON.
type printer struct {
	out  io.Writer
	json bool
}

func (p printer) message(m proto.Message, human func(io.Writer)) error {
	if !p.json {
		human(p.out)
		return nil
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err
	}
	plain, err := plainJSON(text)
	if err != nil {
		return err
	}
	return p.value(plain)
}

// plainJSON reads what protojson wrote, which varies its white space on purpose; a script's diff should not see that.
func plainJSON(text []byte) (plain any, err error) {
	err = json.Unmarshal(text, &plain)
	return plain, err
}

// plain writes a value that is no proto message.
func (p printer) plain(v any, human func(io.Writer)) error {
	if !p.json {
		human(p.out)
		return nil
	}
	return p.value(v)
}

func (p printer) value(v any) error {
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func table(w io.Writer, head []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush()
}
