package journey

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTheCommandLineRunsCampaignsAlertTypesAndOwnEvents is one operator's morning.
func TestTheCommandLineRunsCampaignsAlertTypesAndOwnEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := up(t, dir)
	t.Cleanup(func() {
		if err := d.process.Stop(); err != nil {
			t.Error(err)
		}
	})
	run := func(want int, args ...string) map[string]any {
		t.Helper()
		code, out, errs := armlet(t, append(args, "--data", dir, "-o", "json")...)
		if code != want {
			t.Errorf("armlet %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
		}
		var got map[string]any
		if code == 0 {
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Errorf("armlet %s: not JSON: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		return got
	}
	is := func(got map[string]any, field string, want any) {
		t.Helper()
		if got[field] != want {
			t.Errorf("%s is %v, want %v, in %v", field, got[field], want, got)
		}
	}
	text := func(got map[string]any, field string) string {
		t.Helper()
		s, _ := got[field].(string)
		if s == "" {
			t.Fatalf("no %s in %v", field, got)
		}
		return s
	}
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}

	campaign := text(run(0, "vouchers", "campaigns", "create", "Summer", "--value", "5.00", "--budget", "100.00", "--draft"), "name")
	run(3, "vouchers", "issue", "--campaign", campaign)
	is(run(0, "vouchers", "campaigns", "activate", campaign), "state", "CAMPAIGN_STATE_ACTIVE")
	issued := run(0, "vouchers", "issue", "--campaign", campaign)
	code := text(issued, "code")
	voucher, _ := issued["voucher"].(map[string]any)
	held := run(0, "vouchers", "reserve", code, "--price", "12.00")
	is(held, "state", "REDEMPTION_STATE_RESERVED")
	run(3, "vouchers", "redeem", code)
	is(run(0, "vouchers", "cancel", text(held, "name")), "state", "REDEMPTION_STATE_CANCELLED")
	is(run(0, "vouchers", "assign", text(voucher, "name"), "--account", "wearer"), "account", "accounts/wearer")
	held = run(0, "vouchers", "reserve", code, "--price", "12.00") // now the band has to agree
	is(run(0, "vouchers", "confirm", text(held, "name")), "state", "REDEMPTION_STATE_CONFIRMED")
	is(run(0, "vouchers", "rollback", text(held, "name"), "--amount", "2.00"), "state", "REDEMPTION_STATE_CONFIRMED")
	is(run(0, "vouchers", "rollback", text(held, "name")), "state", "REDEMPTION_STATE_ROLLED_BACK")
	is(run(0, "vouchers", "campaigns", "pause", campaign), "state", "CAMPAIGN_STATE_PAUSED")
	run(3, "vouchers", "redeem", code)
	is(run(0, "vouchers", "campaigns", "end", campaign), "state", "CAMPAIGN_STATE_ENDED")
	run(3, "vouchers", "campaigns", "activate", campaign)
	run(0, "vouchers", "campaigns", "create", "A quarter", "--kind", "percent", "--percent", "25", "--cap", "10.00", "--category", "5812")
	if all, _ := run(0, "vouchers", "campaigns", "list")["campaigns"].([]any); len(all) != 2 {
		t.Errorf("campaigns: %v", all)
	}
	run(2, "vouchers", "campaigns", "create", "x", "--kind", "free")
	run(3, "vouchers", "campaigns", "create", "x")
	run(3, "vouchers", "confirm", "00000000-0000-4000-8000-000000000000")

	content := file("type.json", `{"display_name":"Maintenance","category":"ALERT_CATEGORY_PARTNERS","default_priority":"ALERT_PRIORITY_NORMAL","default_locale":"en",
		"payload_schema":"{\"type\":\"object\",\"properties\":{\"hours\":{\"type\":\"integer\"}},\"required\":[\"hours\"]}",
		"templates":[{"surface":"SURFACE_BAND","locale":"en","texts":["Back in {hours} h","Maintenance"]},{"surface":"SURFACE_PHONE","locale":"en","title":"Armlet","texts":["Back in {hours} hours."]}]}`)
	run(0, "alerts", "types", "create", "maintenance", content)
	is(run(0, "alerts", "types", "preview", "maintenance", "--payload", `{"hours": 2}`), "band_text", "Back in 2 h")
	run(3, "alerts", "types", "preview", "maintenance", "--payload", `{"hours": "two"}`)
	run(3, "alerts", "send", "--type", "alertTypes/maintenance", "--payload", `{"hours": 2}`)
	run(0, "alerts", "types", "publish", "maintenance")
	run(0, "alerts", "types", "update", "maintenance", content)
	is(run(0, "alerts", "types", "get", "maintenance"), "revision", float64(1))
	if all, _ := run(0, "alerts", "types", "list")["alert_types"].([]any); len(all) < 5 {
		t.Errorf("types: %v", all)
	}
	run(0, "alerts", "topics", "create", "news")
	is(run(0, "alerts", "topics", "add", "news", "accounts/wearer"), "member_count", "1")
	if all, _ := run(0, "alerts", "topics", "members", "news")["members"].([]any); len(all) != 1 {
		t.Errorf("members: %v", all)
	}
	run(0, "alerts", "send", "--topic", "topics/news", "--type", "alertTypes/maintenance", "--payload", `{"hours": 3}`)
	arrived := false
	for deadline := time.Now().Add(20 * time.Second); !arrived && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		_, out, _ := armlet(t, "alerts", "list", "--data", dir)
		arrived = strings.Contains(out, "Back in 3 h")
	}
	if !arrived {
		t.Error("the member of the topic was not alerted")
	}
	run(0, "alerts", "topics", "remove", "news", "accounts/wearer")
	run(0, "alerts", "topics", "list")
	run(0, "alerts", "topics", "delete", "news")

	schema := file("slept.json", `{"type":"object","properties":{"minutes":{"type":"integer"}},"required":["minutes"]}`)
	run(0, "events", "types", "create", "slept", "--schema", schema)
	published := text(run(0, "events", "publish", "slept", `{"minutes": 431}`, "--id", "night-1"), "id")
	is(run(0, "events", "publish", "slept", `{"minutes": 431}`, "--id", "night-1"), "id", published)
	run(3, "events", "publish", "slept", `{"minutes": "all"}`)
	run(2, "events", "publish", "slept", "431")
	run(0, "events", "types", "list")
	run(0, "events", "types", "delete", "slept")
	run(3, "events", "publish", "slept", `{"minutes": 1}`)
	if all, _ := run(0, "grants", "bundle", "sandbox", "extended")["grants"].([]any); len(all) != 12 {
		t.Errorf("granted %v", all)
	}
	run(2, "grants", "bundle", "sandbox", "everything")
}
