package conf_test

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/conf"
)

type hidden string

func (hidden) LogValue() slog.Value { return slog.StringValue("***") }

type shared struct {
	LogLevel string `conf:"log-level" help:"how much to log"`
}

func (s shared) Validate() error {
	if s.LogLevel == "loud" {
		return errors.New("log-level: loud is not a level")
	}
	return nil
}

type config struct {
	Listen string        `conf:"listen" help:"where to serve"`
	DBURL  string        `conf:"db-url" help:"where the data is" secret:"true"`
	Pin    int           `conf:"pin" secret:"true"`
	Key    hidden        `conf:"key"`
	Retain time.Duration `conf:"retain" help:"how long"`
	Most   int64         `conf:"most"`
	No     uint32        `conf:"no"`
	Strict bool          `conf:"strict"`
	Peers  []string      `conf:"peers"`
	shared
	Derived string // no key
}

func (c *config) Validate() error {
	if c.Most < 0 {
		return errors.New("most: cannot be negative")
	}
	return nil
}

func defaults() config {
	return config{Listen: ":1", DBURL: "sqlite:default", Retain: time.Hour, Most: 5, Peers: []string{"a"}, Derived: "kept"}
}

func environment(kv map[string]string) func(string) string {
	return func(k string) string { return kv[k] }
}

func file(t *testing.T, text string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "conf.yaml")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func load(t *testing.T, env map[string]string, args ...string) (config, string, bool, error) {
	t.Helper()
	cfg := defaults()
	var out strings.Builder
	done, err := conf.Load("some-service", &cfg, args, environment(env), &out)
	return cfg, out.String(), done, err
}

func TestTheStrongerSourceWins(t *testing.T) {
	f := file(t, "listen: \":2\"\nmost: 20\n")
	fromEnv := map[string]string{"ARMLET_SOME_SERVICE_LISTEN": ":3"}
	for name, c := range map[string]struct {
		env        map[string]string
		args       []string
		wantListen string
		wantMost   int64
	}{
		"default":               {nil, nil, ":1", 5},
		"file over default":     {nil, []string{"--config", f}, ":2", 20},
		"file by its variable":  {map[string]string{"ARMLET_SOME_SERVICE_CONFIG": f}, nil, ":2", 20},
		"environment over file": {fromEnv, []string{"--config", f}, ":3", 20},
		"flag over everything":  {fromEnv, []string{"--config", f, "--listen", ":4"}, ":4", 20},
		"empty flag counts":     {fromEnv, []string{"--listen="}, "", 5},
		"empty variable not":    {map[string]string{"ARMLET_SOME_SERVICE_LISTEN": ""}, nil, ":1", 5},
		"another service's":     {map[string]string{"ARMLET_OTHER_LISTEN": ":9"}, nil, ":1", 5},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _, done, err := load(t, c.env, c.args...)
			if err != nil || done {
				t.Fatal(done, err)
			}
			if cfg.Listen != c.wantListen || cfg.Most != c.wantMost || cfg.Derived != "kept" {
				t.Errorf("got %+v", cfg)
			}
		})
	}
}

