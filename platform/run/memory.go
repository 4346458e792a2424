package run

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much a process allocates between two collections, in percent of what it keeps.
const gcPercent = 400

// TuneMemory has Go collect garbage less often, unless GOGC says how often. A service keeps a few MiB and allocates that much
// fifty times a second when it is busy; Go's default of 100 percent then spends a sixth of the processor on collecting.
// GOMEMLIMIT, where it is set, holds in any case. Main calls it; programs and benchmarks that start services otherwise do.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
