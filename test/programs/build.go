// Package programs builds Armlet's programs and runs them as processes, for tests that need them as an operator does.
package programs

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built are the programs of a test run: each is built once.
var built = struct {
	sync.Mutex
	dir   string
	files map[string]string
}{files: map[string]string{}}

// Service builds a service, such as "auth", and returns the file.
func Service(t testing.TB, name string) string {
	t.Helper()
	return build(t, "services/"+name, "./cmd/"+name)
}

// Armlet builds the all-in-one program and returns the file.
func Armlet(t testing.TB) string {
	t.Helper()
	return build(t, "cmd/armlet", ".")
}

func build(t testing.TB, module, pkg string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if file := built.files[module]; file != "" {
		return file
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "armlet-programs-") //nolint:usetesting // it outlives the test that needs it first
		if err != nil {
			t.Fatal(err)
		}
		built.dir = dir
	}
	file := filepath.Join(built.dir, filepath.Base(module))
	Compile(t, file, module, pkg, "-ldflags", "-s -w") // without what only debuggers read, which takes long to link
	built.files[module] = file
	return file
}

// Compile builds a package of a module, which is a folder of the repository, into a file,
// with the race detector where the tests have it.
func Compile(t testing.TB, file, module, pkg string, args ...string) {
	t.Helper()
	args = append([]string{"build", "-o", file}, args...)
	if raceDetector {
		args = append(args, "-race")
	}
	c := exec.Command("go", append(args, pkg)...)
	c.Dir = filepath.Join("..", "..", module) // a test runs in the folder of its package, test/<package>
	c.Env = append(os.Environ(), "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", module, err, out)
	}
}

// Remove deletes what was built; for TestMain, after the tests.
func Remove() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}
