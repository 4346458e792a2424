package voucher

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// maxCodeTries bounds how often a voucher gets another id because its code exists. With a hundred million vouchers one in
// 360 million collides.
const maxCodeTries = 5

// CreateCampaign opens a campaign, or prepares one that is a draft. What counts and is counted starts at nothing.
func (s *Service) CreateCampaign(ctx context.Context, by Actor, req once.Request, c Campaign, now time.Time) (Campaign, error) {
	return s.campaigns.CreateCampaign(ctx, req, now, func() (Campaign, error) {
		// Judged only for a new request: a repeated one may arrive after the end.
		c, err := c.check(now)
		if err != nil {
			return Campaign{}, err
		}
		c.ID, c.Partner, c.Mode, c.CreatedAt = s.newID(), by.Partner, by.Mode, now
		return c, nil
	})
}

// UpdateCampaign changes what may be changed while vouchers are out.
func (s *Service) UpdateCampaign(ctx context.Context, by Actor, req once.Request, id string, u CampaignUpdate, now time.Time) (Campaign, error) {
	return s.changeCampaign(ctx, by, req, id, now, func(c Campaign) (Campaign, error) { return c.update(u, now) })
}

// MoveCampaign opens, pauses or ends a campaign.
func (s *Service) MoveCampaign(ctx context.Context, by Actor, req once.Request, id string, to CampaignState, now time.Time) (Campaign, error) {
	return s.changeCampaign(ctx, by, req, id, now, func(c Campaign) (Campaign, error) { return c.become(to) })
}

func (s *Service) changeCampaign(ctx context.Context, by Actor, req once.Request, id string, now time.Time, change func(Campaign) (Campaign, error)) (Campaign, error) {
	return s.campaigns.ChangeCampaign(ctx, req, id, now, func(c Campaign) (Campaign, error) {
		if !by.Owns(c) {
			return c, ErrCampaignNotFound
		}
		return change(c)
	})
}

// Campaign gives a campaign to those who may run it.
func (s *Service) Campaign(ctx context.Context, by Actor, id string) (Campaign, error) {
	c, err := s.campaigns.Campaign(ctx, id)
	if err != nil {
		return Campaign{}, err
	}
	if !by.Owns(c) {
		return Campaign{}, ErrCampaignNotFound
	}
	return c, nil
}

// Recipient is whose band has to confirm; the zero one is any bearer.
type Recipient struct{ Account, Device string }

// may refuses a partner's attempt to name another maker's band.
func (r Recipient) check(by Actor) error {
	if by.Role == RolePartner && r.Device != "" && !strings.HasPrefix(r.Device, "partners/"+by.Partner+"/") {
		return fault.InvalidField("device", "a partner names bands of its own only")
	}
	return nil
}

// Issue issues one voucher of a campaign and gives its code.
func (s *Service) Issue(ctx context.Context, by Actor, req once.Request, campaignID string, to Recipient, now time.Time) (Voucher, Campaign, string, error) {
	if err := to.check(by); err != nil {
		return Voucher{}, Campaign{}, "", err
	}
	var v Voucher
	var err error
	for range maxCodeTries {
		v, err = s.vouchers.IssueVoucher(ctx, req, campaignID, now, func(c Campaign) (Voucher, []byte, error) {
			if err := by.mayIssue(c, 1, now); err != nil {
				return Voucher{}, nil, err
			}
			v := c.voucher(s.newID(), now)
			v.Account, v.Device = to.Account, to.Device
			return v, s.codes.Hash(v.ID), nil
		})
		if !errors.Is(err, ErrCodeTaken) {
			break
		}
	}
	if err != nil {
		return Voucher{}, Campaign{}, "", err
	}
	c, err := s.campaigns.Campaign(ctx, campaignID)
	return v, c, s.codes.Code(v.ID), err
}

func (a Actor) mayIssue(c Campaign, count int64, now time.Time) error {
	switch {
	case !a.Owns(c):
		return ErrCampaignNotFound
	case !c.Active(now):
		return errNotActive
	case count > c.Limit-c.Issued:
		return ErrLimitReached
	}
	return nil
}

// voucher is a new bearer voucher.
func (c Campaign) voucher(id string, now time.Time) Voucher {
	v := Voucher{ID: id, CampaignID: c.ID, MaxUses: c.Uses, CreatedAt: now}
	if c.Kind == StoredValue {
		v.Balance = c.Value
	}
	return v
}

// Assign gives a bearer voucher to somebody.
func (s *Service) Assign(ctx context.Context, by Actor, req once.Request, id string, to Recipient, now time.Time) (Voucher, Campaign, error) {
	if to == (Recipient{}) {
		return Voucher{}, Campaign{}, fault.InvalidField("account", "say whose it shall be: an account, a device, or both")
	}
	if err := to.check(by); err != nil {
		return Voucher{}, Campaign{}, err
	}
	v, err := s.vouchers.AssignVoucher(ctx, req, id, now, func(v Voucher, c Campaign) (Voucher, error) {
		switch {
		case !by.Owns(c):
			return v, ErrVoucherNotFound
		case v.Assigned():
			return v, ErrAssigned
		case v.Redeemed(c):
			return v, errRedeemed
		case v.HeldUses > 0:
			return v, errReserved
		}
		v.Account, v.Device = to.Account, to.Device
		return v, nil
	})
	if err != nil {
		return Voucher{}, Campaign{}, err
	}
	c, err := s.campaigns.Campaign(ctx, v.CampaignID)
	return v, c, err
}
