package payment

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

// Account is a wallet in one currency.
type Account struct {
	// ID was chosen by the operator.
	ID string
	// Balance is what it can spend, Held what payments have set aside. Balance is below zero only by what offline taps
	// overspent.
	Balance Money
	Held    Money
	Closed  bool
	// Frozen says that it gives nothing but what is held, FreezeReason why; that is for operators only.
	Frozen       bool
	FreezeReason string
	CreateTime   time.Time
}

// Moved is what a top-up or a withdrawal came to.
type Moved struct {
	// Account holds the balance after it.
	Account     Account
	Transaction string
	// Collected is how much of a top-up paid what the account owed.
	Collected Money
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

// Directory stores what changes seldom. What takes a Request is done once and answers as the first time; it returns
// REQUEST_ID_REUSED.
type Directory struct {
	Wallets
	Merchants
	Limits
	// Holds may be nil where Vouchers is.
	Holds
	// Vouchers is nil where payments take none.
	Vouchers
}

// Wallets stores accounts.
type Wallets interface {
	// CreateAccount also opens the wallet's ledger account. It returns ACCOUNT_EXISTS.
	CreateAccount(ctx context.Context, req Request, a Account) (Account, error)
	// CloseAccount closes an account that is empty; closing it again changes nothing. It returns ACCOUNT_NOT_FOUND and
	// ACCOUNT_NOT_EMPTY.
	CloseAccount(ctx context.Context, req Request, id string, event Event) (Account, error)
	// FreezeAccount freezes an account for a reason, or lets it give money again when that is empty; it writes the event unless it
	// is so already. It returns ACCOUNT_NOT_FOUND and ACCOUNT_CLOSED.
	FreezeAccount(ctx context.Context, req Request, id, reason string, event Event) (Account, error)
	// Account returns ACCOUNT_NOT_FOUND.
	Account(ctx context.Context, id string) (Account, error)
	// AllowDebt lets the account fall by that much below what it has now, or zero if it has something, for those who may take
	// it below zero at all.
	AllowDebt(ctx context.Context, id string, more int64) error
	// LastDevice is the resource name of the device that paid from the account last; empty when none did.
	LastDevice(ctx context.Context, account string) (string, error)
}

// Limits stores limit policies and their counters.
type Limits interface {
	// Policy is the policy of a currency; one without limits when there is none.
	Policy(ctx context.Context, currency string) (limit.Policy, error)
	// Counters reads counters as they stand.
	Counters(ctx context.Context, keys []limit.Key) (limit.Counters, error)
	// Policies are all that were set, by currency.
	Policies(ctx context.Context) ([]limit.Policy, error)
	SetPolicy(ctx context.Context, req Request, p limit.Policy) (limit.Policy, error)
	DeletePolicy(ctx context.Context, req Request, currency string) error
	// ForgetCounters deletes counters that expired before the time, at most limit of them, and says how many.
	ForgetCounters(ctx context.Context, before time.Time, limit int) (int64, error)
}

// CreateAccount opens an empty wallet.
func (s *Service) CreateAccount(ctx context.Context, req Request, id, currency string, now time.Time) (Account, error) {
	if err := checkCurrency("currency_code", currency); err != nil {
		return Account{}, err
	}
	zero := Money{Currency: currency}
	return s.directory.CreateAccount(ctx, req, Account{ID: id, Balance: zero, Held: zero, CreateTime: now})
}

// Account reads a wallet. A wearer sees only its own.
func (s *Service) Account(ctx context.Context, c Caller, id string) (Account, error) {
	if c.Role != Operator && (c.Role != Wearer || c.Account != id) {
		return Account{}, fault.New(fault.NotFound, "ACCOUNT_NOT_FOUND", "there is no such account, or the caller may not see it")
	}
	a, err := s.directory.Account(ctx, id)
	if c.Role != Operator {
		a.FreezeReason = ""
	}
	return a, err
}

// FreezeAccount keeps a wallet from giving money, but for what is held.
func (s *Service) FreezeAccount(ctx context.Context, req Request, id, reason string, now time.Time) (Account, error) {
	if reason == "" {
		return Account{}, fault.InvalidField("reason", "must say why, in at most 200 characters")
	}
	return s.directory.FreezeAccount(ctx, req, id, reason, FrozenEvent{Account: id, Reason: reason, Time: now})
}

// UnfreezeAccount lets a wallet give money again.
func (s *Service) UnfreezeAccount(ctx context.Context, req Request, id string, now time.Time) (Account, error) {
	return s.directory.FreezeAccount(ctx, req, id, "", UnfrozenEvent{Account: id, Time: now})
}

// CloseAccount ends an empty wallet for good.
func (s *Service) CloseAccount(ctx context.Context, req Request, id string, now time.Time) (Account, error) {
	return s.directory.CloseAccount(ctx, req, id, ClosedEvent{Account: id, Time: now})
}

// TopUp moves money from outside into a wallet. What the wallet owes is paid first, by a posting of its own.
func (s *Service) TopUp(ctx context.Context, req Request, account string, amount Money, now time.Time) (Moved, error) {
	return s.move(ctx, req, account, amount, now, true)
}

// Withdraw moves money from a wallet to the outside.
func (s *Service) Withdraw(ctx context.Context, req Request, account string, amount Money, now time.Time) (Moved, error) {
	return s.move(ctx, req, account, amount, now, false)
}

// move posts between a wallet and the account that stands for the money outside.
func (s *Service) move(ctx context.Context, req Request, account string, amount Money, now time.Time, in bool) (Moved, error) {
	if err := checkAmount(amount); err != nil {
		return Moved{}, err
	}
	a, err := s.directory.Account(ctx, account)
	if err != nil {
		return Moved{}, err
	}
	wallet, outside := ledger.ID(ledger.Wallet, account), ledger.ID(ledger.Funding, a.Balance.Currency)
	t := ledger.Transaction{
		ID: s.newID(), Purpose: ledger.TopUp, Reference: req.Caller + "/" + req.ID, Time: now,
		Postings: []ledger.Posting{{Debit: outside, Credit: wallet, Amount: amount.Minor, Currency: amount.Currency}},
	}
	if !in {
		t.Purpose = ledger.Withdrawal
		t.Postings[0].Debit, t.Postings[0].Credit = wallet, outside
	}
	out, err := s.store.Step(ctx, Step{Request: &req, Ledger: []string{wallet, outside}}, func(f Facts) (Change, error) {
		if a.Balance.Currency != amount.Currency {
			return Change{}, currencyMismatch("account", a.Balance.Currency, amount.Currency)
		}
		if f.Books[wallet].Status == ledger.StatusClosed {
			return Change{}, accountClosed()
		}
		if !in && f.Books[wallet].Status == ledger.StatusFrozen {
			return Change{}, accountFrozen()
		}
		change, t := Change{}, t
		owed := f.Books[wallet].Owed()
		collected := min(owed, amount.Minor)
		if in && collected > 0 {
			t = t.Collect(collected)
		}
		if err := change.post(f, t); err != nil {
			return Change{}, err
		}
		change.Answer.Account = a.after(change.Posted[0])
		balance := change.Answer.Account.Balance
		if !in {
			change.Events = []Event{WithdrawnEvent{Account: account, Amount: amount, Balance: balance, Transaction: t.ID, Time: now}}
			return change, nil
		}
		change.Events = []Event{ToppedUpEvent{Account: account, Amount: amount, Balance: balance, Transaction: t.ID, Time: now}}
		if collected > 0 {
			change.Answer.Collected = collected
			money := func(minor int64) Money { return Money{Minor: minor, Currency: amount.Currency} }
			change.Events = append(change.Events, CollectedEvent{
				Account: account, Amount: money(collected), Owed: money(owed - collected), Transaction: t.ID, Time: now,
			})
		}
		return change, nil
	})
	return Moved{Account: out.Account, Transaction: out.Transaction, Collected: Money{Minor: out.Collected, Currency: amount.Currency}}, err
}

// after is the wallet as a transaction leaves it.
func (a Account) after(posted ledger.Posted) Account {
	for _, b := range posted.Accounts {
		if b.ID == ledger.ID(ledger.Wallet, a.ID) {
			a.Balance.Minor, a.Held.Minor = b.Available(), b.PendingDebits
		}
	}
	return a
}
