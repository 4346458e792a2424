// Gotest runs the tests of one module after the other and keeps the output
// readable: one line a package, the whole output of whatever failed, and a
// closing count. Unlike go test it treats a skipped test as a failure, because
// a test that did not run proves nothing.
//
//	gotest [-race] [-count n] [-run regexp] [-timeout d] module-folder...
//
// Every module is tested on its own (GOWORK=off), with the dependencies that
// its own go.mod selects.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

const (
	exitPassed = 0
	exitFailed = 1
	exitUsage  = 2
	killDelay  = 20 * time.Second
)

func main() { os.Exit(run()) }

func run() int {
	race := flag.Bool("race", false, "build with the race detector")
	count := flag.Int("count", 0, "run each test this often; 0 leaves it to go test, which may answer from its cache")
	only := flag.String("run", "", "only tests that match this regular expression")
	timeout := flag.Duration("timeout", 20*time.Minute, "limit for one package")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: gotest [flags] module-folder...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		return exitUsage
	}

	args := []string{"test", "-json", "-timeout", timeout.String()}
	if *race {
		args = append(args, "-race")
	}
	if *count > 0 {
		args = append(args, "-count", fmt.Sprint(*count))
	}
	if *only != "" {
		args = append(args, "-run", *only)
	}
	args = append(args, "./...")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	start := time.Now()
	report := NewReport(os.Stdout)
	for _, module := range flag.Args() {
		fmt.Printf("== %s\n", module)
		if err := test(ctx, module, args, report); err != nil {
			report.Broken(module, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if !report.Close(flag.NArg(), time.Since(start)) {
		return exitFailed
	}
	return exitPassed
}

// test runs go test in one module and feeds its events to the report. Its error
// is about running it at all; failing tests are the report's business.
func test(ctx context.Context, module string, args []string, report *Report) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "PWD=")
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killDelay
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	before := report.failures()
	readErr := report.Read(out)
	waitErr := cmd.Wait()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if readErr != nil {
		return readErr
	}
	// go test exits non-zero for every failure; only one that the events did not tell is news.
	if waitErr != nil && report.failures() == before {
		return fmt.Errorf("go test: %w", waitErr)
	}
	return nil
}
