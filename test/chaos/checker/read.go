package checker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

const capturedType = "armlet.payments.v1.PaymentCaptured"

// ReadBooks reads the tables of payments as they are at one moment.
func (e *Evidence) ReadBooks(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("checker: read the books: %w", err)
	}
	defer tx.Rollback()
	e.Payments, e.Books, e.Postings = nil, nil, nil
	err = errors.Join(
		rows(ctx, tx, `SELECT id, account, state, currency, amount, captured FROM payments`, func(r *sql.Rows) error {
			var p Payment
			defer func() { e.Payments = append(e.Payments, p) }()
			return r.Scan(&p.ID, &p.Account, &p.State, &p.Currency, &p.Amount, &p.Captured)
		}),
		rows(ctx, tx, `SELECT id, currency, posted_debits, posted_credits, pending_debits, pending_credits FROM ledger_accounts`, func(r *sql.Rows) error {
			var b Book
			defer func() { e.Books = append(e.Books, b) }()
			return r.Scan(&b.ID, &b.Currency, &b.Debits, &b.Credits, &b.PendingDebits, &b.PendingCredits)
		}),
		rows(ctx, tx, `SELECT transaction_id, debit_account, credit_account, currency, step, amount FROM ledger_postings`, func(r *sql.Rows) error {
			var p Posting
			defer func() { e.Postings = append(e.Postings, p) }()
			return r.Scan(&p.Transaction, &p.Debit, &p.Credit, &p.Currency, &p.Step, &p.Amount)
		}),
		tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM outbox WHERE published_at IS NULL`).Scan(&e.Unpublished),
	)
	if err != nil {
		return fmt.Errorf("checker: read the books: %w", err)
	}
	return nil
}

func rows(ctx context.Context, tx *sql.Tx, query string, each func(*sql.Rows) error) error {
	found, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		if err := each(found); err != nil {
			return err
		}
	}
	return found.Err()
}

// ReadEvents reads what a stream says about captured payments, from its first message to its last.
func ReadEvents(ctx context.Context, conn *nats.Conn, stream string) ([]Event, error) {
	var out []Event
	err := eachMessage(ctx, conn, stream, func(m jetstream.Msg) error {
		if m.Headers().Get("ce-type") != capturedType {
			return nil
		}
		body := &paymentsv1.PaymentCaptured{}
		if err := proto.Unmarshal(m.Data(), body); err != nil {
			return fmt.Errorf("%s: %w", m.Headers().Get("ce-id"), err)
		}
		p := body.GetPayment()
		out = append(out, Event{
			ID: m.Headers().Get("ce-id"), Payment: short(p.GetPayment()), Account: short(p.GetAccount()), Amount: p.GetAmount().GetMinorUnits(),
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("checker: read %s: %w", stream, err)
	}
	return out, nil
}

// CountMessages is how many messages a stream has, none when there is no such stream.
func CountMessages(ctx context.Context, conn *nats.Conn, stream string) (int, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	s, err := js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("checker: count %s: %w", stream, err)
	}
	return int(s.CachedInfo().State.Msgs), nil
}

func eachMessage(ctx context.Context, conn *nats.Conn, stream string, each func(jetstream.Msg) error) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	last := s.CachedInfo().State
	if last.Msgs == 0 {
		return nil
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextMaxWait(10 * time.Second))
		if err != nil {
			return err
		}
		if err := each(m); err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream >= last.LastSeq {
			return nil
		}
	}
}

// ReadAlerts reads what an account's inbox says about captured payments.
func ReadAlerts(ctx context.Context, notify notifyv1.NotifyServiceClient, account string) ([]Alert, error) {
	var out []Alert
	for page := ""; ; {
		answer, err := notify.ListAlerts(ctx, &notifyv1.ListAlertsRequest{Parent: account, PageSize: 200, PageToken: page})
		if err != nil {
			return nil, fmt.Errorf("checker: read the inbox of %s: %w", account, err)
		}
		for _, a := range answer.GetAlerts() {
			if a.GetType() == "alertTypes/payment.captured" {
				out = append(out, Alert{Account: account, Text: a.GetBandText()})
			}
		}
		if page = answer.GetNextPageToken(); page == "" {
			return out, nil
		}
	}
}
