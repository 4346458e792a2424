package main

import (
	"strings"
	"testing"
)

func TestTheTableHasALineAFigureSortedByName(t *testing.T) {
	var out strings.Builder
	err := table(&out, []byte(`[
		{"name": "taps", "value": 4210.4, "unit": "taps/s", "reference": {"name": "pgbench", "value": 4000, "unit": "tx/s"}, "ratio": 1.0526},
		{"name": "latency", "value": 2.345, "unit": "ms"}]`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"FIGURE VALUE UNIT RATIO REFERENCE", "latency 2.35 ms", "taps 4210 taps/s 1.05 x pgbench: 4000 tx/s"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := table(&out, []byte(`{`)); err == nil {
		t.Error("a broken file gave no error")
	}
}
