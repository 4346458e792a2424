package chaos

import (
	"context"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/test/chaos/checker"
)

// seesLies changes the real database and the real stream behind the suite's back, in the end, and wants the checker to find out:
// what it reads is what is there.
func (w *witness) seesLies() {
	w.t.Helper()
	w.l.leave()
	w.l.running.Wait()
	ctx := callCtx(w.t)
	execute := func(statement string) {
		_, err := w.db.ExecContext(ctx, statement)
		must(w.t, err)
	}
	const newest = `(SELECT id FROM payments WHERE state = 'CAPTURED' ORDER BY created_at DESC LIMIT 1)`
	w.lie(checker.Unbalanced, func() {
		execute(`UPDATE ledger_accounts SET posted_debits = posted_debits + 1 WHERE id = 'wallet/wearer0'`)
	})
	w.lie(checker.EventDoubled, func() { w.republish(ctx) })
	w.lie(checker.Lost, func() {
		execute(`DELETE FROM ledger_postings WHERE transaction_id = (SELECT transaction_id FROM payments WHERE id = ` + newest + `)`)
	})
	w.lie(checker.Invented, func() {
		execute(`DELETE FROM assertions WHERE payment = ` + newest)
		execute(`DELETE FROM payments WHERE id = ` + newest)
	})
}

func (w *witness) lie(want checker.Kind, tell func()) {
	w.t.Helper()
	tell()
	e, err := w.read(callCtx(w.t))
	must(w.t, err)
	found := checker.Check(w.l.history, e)
	if !slices.ContainsFunc(found, func(v checker.Violation) bool { return v.Kind == want }) {
		w.t.Errorf("a real lie that should be %q was seen as %v", want, found)
	}
}

// republish puts the newest event of a capture into the stream again, under an id that the server does not know.
func (w *witness) republish(ctx context.Context) {
	w.t.Helper()
	js, err := jetstream.New(w.core)
	must(w.t, err)
	stream, err := js.Stream(ctx, "EVT_PAYMENTS")
	must(w.t, err)
	old, err := stream.GetLastMsgForSubject(ctx, "evt.v1.live.payments.payment.captured.>")
	must(w.t, err)
	again := nats.NewMsg(old.Subject)
	again.Data, again.Header = old.Data, old.Header
	again.Header.Set("ce-id", id())
	again.Header.Del(jetstream.MsgIDHeader)
	_, err = js.PublishMsg(ctx, again)
	must(w.t, err)
}
