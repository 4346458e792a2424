package voucher

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestAProofIsMatchedFieldByField(t *testing.T) {
	v := Voucher{ID: "v1", Account: "alice"}
	good := Proof{
		ID: "jti", Audience: Audience, Purpose: Purpose, Account: "alice", Intent: "v1",
		IssuedAt: now.Add(-time.Second), ExpiresAt: now.Add(29 * time.Second),
	}
	if err := good.Match(v, "m", now); err != nil {
		t.Fatalf("a good proof: %v", err)
	}
	for name, tc := range map[string]struct {
		change func(*Proof)
		want   error
	}{
		"no id":               {func(p *Proof) { p.ID = "" }, ErrProofInvalid},
		"expired":             {func(p *Proof) { p.ExpiresAt = now.Add(-clockSkew) }, ErrProofInvalid},
		"not yet":             {func(p *Proof) { p.IssuedAt = now.Add(clockSkew + time.Second) }, ErrProofInvalid},
		"for another service": {func(p *Proof) { p.Audience = "payments" }, ErrProofMismatch},
		"for a payment":       {func(p *Proof) { p.Purpose = "PAY" }, ErrProofMismatch},
		"another voucher":     {func(p *Proof) { p.Intent = "v2" }, ErrProofMismatch},
		"another account":     {func(p *Proof) { p.Account = "bob" }, ErrProofMismatch},
		"another merchant":    {func(p *Proof) { p.Merchant = "n" }, ErrProofMismatch},
		"no account":          {func(p *Proof) { p.Account = "" }, ErrProofMismatch},
	} {
		p := good
		tc.change(&p)
		if err := p.Match(v, "m", now); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	if err := (Proof{ID: "jti", Audience: Audience, Purpose: Purpose, Intent: "v1", IssuedAt: now, ExpiresAt: now.Add(time.Second)}).
		Match(Voucher{ID: "v1"}, "", now); !errors.Is(err, ErrProofMismatch) {
		t.Errorf("a proof without an account fits a voucher without one: %v", err)
	}
}

func TestAllObstaclesAreNamedTheMostFinalFirst(t *testing.T) {
	good := Campaign{
		ID: "c", State: Active, Kind: FixedAmount, Currency: "CNY", Value: 500, Budget: 1000, Uses: 1, StartsAt: now, ExpiresAt: now.Add(time.Hour),
		Rules: Rules{
			Merchants: []string{"m"}, Categories: []uint32{5812},
			Limits: []Limit{{Scope: ScopeVoucher, Metric: MetricAmount, Period: Lifetime, Value: 900}},
		},
	}
	shop := Use{Merchant: "m", Category: 5812, Price: Money{1200, "CNY"}}
	none := func(m []Meter) ([]int64, error) { return make([]int64, len(m)), nil }
	for name, tc := range map[string]struct {
		change func(*Campaign, *Voucher, *Use, *Used)
		at     time.Duration
		want   string
	}{
		"a good voucher":    {func(*Campaign, *Voucher, *Use, *Used) {}, 0, ""},
		"used up":           {func(_ *Campaign, v *Voucher, _ *Use, _ *Used) { v.Uses = 1 }, 0, "VOUCHER_REDEEMED"},
		"held":              {func(_ *Campaign, v *Voucher, _ *Use, _ *Used) { v.HeldUses = 1 }, 0, "VOUCHER_RESERVED"},
		"expired":           {func(*Campaign, *Voucher, *Use, *Used) {}, time.Hour, "VOUCHER_EXPIRED,CAMPAIGN_NOT_ACTIVE"},
		"too early":         {func(*Campaign, *Voucher, *Use, *Used) {}, -time.Second, "VOUCHER_NOT_STARTED"},
		"paused":            {func(c *Campaign, _ *Voucher, _ *Use, _ *Used) { c.State = Paused }, 0, "CAMPAIGN_NOT_ACTIVE"},
		"a budget used up":  {func(c *Campaign, _ *Voucher, _ *Use, _ *Used) { c.Held, c.Redeemed = 1, 500 }, 0, "CAMPAIGN_BUDGET_EXHAUSTED"},
		"another merchant":  {func(_ *Campaign, _ *Voucher, u *Use, _ *Used) { u.Merchant = "n" }, 0, "MERCHANT_NOT_ELIGIBLE"},
		"no merchant":       {func(_ *Campaign, _ *Voucher, u *Use, _ *Used) { u.Merchant = "" }, 0, "MERCHANT_NOT_ELIGIBLE"},
		"another category":  {func(_ *Campaign, _ *Voucher, u *Use, _ *Used) { u.Category = 5813 }, 0, "CATEGORY_NOT_ELIGIBLE"},
		"another currency":  {func(_ *Campaign, _ *Voucher, u *Use, _ *Used) { u.Price.Currency = "EUR" }, 0, "CURRENCY_MISMATCH"},
		"a percent of what": {func(c *Campaign, _ *Voucher, u *Use, _ *Used) { c.Kind, u.Price = Percent, Money{} }, 0, "AMOUNT_REQUIRED"},
		"a percent of little": {func(c *Campaign, _ *Voucher, u *Use, _ *Used) {
			c.Kind, c.BasisPoints, c.Cap, u.Price.MinorUnits = Percent, 1, 5, 9999
		}, 0, "VOUCHER_WORTH_NOTHING"},
		"a limit reached": {func(_ *Campaign, _ *Voucher, _ *Use, used *Used) {
			*used = func([]Meter) ([]int64, error) { return []int64{401}, nil }
		}, 0, "VOUCHER_LIMIT_REACHED"},
		"everything at once": {func(c *Campaign, v *Voucher, u *Use, used *Used) {
			v.Uses, c.Budget, u.Merchant, u.Category, u.Price.Currency = 1, 499, "n", 1, "EUR"
			*used = func([]Meter) ([]int64, error) { return []int64{900}, nil }
		}, time.Hour, "VOUCHER_REDEEMED,VOUCHER_EXPIRED,CAMPAIGN_NOT_ACTIVE,CAMPAIGN_BUDGET_EXHAUSTED,MERCHANT_NOT_ELIGIBLE,CATEGORY_NOT_ELIGIBLE,CURRENCY_MISMATCH,VOUCHER_LIMIT_REACHED"},
	} {
		c, v, u, used := good, Voucher{ID: "v", MaxUses: 1}, shop, Used(none)
		tc.change(&c, &v, &u, &used)
		at := now.Add(tc.at)
		amount, _ := c.worth(v, u.Price.MinorUnits)
		r := Redemption{Voucher: v, Amount: Money{amount, c.Currency}, Merchant: u.Merchant, CreatedAt: at}
		all, err := r.obstacles(u, c, used, true, at)
		if got := strings.Join(reasons(all), ","); err != nil || got != tc.want {
			t.Errorf("%s: got %s, want %s (%v)", name, got, tc.want, err)
		}
	}
}

func TestWhatAVoucherTakesOff(t *testing.T) {
	const big = int64(9_000_000_000_000_000_000)
	for name, tc := range map[string]struct {
		c              Campaign
		balance, price int64
		want           int64
		known          bool
	}{
		"a fixed amount":                        {Campaign{Kind: FixedAmount, Value: 500}, 0, 1200, 500, true},
		"a fixed amount of less":                {Campaign{Kind: FixedAmount, Value: 500}, 0, 499, 499, true},
		"a fixed amount of no price":            {Campaign{Kind: FixedAmount, Value: 500}, 0, 0, 500, true},
		"a percentage, rounded down":            {Campaign{Kind: Percent, BasisPoints: 1250, Cap: 900}, 0, 999, 124, true},
		"a percentage over its cap":             {Campaign{Kind: Percent, BasisPoints: 1250, Cap: 900}, 0, 100_000, 900, true},
		"a percentage of more than 64 bits":     {Campaign{Kind: Percent, BasisPoints: 10_000, Cap: big}, 0, big, big, true},
		"a percentage of no price":              {Campaign{Kind: Percent, BasisPoints: 1250, Cap: 900}, 0, 0, 0, false},
		"a stored value":                        {Campaign{Kind: StoredValue}, 700, 500, 500, true},
		"a stored value that is less":           {Campaign{Kind: StoredValue}, 300, 500, 300, true},
		"a stored value of no price":            {Campaign{Kind: StoredValue}, 300, 0, 0, false},
		"an entitlement, whatever the price is": {Campaign{Kind: Entitlement}, 0, 500, 0, true},
	} {
		if got, known := tc.c.worth(Voucher{Balance: tc.balance}, tc.price); got != tc.want || known != tc.known {
			t.Errorf("%s: %d, %v", name, got, known)
		}
	}
}

func TestARedemptionFollowsItsPayment(t *testing.T) {
	held := Redemption{State: Reserved, Amount: Money{500, "CNY"}}
	in := func(s RedemptionState, undone int64) Redemption {
		r := held
		r.State, r.Undone = s, undone
		return r
	}
	for name, tc := range map[string]struct {
		r      Redemption
		o      Outcome
		state  RedemptionState
		undone int64
		err    string
	}{
		"approved":                         {held, Outcome{Approved: true}, Confirmed, 0, ""},
		"captured, heard of too late":      {in(Expired, 0), Outcome{Approved: true, Captured: 1000}, Confirmed, 0, ""},
		"captured again":                   {in(Confirmed, 100), Outcome{Approved: true, Captured: 1000}, Confirmed, 100, ""},
		"declined":                         {held, Outcome{Over: true}, Cancelled, 0, ""},
		"voided after the approval":        {in(Confirmed, 0), Outcome{Over: true}, RolledBack, 500, ""},
		"declined twice":                   {in(Cancelled, 0), Outcome{Over: true}, Cancelled, 0, ""},
		"approved, heard of after its end": {in(Cancelled, 0), Outcome{Approved: true}, Cancelled, 0, ""},
		"captured, though cancelled":       {in(Cancelled, 0), Outcome{Approved: true, Captured: 1}, Cancelled, 0, "REDEMPTION_STATE"},
		"a third refunded":                 {in(Confirmed, 0), Outcome{Approved: true, Captured: 999, Refunded: 333}, Confirmed, 166, ""},
		"a third, heard of twice":          {in(Confirmed, 166), Outcome{Approved: true, Captured: 999, Refunded: 333}, Confirmed, 166, ""},
		"a third, after two thirds":        {in(Confirmed, 333), Outcome{Approved: true, Captured: 999, Refunded: 333}, Confirmed, 333, ""},
		"all refunded":                     {in(Confirmed, 166), Outcome{Approved: true, Captured: 999, Refunded: 999}, RolledBack, 500, ""},
		"refunded before it was confirmed": {held, Outcome{Approved: true, Captured: 1000, Refunded: 500}, Confirmed, 250, ""},
		"refunded when all was undone":     {in(RolledBack, 500), Outcome{Approved: true, Captured: 1000, Refunded: 500}, RolledBack, 500, ""},
	} {
		r, err := tc.r.Follow(tc.o, now)
		if fault.ReasonOf(err) != tc.err || r.State != tc.state || r.Undone != tc.undone {
			t.Errorf("%s: %s, %d undone, %v", name, r.State, r.Undone, err)
		}
	}
}

// However a redemption is driven, what it holds is never negative and never more than it takes.
func TestNoPathHoldsMoreThanWasTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(0, 1000).Draw(t, "amount")
		r := Redemption{State: Reserved, Amount: Money{amount, "CNY"}, HoldExpiresAt: now.Add(holdFor)}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			at := now.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "minute")) * time.Minute)
			next, err := r, error(nil)
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				next, err = r.confirm(at)
			case 1:
				next, err = r.cancel(at)
			case 2:
				next, err = r.undo(rapid.Int64Range(0, 1200).Draw(t, "part"), at)
			case 3:
				captured := rapid.Int64Range(0, 2000).Draw(t, "captured")
				next, err = r.Follow(Outcome{
					Approved: rapid.Bool().Draw(t, "approved"), Over: rapid.Bool().Draw(t, "over"), Captured: captured,
					Refunded: rapid.Int64Range(0, captured).Draw(t, "refunded"),
				}, at)
			}
			if err != nil {
				continue
			}
			h := next.Holding()
			if h.Held < 0 || h.Spent < 0 || h.Held+h.Spent > amount || h.HeldUses+h.SpentUses > 1 || next.Undone < r.Undone || next.Undone > amount {
				t.Fatalf("%+v after %+v holds %+v", next, r, h)
			}
			r = next
		}
	})
}

