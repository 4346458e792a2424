package programs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"
)

// Services are the four, in the order of the design.
var Services = []string{"device-registry", "auth", "payments", "notify"}

// Env is the environment that gives a service its configuration, by key.
func Env(service string, config map[string]string) []string {
	var env []string
	for key, value := range config {
		env = append(env, "ARMLET_"+envName(service)+"_"+envName(key)+"="+value)
	}
	slices.Sort(env)
	return env
}

func envName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }

// NATSSettings writes what notify makes NATS's configuration of (nats-settings.json) and what auth signs its callout's answers
// with (callout.seed) into a folder, and returns the passwords of NATS's users. Without listen the settings are a cluster's.
func NATSSettings(t testing.TB, dir, listen string) map[string]string {
	t.Helper()
	users := map[string]string{}
	for _, user := range []string{"sys", "auth", "core", "edge"} {
		users[user] = strings.Repeat(user, 6)
	}
	pair, err := nkeys.CreateAccount()
	must(t, err)
	seed, err := pair.Seed()
	must(t, err)
	issuer, err := pair.PublicKey()
	must(t, err)
	settings := map[string]string{
		"callout_issuer": issuer, "system_password": users["sys"], "auth_password": users["auth"],
		"core_password": users["core"], "edge_password": users["edge"],
	}
	if listen != "" {
		settings["listen"], settings["store_dir"] = listen, filepath.Join(dir, "nats")
	}
	text, err := json.Marshal(settings)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "nats-settings.json"), text, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "callout.seed"), append(seed, '\n'), 0o600))
	return users
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
