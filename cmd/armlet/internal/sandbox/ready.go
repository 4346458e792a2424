package sandbox

import (
	"context"

	"github.com/armlet-pay/armlet/sdk/virtual"
)

// Ready returns a claimed band with its phone and a terminal, and sets up what is
// missing; tell hears of it the first time.
func (s *Sandbox) Ready(ctx context.Context, tell func(string)) (*virtual.Phone, *virtual.Terminal, error) {
	first := !s.exists(bandFile)
	if first {
		tell("first tap: setting up a partner with 1,000 bands, a wearer and a shop")
	}
	if _, err := s.RegisterPartner(ctx); err != nil {
		return nil, nil, err
	}
	lot, err := s.CreateLot(ctx)
	if err != nil {
		return nil, nil, err
	}
	band, err := s.Band(ctx, lot)
	if err != nil {
		return nil, nil, err
	}
	phone, err := s.OpenAccount(ctx, band)
	if err != nil {
		return nil, nil, err
	}
	if !band.Bound() {
		band.Knock()
		if _, err := phone.Claim(ctx); err != nil {
			return nil, nil, err
		}
	}
	if first {
		if _, err := s.TopUp(ctx, 100_00, "sandbox-welcome"); err != nil {
			return nil, nil, err
		}
		tell("the wearer claimed band " + band.UID().String() + " and has CNY 100.00")
	}
	_, till, err := s.OpenShop(ctx)
	return phone, till, err
}