func TestPeriodsBeginAnewInUTC(t *testing.T) {
	newYear := time.Date(2027, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)) // 2026 still in UTC
	for period, want := range map[Period]string{Lifetime: "", Day: "2026-12-31", Week: "2026-W53", Month: "2026-12"} {
		if got := period.key(newYear); got != want {
			t.Errorf("%s: %q, want %q", period, got, want)
		}
	}
}

func TestACampaignGoesThroughItsStates(t *testing.T) {
	for _, tc := range []struct {
		from, to CampaignState
		ok       bool
	}{
		{Draft, Active, true}, {Paused, Active, true}, {Active, Active, true}, {Ended, Active, false},
		{Active, Paused, true}, {Draft, Paused, false}, {Paused, Paused, true}, {Ended, Paused, false},
		{Draft, Ended, true}, {Active, Ended, true}, {Paused, Ended, true}, {Ended, Ended, true},
	} {
		c, err := Campaign{State: tc.from}.become(tc.to)
		if (err == nil) != tc.ok || tc.ok && c.State != tc.to || !tc.ok && fault.ReasonOf(err) != "CAMPAIGN_STATE" {
			t.Errorf("%s to %s: %s, %v", tc.from, tc.to, c.State, err)
		}
	}
}

func TestWhoGuessesIsLockedOutAlone(t *testing.T) {
	g := newGuard()
	one, other := Actor{Role: RoleTerminal, ID: "t1"}, Actor{Role: RoleTerminal, ID: "t2"}
	for i := range guessesOfOne {
		if g.locked(one, now) {
			t.Fatalf("locked out after %d", i)
		}
		if locked := g.miss(one, now); locked != (i == guessesOfOne-1) {
			t.Fatalf("miss %d: %v", i, locked)
		}
	}
	if !g.locked(one, now.Add(lockFor-time.Second)) || g.locked(other, now) || g.locked(one, now.Add(lockFor)) {
		t.Error("the lockout is not for this one and 15 minutes")
	}
	for i := range guessesOfOne * 3 {
		if g.miss(other, now.Add(time.Duration(i)*time.Minute)) { // one a minute is no guessing
			t.Fatal("slow typos lock out")
		}
	}
	partner := Actor{Role: RoleService, ID: "payments", Behalf: "partner/live/acme"} // its customers mistype through payments
	for i := range guessesOfMany {
		if locked := g.miss(partner, now); locked != (i == guessesOfMany-1) {
			t.Fatalf("miss %d of a partner by payments: %v", i, locked)
		}
	}
	for i := range maxGuessers + 10 {
		g.miss(Actor{Role: RoleWearer, ID: fmt.Sprint(i)}, now.Add(time.Hour))
	}
	if len(g.guessers) > maxGuessers {
		t.Errorf("%d guessers are kept", len(g.guessers))
	}
}

