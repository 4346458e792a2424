package journey

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// shopsDay has the sandbox's shop earn by captures, one of them in parts, with fees, and give something back. Its day ends
// with the next minute.
func shopsDay(s shell) (merchant string) {
	s.t.Helper()
	merchant = text(s.json("tap", "--top-up", "100.00", "--amount", "12.00"), "merchant")
	s.run(0, "merchants", "update", merchant, "--fee-basis-points", "150", "--fee-fixed", "10", "--fee-returned")
	whole := text(s.json("tap", "--amount", "20.00"), "name")
	s.run(0, "payments", "refund", whole, "--amount", "5.00")
	held := s.json("tap", "--amount", "30.00", "--manual")
	if text(held, "state") != "PAYMENT_STATE_AUTHORIZED" {
		s.t.Errorf("held: %v", held)
	}
	s.run(0, "payments", "capture", text(held, "name"), "--amount", "7.00")
	s.run(0, "payments", "capture", text(held, "name"), "--amount", "5.01", "--final")
	s.run(3, "payments", "capture", text(held, "name"))
	cutOff := time.Now().UTC().Truncate(time.Minute).Add(time.Minute)
	s.run(0, "merchants", "update", merchant, "--cut-off", cutOff.Format("15:04"), "--payout-account", "NL00 1234")
	return merchant
}

// settlementsByCommand waits until the shop's day is settled, and holds the report against the ledger's own balances.
func settlementsByCommand(s shell, merchant string) {
	var settled []any
	for deadline := time.Now().Add(3 * time.Minute); len(settled) == 0; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			s.t.Error("the shop's day was not settled")
			return
		}
		settled, _ = s.json("settlements", "list", "--merchant", merchant)["settlements"].([]any)
	}
	sums := map[string]int64{}
	for _, x := range settled {
		one, _ := x.(map[string]any)
		reportByCommand(s, text(one, "name"), sums)
	}
	number := func(account string) int64 {
		n, _ := strconv.ParseInt(text(s.json("accounts", "balance", account), "balance", "minor_units"), 10, 64) // a zero is left out
		return n
	}
	owner := strings.TrimPrefix(merchant, "merchants/")
	for account, want := range map[string]int64{
		"settlement/" + owner: -sums["PAID_OUT"], "fee/CNY": -sums["TOTAL_FEES"], "merchant/" + owner: sums["CARRIED_OUT"] - sums["CARRIED_IN"],
	} {
		if got := number(account); got != want {
			s.t.Errorf("%s holds %d, the reports say %d: %v", account, got, want, sums)
		}
	}
	// What the taps without a connection took comes on top.
	if sums["CAPTURE"] < 1200+2000+700+501 || sums["REFUND"] != -500 || sums["FEE"] != -(40+21+8) || sums["FEE_RETURNED"] != 10 || sums["PAID_OUT"] >= 0 {
		s.t.Errorf("the lines come to %v", sums)
	}
}

// reportByCommand adds the lines of a report to the sums, by what they are, and holds the totals against the settlement.
func reportByCommand(s shell, name string, sums map[string]int64) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "report.csv")
	s.run(0, "settlements", "report", name, "--file", file)
	written, err := os.ReadFile(file)
	must(s.t, err)
	if out, _ := s.run(0, "settlements", "report", name); out != string(written) {
		s.t.Errorf("to a file:\n%s\nto standard output:\n%s", written, out)
	}
	lines, err := csv.NewReader(strings.NewReader(string(written))).ReadAll()
	must(s.t, err)
	totals := map[string]string{}
	for _, line := range lines[1:] {
		amount, err := strconv.ParseInt(line[6], 10, 64)
		must(s.t, err)
		sums[line[0]] += amount
		totals[line[0]] = strings.TrimPrefix(line[6], "-")
	}
	one := s.json("settlements", "get", name)
	if text(one, "payout_account") != "NL00 1234" {
		s.t.Errorf("the settlement: %v", one)
	}
	for field, total := range map[string]string{
		"captured": "TOTAL_CAPTURED", "refunded": "TOTAL_REFUNDED", "fees": "TOTAL_FEES", "paid_out": "PAID_OUT", "carried_out": "CARRIED_OUT",
	} {
		if got := either(text(one, field, "minor_units"), "0"); got != totals[total] {
			s.t.Errorf("%s is %s in the settlement and %s in the report", field, got, totals[total])
		}
	}
}

func either(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
