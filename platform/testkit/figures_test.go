package testkit

import (
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"testing"
)

func TestFiguresOfManyWritersAreAllKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out", "results.json")
	t.Setenv(ResultsEnv, file)
	const writers, each = 8, 5
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				Record(t, Figure{
					Measure:   Measure{Name: fmt.Sprintf("writer %d", w), Value: float64(n), Unit: "n"},
					Reference: &Measure{Name: "two", Value: 2, Unit: "n"},
				})
			}
		})
	}
	all.Wait()
	figures, err := readFigures(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]Figure{}
	for _, f := range figures {
		seen[f.Name] = f
	}
	if len(figures) != writers || len(seen) != writers {
		t.Fatalf("%d figures of %d names, want %d", len(figures), len(seen), writers)
	}
	for name, f := range seen {
		if f.Value != each-1 || f.Ratio != (each-1)/2.0 || *f.Reference != (Measure{"two", 2, "n"}) {
			t.Errorf("%s: got %+v, want the value written last, and its ratio", name, f)
		}
	}
}

func TestAFigureThatIsNoneIsRefused(t *testing.T) {
	good := Measure{Name: "x", Value: 1, Unit: "n"}
	for name, f := range map[string]Figure{
		"no name":           {Measure: Measure{Value: 1, Unit: "n"}},
		"no unit":           {Measure: Measure{Name: "x", Value: 1}},
		"not a number":      {Measure: Measure{Name: "x", Value: math.NaN(), Unit: "n"}},
		"a reference of 0":  {Measure: good, Reference: &Measure{Name: "y", Unit: "n"}},
		"reference no name": {Measure: good, Reference: &Measure{Value: 1, Unit: "n"}},
	} {
		if err := f.complete(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	f := Figure{Measure: good}
	if err := f.complete(); err != nil || f.Ratio != 0 {
		t.Errorf("without a reference: ratio %v, error %v", f.Ratio, err)
	}
}
