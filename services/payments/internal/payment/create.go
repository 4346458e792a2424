package payment

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

// Order is what CreatePayment asks for.
type Order struct {
	Merchant string
	// Amount is the price; a voucher takes its part off.
	Amount Money
	Payer  Payer
	// VoucherCode is empty without a voucher. Secret.
	VoucherCode string
	// CaptureMode is Automatic when empty.
	CaptureMode CaptureMode
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
	id, stored, err := s.begin(ctx, req, o)
	if err != nil || stored.ID != "" {
		return stored, err
	}
	p := Payment{
		ID: id, State: AwaitingTap, Amount: o.Amount, CategoryCode: merchant.CategoryCode, CaptureMode: o.CaptureMode,
		Merchant: merchant.ID, MerchantDisplayName: merchant.DisplayName, Terminal: c.Terminal,
		Mode: Live, Creator: c.Key(), CreateTime: now, UpdateTime: now, Revision: 1,
	}
	if p.CaptureMode == "" {
		p.CaptureMode = Automatic
	}
	if o.VoucherCode != "" {
		return s.createDiscounted(ctx, c, o, merchant, p)
	}
	if p, err = s.challenge(ctx, c, o, merchant, p); err != nil {
		return Payment{}, err
	}
	return s.add(ctx, p)
}

// begin gives the id of the payment to be made: that of an earlier call that did not finish, or a new one. A request that
// was done before gives its payment.
func (s *Service) begin(ctx context.Context, req Request, o Order) (id string, stored Payment, err error) {
	for attempt := 1; ; attempt++ {
		id, mine := s.newID(), req
		if attempt > 1 {
			mine.Method += "/" + strconv.Itoa(attempt)
		}
		first, err := s.store.Step(ctx, Step{Request: &mine}, func(Facts) (Change, error) { return Change{Answer: Answer{ID: id}}, nil })
		if err != nil || first.ID == id {
			return id, Payment{}, err
		}
		if p, err := s.store.Payment(ctx, first.ID); err == nil || fault.KindOf(err) != fault.NotFound {
			return first.ID, p, err
		}
		if over, err := s.abandoned(ctx, first.ID, o); err != nil || !over {
			return first.ID, Payment{}, err
		}
	}
}

// challenge asks auth what the band is to sign. What the tap has to show is known as far as the device is: of a wallet it is
// told by the device that paid from it last, and then by the one that auth names.
func (s *Service) challenge(ctx context.Context, c Caller, o Order, merchant Merchant, p Payment) (Payment, error) {
	policy, err := s.directory.Policy(ctx, p.Amount.Currency)
	if err != nil {
		return Payment{}, err
	}
	need, err := s.guess(ctx, policy, p, o.Payer)
	if err != nil {
		return Payment{}, err
	}
	ch, err := s.auth.CreateChallenge(ctx, ChallengeRequest{
		Payment: p.ID, Payer: o.Payer, Amount: p.Amount, Merchant: merchant, Assurance: need.Level,
	})
	if err != nil {
		return Payment{}, err
	}
	if err := s.accept(ctx, c, o, ch); err != nil {
		return Payment{}, err
	}
	p.Tap, p.Device, p.Partner, p.Account = ch.Tap, ch.Device, ch.Partner, ch.Account
	p.Tap.ExpireTime = p.Tap.ExpireTime.Truncate(time.Microsecond)
	tap := p.tap(p.CreateTime)
	counters, err := s.directory.Counters(ctx, policy.Keys(tap))
	if err != nil {
		return Payment{}, err
	}
	if which := policy.Exceeded(tap, counters); which != "" {
		return Payment{}, limit.Exceed(which)
	}
	if p.Need = policy.Need(tap, counters); need.Level > p.Need.Level {
		p.Need = need // the band was asked for it
	}
	return p, nil
}

// guess is what the tap needs as far as it can be told before auth has named the device. Whatever is wrong about it the
// approval makes good: it looks again.
func (s *Service) guess(ctx context.Context, policy limit.Policy, p Payment, payer Payer) (limit.Need, error) {
	t := p.tap(p.CreateTime)
	if t.Device = payer.DeviceUID; t.Device == "" && policy.Strong != nil {
		last, err := s.directory.LastDevice(ctx, payer.Account)
		if err != nil {
			return limit.Need{}, err
		}
		t.Device = uidOf(last)
	}
	t.Account = payer.Account
	counters, err := s.directory.Counters(ctx, policy.Keys(t))
	return policy.Need(t, counters), err
}

// uidOf is the last part of a device's resource name, which is unique by itself.
func uidOf(device string) string { return device[strings.LastIndexByte(device, '/')+1:] }

// add stores a new payment; a repeat gets the one that is there. One with a voucher is stored only while that is not given
// up, see voucher.go.
func (s *Service) add(ctx context.Context, p Payment) (Payment, error) {
	step := Step{Payment: p.ID, Fresh: true}
	if p.Discount.Voucher != "" {
		step.Request = fateOf(p.ID)
	}
	out, err := s.store.Step(ctx, step, func(f Facts) (Change, error) {
		if f.Found {
			return Change{Payment: f.Payment}, nil
		}
		return Change{Payment: p, Events: []Event{CreatedEvent{Payment: p}}}, nil
	})
	if err == nil && out.ID == gaveUp {
		return Payment{}, fault.New(fault.Aborted, "VOUCHER_RELEASED", "the voucher was released before the payment was made; send the request again")
	}
	if err == nil && out.Payment.ID == "" { // a repeat that met the other's commit halfway
		return s.store.Payment(ctx, p.ID)
	}
	return out.Payment, err
}

// admit checks what can be known before auth is asked.
func (s *Service) admit(ctx context.Context, c Caller, o Order) (Merchant, error) {
	if err := checkAmount(o.Amount); err != nil {
		return Merchant{}, err
	}
	if err := c.mayOrder(o); err != nil {
		return Merchant{}, err
	}
	if err := c.withinGrant(o.Amount); err != nil {
		return Merchant{}, err
	}
	merchant, err := s.directory.Merchant(ctx, o.Merchant)
	if err != nil {
		return Merchant{}, err
	}
	if err := s.checkTerminal(ctx, c); err != nil {
		return Merchant{}, err
	}
	if merchant.Suspended {
		return Merchant{}, merchantSuspended()
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

// checkTerminal refuses a terminal that is not there, is another merchant's or is suspended. Other callers have none.
func (s *Service) checkTerminal(ctx context.Context, c Caller) error {
	if c.Role != Terminal {
		return nil
	}
	t, err := s.directory.Terminal(ctx, c.Terminal)
	if err != nil {
		return err
	}
	if t.Merchant != c.Merchant {
		return fault.New(fault.NotFound, "TERMINAL_NOT_FOUND", "the merchant has no such terminal; register it first")
	}
	if t.Suspended {
		return fault.New(fault.FailedPrecondition, "TERMINAL_SUSPENDED", "the terminal is suspended; the operator can resume it")
	}
	return nil
}

func (s *Service) checkAccount(ctx context.Context, id, currency string) error {
	a, err := s.directory.Account(ctx, id)
	if err != nil {
		return err
	}
	if a.Closed {
		return accountClosed()
	}
	if a.Frozen {
		return accountFrozen()
	}
	if a.Balance.Currency != currency {
		return currencyMismatch("account", a.Balance.Currency, currency)
	}
	return nil
}

func deviceNotFound() error {
	return fault.New(fault.NotFound, "DEVICE_NOT_FOUND", "there is no such device, or the caller may not use it")
}
