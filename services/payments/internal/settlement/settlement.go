// Package settlement nets what merchants have earned, day by day, and pays it out. A merchant's day ends at its cut-off, by its
// own clock. What belongs to a day is a range of the entries of the merchant's ledger account, so that every entry is settled
// once whatever the clocks say, and the sums can be held against the balances that the ledger keeps.
//
// Start with settle.go.
package settlement

import (
	"time"
	_ "time/tzdata" // merchants' time zones must be known wherever this runs

	"github.com/armlet-pay/armlet/platform/fault"
)

// Schedule says when a merchant's day ends.
type Schedule struct {
	// CutOff is "HH:MM", empty for midnight, by the clock of TimeZone, a name of the IANA database or empty for UTC.
	CutOff, TimeZone string
}

// Next is the first cut-off after a moment.
func (s Schedule) Next(after time.Time) (time.Time, error) {
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		return time.Time{}, fault.InvalidField("settlement.time_zone", "must be a name of the IANA time zone database")
	}
	var clock time.Time
	if s.CutOff != "" {
		if clock, err = time.Parse("15:04", s.CutOff); err != nil {
			return time.Time{}, fault.InvalidField("settlement.cut_off", "must be a time of the day, HH:MM")
		}
	}
	// A day whose clock is changed may skip the cut-off; then it comes an hour later or earlier, and still once.
	local := after.In(zone)
	for day := local.Day(); ; day++ {
		next := time.Date(local.Year(), local.Month(), day, clock.Hour(), clock.Minute(), 0, 0, zone)
		if next.After(after) {
			return next.UTC(), nil
		}
	}
}

// Merchant is who is to be settled.
type Merchant struct {
	// ID is a UUID.
	ID string
	// Currency is the one it is paid in.
	Currency string
	Schedule Schedule
	// PayoutAccount is where its money goes.
	PayoutAccount string
	CreateTime    time.Time
}

// Settlement is one day of a merchant: CarriedIn + Captured - Refunded - Fees = PaidOut + CarriedOut, all in minor units.
type Settlement struct {
	// ID is a UUIDv7.
	ID       string
	Merchant string
	// Number counts the merchant's settlements, from 1.
	Number   int64
	Currency string
	// Start is the cut-off before, or when the merchant was created, and End the cut-off.
	Start, End time.Time
	// After and Last are places in the merchant's ledger account; the settlement is of what lies after the one up to the other.
	After, Last Place
	CarriedIn   int64
	Sums
	PaidOut, CarriedOut int64
	// Transaction is the ledger's, empty when nothing was paid out.
	Transaction   string
	PayoutAccount string
	// CreateTime is zero while it is open.
	CreateTime time.Time
}

// Place is an entry in the statement of a ledger account. The zero value is before the first.
type Place struct {
	Entry int64
	Time  time.Time
	// Balance is the account's after the entry, in minor units.
	Balance int64
}

// Sums are what happened to a merchant's ledger account, payouts aside. Whatever came from or went to another account than
// one for fees counts as captured or refunded; so does a payout that came back, which is paid out again.
type Sums struct {
	Captured, Refunded, Fees int64
	// Count is how many captures and refunds there were.
	Count int64
	// Payouts are what earlier settlements paid out meanwhile. They are not part of the net, and are not kept.
	Payouts int64
}

// Net is what the merchant has earned and was not paid.
func (s Settlement) Net() int64 { return s.CarriedIn + s.Captured - s.Refunded - s.Fees }

// Kind says what a line of a report is.
type Kind string

// The kinds.
const (
	KindCapture     Kind = "CAPTURE"
	KindRefund      Kind = "REFUND"
	KindFee         Kind = "FEE"
	KindFeeReturned Kind = "FEE_RETURNED"
	// KindPayout is what an earlier settlement paid out meanwhile. It is part of the balances and not of the net.
	KindPayout Kind = "PAYOUT"
)
