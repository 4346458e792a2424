package journey

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/test/programs"
)

// armlet runs the command line and returns its exit code and output.
func armlet(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := exec.Command(programs.Armlet(t), args...)
	c.SysProcAttr = programs.DiesWithParent()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestTheDemoTellsItsStory(t *testing.T) {
	t.Parallel()
	code, out, errs := armlet(t, "demo")
	if code != 0 || strings.Contains(out, "✗") || strings.Count(out, "✓") != 17 {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	for _, part := range []string{`"Paid ¥12.00" on the wrist`, "VOUCHER_REDEEMED", "DEVICE_SUSPENDED", "difference 0", "auth VerifyResponse"} {
		if !strings.Contains(out, part) {
			t.Errorf("the story does not tell %q:\n%s", part, out)
		}
	}
}

func TestTheCommandLineSaysWhatHappenedByItsExitCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := up(t, dir)
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := armlet(t, append(args, "--data", dir)...)
		if code != want {
			t.Errorf("armlet %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
		}
		if code != 0 && errs == "" {
			t.Errorf("armlet %s: exit %d without a word", strings.Join(args, " "), code)
		}
		return out
	}
	var payment, books, page, voucher, event map[string]any
	parse := func(text string, into *map[string]any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("not JSON: %v\n%s", err, text)
		}
	}
	parse(run(0, "tap", "-o", "json"), &payment)
	run(3, "tap", "--no-knock")
	run(3, "tap", "--taken-off")
	run(3, "tap", "--amount", "5000")
	run(2, "tap", "--amount", "12.345")
	run(2, "tap", "--nonsense")
	run(2, "nonsense")
	run(2, "payments", "get")
	run(2, "payments", "list", "-o", "xml")
	run(3, "payments", "get", "00000000-0000-0000-0000-000000000000")
	run(0, "payments", "get", payment["name"].(string)) //nolint:forcetypeassert // the test may end here
	parse(run(0, "payments", "books", "-o", "json"), &books)
	if books["balanced"] != true {
		t.Errorf("the books: %v", books)
	}
	parse(run(0, "payments", "list", "-o", "json", "--page-size", "2"), &page)
	if page["next_page_token"] == nil {
		t.Errorf("four payments fit a page of two: %v", page)
	}
	device := payment["device"].(string) //nolint:forcetypeassert // the test may end here
	run(0, "devices", "get", device)
	run(0, "devices", "list")
	parse(run(0, "vouchers", "issue", "-o", "json"), &voucher)
	code := voucher["code"].(string) //nolint:forcetypeassert // the test may end here
	run(0, "vouchers", "verify", code)
	run(0, "vouchers", "redeem", code)
	parse(run(0, "vouchers", "issue", "--value", "3.00", "-o", "json"), &voucher)
	one := voucher["code"].(string) //nolint:forcetypeassert // the test may end here
	if out := run(0, "tap", "--amount", "4.00", "--voucher", one); !strings.Contains(out, "price CNY 4.00, less CNY 3.00") {
		t.Errorf("paid with a voucher: %s", out)
	}
	run(3, "tap", "--voucher", one)
	run(3, "vouchers", "verify", code)
	run(3, "vouchers", "redeem", code)
	run(3, "vouchers", "verify", "AAAAA-AAAAA-AAAAA")
	var sent, why map[string]any
	parse(run(0, "alerts", "send", "Hello", "-o", "json"), &sent)
	name := sent["alert"].(map[string]any)["name"].(string) //nolint:forcetypeassert // the test may end here
	parse(run(0, "alerts", "explain", name, "-o", "json"), &why)
	if decisions, _ := why["decisions"].([]any); len(decisions) < 8 {
		t.Errorf("explained: %v", why)
	}
	if list := run(0, "alerts", "list"); !strings.Contains(list, name) {
		t.Errorf("listed: %s", list)
	}
	if seen := run(0, "alerts", "watch", "--count", "1"); !strings.Contains(seen, "/alerts/") {
		t.Errorf("watched: %s", seen)
	}
	run(0, "alerts", "preferences", "--quiet", "22:00-07:00", "--time-zone", "Asia/Shanghai")
	run(0, "alerts", "preferences", "--quiet", "none")
	run(2, "alerts", "send", "x", "--priority", "loud")
	run(3, "alerts", "explain", "00000000-0000-0000-0000-000000000000")
	line, _, _ := strings.Cut(run(0, "events", "tail", "--filter", "live.payments.payment.captured", "--count", "1", "-o", "json"), "\n")
	parse(line, &event)
	if event["type"] != "armlet.payments.v1.PaymentCaptured" {
		t.Errorf("the event: %v", event)
	}
	run(0, "devices", "lost", device)
	run(3, "tap")
	run(0, "devices", "found", device)
	run(0, "tap")
	run(0, "devices", "audit", device)
	run(1, "up", "--port-base", "0")
	must(t, d.process.Stop())
	run(4, "payments", "list", "--timeout", "2s")
	if code, _, errs := armlet(t, "tap", "--data", filepath.Join(dir, "nowhere")); code != 1 || !strings.Contains(errs, "armlet up") {
		t.Errorf("without a suite: exit %d, %s", code, errs)
	}
}
