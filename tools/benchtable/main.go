// Benchtable prints the figures that the benchmarks have written as a table.
//
//	benchtable test/bench/out/results.json
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

type measure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

type figure struct {
	measure
	Reference *measure `json:"reference"`
	Ratio     float64  `json:"ratio"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: benchtable results.json")
		os.Exit(2)
	}
	data, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = table(os.Stdout, data)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}

// table writes one line a figure, sorted by name.
func table(w io.Writer, data []byte) error {
	var figures []figure
	if err := json.Unmarshal(data, &figures); err != nil {
		return err
	}
	slices.SortFunc(figures, func(a, b figure) int { return strings.Compare(a.Name, b.Name) })
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "FIGURE\tVALUE\tUNIT\tRATIO\tREFERENCE\t")
	for _, f := range figures {
		ratio, reference := "", ""
		if r := f.Reference; r != nil {
			ratio = short(f.Ratio) + " x"
			reference = fmt.Sprintf("%s: %s %s", r.Name, short(r.Value), r.Unit)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t\n", f.Name, short(f.Value), f.Unit, ratio, reference)
	}
	return out.Flush()
}

// short is a number with three digits that count, or as many as stand before its point.
func short(v float64) string {
	if v >= 100 || v <= -100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
