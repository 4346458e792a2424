package partner

import (
	"context"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

// The bundles: what bands need that pay and buzz, and what a partner builds features of its own with.
var (
	Basic    = []string{"devices.provision", "devices.read", "payments.initiate", "payments.read", "alerts.send", "events.subscribe"}
	Extended = slices.Concat(Basic, []string{"alerts.types", "events.publish", "presence.verify", "vouchers.issue", "vouchers.verify", "vouchers.redeem"})
)

// ApplyBundle grants all scopes of a bundle, one after the other, so that a repeat goes on where it was cut off.
func (s *Service) ApplyBundle(ctx context.Context, req request.ID, partner string, bundle []string, now time.Time) ([]Grant, error) {
	all := make([]Grant, 0, len(bundle))
	for _, scope := range bundle {
		one := req
		one.Method += "/" + scope
		g, err := s.grant(ctx, one, partner, scope, "with a bundle", now, func(old Grant) (Grant, bool, error) {
			return bundled(old, Grant{Partner: partner, Scope: scope, State: Approved}, now)
		})
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// bundled is the grant that follows old when its scope comes with a bundle. What an operator has suspended stays so.
func bundled(old, wanted Grant, now time.Time) (next Grant, changed bool, err error) {
	switch {
	case old.over(now):
		next, err = begin(old, wanted, now)
		return next, err == nil, err
	case old.State == Requested || old.State == Sandbox:
		next, err = approve(old, Approved, nil, time.Time{})
		return next, err == nil, err
	}
	return old, false, nil
}
