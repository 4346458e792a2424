package journey

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// text is a field of an object, by its path.
func text(object map[string]any, path ...string) string {
	var at any = object
	for _, p := range path {
		m, _ := at.(map[string]any)
		at = m[p]
	}
	out, _ := at.(string)
	return out
}

func TestTheOperatorsCommandsOfPayments(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	t.Run("offline", func(*testing.T) { offlineByCommand(s) })
	merchant := shopsDay(s)
	t.Run("accounts", func(*testing.T) { accountsByCommand(s) })
	t.Run("merchants and terminals", func(*testing.T) { merchantsByCommand(s) })
	t.Run("limits", func(*testing.T) { limitsByCommand(s) })
	t.Run("transfers", func(*testing.T) { transfersByCommand(s) })
	t.Run("settlements", func(*testing.T) { settlementsByCommand(s, merchant) })
	none := "settlements/00000000-0000-0000-0000-000000000000"
	s.run(3, "settlements", "get", none)
	s.run(3, "settlements", "report", none)
	s.run(3, "settlements", "list", "--merchant", "nonsense")
	if books := s.json("payments", "books"); books["balanced"] != true {
		t.Errorf("the books: %v", books)
	}
}

func accountsByCommand(s shell) {
	s.run(0, "accounts", "create", "carol", "--currency", "JPY")
	s.run(3, "accounts", "create", "carol")
	for range 2 {
		if got := text(s.json("accounts", "topup", "carol", "500", "--request-id", "once"), "account", "balance", "minor_units"); got != "500" {
			s.t.Errorf("carol has %s", got)
		}
	}
	s.run(3, "accounts", "topup", "carol", "501", "--request-id", "once")
	s.run(2, "accounts", "topup", "carol", "1.5") // there are no half yen
	if got := text(s.json("accounts", "withdraw", "accounts/carol", "200"), "account", "balance", "minor_units"); got != "300" {
		s.t.Errorf("carol has %s", got)
	}
	s.run(3, "accounts", "withdraw", "carol", "301")
	if frozen := s.json("accounts", "freeze", "carol", "--reason", "odd taps"); frozen["frozen"] != true || frozen["freeze_reason"] != "odd taps" {
		s.t.Errorf("frozen: %v", frozen)
	}
	s.run(3, "accounts", "freeze", "carol")
	s.run(3, "accounts", "withdraw", "carol", "1")
	if out, _ := s.run(0, "accounts", "get", "carol"); !strings.Contains(out, "odd taps") {
		s.t.Errorf("carol, frozen: %s", out)
	}
	if thawed := s.json("accounts", "unfreeze", "carol"); thawed["frozen"] != nil {
		s.t.Errorf("not frozen: %v", thawed)
	}
	if got := text(s.json("accounts", "balance", "carol"), "available", "minor_units"); got != "300" {
		s.t.Errorf("carol has %s", got)
	}
	if got := text(s.json("accounts", "balance", "wallet/carol", "--at", "2020-01-01T00:00:00Z"), "balance", "minor_units"); got != "0" && got != "" {
		s.t.Errorf("carol had %s", got)
	}
	s.run(2, "accounts", "balance", "carol", "--at", "yesterday")
	s.run(3, "accounts", "close", "carol")
	if out, _ := s.run(0, "accounts", "statement", "carol"); !strings.Contains(out, "topup") || !strings.Contains(out, "JPY -200") {
		s.t.Errorf("the statement: %s", out)
	}
	s.run(0, "accounts", "withdraw", "carol", "300")
	if closed := s.json("accounts", "close", "carol"); closed["closed"] != true {
		s.t.Errorf("closed: %v", closed)
	}
	if out, _ := s.run(0, "accounts", "get", "carol"); !strings.Contains(out, "JPY 0") {
		s.t.Errorf("carol: %s", out)
	}
	s.run(3, "accounts", "get", "nobody")
	s.run(2, "accounts", "get")
}

