package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

var errAccountNotFound = fault.New(fault.NotFound, "ACCOUNT_NOT_FOUND", "there is no such account, or the caller may not see it")

// CreateAccount implements payment.Wallets.
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
		if err := s.openOwn(ctx, tx, a.Balance.Currency, a.CreateTime); err != nil {
			return accountAnswer{}, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO accounts (id, ledger_id, created_at) VALUES ($1, $2, $3)`,
			a.ID, wallet.ID, micros(a.CreateTime))
		if err != nil {
			return accountAnswer{}, fmt.Errorf("open a wallet: %w", err)
		}
		err = s.publish(ctx, tx, payment.OpenedEvent{Account: a})
		return accountAnswer{ID: a.ID, Currency: a.Balance.Currency, CreatedAt: micros(a.CreateTime)}, err
	})
	return answer.account(), err
}

// openOwn makes the accounts that stand for the money outside and for what cannot be assigned yet, once for each currency.
func (s *Store) openOwn(ctx context.Context, tx *sqldb.Tx, currency string, now time.Time) error {
	for _, kind := range []ledger.Kind{ledger.Funding, ledger.Suspense} {
		if _, err := s.open(ctx, tx, ledger.Open(kind, currency, currency), now); err != nil {
			return fmt.Errorf("open the %s account: %w", kind, err)
		}
	}
	return nil
}

// CloseAccount implements payment.Wallets. The ledger's own constraint keeps one that is not empty open.
func (s *Store) CloseAccount(ctx context.Context, req payment.Request, id string, event payment.Event) (payment.Account, error) {
	answer, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (accountAnswer, error) {
		a, err := account(ctx, tx, id)
		if err != nil {
			return accountAnswer{}, err
		}
		open := false
		err = changeAccount(ctx, tx, ledger.ID(ledger.Wallet, id), func(l *ledger.Account) {
			open = l.Status != ledger.StatusClosed
			l.Status = ledger.StatusClosed
		})
		if fault.ReasonOf(err) == "LEDGER_ACCOUNT_STATE" {
			return accountAnswer{}, fault.New(fault.FailedPrecondition, "ACCOUNT_NOT_EMPTY",
				"the account holds money, owes some, or has payments on hold; settle that and try again").WithCause(err)
		}
		a.Closed, a.Frozen = true, false
		closed := closeAccount(a)
		if err != nil || !open {
			return closed, err
		}
		return closed, s.publish(ctx, tx, event)
	})
	if err != nil {
		return payment.Account{}, err
	}
	return answer.account(), nil
}

// FreezeAccount implements payment.Wallets.
func (s *Store) FreezeAccount(ctx context.Context, req payment.Request, id, reason string, event payment.Event) (payment.Account, error) {
	answer, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (accountAnswer, error) {
		want := ledger.StatusOpen
		if reason != "" {
			want = ledger.StatusFrozen
		}
		was := ledger.StatusOpen
		err := changeAccount(ctx, tx, ledger.ID(ledger.Wallet, id), func(l *ledger.Account) {
			if was = l.Status; was != ledger.StatusClosed {
				l.Status = want
			}
		})
		if fault.KindOf(err) == fault.NotFound {
			return accountAnswer{}, errAccountNotFound
		}
		if err != nil {
			return accountAnswer{}, err
		}
		if was == ledger.StatusClosed {
			return accountAnswer{}, fault.New(fault.FailedPrecondition, "ACCOUNT_CLOSED", "the account is closed and takes part in nothing any more")
		}
		other, err := changed(tx.ExecContext(ctx, `UPDATE accounts SET freeze_reason = $1 WHERE id = $2 AND freeze_reason <> $1`, reason, id))
		if err != nil {
			return accountAnswer{}, fmt.Errorf("freeze an account: %w", err)
		}
		a, err := account(ctx, tx, id)
		if err == nil && (other || was != want) {
			err = s.publish(ctx, tx, event)
		}
		return closeAccount(a), err
	})
	return answer.account(), err
}

// Account implements payment.Wallets.
func (s *Store) Account(ctx context.Context, id string) (payment.Account, error) {
	return s.reads.accounts.Do(ctx, id)
}

func account(ctx context.Context, q sqldb.Queryer, id string) (payment.Account, error) {
	found, err := queryAccounts(ctx, q, `WHERE a.id = $1`, id)
	if err != nil {
		return payment.Account{}, err
	}
	if len(found) == 0 {
		return payment.Account{}, errAccountNotFound
	}
	return found[0], nil
}

func queryAccounts(ctx context.Context, q sqldb.Queryer, where string, args ...any) ([]payment.Account, error) {
	rows, err := q.QueryContext(ctx, `SELECT a.id, l.currency, l.posted_credits - l.posted_debits - l.pending_debits, l.pending_debits,
		l.status, a.created_at, a.freeze_reason FROM accounts a JOIN ledger_accounts l ON l.id = a.ledger_id `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []payment.Account
	for rows.Next() {
		var a accountAnswer
		var status ledger.Status
		if err := rows.Scan(&a.ID, &a.Currency, &a.Balance, &a.Held, &status, &a.CreatedAt, &a.FreezeReason); err != nil {
			return nil, fmt.Errorf("read accounts: %w", err)
		}
		a.Closed, a.Frozen = status == ledger.StatusClosed, status == ledger.StatusFrozen
		out = append(out, a.account())
	}
	return out, rows.Err()
}

// AllowDebt implements payment.Wallets.
func (s *Store) AllowDebt(ctx context.Context, id string, more int64) error {
	return s.ChangeAccount(ctx, ledger.ID(ledger.Wallet, id), func(a *ledger.Account) {
		a.Overdraft = max(a.Overdraft, more+max(0, -a.Available()))
	})
}

// LastDevice implements payment.Wallets.
func (s *Store) LastDevice(ctx context.Context, account string) (string, error) {
	var device string
	err := s.db.QueryRowContext(ctx, `SELECT device FROM payments WHERE account = $1 ORDER BY created_at DESC, id DESC LIMIT 1`, account).
		Scan(&device)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return device, err
}
