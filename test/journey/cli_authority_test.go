package journey

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

func TestTheCommandLineSaysWhoMayWhat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := up(t, dir)
	t.Cleanup(func() { must(t, d.process.Stop()) })
	file := func(name string) string { return filepath.Join(dir, name) }
	run := func(want int, args ...string) map[string]any {
		t.Helper()
		code, out, errs := armlet(t, append(args, "--data", dir, "-o", "json")...)
		if code != want {
			t.Errorf("armlet %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
		}
		var answer map[string]any
		if out != "" {
			must(t, json.Unmarshal([]byte(out), &answer))
		}
		return answer
	}
	is := func(answer map[string]any, field, want string) {
		t.Helper()
		if got := answer[field]; got != want {
			t.Errorf("%s is %v, want %s: %v", field, got, want, answer)
		}
	}

	is(run(0, "partners", "create", "acme", "--display-name", "Acme Bands"), "name", "partners/acme")
	run(3, "partners", "create", "acme")
	run(3, "partners", "get", "nobody")
	is(run(0, "clients", "create", "acme-1", "--partner", "acme", "--key-out", file("acme.jwk")), "state", "CLIENT_STATE_ACTIVE")
	run(2, "clients", "create", "acme-2", "--partner", "acme", "--key-out", file("acme.jwk"))
	run(2, "clients", "create", "acme-2", "--partner", "acme")
	run(2, "clients", "create", "acme-2", "--tls")
	is(run(0, "clients", "create", "watcher", "--operator", "auditor", "--key-out", file("watcher.jwk")), "operator_role", "OPERATOR_ROLE_AUDITOR")
	is(run(0, "grants", "create", "acme", "devices.provision", "--sandbox", "--calls-per-minute", "5", "--expires", "1h"), "state", "GRANT_STATE_SANDBOX")
	is(run(0, "grants", "approve", "acme", "devices.provision"), "state", "GRANT_STATE_APPROVED")
	is(run(0, "grants", "suspend", "acme", "devices.provision", "--note", "odd"), "state", "GRANT_STATE_SUSPENDED")
	is(run(0, "grants", "approve", "acme", "devices.provision"), "state", "GRANT_STATE_APPROVED")
	run(2, "grants", "create", "acme", "devices.read", "--expires", "soon")
	run(3, "grants", "create", "acme", "payments.read", "--max-amount", "CNY=500.00")
	run(2, "grants", "create", "acme", "payments.initiate", "--max-amount", "CNY=5.001")
	if limits, _ := run(0, "grants", "create", "acme", "payments.initiate", "--max-amount", "CNY=500.00")["limits"].(map[string]any); limits == nil {
		t.Error("the grant has no limits")
	}
	if all, _ := run(0, "grants", "list", "acme")["grants"].([]any); len(all) != 2 {
		t.Errorf("grants: %v", all)
	}

	// The factory gets a key of the next epoch, encrypted, before devices with it count.
	factory, err := virtual.NewFactory()
	must(t, err)
	recipient, err := factory.RecipientJWK()
	must(t, err)
	must(t, os.WriteFile(file("factory.jwk"), []byte(recipient), 0o600))
	is(run(0, "keys", "prepare", "acme"), "state", "KEY_STATE_PREPARED")
	as := []string{"--partner", "acme", "--client", "acme-1", "--key", file("acme.jwk"), "--recipient", file("factory.jwk"), "--epoch", "2"}
	run(0, append([]string{"keys", "export", "--out", file("master.jwe")}, as...)...)
	jwe, err := os.ReadFile(file("master.jwe"))
	must(t, err)
	must(t, factory.Load(strings.TrimSpace(string(jwe)), 2))
	is(run(0, "keys", "activate", "acme", "2"), "state", "KEY_STATE_ACTIVE")
	is(run(0, "keys", "taint", "acme", "1"), "state", "KEY_STATE_TAINTED")
	is(run(0, "keys", "destroy", "acme", "1"), "state", "KEY_STATE_DESTROYED")
	run(3, "keys", "destroy", "acme", "2")
	if key := run(0, "keys", "import-key")["public_jwk"]; key == nil {
		t.Error("no import key")
	}
	must(t, os.WriteFile(file("bad.jwe"), []byte("nonsense"), 0o600))
	run(3, "keys", "import", "acme", file("bad.jwe"))
	if all, _ := run(0, "keys", "list", "acme")["master_keys"].([]any); len(all) != 2 {
		t.Errorf("master keys: %v", all)
	}

	before, err := sdk.LoadKey(file("acme.jwk"))
	must(t, err)
	if keys, _ := run(0, "clients", "rotate", "acme-1", "--key-out", file("next.jwk"))["keys"].([]any); len(keys) != 2 {
		t.Errorf("keys beside each other: %v", keys)
	}
	if keys, _ := run(0, "clients", "rotate", "acme-1", "--now", "--key-out", file("last.jwk"))["keys"].([]any); len(keys) != 1 {
		t.Errorf("keys after the rotation: %v", keys)
	}
	if _, err := sdk.ClientCredentials(d.at.TokenURL, "acme-1", before).Token(callCtx(t)); err == nil {
		t.Error("the old key still gets tokens")
	}
	is(run(0, "clients", "suspend", "acme-1"), "state", "CLIENT_STATE_SUSPENDED")
	is(run(0, "clients", "resume", "acme-1"), "state", "CLIENT_STATE_ACTIVE")
	is(run(0, "clients", "revoke", "acme-1", "--note", "left"), "state", "CLIENT_STATE_REVOKED")
	run(3, "clients", "resume", "acme-1")
	is(run(0, "partners", "suspend", "acme"), "state", "PARTNER_STATE_SUSPENDED")
	is(run(0, "partners", "resume", "acme"), "state", "PARTNER_STATE_ACTIVE")
	is(run(0, "grants", "revoke", "acme", "devices.provision"), "state", "GRANT_STATE_REVOKED")
	all, _ := run(0, "partners", "audit", "clients/acme-1")["audit_entries"].([]any)
	all = slices.DeleteFunc(all, func(e any) bool { // the refused token is put on record in its own time
		entry, _ := e.(map[string]any)
		return entry["action"] == "token.refused"
	})
	if len(all) != 8 {
		t.Errorf("%d entries about the client: %v", len(all), all)
	}

	signing := run(0, "keys", "signing", "rotate", "--force")
	is(signing, "state", "KEY_STATE_ACTIVE")
	name, _ := signing["name"].(string)
	is(run(0, "keys", "signing", "taint", name), "state", "KEY_STATE_TAINTED")
	if all, _ := run(0, "keys", "signing", "list")["signing_keys"].([]any); len(all) != 4 {
		t.Errorf("signing keys: %v", all)
	}
	if code, out, _ := armlet(t, "partners", "list", "--data", dir); code != 0 || !strings.Contains(out, "Acme Bands") {
		t.Errorf("as a table: exit %d\n%s", code, out)
	}
}

