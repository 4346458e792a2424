package voucher

import (
	"errors"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestAProofIsMatchedFieldByField(t *testing.T) {
	v := Voucher{ID: "v1", Account: "alice"}
	good := Proof{
		ID: "jti", Audience: Audience, Purpose: Purpose, Account: "alice", Intent: "v1",
		IssuedAt: now.Add(-time.Second), ExpiresAt: now.Add(29 * time.Second),
	}
	if err := good.Match(v, now); err != nil {
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
		"no account":          {func(p *Proof) { p.Account = "" }, ErrProofMismatch},
	} {
		p := good
		tc.change(&p)
		if err := p.Match(v, now); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	if err := (Proof{ID: "jti", Audience: Audience, Purpose: Purpose, Intent: "v1", IssuedAt: now, ExpiresAt: now.Add(time.Second)}).
		Match(Voucher{ID: "v1"}, now); !errors.Is(err, ErrProofMismatch) {
		t.Errorf("a proof without an account fits a voucher without one: %v", err)
	}
}

func TestAllObstaclesAreNamedTheMostFinalFirst(t *testing.T) {
	c := Campaign{ExpiresAt: now.Add(time.Hour)}
	v := Voucher{ExpiresAt: c.ExpiresAt}
	if all := obstacles(v, c, now); len(all) != 0 {
		t.Errorf("a good voucher has %v", all)
	}
	if all := obstacles(v, c, c.ExpiresAt); len(all) != 2 || all[0] != ErrExpired || all[1] != ErrNotActive {
		t.Errorf("an expired voucher has %v", all)
	}
	v.Redeemed = true
	if all := obstacles(v, c, c.ExpiresAt); len(all) != 3 || all[0] != ErrRedeemed {
		t.Errorf("a redeemed and expired voucher has %v", all)
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
		"somebody without a role":       {Actor{Mode: "live"}, live, false, true},
	} {
		if owns, sees := tc.by.Owns(tc.campaign), tc.by.Sees(tc.campaign); owns != tc.owns || sees != tc.sees {
			t.Errorf("%s: owns %v, sees %v", name, owns, sees)
		}
	}
}
