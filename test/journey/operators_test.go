package journey

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/test/programs"
)

// secretKeys are what each service keeps to itself.
var secretKeys = map[string][]string{
	"device-registry": {"db-url", "nats-url"},
	"auth":            {"db-url", "redis-url", "nats-url", "nats-callout-url", "nats-sys-url"},
	"payments":        {"db-url", "nats-url"},
	"notify":          {"db-url", "nats-url", "nats-edge-url", "nats-sys-url"},
}

// neighbours are the keys by which a service finds the others.
var neighbours = map[string][]string{
	"device-registry": {"jwks-url"},
	"auth":            {"registry-addr"},
	"payments":        {"auth-addr", "notify-addr", "jwks-url"},
	"notify":          {"jwks-url"},
}

// TestOperatorsRunEveryCommandOfEveryService asks the four programs beside a suite that runs: what is well, each secret from each of
// its sources, and each thing that is wrong in a line of its own with what to do.
func TestOperatorsRunEveryCommandOfEveryService(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	databases, web := map[string]string{}, map[string]map[string]string{}
	for _, service := range programs.Services {
		databases[service] = testkit.Postgres(t)
		if service != "auth" { // it has a fixed one
			web[service] = map[string]string{"http-listen": testkit.Addr(t)}
		}
	}
	d := startProcesses(t, func(_, service string) string {
		mu.Lock()
		defer mu.Unlock()
		return databases[service]
	}, func(*processes) map[string]map[string]string { return web })
	s := d.parts
	for _, service := range programs.Services {
		address := s.web
		if service != "auth" {
			address = web[service]["http-listen"]
		}
		s.until(service+" is ready", func() error {
			resp, err := http.Get("http://" + address + "/readyz")
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return errors.New(resp.Status)
			}
			return nil
		})
	}
	for _, service := range programs.Services {
		t.Run(service, func(t *testing.T) {
			c := &askedProgram{t: t, parts: s, service: service}
			c.saysWhatItIs()
			c.hidesSecrets()
			c.isWell()
			c.namesWhatIsWrong()
		})
	}
}

// askedProgram runs a service's program as an operator does.
type askedProgram struct {
	t       *testing.T
	parts   *processes
	service string
}

// answer is what a program said.
type answer struct {
	code     int
	out, err string
}

func (c *askedProgram) run(env []string, args ...string) answer {
	c.t.Helper()
	cmd := exec.CommandContext(callCtx(c.t), programs.Service(c.t, c.service), args...)
	cmd.Env, cmd.Dir = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), env...), c.t.TempDir()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// with is the environment of the running service but for some keys.
func (c *askedProgram) with(keys map[string]string) []string {
	return c.parts.env(c.service, c.parts.web, keys)
}

func (c *askedProgram) saysWhatItIs() {
	t := c.t
	t.Helper()
	if got := c.run(nil, "--version"); got.code != 0 || !regexp.MustCompile(`^`+c.service+` \S+ \(\S+, go1\.\S+\)\n$`).MatchString(got.out) || got.err != "" {
		t.Errorf("--version: %+v", got)
	}
	help := c.run(nil, "--help")
	for _, key := range secretKeys[c.service] { // the variable may name a file
		if variable := programs.Env(c.service, map[string]string{key: ""})[0]; !strings.Contains(help.out, strings.TrimSuffix(variable, "=")+"[_FILE]") {
			t.Errorf("--help does not say that %s may be in a file", key)
		}
	}
	if n := strings.Count(help.out, "[_FILE] "); n != len(secretKeys[c.service])+1 {
		t.Errorf("--help has %d secrets, this test %v", n-1, secretKeys[c.service])
	}
	for _, bad := range [][]string{{"--no-such-key", "x"}, {"nonsense"}, {"--drain-delay", "soon"}, {"--config", "no-such-file"}} {
		if got := c.run(nil, bad...); got.code != 2 || got.err == "" || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%v: %+v", bad, got)
		}
	}
}

// hidesSecrets gives every secret in each of the ways there are.
func (c *askedProgram) hidesSecrets() {
	t := c.t
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	plain, files, yaml := map[string]string{}, map[string]string{}, ""
	for _, key := range secretKeys[c.service] {
		plain[key] = "scheme://user:hunter2@host/" + key
		files[key+"-file"] = write(key, plain[key]+"\n")
		yaml += key + ": " + plain[key] + "\n"
	}
	for way, got := range map[string]answer{
		"environment": c.run(programs.Env(c.service, plain), "--print-config"),
		"_FILE":       c.run(programs.Env(c.service, files), "--print-config"),
		"file":        c.run(nil, "--config", write("config.yaml", yaml), "--print-config"),
	} {
		for key := range plain {
			line := regexp.MustCompile(`(?m)^` + key + `: "\*\*\*" # (.*)$`).FindStringSubmatch(got.out)
			if len(line) != 2 || line[1] == "default" {
				t.Errorf("from %s: %s is not there as a secret with its source", way, key)
			}
		}
		if got.code != 0 || strings.Contains(got.out+got.err, "hunter2") {
			t.Errorf("from %s: exit %d\n%s%s", way, got.code, got.out, got.err)
		}
	}
	both := maps.Clone(plain)
	both["db-url-file"] = files["db-url-file"]
	if got := c.run(programs.Env(c.service, both), "--print-config"); got.code != 2 || strings.Contains(got.err, "hunter2") {
		t.Errorf("a secret and its file: %+v", got)
	}
}

