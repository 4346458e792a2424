package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

const (
	codeLine = 18 // a code in groups of five and the line's end
	barWidth = 40
)

func (a *app) vouchersGenerate() *cobra.Command {
	var out string
	var count int32
	c := &cobra.Command{
		Use: "generate CAMPAIGN", Short: "Issue many bearer vouchers and write their codes to a file; the same command again resumes", Args: cobra.ExactArgs(1),
		Example: "  armlet vouchers generate campaigns/… --count 1000000 --out codes.txt",
		RunE: func(c *cobra.Command, args []string) error {
			f, done, err := resumeCodes(out)
			if err != nil {
				return err
			}
			campaign := named("campaigns/", args[0])
			name, err := batchName(campaign, out)
			if err != nil {
				return errors.Join(err, f.Close())
			}
			err = a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				stream, err := s.Operator.Notify.GenerateVouchers(ctx, &notifyv1.GenerateVouchersRequest{Campaign: campaign, Count: count, After: done, RequestId: name})
				if err != nil {
					return err
				}
				return a.writeCodes(f, stream.Recv)
			})
			return errors.Join(err, f.Close())
		},
	}
	c.Flags().Int32Var(&count, "count", 1000, "how many; at most 10,000,000")
	c.Flags().StringVar(&out, "out", "codes.txt", "file for the codes, one a line, readable by you alone")
	return c
}

// writeCodes keeps each piece on disk before it says so.
func (a *app) writeCodes(f *os.File, next func() (*notifyv1.GenerateVouchersResponse, error)) error {
	for {
		piece, err := next()
		if errors.Is(err, io.EOF) {
			fmt.Fprintln(a.err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w; the same command resumes", err)
		}
		if _, err := io.WriteString(f, strings.Join(piece.GetCodes(), "\n")+"\n"); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		fmt.Fprint(a.err, "\r"+bar(piece.GetGeneratedCount(), piece.GetTotalCount()))
	}
}

func bar(done, total int32) string {
	full := int(int64(barWidth) * int64(done) / int64(max(total, 1)))
	return fmt.Sprintf("[%s%s] %d of %d", strings.Repeat("#", full), strings.Repeat(" ", barWidth-full), done, total)
}

// resumeCodes opens a file of codes at its end, after a line that was cut off is removed, and tells how many it has.
func resumeCodes(path string) (_ *os.File, done int32, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	done = int32(info.Size() / codeLine)
	if done > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], int64(done)*codeLine-1); err != nil || !bytes.Equal(last[:], []byte("\n")) {
			return nil, 0, fmt.Errorf("%s is not a file of codes; name another one", path)
		}
	}
	if err := f.Truncate(int64(done) * codeLine); err != nil {
		return nil, 0, err
	}
	_, err = f.Seek(0, io.SeekEnd)
	return f, done, err
}

// batchName is the same for the same campaign and file, so that the command can be repeated.
func batchName(campaign, path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(campaign + "\n" + path))
	return "file-" + hex.EncodeToString(sum[:16]), nil
}
