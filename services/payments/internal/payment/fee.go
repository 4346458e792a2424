package payment

import (
	"math/bits"
	"strconv"
)

// FeeSchedule is what the operator keeps of each capture.
type FeeSchedule struct {
	// BasisPoints are hundredths of a per cent, 0 to 10,000.
	BasisPoints uint32
	// FixedMinor is kept once of each payment, with its first capture.
	FixedMinor int64
	// ReturnedOnRefund says that a refund gives back its share.
	ReturnedOnRefund bool
}

const wholeInBasisPoints = 10_000

// of is the fee of a capture: fixed + basis points of the amount, rounded half up, never more than the amount.
func (f FeeSchedule) of(amount int64, first bool) int64 {
	fee := share(amount, int64(f.BasisPoints), wholeInBasisPoints)
	if first {
		fee += min(f.FixedMinor, amount-min(amount, fee))
	}
	return min(fee, amount)
}

// back is what a refund gives back of the fee. The shares of all refunds add up to the fee when all was given back.
func (p Payment) feeBack(f FeeSchedule, amount int64) int64 {
	if !f.ReturnedOnRefund || p.FeeMinor == 0 {
		return 0
	}
	upTo := func(refunded int64) int64 { return share(p.FeeMinor, refunded, p.CapturedMinor) }
	return min(upTo(p.RefundedMinor+amount)-upTo(p.RefundedMinor), p.FeeMinor-p.FeeBackMinor)
}

// share is amount * part / whole, rounded half up. part is at most whole, all are at least zero and whole is positive.
func share(amount, part, whole int64) int64 {
	hi, lo := bits.Mul64(uint64(amount), uint64(part))
	lo, carry := bits.Add64(lo, uint64(whole)/2, 0)
	q, _ := bits.Div64(hi+carry, lo, uint64(whole))
	return int64(q)
}

// reference makes a ledger reference of the payment's nth transaction of a purpose, from 1. It begins with the payment's id.
func (p Payment) reference(n int) string {
	if n == 1 {
		return p.ID
	}
	return p.ID + "/" + strconv.Itoa(n)
}
