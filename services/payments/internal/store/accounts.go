package store

import (
	"context"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

var (
	errAccountNotFound  = fault.New(fault.NotFound, "ACCOUNT_NOT_FOUND", "there is no such account, or the caller may not see it")
	errMerchantNotFound = fault.New(fault.NotFound, "MERCHANT_NOT_FOUND", "there is no such merchant, or the caller may not see it")
	errTerminalNotFound = fault.New(fault.NotFound, "TERMINAL_NOT_FOUND", "the merchant has no such terminal; register it first")
)

// The remembered answers. Their JSON is stored, so fields may be added but not renamed.
type (
	accountAnswer struct {
		ID        string `json:"id"`
		Currency  string `json:"currency"`
		Balance   int64  `json:"balance"`
		CreatedAt int64  `json:"created_at"`
	}
	topUpAnswer struct {
		Account     accountAnswer `json:"account"`
		Transaction string        `json:"transaction"`
	}
	idAnswer struct {
		ID string `json:"id"`
	}
)

func (a accountAnswer) account() payment.Account {
	return payment.Account{
		ID: a.ID, Balance: payment.Money{Minor: a.Balance, Currency: a.Currency}, CreateTime: fromMicros(a.CreatedAt),
	}
}

// CreateAccount implements payment.Directory.
func (s *Store) CreateAccount(ctx context.Context, req payment.Request, a payment.Account) (payment.Account, error) {
	answer, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (accountAnswer, error) {
		wallet := ledger.Open(ledger.Wallet, a.ID, a.Balance.Currency)
		fresh, err := s.open(ctx, tx, wallet, a.CreateTime)
		if err != nil {
			return accountAnswer{}, fmt.Errorf("open a wallet: %w", err)
		}
		if !fresh {
			return accountAnswer{}, fault.New(fault.AlreadyExists, "ACCOUNT_EXISTS", "there is an account %q already; choose another id", a.ID)
		}
		if err := s.openFunding(ctx, tx, a.Balance.Currency, a.CreateTime); err != nil {
			return accountAnswer{}, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO accounts (id, ledger_id, created_at) VALUES ($1, $2, $3)`,
			a.ID, wallet.ID, micros(a.CreateTime))
		return accountAnswer{ID: a.ID, Currency: a.Balance.Currency, CreatedAt: micros(a.CreateTime)}, err
	})
	return answer.account(), err
}

// openFunding makes the account that stands for the money outside, once for each currency.
func (s *Store) openFunding(ctx context.Context, tx *sqldb.Tx, currency string, now time.Time) error {
	_, err := s.open(ctx, tx, ledger.Open(ledger.Funding, currency, currency), now)
	if err != nil {
		return fmt.Errorf("open the funding account: %w", err)
	}
	return nil
}

// TopUp implements payment.Directory.
func (s *Store) TopUp(ctx context.Context, req payment.Request, id string,
	post func(payment.Account, ledger.Books) (ledger.Posted, []payment.Event, error),
) (payment.TopUp, error) {
	answer, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (topUpAnswer, error) {
		a, err := account(ctx, tx, id)
		if err != nil {
			return topUpAnswer{}, err
		}
		wallet, funding := ledger.ID(ledger.Wallet, id), ledger.ID(ledger.Funding, a.Balance.Currency)
		books, err := s.lock(ctx, tx, []string{wallet, funding})
		if err != nil {
			return topUpAnswer{}, err
		}
		posted, facts, err := post(a, books)
		if err != nil {
			return topUpAnswer{}, err
		}
		if err := s.post(ctx, tx, posted); err != nil {
			return topUpAnswer{}, err
		}
		answer := topUpAnswer{
			Account:     accountAnswer{ID: id, Currency: a.Balance.Currency, CreatedAt: micros(a.CreateTime)},
			Transaction: posted.Transaction.ID,
		}
		for _, after := range posted.Accounts {
			if after.ID == wallet {
				answer.Account.Balance = after.Balance()
			}
		}
		return answer, s.publish(ctx, tx, facts)
	})
	return payment.TopUp{Account: answer.Account.account(), Transaction: answer.Transaction}, err
}

// CreateMerchant implements payment.Directory.
func (s *Store) CreateMerchant(ctx context.Context, req payment.Request, m payment.Merchant) (payment.Merchant, error) {
	answer, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (idAnswer, error) {
		books := ledger.Open(ledger.Merchant, m.ID, m.Currency)
		if _, err := s.open(ctx, tx, books, m.CreateTime); err != nil {
			return idAnswer{}, fmt.Errorf("open a merchant's account: %w", err)
		}
		if _, err := s.open(ctx, tx, ledger.Open(ledger.Fee, m.Currency, m.Currency), m.CreateTime); err != nil {
			return idAnswer{}, fmt.Errorf("open the fee account: %w", err)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO merchants (id, ledger_id, display_name, category_code, currency, created_at)
			VALUES ($1, $2, $3, $4, $5, $6)`, m.ID, books.ID, m.DisplayName, int64(m.CategoryCode), m.Currency, micros(m.CreateTime))
		return idAnswer{ID: m.ID}, err
	})
	if err != nil {
		return payment.Merchant{}, err
	}
	return s.Merchant(ctx, answer.ID)
}

