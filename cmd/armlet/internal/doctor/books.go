package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/grpc/status"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// books asks payments whether they balance.
func (d Deployment) books(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, d.Patience)
	defer cancel()
	findings := make([]Finding, 1, 2)
	var both sync.WaitGroup
	if d.WholeLedger {
		findings = findings[:2]
		both.Go(func() { findings[1] = chain(ctx, Finding{Part: "ledger", Check: "chain"}, d.Payments) })
	}
	findings[0] = trial(ctx, Finding{Part: "ledger", Check: "trial balance"}, d.Payments)
	both.Wait()
	return findings
}

const booksWrong = "stop taking payments and call whoever keeps the books: docs/runbook.md, BooksDiffer"

func trial(ctx context.Context, f Finding, payments paymentsv1.PaymentsServiceClient) Finding {
	got, err := payments.GetTrialBalance(ctx, &paymentsv1.GetTrialBalanceRequest{})
	if err != nil {
		return f.fail("see payments", "payments did not tell: %s", status.Convert(err).Message())
	}
	var off, sums []string
	for _, t := range got.GetTotals() {
		sums = append(sums, t.GetCurrencyCode())
		if t.GetDifference() != 0 {
			off = append(off, fmt.Sprintf("%s is off by %d minor units", t.GetCurrencyCode(), t.GetDifference()))
		}
	}
	switch {
	case len(off) > 0:
		return f.fail(booksWrong, "%s", strings.Join(off, ", "))
	case !got.GetBalanced():
		return f.fail(booksWrong, "an account's balance is not the sum of its postings; --ledger names it")
	case len(sums) == 0:
		return f.ok("nothing was posted yet")
	}
	return f.ok("zero in %s", strings.Join(sums, ", "))
}

func chain(ctx context.Context, f Finding, payments paymentsv1.PaymentsServiceClient) Finding {
	got, err := payments.VerifyLedger(ctx, &paymentsv1.VerifyLedgerRequest{})
	switch {
	case err != nil:
		return f.fail("see payments, and give it longer with --timeout", "payments did not tell: %s", status.Convert(err).Message())
	case !got.GetIntact():
		return f.fail(booksWrong, "%s", strings.Join(append([]string{strings.TrimSpace(got.GetBrokenTransaction() + " " + got.GetProblem())}, got.GetDiscrepancies()...), "; "))
	}
	return f.ok("%d transactions are as they were written", got.GetTransactionCount())
}

const mostKeys = 1 << 20 // bytes

// keys asks for what all tokens are verified by.
func (d Deployment) keys(ctx context.Context) []Finding {
	ctx, cancel := context.WithTimeout(ctx, d.Patience)
	defer cancel()
	at := strings.Split(d.At.JWKSURL, ",")
	all := make([]Finding, len(at))
	var each sync.WaitGroup
	for i := range at {
		each.Go(func() { all[i] = d.keySet(ctx, strings.TrimSpace(at[i])) })
	}
	each.Wait()
	return all
}

func (d Deployment) keySet(ctx context.Context, at string) Finding {
	f := Finding{Part: "auth", Check: "key set"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return f.fail("correct jwks_url in endpoints.json", "%v", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: d.TLS, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return f.fail("does auth run, and is this its http-listen?", "%v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, mostKeys)).Decode(&set)
	if err != nil || resp.StatusCode != http.StatusOK || len(set.Keys) == 0 {
		return f.fail("is jwks_url in endpoints.json that of auth?", "no keys at %s (%s)", at, resp.Status)
	}
	return f.ok("%d keys at %s", len(set.Keys), at)
}
