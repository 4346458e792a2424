package testkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// ResultsEnv names the file that figures are written to; make bench sets it.
const ResultsEnv = "BENCH_RESULTS"

// Measure is one measured number.
type Measure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is short and has no spaces: "transfers/s", "ms".
	Unit string `json:"unit"`
}

// Figure is one result of a benchmark with what it is to be compared with.
type Figure struct {
	// Measure is what was measured. Its name is unique among all figures: "payments/ledger/postgres/hot".
	Measure
	// Reference was measured beside it, in the same run on the same machine; nil when there is nothing to compare with.
	Reference *Measure `json:"reference,omitempty"`
	// Ratio is the value over that of the reference. Record computes it.
	Ratio float64 `json:"ratio,omitempty"`
}

func (f Figure) String() string {
	text := fmt.Sprintf("%s: %.5g %s", f.Name, f.Value, f.Unit)
	if f.Reference != nil {
		text += fmt.Sprintf(", %.3g x %s (%.5g %s)", f.Ratio, f.Reference.Name, f.Reference.Value, f.Reference.Unit)
	}
	return text
}

// Record logs a figure and writes it into the file that the environment variable [ResultsEnv] names, if it is set. The
// file is a JSON array of figures that many test processes may write at once; a figure replaces one of the same name.
func Record(t testing.TB, f Figure) {
	t.Helper()
	if err := f.complete(); err != nil {
		t.Fatalf("testkit: figure %q: %v", f.Name, err)
	}
	t.Log(f)
	file := os.Getenv(ResultsEnv)
	if file == "" {
		return
	}
	if err := writeFigure(file, f); err != nil {
		t.Fatalf("testkit: figure %q: %v", f.Name, err)
	}
}

// complete computes the ratio and refuses what would not be a figure.
func (f *Figure) complete() error {
	f.Ratio = 0
	all := []Measure{f.Measure}
	if f.Reference != nil {
		all = append(all, *f.Reference)
		f.Ratio = f.Value / f.Reference.Value
	}
	for _, m := range all {
		if m.Name == "" || m.Unit == "" {
			return errors.New("a measure needs a name and a unit")
		}
		if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
			return fmt.Errorf("%s is %v", m.Name, m.Value)
		}
	}
	if math.IsNaN(f.Ratio) || math.IsInf(f.Ratio, 0) {
		return errors.New("the reference is zero")
	}
	return nil
}

// writeFigure merges one figure into the file under a lock that other processes respect.
func writeFigure(file string, f Figure) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	lock, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // frees the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	figures, err := readFigures(file)
	if err != nil {
		return err
	}
	merged := false
	for i := range figures {
		if figures[i].Name == f.Name {
			figures[i], merged = f, true
		}
	}
	if !merged {
		figures = append(figures, f)
	}
	data, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	// A reader without the lock sees the old file or the new one.
	if err := os.WriteFile(file+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func readFigures(file string) ([]Figure, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var figures []Figure
	if err := json.Unmarshal(data, &figures); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return figures, nil
}
