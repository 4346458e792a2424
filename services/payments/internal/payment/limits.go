package payment

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

// SetPolicy replaces the limits of a currency.
func (s *Service) SetPolicy(ctx context.Context, req Request, p limit.Policy, now time.Time) (limit.Policy, error) {
	if err := p.Check("policy"); err != nil {
		return limit.Policy{}, err
	}
	p.UpdateTime = now.UTC()
	return s.directory.SetPolicy(ctx, req, p)
}

// SetPreset replaces the limits of a currency by a preset, which is for one currency only.
func (s *Service) SetPreset(ctx context.Context, req Request, currency string, preset limit.Policy, now time.Time) (limit.Policy, error) {
	if preset.Currency != currency {
		return limit.Policy{}, fault.New(fault.FailedPrecondition, "CURRENCY_MISMATCH",
			"the preset is for %s, not for %s", preset.Currency, currency).WithField("preset")
	}
	return s.SetPolicy(ctx, req, preset, now)
}

// Policy reads the limits of a currency.
func (s *Service) Policy(ctx context.Context, currency string) (limit.Policy, error) {
	p, err := s.directory.Policy(ctx, currency)
	if err == nil && p.UpdateTime.IsZero() {
		return limit.Policy{}, fault.New(fault.NotFound, "LIMIT_POLICY_NOT_FOUND", "there are no limits for %s", currency)
	}
	return p, err
}
