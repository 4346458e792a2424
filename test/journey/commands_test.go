package journey

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/test/programs"
)

// dependencies are what each service's --check tests beside its database and its NATS.
var dependencies = map[string][]string{
	"device-registry": {"jwks-url"},
	"auth":            {"redis-url", "registry-addr", "nats-sys-url", "nats-callout-url"},
	"payments":        {"jwks-url", "auth-addr", "notify-addr"},
	"notify":          {"jwks-url", "nats-edge-url", "nats-sys-url"},
}

// TestAnOperatorsCommandsOfEachProgram runs what an operator does with a program before it serves.
func TestAnOperatorsCommandsOfEachProgram(t *testing.T) {
	t.Parallel()
	for _, name := range programs.Services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, nowhere := t.TempDir(), testkit.Addr(t)
			secret := filepath.Join(dir, "db-url")
			must(t, os.WriteFile(secret, []byte("postgres://someone:hunter2@"+nowhere+"/x?sslmode=disable\n"), 0o600))
			config := map[string]string{
				"db-url-file": secret, "nats-url": "nats://core:hunter2@" + nowhere, "http-listen": nowhere, "token-issuer": "http://" + nowhere,
			}
			for _, key := range dependencies[name] {
				switch {
				case strings.HasPrefix(key, "nats-"):
					config[key] = "nats://user:hunter2@" + nowhere
				case key == "redis-url":
					config[key] = "redis://user:hunter2@" + nowhere
				case key == "jwks-url":
					config[key] = "http://" + nowhere + "/keys"
				default:
					config[key] = nowhere
				}
			}
			run := func(want int, args ...string) (out string) {
				t.Helper()
				code, out, errs := program(t, name, config, args...)
				if code != want || strings.Contains(out+errs, "hunter2") || code != 0 && errs == "" {
					t.Errorf("%s %v: exit %d, want %d\n%s%s", name, args, code, want, out, errs)
				}
				return out + errs
			}

			help := run(0, "--help")
			for _, word := range []string{"migrate", "health", "--check", "--print-config", "--version", "--db-url"} {
				if !strings.Contains(help, word) {
					t.Errorf("--help does not tell of %s", word)
				}
			}
			if out := run(0, "--version"); !strings.Contains(out, "go1.") {
				t.Errorf("--version: %s", out)
			}
			if out := run(0, "--print-config"); !strings.Contains(out, `db-url: "***"`) && !strings.Contains(out, "db-url: ***") {
				t.Errorf("--print-config: %s", out)
			}
			run(2, "--nonsense")
			run(1, "health") // nobody serves

			out := run(1, "--check")
			for _, key := range append([]string{"db-url", "nats-url"}, dependencies[name]...) {
				if !strings.Contains(out, "FAIL  "+key+" ") {
					t.Errorf("--check does not say that %s cannot be reached:\n%s", key, out)
				}
			}

			delete(config, "db-url-file")
			config["db-url"] = testkit.Postgres(t)
			if out = run(1, "--check"); !strings.Contains(out, "migrations: run the command migrate") {
				t.Errorf("--check of an empty database:\n%s", out)
			}
			if out = run(0, "migrate"); !strings.Contains(out, "migrated from version 0 to") {
				t.Errorf("migrate: %s", out)
			}
			run(0, "migrate")
			if out = run(1, "--check"); !strings.Contains(out, "ok    db-url") {
				t.Errorf("--check of a migrated database:\n%s", out)
			}
		})
	}
}

// program runs a service's program to its end.
func program(t *testing.T, service string, config map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := exec.Command(programs.Service(t, service), args...)
	c.SysProcAttr = programs.DiesWithParent()
	c.Env = append(os.Environ(), programs.Env(service, config)...)
	c.Dir = t.TempDir()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}