func TestTheCommandLineMakesCertificates(t *testing.T) {
	t.Parallel()
	ca, out := filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "certificates")
	run := func(want int, args ...string) []map[string]any {
		t.Helper()
		code, text, errs := armlet(t, append(append([]string{"pki"}, args...), "-o", "json")...)
		if code != want {
			t.Errorf("armlet pki %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, text, errs)
		}
		var all []map[string]any
		if text != "" {
			must(t, json.Unmarshal([]byte(text), &all))
		}
		return all
	}
	run(1, "issue", "service", "auth", "--dir", ca)
	first := run(0, "services", "--dir", ca, "--out", out)
	if again := run(0, "services", "--dir", ca, "--out", out); len(first) != 5 || again[0]["serial"] != first[0]["serial"] {
		t.Errorf("%v, then %v", first, again)
	}
	each := t.TempDir()
	if all := run(0, "services", "--dir", ca, "--out", each, "--each"); len(all) != 8 {
		t.Errorf("%v", all)
	}
	if keys, err := filepath.Glob(filepath.Join(each, "*", "*.key")); err != nil || len(keys) != 4 || keys[0] != filepath.Join(each, "auth", "auth.key") {
		t.Errorf("each service has its own key and no other: %v, %v", keys, err)
	}
	run(1, "init", "--dir", ca)
	run(1, "issue", "service", "auth", "--dir", ca, "--out", out)
	run(2, "issue", "person", "auth", "--dir", ca, "--out", out)
	if c := run(0, "issue", "client", "acme-tls", "--dir", ca, "--out", out); len(c) != 1 || c[0]["kind"] != "client" {
		t.Errorf("%v", c)
	}
	if renewed := run(0, "renew", "--dir", ca, "--out", out); len(renewed) != 0 {
		t.Errorf("nothing ends soon, and yet %v", renewed)
	}
	if renewed := run(0, "renew", "auth", "--dir", ca, "--out", out); len(renewed) != 1 || renewed[0]["serial"] == first[0]["serial"] {
		t.Errorf("renewed %v", renewed)
	}
	if all := run(0, "show", "--out", out); len(all) != 6 {
		t.Errorf("%v", all)
	}
}
