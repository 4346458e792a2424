package payment

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Order is what CreatePayment asks for.
type Order struct {
	Merchant string
	Amount   Money
	Payer    Payer
}

// Create stores an intent to pay and returns it with the challenge for the band.
//
// The id is reserved first, so that a repeat after a crash asks auth about the same payment and gets the same challenge.
// Until the payment itself is stored nobody can see or confirm anything: a challenge alone moves no money.
func (s *Service) Create(ctx context.Context, c Caller, req Request, o Order, now time.Time) (Payment, error) {
	merchant, err := s.admit(ctx, c, o)
	if err != nil {
		return Payment{}, err
	}
	fresh := s.newID()
	id, err := s.store.Reserve(ctx, req, fresh)
	if err != nil {
		return Payment{}, err
	}
	if id != fresh {
		if p, err := s.store.Payment(ctx, id); err == nil || fault.KindOf(err) != fault.NotFound {
			return p, err
		}
	}
	ch, err := s.auth.CreateChallenge(ctx, ChallengeRequest{Payment: id, Payer: o.Payer, Amount: o.Amount, Merchant: merchant})
	if err != nil {
		return Payment{}, err
	}
	if err := s.accept(ctx, c, o, ch); err != nil {
		return Payment{}, err
	}
	p := Payment{
		ID: id, State: AwaitingTap, Amount: o.Amount,
		Merchant: merchant.ID, MerchantDisplayName: merchant.DisplayName, Terminal: c.Terminal,
		Device: ch.Device, Partner: ch.Partner, Account: ch.Account,
		Mode: Live, Creator: c.Key(), Tap: ch.Tap, CreateTime: now, UpdateTime: now,
	}
	return s.store.Add(ctx, p, []Event{CreatedEvent{Payment: p}})
}

// admit checks what can be known before auth is asked.
func (s *Service) admit(ctx context.Context, c Caller, o Order) (Merchant, error) {
	if err := checkAmount(o.Amount); err != nil {
		return Merchant{}, err
	}
	if err := c.mayOrder(o); err != nil {
		return Merchant{}, err
	}
	merchant, err := s.directory.Merchant(ctx, o.Merchant)
	if err != nil {
		return Merchant{}, err
	}
	if c.Role == Terminal {
		if err := s.checkTerminal(ctx, c); err != nil {
			return Merchant{}, err
		}
	}
	if merchant.Currency != o.Amount.Currency {
		return Merchant{}, currencyMismatch("merchant", merchant.Currency, o.Amount.Currency)
	}
	if o.Payer.Account != "" {
		if err := s.checkAccount(ctx, o.Payer.Account, o.Amount.Currency); err != nil {
			return Merchant{}, err
		}
	}
	return merchant, nil
}

// mayOrder is who may ask whom to pay whom.
func (c Caller) mayOrder(o Order) error {
	if c.Mode == Test {
		return notAllowed("a client in test mode cannot move live money; use a client in live mode")
	}
	switch c.Role {
	case Terminal:
		if c.Merchant != o.Merchant {
			return notAllowed("a terminal takes payments for its own merchant only")
		}
	case Wearer:
		if o.Payer.Account != "" && o.Payer.Account != c.Account {
			return notAllowed("a wearer pays from their own account only")
		}
	case Partner:
		// A partner never learns accounts, so that it has none to name.
		if o.Payer.Account != "" {
			return notAllowed("a partner names the device that pays, not an account")
		}
		if o.Payer.DevicePartnerNo != c.PartnerNo {
			return deviceNotFound()
		}
	default:
		return notAllowed("payments are made by terminals, wearers and partners")
	}
	return nil
}

// accept checks what only auth could tell: whose band it is.
func (s *Service) accept(ctx context.Context, c Caller, o Order, ch Challenge) error {
	if c.Role == Wearer && ch.Account != c.Account || c.Role == Partner && ch.Partner != c.Partner {
		return deviceNotFound()
	}
	if o.Payer.Account == "" {
		return s.checkAccount(ctx, ch.Account, o.Amount.Currency)
	}
	if ch.Account != o.Payer.Account {
		return fault.New(fault.Internal, "CHALLENGE_INVALID", "auth answered for another account than was asked for")
	}
	return nil
}

func (s *Service) checkTerminal(ctx context.Context, c Caller) error {
	t, err := s.directory.Terminal(ctx, c.Terminal)
	if err == nil && t.Merchant != c.Merchant {
		return fault.New(fault.NotFound, "TERMINAL_NOT_FOUND", "the merchant has no such terminal; register it first")
	}
	return err
}

func (s *Service) checkAccount(ctx context.Context, id, currency string) error {
	a, err := s.directory.Account(ctx, id)
	if err != nil {
		return err
	}
	if a.Balance.Currency != currency {
		return currencyMismatch("account", a.Balance.Currency, currency)
	}
	return nil
}

func deviceNotFound() error {
	return fault.New(fault.NotFound, "DEVICE_NOT_FOUND", "there is no such device, or the caller may not use it")
}
