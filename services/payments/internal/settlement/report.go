package settlement

import (
	"bytes"
	"context"
	"encoding/csv"
	"strconv"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// Statements reads a ledger account's entries.
type Statements interface {
	Statement(ctx context.Context, id string, from, to time.Time, after int64, limit int) ([]ledger.StatementLine, error)
}

// reportPage is how many entries are read at once.
const reportPage = 500

// Report writes a settlement as CSV (RFC 4180), piece by piece: a header, a line for each capture, refund, fee and fee that was
// returned, with the balance of the merchant's ledger account after it, and then the totals. Payouts of earlier settlements that
// fell into the time are listed too, so that the lines lead from one balance to the other. Amounts are in minor units, positive
// for what the merchant got.
func Report(ctx context.Context, books Statements, s Settlement, send func([]byte) error) error {
	var piece bytes.Buffer
	out := csv.NewWriter(&piece)
	out.UseCRLF = true
	write := func(fields ...string) { _ = out.Write(fields) } // a buffer takes everything
	flush := func() error {
		out.Flush()
		defer piece.Reset()
		return send(bytes.Clone(piece.Bytes()))
	}
	write("line", "entry", "time", "payment", "transaction", "currency", "amount", "balance")
	from, after := s.After.Time, s.After.Entry
	for after < s.Last.Entry {
		lines, err := books.Statement(ctx, ledger.ID(ledger.Merchant, s.Merchant), from, s.End, after, reportPage)
		if err != nil {
			return err
		}
		if len(lines) == 0 {
			break
		}
		for _, l := range lines {
			from, after = l.Time, l.Number
			if l.Number > s.Last.Entry {
				break
			}
			if l.Step != ledger.Direct && l.Step != ledger.CaptureHold {
				continue
			}
			write(string(kindOf(l)), number(l.Number), l.Time.UTC().Format(time.RFC3339Nano), paymentOf(l), "transactions/"+l.Transaction,
				s.Currency, number(l.Amount), number(l.Balance))
		}
		if err := flush(); err != nil {
			return err
		}
	}
	total := func(name string, amount int64, balance string) {
		write(name, "", "", "", "", s.Currency, number(amount), balance)
	}
	total("CARRIED_IN", s.CarriedIn, number(s.After.Balance))
	total("TOTAL_CAPTURED", s.Captured, "")
	total("TOTAL_REFUNDED", -s.Refunded, "")
	total("TOTAL_FEES", -s.Fees, "")
	total("PAID_OUT", -s.PaidOut, "")
	total("CARRIED_OUT", s.CarriedOut, number(s.Last.Balance))
	return flush()
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// kindOf says what an entry of a merchant's account is.
func kindOf(l ledger.StatementLine) Kind {
	kind, _, _ := strings.Cut(l.Other, "/")
	switch {
	case kind == string(ledger.Settlement) && l.Amount < 0:
		return KindPayout
	case kind == string(ledger.Fee) && l.Amount < 0:
		return KindFee
	case kind == string(ledger.Fee):
		return KindFeeReturned
	case l.Amount < 0:
		return KindRefund
	}
	return KindCapture
}

// paymentOf is the payment of an entry, whose id the reference begins with.
func paymentOf(l ledger.StatementLine) string {
	id, _, _ := strings.Cut(l.Reference, "/")
	switch l.Purpose {
	case "capture", "refund":
		return "payments/" + id
	}
	return ""
}
