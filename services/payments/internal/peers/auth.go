// Package peers calls other services on behalf of the domain: auth, which makes challenges, decides on responses and signs
// assertions.
package peers

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// Auth implements payment.Auth.
type Auth struct {
	client authv1.AuthServiceClient
	Assertions
}

// NewAuth talks to auth over conn, which maps statuses to faults as rpc.Dial does. The verifier has auth's public keys.
func NewAuth(conn grpc.ClientConnInterface, verifier JWSVerifier, now func() time.Time) *Auth {
	return &Auth{client: authv1.NewAuthServiceClient(conn), Assertions: Assertions{Verifier: verifier, Now: now}}
}

// CreateChallenge implements payment.Auth.
func (a *Auth) CreateChallenge(ctx context.Context, req payment.ChallengeRequest) (payment.Challenge, error) {
	intent, err := uuid.Parse(req.Payment)
	if err != nil {
		return payment.Challenge{}, fmt.Errorf("payment id: %w", err)
	}
	merchant, err := uuid.Parse(req.Merchant.ID)
	if err != nil {
		return payment.Challenge{}, fmt.Errorf("merchant id: %w", err)
	}
	in := &authv1.CreateChallengeRequest{
		Purpose:              authv1.Purpose_PURPOSE_PAY,
		Amount:               &typev1.Money{MinorUnits: req.Amount.Minor, CurrencyCode: req.Amount.Currency},
		MerchantUid:          merchant[:],
		MerchantCategoryCode: req.Merchant.CategoryCode,
		IntentUid:            intent[:],
		Display:              req.Merchant.DisplayName,
		RequestId:            req.Payment,
		MinAssuranceLevel:    uint32(req.Assurance),
	}
	if req.Payer.Account != "" {
		in.Subject = &authv1.CreateChallengeRequest_Account{Account: "accounts/" + req.Payer.Account}
	} else {
		in.Subject = &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: req.Payer.DeviceUID}
	}
	out, err := a.client.CreateChallenge(ctx, in)
	if err != nil {
		return payment.Challenge{}, passOn(err, "DEVICE_NOT_FOUND", "DEVICE_NOT_BOUND", "DEVICE_SUSPENDED", "CHALLENGE_BUSY")
	}
	return challenge(out)
}

func challenge(c *authv1.Challenge) (payment.Challenge, error) {
	partner, ok := partnerOf(c.GetDevice())
	account := strings.TrimPrefix(c.GetAccount(), "accounts/")
	if !ok || account == "" || c.GetName() == "" || len(c.GetChallengeFrame()) == 0 || c.GetExpireTime() == nil {
		return payment.Challenge{}, fmt.Errorf("auth answered with an incomplete challenge for device %q", c.GetDevice())
	}
	tap := payment.Tap{
		Challenge: c.GetName(), Frame: c.GetChallengeFrame(), ExpireTime: c.GetExpireTime().AsTime(), PongKey: c.GetPongKey(),
	}
	for _, r := range c.GetRequirements() {
		tap.Requirements = append(tap.Requirements, strings.TrimPrefix(r.String(), "REQUIREMENT_"))
	}
	return payment.Challenge{Tap: tap, Device: c.GetDevice(), Partner: partner, Account: account}, nil
}

// VerifyResponse implements payment.Auth.
func (a *Auth) VerifyResponse(ctx context.Context, challenge string, response []byte) (payment.Decision, error) {
	out, err := a.client.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: challenge, ResponseFrame: response})
	if err != nil {
		return payment.Decision{}, passOn(err, "RESPONSE_REJECTED", "CHALLENGE_EXPIRED", "CHALLENGE_USED", "CHALLENGE_SUPERSEDED",
			"TAP_DECLINED", "REQUIREMENT_MISSING", "DEVICE_SUSPENDED", "DEVICE_NOT_BOUND", "DEVICE_LOCKED", "CLONE_SUSPECTED")
	}
	return payment.Decision{
		Assertion: out.GetAssertion(), ApprovedFrame: out.GetResultFrame(), DeclinedFrame: out.GetDeclinedFrame(),
	}, nil
}

// passOn lets through what the caller can act on. Anything else, such as auth refusing this service, is our own trouble and
// must not look like the caller's.
func passOn(err error, reasons ...string) error {
	f, ok := fault.As(err)
	if !ok {
		return fmt.Errorf("ask auth: %w", err)
	}
	for _, r := range reasons {
		if f.Reason == r {
			return err
		}
	}
	switch f.Kind {
	case fault.Unavailable, fault.DeadlineExceeded, fault.Canceled, fault.Aborted, fault.ResourceExhausted:
		return err
	default:
		return fault.New(fault.Internal, "AUTH_REFUSED", "auth refused a call of this service").WithCause(err)
	}
}

// partnerOf reads the maker out of a device's name, partners/{partner}/devices/{uid}.
func partnerOf(device string) (string, bool) {
	parts := strings.Split(device, "/")
	if len(parts) != 4 || parts[0] != "partners" || parts[1] == "" || parts[2] != "devices" || parts[3] == "" {
		return "", false
	}
	return parts[1], true
}
