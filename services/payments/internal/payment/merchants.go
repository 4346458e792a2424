package payment

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

const (
	maxMerchantDisplayBytes = 24 // what a band can show
	maxCategoryCode         = 9999
	maxPayoutAccount        = 64
)

// Merchant is who gets paid.
type Merchant struct {
	// ID is a UUID.
	ID string
	// DisplayName is what the band shows: 1 to 24 bytes.
	DisplayName string
	// CategoryCode is that of ISO 18245, 1 to 9999.
	CategoryCode uint32
	// Currency is the one it is paid in.
	Currency   string
	Fees       FeeSchedule
	Settlement SettlementSchedule
	Suspended  bool
	CreateTime time.Time
}

// SettlementSchedule says when a merchant's day ends and where its money goes.
type SettlementSchedule struct {
	// CutOff is "HH:MM", empty for midnight, by the clock of TimeZone, a name of the IANA database or empty for UTC.
	CutOff, TimeZone string
	// PayoutAccount is as the merchant's bank writes it. Only operators see it.
	PayoutAccount string
}

// TerminalDevice is a merchant's till or reader.
type TerminalDevice struct {
	// ID is 16 hex digits.
	ID          string
	Merchant    string
	DisplayName string
	Suspended   bool
}

// Merchants stores merchants and terminals.
type Merchants interface {
	// CreateMerchant also opens the merchant's ledger account.
	CreateMerchant(ctx context.Context, req Request, m Merchant) (Merchant, error)
	// UpdateMerchant writes what fn makes of the merchant, with the event; nothing when fn leaves it as it was. It returns
	// MERCHANT_NOT_FOUND.
	UpdateMerchant(ctx context.Context, req Request, id string, fn func(Merchant) (Merchant, Event, error)) (Merchant, error)
	// CreateTerminal returns MERCHANT_NOT_FOUND.
	CreateTerminal(ctx context.Context, req Request, t TerminalDevice) (TerminalDevice, error)
	// SuspendTerminal suspends or resumes, and tells of it unless it is so already. It returns TERMINAL_NOT_FOUND.
	SuspendTerminal(ctx context.Context, req Request, id string, suspended bool) (TerminalDevice, error)
	// Merchant returns MERCHANT_NOT_FOUND, Terminal TERMINAL_NOT_FOUND.
	Merchant(ctx context.Context, id string) (Merchant, error)
	Terminal(ctx context.Context, id string) (TerminalDevice, error)
	// Terminals lists a merchant's terminals by id, after the given one.
	Terminals(ctx context.Context, merchant, after string, limit int) ([]TerminalDevice, error)
}

// check says whether the merchant makes sense.
func (m Merchant) check() error {
	if err := checkDisplayName(m.DisplayName); err != nil {
		return err
	}
	if m.CategoryCode < 1 || m.CategoryCode > maxCategoryCode {
		return fault.InvalidField("merchant.category_code", "must be a code of ISO 18245, 1 to 9999")
	}
	if len(m.Settlement.PayoutAccount) > maxPayoutAccount {
		return fault.InvalidField("merchant.settlement.payout_account", "must be at most %d bytes", maxPayoutAccount)
	}
	return checkTimeZone("merchant.settlement.time_zone", m.Settlement.TimeZone)
}

// CreateMerchant registers a merchant.
func (s *Service) CreateMerchant(ctx context.Context, req Request, m Merchant, now time.Time) (Merchant, error) {
	if err := m.check(); err != nil {
		return Merchant{}, err
	}
	if err := checkCurrency("merchant.currency_code", m.Currency); err != nil {
		return Merchant{}, err
	}
	m.ID, m.CreateTime = s.newID(), now
	return s.directory.CreateMerchant(ctx, req, m)
}

// Merchant reads a merchant. A terminal sees only its own, without where its money goes.
func (s *Service) Merchant(ctx context.Context, c Caller, id string) (Merchant, error) {
	if c.Role != Operator && (c.Role != Terminal || c.Merchant != id) {
		return Merchant{}, fault.New(fault.NotFound, "MERCHANT_NOT_FOUND", "there is no such merchant, or the caller may not see it")
	}
	m, err := s.directory.Merchant(ctx, id)
	if c.Role != Operator {
		m.Settlement.PayoutAccount = ""
	}
	return m, err
}

// UpdateMerchant has edit change the merchant. Its id, currency and suspension stay.
func (s *Service) UpdateMerchant(ctx context.Context, req Request, id string, edit func(*Merchant), now time.Time) (Merchant, error) {
	return s.changeMerchant(ctx, req, id, now, func(m *Merchant) error {
		edit(m)
		return m.check()
	})
}

// SuspendMerchant stops new payments to a merchant, or lets it be paid again.
func (s *Service) SuspendMerchant(ctx context.Context, req Request, id string, suspended bool, now time.Time) (Merchant, error) {
	return s.changeMerchant(ctx, req, id, now, func(m *Merchant) error {
		m.Suspended = suspended
		return nil
	})
}

func (s *Service) changeMerchant(ctx context.Context, req Request, id string, now time.Time, edit func(*Merchant) error) (Merchant, error) {
	return s.directory.UpdateMerchant(ctx, req, id, func(m Merchant) (Merchant, Event, error) {
		err := edit(&m)
		return m, MerchantEvent{Merchant: m, Time: now}, err
	})
}

// CreateTerminal registers a terminal of a merchant.
func (s *Service) CreateTerminal(ctx context.Context, req Request, merchant, displayName string) (TerminalDevice, error) {
	return s.directory.CreateTerminal(ctx, req, TerminalDevice{ID: s.newTerminalID(), Merchant: merchant, DisplayName: displayName})
}

// Terminal reads a terminal. Terminals see those of their merchant.
func (s *Service) Terminal(ctx context.Context, c Caller, id string) (TerminalDevice, error) {
	t, err := s.directory.Terminal(ctx, id)
	if err == nil && c.Role != Operator && (c.Role != Terminal || c.Merchant != t.Merchant) {
		return TerminalDevice{}, fault.New(fault.NotFound, "TERMINAL_NOT_FOUND", "the merchant has no such terminal; register it first")
	}
	return t, err
}

// Terminals lists a merchant's terminals by id, after the given one.
func (s *Service) Terminals(ctx context.Context, c Caller, merchant, after string, limit int) ([]TerminalDevice, error) {
	if _, err := s.Merchant(ctx, c, merchant); err != nil {
		return nil, err
	}
	return s.directory.Terminals(ctx, merchant, after, limit)
}

// SuspendTerminal stops everything that a terminal may do, or lets it work again.
func (s *Service) SuspendTerminal(ctx context.Context, req Request, id string, suspended bool) (TerminalDevice, error) {
	return s.directory.SuspendTerminal(ctx, req, id, suspended)
}
