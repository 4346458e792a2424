package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// event is one line of go test -json (see go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	FailedBuild string
}

// line is a piece of output and the test that wrote it.
type line struct{ test, text string }

// pkg is what is known of a package while its tests run.
type pkg struct {
	lines   []line
	verdict map[string]string // test → pass, fail or skip; a test without one did not finish
	started []string
}

// Report turns the events of go test into readable lines and counts them.
type Report struct {
	out      io.Writer
	pkgs     map[string]*pkg
	builds   map[string][]string
	packages int
	untested int
	passed   int
	failed   []string
	skipped  []string
	broken   []string
}

// NewReport writes to out.
func NewReport(out io.Writer) *Report {
	return &Report{out: out, pkgs: map[string]*pkg{}, builds: map[string][]string{}}
}

// Read consumes the output of one go test -json run.
func (r *Report) Read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		text, err := lines.ReadBytes('\n')
		if len(text) > 0 {
			var ev event
			if json.Unmarshal(text, &ev) == nil {
				r.add(ev)
			} else {
				fmt.Fprintf(r.out, "%s", text)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the test events: %w", err)
		}
	}
}

// Broken records a module whose tests could not be run.
func (r *Report) Broken(module string, err error) {
	r.broken = append(r.broken, fmt.Sprintf("%s: %v", module, err))
}

// Close prints the count and says whether everything ran and passed.
func (r *Report) Close(modules int, took time.Duration) bool {
	good := r.failures() == 0 && len(r.skipped) == 0 && r.passed > 0
	verdict := "PASS"
	if !good {
		verdict = "FAIL"
	}
	fmt.Fprintf(r.out, "\n%s: %d tests passed, %d failed, %d skipped, in %d packages of %d modules (%d packages have no tests), %s\n",
		verdict, r.passed, len(r.failed), len(r.skipped), r.packages, modules, r.untested, took.Round(time.Second))
	for _, name := range r.failed {
		fmt.Fprintf(r.out, "  failed   %s\n", name)
	}
	for _, name := range r.skipped {
		fmt.Fprintf(r.out, "  skipped  %s (a skip counts as a failure: provide what the test needs)\n", name)
	}
	for _, what := range r.broken {
		fmt.Fprintf(r.out, "  broken   %s\n", what)
	}
	if r.passed == 0 && r.failures() == 0 {
		fmt.Fprintln(r.out, "  no test passed at all")
	}
	return good
}

func (r *Report) failures() int { return len(r.failed) + len(r.broken) }

func (r *Report) add(ev event) {
	switch {
	case ev.Action == "build-output":
		r.builds[ev.ImportPath] = append(r.builds[ev.ImportPath], ev.Output)
	case ev.Package == "":
	case ev.Test == "":
		r.addPackage(ev)
	default:
		r.addTest(ev)
	}
}

func (r *Report) of(name string) *pkg {
	p := r.pkgs[name]
	if p == nil {
		p = &pkg{verdict: map[string]string{}}
		r.pkgs[name] = p
	}
	return p
}

func (r *Report) addTest(ev event) {
	p := r.of(ev.Package)
	switch ev.Action {
	case "run":
		p.started = append(p.started, ev.Test)
	case "output":
		if !progress(ev.Output) {
			p.lines = append(p.lines, line{ev.Test, ev.Output})
		}
	case "pass", "fail", "skip":
		p.verdict[ev.Test] = ev.Action
	}
}

func (r *Report) addPackage(ev event) {
	p := r.of(ev.Package)
	switch ev.Action {
	case "output":
		p.lines = append(p.lines, line{"", ev.Output})
	case "pass", "fail", "skip":
		r.finish(ev, p)
		delete(r.pkgs, ev.Package)
	}
}

// finish prints a package once its last event is in.
func (r *Report) finish(ev event, p *pkg) {
	failedBefore, skippedBefore := len(r.failed), len(r.skipped)
	for _, test := range p.started {
		name := ev.Package + " " + test
		switch p.verdict[test] {
		case "pass":
			r.passed++
		case "skip":
			r.skipped = append(r.skipped, name)
		default:
			r.failed = append(r.failed, name)
		}
	}
	if ev.Action == "fail" && len(r.failed) == failedBefore {
		r.failed = append(r.failed, ev.Package)
	}
	if ev.Action == "skip" && len(p.started) == 0 {
		r.untested++
		return
	}
	r.packages++
	for _, text := range r.builds[ev.FailedBuild] {
		fmt.Fprint(r.out, text)
	}
	delete(r.builds, ev.FailedBuild)
	failed := ev.Action == "fail"
	for _, l := range p.lines {
		if p.shows(l, failed) {
			fmt.Fprint(r.out, l.text)
		}
	}
	if len(r.skipped) > skippedBefore {
		fmt.Fprintf(r.out, "SKIP\t%s\t%d tests did not run\n", ev.Package, len(r.skipped)-skippedBefore)
	}
}

// shows picks the lines worth reading: the closing line of every package,
// whatever a failed or unfinished test wrote, and the reason of a skip.
func (p *pkg) shows(l line, failed bool) bool {
	if l.test == "" {
		return failed || strings.HasPrefix(l.text, "ok ")
	}
	return p.verdict[l.test] != "pass"
}

// progress tells the lines with which a verbose run narrates itself.
func progress(text string) bool {
	for _, prefix := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}