func TestTheIDsOfABatchSortByPlace(t *testing.T) {
	b := Batch{ID: "01957a10-0123-7abc-8def-0123456789ab"}
	last := ""
	for place := 1; place < 10_000_000; place += 99_991 {
		for attempt := range byte(3) {
			id := b.voucherID(place, attempt)
			if uuid.Validate(id) != nil || id < b.place(place, 0) || id >= b.place(place+1, 0) || id <= last && attempt == 0 {
				t.Fatalf("%s at %d", id, place)
			}
			last = max(last, id)
		}
	}
}

func TestWhoRunsAndWhoSeesACampaign(t *testing.T) {
	live := Campaign{Partner: "acme", Mode: "live"}
	own := Campaign{Mode: "live"} // the operator's
	for name, tc := range map[string]struct {
		by         Actor
		campaign   Campaign
		owns, sees bool
	}{
		"its partner":                   {Actor{Role: RolePartner, Partner: "acme", Mode: "live"}, live, true, true},
		"its partner in the other mode": {Actor{Role: RolePartner, Partner: "acme", Mode: "test"}, live, false, false},
		"another partner":               {Actor{Role: RolePartner, Partner: "bolt", Mode: "live"}, live, false, true},
		"a terminal":                    {Actor{Role: RoleTerminal, Mode: "live"}, live, false, true},
		"a terminal of the other mode":  {Actor{Role: RoleTerminal, Mode: "test"}, live, false, false},
		"the operator":                  {Actor{Role: RoleOperator, Mode: "live"}, live, true, true},
		"a partner without a name":      {Actor{Role: RolePartner, Mode: "live"}, own, false, true},
		"a wearer of another's voucher": {Actor{Role: RoleWearer, Account: "alice", Mode: "live"}, live, false, false},
		"the voucher's wearer":          {Actor{Role: RoleWearer, Account: "bob", Mode: "live"}, live, false, true},
		"somebody without a role":       {Actor{Mode: "live"}, live, false, true},
	} {
		if owns, sees := tc.by.Owns(tc.campaign), tc.by.Sees(Voucher{Account: "bob"}, tc.campaign); owns != tc.owns || sees != tc.sees {
			t.Errorf("%s: owns %v, sees %v", name, owns, sees)
		}
	}
}
