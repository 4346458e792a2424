package voucher

import (
	"context"
	"errors"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// maxCodeTries bounds how often a voucher gets another id because its code exists. With a hundred million vouchers one in
// 360 million collides.
const maxCodeTries = 5

// ErrCodeTaken is what a store answers when another voucher has the code.
var ErrCodeTaken = errors.New("another voucher has this code")

// CreateCampaign opens a campaign. Of c it takes DisplayName, Value, Limit and ExpiresAt.
func (s *Service) CreateCampaign(ctx context.Context, by Actor, req once.Request, c Campaign, now time.Time) (Campaign, error) {
	if c.Value.MinorUnits <= 0 {
		return Campaign{}, fault.InvalidField("value.minor_units", "a voucher must be worth something; give a positive amount")
	}
	return s.store.CreateCampaign(ctx, req, now, func() (Campaign, error) {
		// Judged only for a new request: a repeated one may arrive after the end.
		if !c.Active(now) {
			return Campaign{}, ErrWindow
		}
		c.ID, c.Partner, c.Mode = s.newID(), by.Partner, by.Mode
		c.Issued, c.Redeemed = 0, 0
		return c, nil
	})
}

// Issue issues one voucher of a campaign, for an account or for any bearer, and gives its code.
func (s *Service) Issue(ctx context.Context, by Actor, req once.Request, campaignID, account string, now time.Time) (Voucher, string, error) {
	var v Voucher
	var err error
	for range maxCodeTries {
		v, err = s.store.IssueVoucher(ctx, req, campaignID, now, func(c Campaign) (Voucher, []byte, error) {
			return s.issue(by, c, account, now)
		})
		if !errors.Is(err, ErrCodeTaken) {
			break
		}
	}
	if err != nil {
		return Voucher{}, "", err
	}
	return v, s.codes.Code(v.ID), nil
}

func (s *Service) issue(by Actor, c Campaign, account string, now time.Time) (Voucher, []byte, error) {
	switch {
	case !by.Owns(c):
		return Voucher{}, nil, ErrCampaignNotFound
	case !c.Active(now):
		return Voucher{}, nil, ErrNotActive
	case c.Issued >= c.Limit:
		return Voucher{}, nil, ErrBudgetExhausted
	}
	v := Voucher{
		ID: s.newID(), CampaignID: c.ID, Account: account, Value: c.Value, ExpiresAt: c.ExpiresAt, CreatedAt: now,
	}
	return v, s.codes.Hash(v.ID), nil
}

// Campaign gives a campaign to those who may run it.
func (s *Service) Campaign(ctx context.Context, by Actor, id string) (Campaign, error) {
	c, err := s.store.Campaign(ctx, id)
	if err != nil {
		return Campaign{}, err
	}
	if !by.Owns(c) {
		return Campaign{}, ErrCampaignNotFound
	}
	return c, nil
}
