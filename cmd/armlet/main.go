// Command armlet runs the whole suite in one process on embedded stores, tells
// its story, and is the command line to a running one.
package main

import (
	"os"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/cli"
	"github.com/armlet-pay/armlet/platform/run"
)

func main() {
	run.TuneMemory()
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