func TestEveryTypeFromEverySource(t *testing.T) {
	want := config{
		Listen: "h:1", DBURL: "postgres://x", Pin: 12, Key: "k", Retain: 90 * time.Second, Most: 1 << 40, No: 4294967295, Strict: true,
		Peers: []string{"x", "y"}, shared: shared{LogLevel: "debug"}, Derived: "kept",
	}
	yaml := "listen: h:1\ndb-url: postgres://x\npin: 12\nkey: k\nretain: 90s\nmost: 1099511627776\nno: 4294967295\nstrict: true\npeers: [x, y]\nlog-level: debug\n"
	flags := []string{
		"--listen", "h:1", "--db-url=postgres://x", "-pin", "12", "--key", "k", "--retain", "1m30s", "--most", "1099511627776", "--no", "4294967295",
		"--strict", "--peers", "x", "--peers", "y", "--log-level", "debug",
	}
	env := map[string]string{}
	for k, v := range map[string]string{
		"LISTEN": "h:1", "DB_URL": "postgres://x", "PIN": "12", "KEY": "k", "RETAIN": "90s", "MOST": "1099511627776", "NO": "4294967295",
		"STRICT": "true", "PEERS": "x, y", "LOG_LEVEL": "debug",
	} {
		env["ARMLET_SOME_SERVICE_"+k] = v
	}
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
	}{"file": {nil, []string{"--config", file(t, yaml)}}, "flags": {nil, flags}, "environment": {env, nil}} {
		t.Run(name, func(t *testing.T) {
			got, _, _, err := load(t, c.env, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsWrongIsNamedAndSecretsAreNot(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want []string
		not  string
	}{
		"no number":              {nil, []string{"--most", "many"}, []string{"most", "flag --most", "many", "whole number"}, ""},
		"too large":              {nil, []string{"--no", "4294967296"}, []string{"no", "4294967295"}, ""},
		"no duration":            {map[string]string{"ARMLET_SOME_SERVICE_RETAIN": "5"}, nil, []string{"retain", "ARMLET_SOME_SERVICE_RETAIN", "duration"}, ""},
		"no boolean":             {nil, []string{"--strict=perhaps"}, []string{"strict", "true or false"}, ""},
		"given twice":            {nil, []string{"--listen", "a", "--listen", "b"}, []string{"listen", "one value"}, ""},
		"a secret by flag":       {nil, []string{"--pin", "hunter2"}, []string{"pin", "whole number"}, "hunter2"},
		"a secret by file":       {nil, []string{"--config", file(t, "pin: hunter2")}, []string{"pin"}, "hunter2"},
		"a secret in bad YAML":   {nil, []string{"--config", file(t, "- hunter2")}, []string{"flat YAML"}, "hunter2"},
		"unknown flag":           {nil, []string{"--lisen", "x"}, []string{"lisen", "--help"}, ""},
		"unknown key in a file":  {nil, []string{"--config", file(t, "lisen: x\nzz: 1")}, []string{"lisen, zz"}, ""},
		"a map in a file":        {nil, []string{"--config", file(t, "listen: {a: 1}")}, []string{"listen", "one plain value"}, ""},
		"a list for one value":   {nil, []string{"--config", file(t, "listen: [a]")}, []string{"listen", "one plain value"}, ""},
		"a list of lists":        {nil, []string{"--config", file(t, "peers: [[a]]")}, []string{"peers", "plain values"}, ""},
		"a key twice in a file":  {nil, []string{"--config", file(t, "listen: a\nlisten: b")}, []string{"conf.yaml"}, ""},
		"no such file":           {nil, []string{"--config", "/does/not/exist"}, []string{"/does/not/exist"}, ""},
		"an argument too many":   {nil, []string{"up"}, []string{`"up"`}, ""},
		"Validate of the struct": {nil, []string{"--most=-1"}, []string{"most: cannot be negative"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, out, done, err := load(t, c.env, c.args...)
			if err == nil || done {
				t.Fatalf("accepted (%s)", out)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("%q shows a secret", err)
			}
		})
	}
}

func TestASecretIsReadFromTheFileThatItsVariableNames(t *testing.T) {
	f := file(t, "postgres://secret\n")
	cfg, _, _, err := load(t, map[string]string{"ARMLET_SOME_SERVICE_DB_URL_FILE": f, "ARMLET_SOME_SERVICE_LISTEN_FILE": f})
	if err != nil || cfg.DBURL != "postgres://secret" || cfg.Listen != ":1" {
		t.Errorf("got %q and %q, %v", cfg.DBURL, cfg.Listen, err)
	}
	if cfg, _, _, err = load(t, map[string]string{"ARMLET_SOME_SERVICE_DB_URL_FILE": f}, "--db-url", "flag"); err != nil || cfg.DBURL != "flag" {
		t.Errorf("with a flag: got %q, %v", cfg.DBURL, err)
	}
	_, printed, _, err := load(t, map[string]string{"ARMLET_SOME_SERVICE_DB_URL_FILE": f}, "--print-config")
	if err != nil || strings.Contains(printed, "secret") || !strings.Contains(printed, "# file "+f) {
		t.Errorf("printed %v\n%s", err, printed)
	}
	for name, env := range map[string]map[string]string{
		"are both set": {"ARMLET_SOME_SERVICE_DB_URL_FILE": f, "ARMLET_SOME_SERVICE_DB_URL": "x"},
		"no such file": {"ARMLET_SOME_SERVICE_DB_URL_FILE": f + ".none"},
		"is empty":     {"ARMLET_SOME_SERVICE_DB_URL_FILE": file(t, "\n")},
		"whole number": {"ARMLET_SOME_SERVICE_PIN_FILE": f},
	} {
		_, _, _, err := load(t, env)
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestStructsInsideAreValidatedToo(t *testing.T) {
	type outer struct{ Inner shared }
	var cfg outer
	_, err := conf.Load("s", &cfg, []string{"--log-level", "loud"}, environment(nil), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "log-level") {
		t.Errorf("got %v", err)
	}
}

func TestHelpAndPrintConfigShowNoSecret(t *testing.T) {
	env := map[string]string{"ARMLET_SOME_SERVICE_KEY": "hunter2", "ARMLET_SOME_SERVICE_PIN": "4711"}
	_, help, done, err := load(t, env, "--help")
	if err != nil || !done {
		t.Fatal(done, err)
	}
	for _, want := range []string{"--db-url TEXT", "ARMLET_SOME_SERVICE_DB_URL[_FILE]", "where the data is", "default ***", "--retain DURATION", "default 1h0m0s", "--config FILE"} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %q:\n%s", want, help)
		}
	}
	_, printed, done, err := load(t, env, "--print-config", "--peers", "x,y")
	if err != nil || !done {
		t.Fatal(done, err)
	}
	for _, want := range []string{"db-url: '***' # default", "key: '***' # environment ARMLET_SOME_SERVICE_KEY", "most: 5 # default", "peers: 'x,y' # flag --peers", "strict: false"} {
		if !strings.Contains(strings.ReplaceAll(printed, `"`, "'"), want) {
			t.Errorf("the print lacks %q:\n%s", want, printed)
		}
	}
	for what, text := range map[string]string{"help": help, "print": printed} {
		for _, secret := range []string{"hunter2", "4711", "sqlite:default"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %q", what, secret)
			}
		}
	}
}

func TestPrintedConfigCanBeLoadedAgain(t *testing.T) {
	type plain struct {
		A string   `conf:"a"`
		B []string `conf:"b"`
		C bool     `conf:"c"`
		D int      `conf:"d"`
	}
	want := plain{A: "yes # no: \"'\n1 " + strings.Repeat("long ", 100), B: []string{"1", "true"}, C: true, D: -3}
	cfg := want
	var out strings.Builder
	if _, err := conf.Load("s", &cfg, []string{"--print-config"}, environment(nil), &out); err != nil {
		t.Fatal(err)
	}
	var got plain
	if _, err := conf.Load("s", &got, []string{"--config", file(t, out.String())}, environment(nil), io.Discard); err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAStructThatCannotBeConfiguredIsRefused(t *testing.T) {
	for name, cfg := range map[string]any{
		"not a pointer": struct{}{},
		"nil":           (*config)(nil),
		"odd type": &struct {
			F float64 `conf:"f"`
		}{},
		"twice": &struct {
			A string `conf:"a"`
			B string `conf:"a"`
		}{},
		"reserved": &struct {
			A string `conf:"config"`
		}{},
		"a secret's file": &struct {
			A string `conf:"a" secret:"true"`
			B string `conf:"a-file"`
		}{},
		"nameless": &struct {
			A string `conf:""`
		}{},
	} {
		if _, err := conf.Load("s", cfg, nil, environment(nil), io.Discard); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestValueReadsOneKeyButNoSecret(t *testing.T) {
	cfg := defaults()
	cfg.LogLevel = "warn"
	for key, want := range map[string]string{"log-level": "warn", "most": "5", "db-url": "", "nothing": ""} {
		if got := conf.Value(&cfg, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestRevealReadsSecretsToo(t *testing.T) {
	cfg := defaults()
	for _, name := range conf.Names(&cfg) {
		if v := conf.Value(&cfg, name); v != "" && v != conf.Reveal(&cfg, name) {
			t.Errorf("%s: %q and %q", name, v, conf.Reveal(&cfg, name))
		}
	}
	if got := conf.Reveal(&cfg, "db-url"); got != "sqlite:default" || conf.Reveal(&cfg, "nothing") != "" {
		t.Errorf("got %q", got)
	}
}