// isWell asks while everything runs.
func (c *askedProgram) isWell() {
	t := c.t
	t.Helper()
	if got := c.run(c.with(nil), "migrate"); got.code != 0 || !regexp.MustCompile(`^migrated from version (\d+) to \d+\n$`).MatchString(got.out) {
		t.Errorf("migrate: %+v", got)
	}
	if got := c.run(c.with(nil), "health"); got.code != 0 || got.out+got.err != "" {
		t.Errorf("health: %+v", got)
	}
	if got := c.run(c.with(map[string]string{"http-listen": testkit.Addr(t)}), "health"); got.code != 1 || got.err == "" {
		t.Errorf("health where nobody listens: %+v", got)
	}
	got := c.run(c.with(nil), "--check")
	lines := checked(t, got)
	for _, key := range slices.Concat(secretKeys[c.service], neighbours[c.service]) {
		if lines[key].mark != "ok" {
			t.Errorf("%s is well, and --check says %+v", key, lines[key])
		}
	}
	// A certificate of a day works, and is warned of.
	if got.code != 0 || !strings.HasPrefix(lines["tls-cert"].text, "CERTIFICATE_ENDS_SOON: ") {
		t.Errorf("--check: %+v", got)
	}
}

// finding is a line of --check.
type finding struct{ mark, text string }

// checked are the lines by key; each key has one.
func checked(t *testing.T, got answer) map[string]finding {
	t.Helper()
	lines := map[string]finding{}
	for line := range strings.Lines(got.out) {
		part := regexp.MustCompile(`^(ok|WARN|FAIL) +([a-z-]+) +(\S.*)\n$`).FindStringSubmatch(line)
		if len(part) != 4 || lines[part[2]].mark != "" {
			t.Fatalf("--check has a line too many: %q\n%s", line, got.out)
		}
		lines[part[2]] = finding{part[1], part[3]}
	}
	return lines
}

// advice is what --check says to look at, by key.
var advice = map[string]string{
	"db-url": "is the server up, and are user, password and database right?", "redis-url": "is the server up, and is this its address?",
	"jwks-url": "does auth run, and is this its address?",
}

func adviceFor(key string) string {
	switch {
	case advice[key] != "":
		return advice[key]
	case strings.HasPrefix(key, "nats-"):
		return "is the server up, and are user and password right?"
	default:
		return "does it run, and do both sides trust the same tls-ca?"
	}
}

// namesWhatIsWrong takes every dependency away, and then signs in to each as somebody it does not know (the PostgreSQL of tests
// trusts any password).
func (c *askedProgram) namesWhatIsWrong() {
	t := c.t
	t.Helper()
	nowhere := testkit.Addr(t)
	gone, wrong := map[string]string{}, map[string]string{}
	for _, key := range secretKeys[c.service] {
		switch {
		case key == "db-url":
			gone[key] = "postgres://user:hunter2@" + nowhere + "/x"
			wrong[key] = "postgres://nobody:hunter2@" + strings.SplitN(c.parts.db("", c.service), "@", 2)[1]
		case key == "redis-url":
			gone[key], wrong[key] = "redis://user:hunter2@"+nowhere, "redis://user:hunter2@"+c.parts.redis
		default:
			gone[key], wrong[key] = "nats://user:hunter2@"+nowhere, "nats://user:hunter2@"+c.parts.nats
		}
	}
	for _, key := range neighbours[c.service] {
		gone[key] = nowhere
		if key == "jwks-url" {
			gone[key] = "http://" + nowhere + "/jwks.json"
		}
	}
	c.fails("unreachable", gone, adviceFor)
	c.fails("an unknown user or password", wrong, func(key string) string {
		if key == "redis-url" {
			return "are they those of the server's ACL?"
		}
		return adviceFor(key)
	})
	broken := filepath.Join(t.TempDir(), "tls.pem")
	must(t, os.WriteFile(broken, []byte("no PEM"), 0o600))
	got := c.run(c.with(map[string]string{"tls-cert": broken}), "--check")
	if line := checked(t, got)["tls-cert"]; got.code != 1 || line.mark != "FAIL" || !strings.Contains(line.text, "a pair in PEM") {
		t.Errorf("a broken certificate: %+v", got)
	}
}

// fails checks with spoiled keys: exactly those fail, each with what to do.
func (c *askedProgram) fails(how string, spoiled map[string]string, want func(key string) string) {
	t := c.t
	t.Helper()
	got := c.run(c.with(spoiled), "--check")
	if got.code != 1 || strings.Contains(got.out+got.err, "hunter2") || strings.Count(got.err, "\n") != 1 {
		t.Errorf("%s: %+v", how, got)
	}
	lines := checked(t, got)
	for key, line := range lines {
		if _, bad := spoiled[key]; bad != (line.mark == "FAIL") || bad && !strings.HasSuffix(line.text, want(key)) {
			t.Errorf("%s: %s: %+v", how, key, line)
		}
	}
	for key := range spoiled {
		if lines[key].mark == "" {
			t.Errorf("%s: --check says nothing of %s", how, key)
		}
	}
}