func merchantsByCommand(s shell) {
	m := s.json("merchants", "create", "Ferry", "--category", "4111", "--currency", "CNY", "--cut-off", "22:00", "--time-zone", "Asia/Shanghai", "--fee-basis-points", "50", "--payout-account", "NL00 1234")
	name := text(m, "name")
	s.run(3, "merchants", "create", "No category")
	s.run(3, "merchants", "create", "Bad", "--category", "1", "--time-zone", "Nowhere")
	m = s.json("merchants", "update", name, "--cut-off", "23:00", "--name", "Night ferry")
	if text(m, "settlement", "cut_off") != "23:00" || text(m, "settlement", "time_zone") != "Asia/Shanghai" || text(m, "display_name") != "Night ferry" ||
		text(m, "settlement", "payout_account") != "NL00 1234" || fmt.Sprint(m["category_code"]) != "4111" {
		s.t.Errorf("updated: %v", m)
	}
	s.run(2, "merchants", "update", name)
	if m = s.json("merchants", "suspend", name); m["suspended"] != true {
		s.t.Errorf("suspended: %v", m)
	}
	if out, _ := s.run(0, "merchants", "list"); !strings.Contains(out, name) || !strings.Contains(out, "50 bp + 0") || !strings.Contains(out, "23:00 Asia/Shanghai") {
		s.t.Errorf("listed: %s", out)
	}
	if m = s.json("merchants", "resume", name); m["suspended"] != nil {
		s.t.Errorf("resumed: %v", m)
	}
	s.run(0, "merchants", "get", name)
	s.run(3, "merchants", "get", "00000000-0000-0000-0000-000000000000")
	till := text(s.json("terminals", "create", name, "Pier 1"), "name")
	if x := s.json("terminals", "suspend", till); x["suspended"] != true {
		s.t.Errorf("suspended: %v", x)
	}
	if out, _ := s.run(0, "terminals", "list", name); !strings.Contains(out, till) || !strings.Contains(out, "yes") {
		s.t.Errorf("listed: %s", out)
	}
	s.run(0, "terminals", "resume", till)
	s.run(0, "terminals", "get", till)
	s.run(3, "terminals", "get", "0123456789abcdef")
}

