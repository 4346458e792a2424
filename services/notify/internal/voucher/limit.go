package voucher

import (
	"fmt"
	"time"
)

// Scope is what a limit counts by.
type Scope string

// The scopes, as stored.
const (
	ScopeCampaign Scope = "CAMPAIGN"
	ScopeVoucher  Scope = "VOUCHER"
	ScopeAccount  Scope = "ACCOUNT"
	ScopeDevice   Scope = "DEVICE"
	ScopeMerchant Scope = "MERCHANT"
)

// Metric is what a limit counts.
type Metric string

// The metrics, as stored.
const (
	MetricRedemptions Metric = "REDEMPTIONS"
	MetricAmount      Metric = "AMOUNT"
)

// Period is after what time a limit begins again.
type Period string

// The periods, as stored.
const (
	Lifetime Period = "LIFETIME"
	Day      Period = "DAY"
	Week     Period = "WEEK"
	Month    Period = "MONTH"
)

// Limit bounds what is redeemed, holds included.
type Limit struct {
	Scope  Scope  `json:"scope"`
	Metric Metric `json:"metric"`
	Period Period `json:"period"`
	Value  int64  `json:"value"`
}

// Meter is where the use of one limit is counted: by one subject in one period.
type Meter struct {
	// Limit is the limit's place in its campaign.
	Limit   int
	Subject string
	// Period is "" for ever, or the period's first day in UTC and its length.
	Period string
	// Bound is the limit's value.
	Bound  int64
	Metric Metric
}

// key names the period that a moment lies in. Weeks begin on Monday.
func (p Period) key(at time.Time) string {
	at = at.UTC()
	switch p {
	case Day:
		return at.Format("2006-01-02")
	case Week:
		year, week := at.ISOWeek()
		return fmt.Sprintf("%04d-W%02d", year, week)
	case Month:
		return at.Format("2006-01")
	}
	return ""
}

// Meters are the meters that a redemption moves. A limit whose subject is not known has none: check refuses those where
// it has to be.
func (c Campaign) Meters(r Redemption) []Meter {
	var all []Meter
	for i, l := range c.Rules.Limits {
		subject, known := map[Scope]string{
			ScopeVoucher: r.Voucher.ID, ScopeAccount: r.Account, ScopeDevice: r.Device, ScopeMerchant: r.Merchant,
		}[l.Scope]
		if known && subject == "" {
			continue
		}
		all = append(all, Meter{Limit: i, Subject: subject, Period: l.Period.key(r.CreatedAt), Bound: l.Value, Metric: l.Metric})
	}
	return all
}

// Counts is what a redemption adds to the meter.
func (m Meter) Counts(h Holding) int64 {
	if m.Metric == MetricAmount {
		return h.Held + h.Spent
	}
	return h.HeldUses + h.SpentUses
}
