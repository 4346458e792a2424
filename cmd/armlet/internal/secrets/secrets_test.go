package secrets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/secrets"
)

var places = secrets.Places{Postgres: "db:5432", Redis: "redis:6379", NATS: "nats:4222", NATSListen: "0.0.0.0:4222", NATSStore: "/store"}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

func TestEveryFileAgreesWithThePasswords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	if _, err := secrets.Make(dir, places); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir, "device-registry-db-url"), "postgres://device_registry:"+read(t, dir, "postgres-device-registry-password")+"@db:5432/device_registry?sslmode=disable"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	redis := read(t, dir, "redis-password")
	if !strings.Contains(read(t, dir, "redis-users.acl"), ">"+redis+" ") || !strings.Contains(read(t, dir, "redis-url"), ":"+redis+"@redis:6379/") {
		t.Error("Redis has another password")
	}
	pair, err := nkeys.FromSeed([]byte(read(t, dir, "nats-callout.seed")))
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	settings := read(t, dir, "nats-settings.json")
	for _, want := range []string{issuer, read(t, dir, "nats-sys-password"), read(t, dir, "nats-edge-password"), "/store"} {
		if !strings.Contains(settings, want) {
			t.Errorf("the settings of NATS lack %s", want)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may enter the folder: %v, %v", info.Mode(), err)
	}
}

func TestPasswordsStayAndPlacesMayChange(t *testing.T) {
	dir := t.TempDir()
	if _, err := secrets.Make(dir, places); err != nil {
		t.Fatal(err)
	}
	before := read(t, dir, "nats-core-password")
	if again, err := secrets.Make(dir, places); err != nil || len(again) != 0 {
		t.Errorf("written again: %v, %v", again, err)
	}
	moved := places
	moved.NATS = "elsewhere:4222"
	written, err := secrets.Make(dir, moved)
	if err != nil || len(written) != 4 {
		t.Errorf("written: %v, %v", written, err)
	}
	if got := read(t, dir, "nats-core-url"); got != "nats://core:"+before+"@elsewhere:4222" {
		t.Errorf("got %s", got)
	}
}

func TestAnEmptyPasswordIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "redis-password"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Make(dir, places); err == nil || !strings.Contains(err.Error(), "redis-password is empty") {
		t.Errorf("got %v", err)
	}
}

func TestEachReaderGetsWhatItReadsAndNoMore(t *testing.T) {
	dir, out := filepath.Join(t.TempDir(), "secrets"), t.TempDir()
	if _, err := secrets.Make(dir, places); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as at each start
		if err := secrets.Deliver(dir, out); err != nil {
			t.Fatal(err)
		}
	}
	delivered, err := os.ReadDir(filepath.Join(out, "payments"))
	if err != nil || len(delivered) != 2 {
		t.Fatalf("payments has %v, %v", delivered, err)
	}
	for _, file := range delivered {
		if got, want := read(t, filepath.Join(out, "payments"), file.Name()), read(t, dir, file.Name()); got != want {
			t.Errorf("%s is delivered as %q, it is %q", file.Name(), got, want)
		}
	}
	all, err := filepath.Glob(filepath.Join(out, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range all {
		seen[filepath.Base(file)] = true
	}
	made, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range made {
		inside := strings.HasPrefix(file.Name(), "nats-") && strings.HasSuffix(file.Name(), "-password") // of the URLs and settings
		if !seen[file.Name()] && !inside {
			t.Errorf("nobody reads %s", file.Name())
		}
	}
}

func TestSeveralOfEachServerAreNamedTogether(t *testing.T) {
	dir := t.TempDir()
	if _, err := secrets.Make(dir, secrets.Places{Postgres: "a:1,b:2", Redis: "a:1,b:2,c:3", RedisMaster: "main", NATS: "a:1,b:2"}); err != nil {
		t.Fatal(err)
	}
	pw := func(name string) string { return read(t, dir, name+"-password") }
	for file, want := range map[string]string{
		"auth-db-url":   "postgres://auth:" + pw("postgres-auth") + "@a:1,b:2/auth?sslmode=disable&target_session_attrs=read-write",
		"redis-url":     "redis://default:" + pw("redis") + "@a:1/0?addr=b%3A2&addr=c%3A3&master_name=main",
		"nats-core-url": "nats://core:" + pw("nats-core") + "@a:1,nats://core:" + pw("nats-core") + "@b:2",
	} {
		if got := read(t, dir, file); got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
	if pw("nats-route") == "" || strings.Contains(read(t, dir, "nats-settings.json"), "listen") {
		t.Error("the nodes of NATS have no password of their own, or share an address")
	}
}
