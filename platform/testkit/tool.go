package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// toolPins pins the programs that [Tool] gives, below the folder that the tests are somewhere in.
var toolPins = filepath.Join("tools", "testtools.mod")

// tools remembers the answers: asking takes a third of a second.
var tools = struct {
	sync.Mutex
	found map[string]string
}{found: map[string]string{}}

// Tool is the path of a program that tools/testtools.mod pins, such as "nats-server". It is compiled when it is not in Go's
// build cache yet, which takes half a minute, once.
func Tool(t testing.TB, name string) string {
	t.Helper()
	tools.Lock()
	defer tools.Unlock()
	if path, ok := tools.found[name]; ok {
		return path
	}
	path, err := tool(name)
	if err != nil {
		t.Fatalf("testkit: %s: %v", name, err)
	}
	tools.found[name] = path
	return path
}

func tool(name string) (string, error) {
	root, err := above(toolPins)
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "tool", "-modfile="+filepath.Base(toolPins), "-n", name)
	cmd.Dir = filepath.Join(root, filepath.Dir(toolPins))
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}

// above is the nearest folder above the working folder that has the file.
func above(file string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no folder above has the file " + file)
		}
		dir = parent
	}
}