func limitsByCommand(s shell) {
	if l := s.json("limits", "set", "EUR", "--preset", "eu"); text(l, "strong_authentication", "cumulative_threshold") != "15000" {
		s.t.Errorf("the preset: %v", l)
	}
	s.run(3, "limits", "set", "CNY", "--preset", "eu")
	s.run(2, "limits", "set", "EUR", "--preset", "mars")
	s.run(2, "limits", "set", "EUR")
	s.run(2, "limits", "set", "EUR", "--preset", "eu", "--tap", "1")
	out, _ := s.run(0, "limits", "get", "EUR", "-o", "json")
	file := filepath.Join(s.t.TempDir(), "eur.json")
	if err := os.WriteFile(file, []byte(strings.Replace(out, "15000", "14000", 1)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if l := s.json("limits", "set", "EUR", "--file", file); text(l, "strong_authentication", "cumulative_threshold") != "14000" {
		s.t.Errorf("from a file: %v", l)
	}
	s.run(2, "limits", "set", "EUR", "--file", file+"x")
	if l := s.json("limits", "set", "JPY", "--tap", "1000", "--account-day", "5000", "--time-zone", "Asia/Tokyo"); text(l, "tap_limit") != "1000" || text(l, "account_day_limit") != "5000" {
		s.t.Errorf("one by one: %v", l)
	}
	if out, _ := s.run(0, "limits", "list"); !strings.Contains(out, "JPY 1000") || !strings.Contains(out, "above EUR 50.00, after EUR 140.00 or 5 taps") {
		s.t.Errorf("listed: %s", out)
	}
	s.run(0, "limits", "delete", "JPY")
	s.run(3, "limits", "get", "JPY")
}

func transfersByCommand(s shell) {
	s.run(0, "accounts", "create", "dave")
	first := s.json("transfers", "post", "funding/CNY", "wallet/dave", "12.00", "--id", "t-1")
	again := s.json("transfers", "post", "funding/CNY", "wallet/dave", "12.00", "--id", "t-1")
	if fmt.Sprint(first) != fmt.Sprint(again) {
		s.t.Errorf("first %v, again %v", first, again)
	}
	s.run(3, "transfers", "post", "funding/CNY", "wallet/dave", "13.00", "--id", "t-1")
	s.run(3, "transfers", "post", "wallet/dave", "wallet/nobody", "1")
	mistake := s.json("transfers", "post", "funding/CNY", "wallet/dave", "5.00")
	results, _ := mistake["results"].([]any)
	one, _ := results[0].(map[string]any)
	s.run(0, "transfers", "reverse", text(one, "transaction"))
	s.run(0, "transfers", "reverse", text(one, "transaction"))
	s.run(3, "transfers", "reverse", "00000000-0000-0000-0000-000000000000")
	s.run(2, "transfers", "post", "wallet/dave", "funding/CNY", "0")
	file := filepath.Join(s.t.TempDir(), "transfers.csv")
	write := func(lines ...string) {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	write("f-1,wallet/dave,suspense/CNY,2.00,CNY", "f-2,wallet/dave,suspense/CNY,99.00,CNY")
	s.run(3, "transfers", "import", file, "--linked")
	if got := text(s.json("accounts", "get", "dave"), "balance", "minor_units"); got != "1200" {
		s.t.Errorf("after a refused chain dave has %s", got)
	}
	if out, _ := s.run(3, "transfers", "import", file); !strings.Contains(out, "INSUFFICIENT_FUNDS") {
		s.t.Errorf("each for itself: %s", out)
	}
	if got := text(s.json("accounts", "get", "dave"), "balance", "minor_units"); got != "1000" {
		s.t.Errorf("dave has %s", got)
	}
	write("f-1,wallet/dave,suspense/CNY,2.00")
	s.run(2, "transfers", "import", file)
	write("f-3,wallet/dave,suspense/CNY,2.005,CNY")
	s.run(2, "transfers", "import", file)
}

func offlineByCommand(s shell) {
	s.run(3, "offline", "refill", "--amount", "9999.00")
	if left := s.json("offline", "refill", "--amount", "10.00"); fmt.Sprint(left["limit"]) != "1000" {
		s.t.Errorf("refilled: %v", left)
	}
	s.run(0, "offline", "tap", "--fare", "4.00")
	s.run(0, "offline", "tap", "--fare", "5.00")
	s.run(3, "offline", "tap", "--fare", "2.00") // more than is left
	s.run(2, "offline", "tap", "--fare", "0")
	if out, _ := s.run(0, "offline", "submit"); strings.Count(out, "ACCEPTED") != 2 || strings.Count(out, "payments/") != 2 {
		s.t.Errorf("submitted: %s", out)
	}
	if out, _ := s.run(0, "offline", "submit", "-o", "json"); strings.Count(out, "OFFLINE_TAP_STATUS_DUPLICATE") != 2 {
		s.t.Errorf("again: %s", out)
	}
	file := filepath.Join(s.t.TempDir(), "taps.jsonl")
	text, err := os.ReadFile(filepath.Join(s.dir, "offline-taps.jsonl"))
	if err != nil {
		s.t.Fatal(err)
	}
	bad := strings.Replace(string(text), `"minorUnits":"400"`, `"minorUnits":"401"`, 1) + "{}\n"
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.run(3, "offline", "submit", file) // the last line has no fare
	s.run(2, "offline", "submit", file+"x")
	if out, _ := s.run(0, "payments", "list"); !strings.Contains(out, "CNY 5.00") {
		s.t.Errorf("listed: %s", out)
	}
}
