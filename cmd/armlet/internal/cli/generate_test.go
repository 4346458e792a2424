package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

func TestAFileOfCodesIsResumedAtItsLastWholeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "codes.txt")
	pieces := []*notifyv1.GenerateVouchersResponse{
		{Codes: []string{"AAAAA-AAAAA-AAAAA", "BBBBB-BBBBB-BBBBB"}, GeneratedCount: 2, TotalCount: 3}, {Codes: []string{"CCCCC-CCCCC-CCCCC"}, GeneratedCount: 3, TotalCount: 3},
	}
	broken := errors.New("broken")
	write := func(end error, pieces ...*notifyv1.GenerateVouchersResponse) error {
		f, done, err := resumeCodes(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if want := pieces[0].GetGeneratedCount() - int32(len(pieces[0].GetCodes())); done != want {
			t.Errorf("%d codes are there, want %d", done, want)
		}
		return (&app{err: io.Discard}).writeCodes(f, func() (*notifyv1.GenerateVouchersResponse, error) {
			if len(pieces) == 0 {
				return nil, end
			}
			p := pieces[0]
			pieces = pieces[1:]
			return p, nil
		})
	}
	if err := write(broken, pieces[0]); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("CCCC") // the power failed in the middle of a line
	_ = f.Close()
	if err := write(io.EOF, pieces[1]); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := "AAAAA-AAAAA-AAAAA\nBBBBB-BBBBB-BBBBB\nCCCCC-CCCCC-CCCCC\n"; err != nil || !bytes.Equal(got, []byte(want)) {
		t.Errorf("the file has %q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("something quite different"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := resumeCodes(path); err == nil {
		t.Error("another file is overwritten")
	}
}
