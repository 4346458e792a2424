package peers

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// signed is what a signature was found over.
type signed struct {
	payload string
	err     error
}

func (s signed) VerifyJWS(_ context.Context, _, typ string) ([]byte, error) {
	if typ != "armlet-assertion+jwt" {
		return nil, errors.New("another type was asked for")
	}
	return []byte(s.payload), s.err
}

func TestTheClaimsOfAnAssertionBecomeAProof(t *testing.T) {
	want := voucher.Proof{
		ID: "j", Audience: "notify", Purpose: "VOUCHER", Account: "alice", Intent: "v", IssuedAt: time.UnixMilli(100_000), ExpiresAt: time.UnixMilli(130_000),
	}
	for _, payload := range []string{
		`{"iss":"auth","aud":"notify","jti":"j","iat":100,"exp":130,"purpose":"VOUCHER","account":"accounts/alice","intent":"v","counter":7}`,
		`{"iss":"auth","aud":["notify"],"jti":"j","iat":100,"exp":130,"purpose":"VOUCHER","account":"alice","intent":"v"}`,
	} {
		got, err := NewAssertions(signed{payload: payload}, "auth").Verify(t.Context(), "x")
		if err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestWhatAuthDidNotSayIsInvalid(t *testing.T) {
	for name, s := range map[string]signed{
		"a bad signature":    {err: fault.New(fault.Unauthenticated, "CALLER_UNKNOWN", "bad")},
		"no JSON":            {payload: "?"},
		"another issuer":     {payload: `{"iss":"eve","iat":100,"exp":130}`},
		"no end":             {payload: `{"iss":"auth","iat":100}`},
		"no beginning":       {payload: `{"iss":"auth","exp":130}`},
		"two audiences":      {payload: `{"iss":"auth","aud":["notify","payments"],"iat":100,"exp":130}`},
		"a number for an id": {payload: `{"iss":"auth","jti":7,"iat":100,"exp":130}`},
	} {
		if _, err := NewAssertions(s, "auth").Verify(t.Context(), "x"); !errors.Is(err, voucher.ErrProofInvalid) && fault.ReasonOf(err) != "ASSERTION_INVALID" {
			t.Errorf("%s: %v", name, err)
		}
	}
	away := signed{err: fault.New(fault.Unavailable, "KEYS_UNAVAILABLE", "away")}
	if _, err := NewAssertions(away, "auth").Verify(t.Context(), "x"); fault.ReasonOf(err) != "KEYS_UNAVAILABLE" {
		t.Errorf("without keys: %v", err)
	}
}
