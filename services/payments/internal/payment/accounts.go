package payment

import (
	"context"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

const (
	maxMerchantDisplayBytes = 24 // what a band can show
	maxCategoryCode         = 9999
)

// Account is a wallet in one currency.
type Account struct {
	// ID was chosen by the operator.
	ID         string
	Balance    Money
	CreateTime time.Time
}

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
	CreateTime time.Time
}

// TerminalDevice is a merchant's till or reader.
type TerminalDevice struct {
	// ID is 16 hex digits.
	ID          string
	Merchant    string
	DisplayName string
}

// TopUp is a top-up that was posted.
type TopUp struct {
	// Account holds the balance after it.
	Account     Account
	Transaction string
}

// Request makes a call safe to repeat: the same id of the same caller and method with the same fingerprint gives the
// first answer again, and with another one REQUEST_ID_REUSED.
type Request struct {
	// Caller is [Caller.Key].
	Caller string
	Method string
	ID     string
	// Fingerprint is a hash of all that the request says, its id aside.
	Fingerprint []byte
}

// Directory stores accounts, merchants and terminals. What takes a Request is done once and answers as the first time;
// it returns REQUEST_ID_REUSED.
type Directory interface {
	// CreateAccount also opens the wallet's ledger account. It returns ACCOUNT_EXISTS.
	CreateAccount(ctx context.Context, req Request, a Account) (Account, error)
	// TopUp calls post with the wallet's and the funding account under lock. It returns ACCOUNT_NOT_FOUND.
	TopUp(ctx context.Context, req Request, account string, post func(Account, ledger.Books) (ledger.Posted, []Event, error)) (TopUp, error)
	// CreateMerchant also opens the merchant's ledger account.
	CreateMerchant(ctx context.Context, req Request, m Merchant) (Merchant, error)
	// CreateTerminal returns MERCHANT_NOT_FOUND.
	CreateTerminal(ctx context.Context, req Request, t TerminalDevice) (TerminalDevice, error)
	// Account returns ACCOUNT_NOT_FOUND, Merchant MERCHANT_NOT_FOUND, Terminal TERMINAL_NOT_FOUND.
	Account(ctx context.Context, id string) (Account, error)
	Merchant(ctx context.Context, id string) (Merchant, error)
	Terminal(ctx context.Context, id string) (TerminalDevice, error)
}

// CreateAccount opens an empty wallet.
func (s *Service) CreateAccount(ctx context.Context, req Request, id, currency string, now time.Time) (Account, error) {
	if err := checkCurrency("currency_code", currency); err != nil {
		return Account{}, err
	}
	return s.directory.CreateAccount(ctx, req, Account{ID: id, Balance: Money{Currency: currency}, CreateTime: now})
}

// Account reads a wallet. A wearer sees only its own.
func (s *Service) Account(ctx context.Context, c Caller, id string) (Account, error) {
	if c.Role != Operator && (c.Role != Wearer || c.Account != id) {
		return Account{}, fault.New(fault.NotFound, "ACCOUNT_NOT_FOUND", "there is no such account, or the caller may not see it")
	}
	return s.directory.Account(ctx, id)
}

// TopUp moves money from outside into a wallet.
func (s *Service) TopUp(ctx context.Context, req Request, account string, amount Money, now time.Time) (TopUp, error) {
	if err := checkAmount(amount); err != nil {
		return TopUp{}, err
	}
	id := s.newID()
	return s.directory.TopUp(ctx, req, account, func(a Account, books ledger.Books) (ledger.Posted, []Event, error) {
		if a.Balance.Currency != amount.Currency {
			return ledger.Posted{}, nil, currencyMismatch("account", a.Balance.Currency, amount.Currency)
		}
		posted, err := books.Post(ledger.Transaction{
			ID: id, Purpose: ledger.TopUp, Reference: req.Caller + "/" + req.ID, Time: now,
			Postings: []ledger.Posting{{
				Debit:  ledger.ID(ledger.Funding, amount.Currency),
				Credit: ledger.ID(ledger.Wallet, account),
				Amount: amount.Minor, Currency: amount.Currency,
			}},
		})
		event := ToppedUpEvent{Account: account, Amount: amount, Transaction: id, Time: now}
		return posted, []Event{event}, err
	})
}

// CreateMerchant registers a merchant.
func (s *Service) CreateMerchant(ctx context.Context, req Request, m Merchant, now time.Time) (Merchant, error) {
	if err := checkDisplayName(m.DisplayName); err != nil {
		return Merchant{}, err
	}
	if m.CategoryCode < 1 || m.CategoryCode > maxCategoryCode {
		return Merchant{}, fault.InvalidField("merchant.category_code", "must be a code of ISO 18245, 1 to 9999")
	}
	if err := checkCurrency("merchant.currency_code", m.Currency); err != nil {
		return Merchant{}, err
	}
	m.ID, m.CreateTime = s.newID(), now
	return s.directory.CreateMerchant(ctx, req, m)
}

// Merchant reads a merchant. A terminal sees only its own.
func (s *Service) Merchant(ctx context.Context, c Caller, id string) (Merchant, error) {
	if c.Role != Operator && (c.Role != Terminal || c.Merchant != id) {
		return Merchant{}, fault.New(fault.NotFound, "MERCHANT_NOT_FOUND", "there is no such merchant, or the caller may not see it")
	}
	return s.directory.Merchant(ctx, id)
}

// CreateTerminal registers a terminal of a merchant.
func (s *Service) CreateTerminal(ctx context.Context, req Request, merchant, displayName string) (TerminalDevice, error) {
	return s.directory.CreateTerminal(ctx, req, TerminalDevice{ID: s.newTerminalID(), Merchant: merchant, DisplayName: displayName})
}

func checkDisplayName(name string) error {
	if name == "" || len(name) > maxMerchantDisplayBytes || !utf8.ValidString(name) {
		return fault.InvalidField("merchant.display_name", "must be 1 to %d bytes of UTF-8", maxMerchantDisplayBytes)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fault.InvalidField("merchant.display_name", "must consist of printable characters, since the band shows it")
		}
	}
	return nil
}

func checkCurrency(field, code string) error {
	if len(code) != 3 {
		return fault.InvalidField(field, "must be a currency code of ISO 4217 such as CNY")
	}
	for _, r := range code {
		if r < 'A' || r > 'Z' {
			return fault.InvalidField(field, "must be a currency code of ISO 4217 such as CNY")
		}
	}
	return nil
}

func checkAmount(m Money) error {
	if m.Minor <= 0 {
		return fault.New(fault.Invalid, "AMOUNT_NOT_POSITIVE", "the amount must be positive, got %d", m.Minor).
			WithField("amount.minor_units")
	}
	return checkCurrency("amount.currency_code", m.Currency)
}

func currencyMismatch(what, want, got string) error {
	return fault.New(fault.FailedPrecondition, "CURRENCY_MISMATCH", "the %s is in %s, the amount in %s; nothing is converted", what, want, got)
}
