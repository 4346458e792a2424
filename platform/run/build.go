package run

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and revision are set by whoever builds outside a checkout:
// -ldflags="-X github.com/armlet-pay/armlet/platform/run.version=v1.2.3 -X …/run.revision=abc".
var version, revision string //nolint:gochecknoglobals // the linker sets them

// BuildInfo says what a program was built from.
type BuildInfo struct {
	// Version is the release, or what the Go toolchain knows of it.
	Version string `json:"version"`
	// Revision is the commit; "+" at its end means that files were changed since.
	Revision string `json:"revision"`
	// Go is the version of the toolchain.
	Go string `json:"go"`
}

// String is one line for people.
func (b BuildInfo) String() string { return fmt.Sprintf("%s (%s, %s)", b.Version, b.Revision, b.Go) }

// Build is what this program was built from.
func Build() BuildInfo {
	b := BuildInfo{Version: version, Revision: revision, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if ok && b.Version == "" {
		b.Version = info.Main.Version
	}
	if ok && b.Revision == "" {
		b.Revision = revisionOf(info.Settings)
	}
	if b.Version == "" {
		b.Version = "unreleased"
	}
	if b.Revision == "" {
		b.Revision = "unknown"
	}
	return b
}

func revisionOf(settings []debug.BuildSetting) (rev string) {
	changed := ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	if rev == "" {
		return ""
	}
	return rev + changed
}