// CreateTerminal implements payment.Directory.
func (s *Store) CreateTerminal(ctx context.Context, req payment.Request, t payment.TerminalDevice) (payment.TerminalDevice, error) {
	answer, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (idAnswer, error) {
		if _, err := merchant(ctx, tx, t.Merchant); err != nil {
			return idAnswer{}, err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO terminals (id, merchant, display_name, created_at) VALUES ($1, $2, $3, $4)`,
			t.ID, t.Merchant, t.DisplayName, micros(s.now()))
		return idAnswer{ID: t.ID}, err
	})
	if err != nil {
		return payment.TerminalDevice{}, err
	}
	return s.Terminal(ctx, answer.ID)
}

// Account implements payment.Directory.
func (s *Store) Account(ctx context.Context, id string) (payment.Account, error) {
	return account(ctx, s.db, id)
}

func account(ctx context.Context, q sqldb.Queryer, id string) (payment.Account, error) {
	var a accountAnswer
	err := q.QueryRowContext(ctx, `SELECT a.id, l.currency, l.posted_credits - l.posted_debits, a.created_at
		FROM accounts a JOIN ledger_accounts l ON l.id = a.ledger_id WHERE a.id = $1`, id).
		Scan(&a.ID, &a.Currency, &a.Balance, &a.CreatedAt)
	if err != nil {
		return payment.Account{}, orNotFound(err, errAccountNotFound)
	}
	return a.account(), nil
}

// Merchant implements payment.Directory.
func (s *Store) Merchant(ctx context.Context, id string) (payment.Merchant, error) {
	return merchant(ctx, s.db, id)
}

func merchant(ctx context.Context, q sqldb.Queryer, id string) (payment.Merchant, error) {
	m := payment.Merchant{ID: id}
	var createdAt int64
	err := q.QueryRowContext(ctx, `SELECT display_name, category_code, currency, created_at FROM merchants WHERE id = $1`, id).
		Scan(&m.DisplayName, &m.CategoryCode, &m.Currency, &createdAt)
	if err != nil {
		return payment.Merchant{}, orNotFound(err, errMerchantNotFound)
	}
	m.CreateTime = fromMicros(createdAt)
	return m, nil
}

// Terminal implements payment.Directory.
func (s *Store) Terminal(ctx context.Context, id string) (payment.TerminalDevice, error) {
	t := payment.TerminalDevice{ID: id}
	err := s.db.QueryRowContext(ctx, `SELECT merchant, display_name FROM terminals WHERE id = $1`, id).Scan(&t.Merchant, &t.DisplayName)
	if err != nil {
		return payment.TerminalDevice{}, orNotFound(err, errTerminalNotFound)
	}
	return t, nil
}
