package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// work is what an item of the engine carries: one step of the domain.
type work struct {
	step   payment.Step
	decide func(payment.Facts) (payment.Change, error)

	// view is what all items of an attempt see; it changes as they are decided.
	view   *view
	change payment.Change
	// kept says that the change is to be written, fresh that its payment is a new one, changed that there is one.
	kept, fresh, changed bool
	answer               payment.Answer
}

// view is the state that the items of one attempt decide on, in the order of the queue.
type view struct {
	payments  map[string]payment.Payment
	merchants map[string]payment.Merchant
	counters  limit.Counters
}

// Step implements payment.Store. The change is committed together with whatever else is being changed at the moment, see
// ledger_engine.go.
func (s *Store) Step(ctx context.Context, step payment.Step, decide func(payment.Facts) (payment.Change, error)) (payment.Answer, error) {
	w := &work{step: step, decide: decide}
	i := &item{ctx: ctx, accounts: step.Ledger, holds: step.Holds, load: w, kept: w.keep, done: make(chan struct{})}
	i.decide = func(books ledger.Books) ([]ledger.Posted, error) { return w.run(i, books) }
	if _, err := s.engine.submit(i); err != nil {
		return payment.Answer{}, err
	}
	if w.changed {
		s.watch.wake(w.answer.Payment.ID)
	}
	return w.answer, nil
}

// run decides.
func (w *work) run(i *item, books ledger.Books) ([]ledger.Posted, error) {
	f := payment.Facts{Books: books, Counters: w.view.counters}
	if w.step.Payment != "" {
		if f.Payment, f.Found = w.view.payments[w.step.Payment]; !f.Found && !w.step.Fresh {
			return nil, errPaymentNotFound
		}
	}
	if w.step.Merchant != "" {
		var ok bool
		if f.Merchant, ok = w.view.merchants[w.step.Merchant]; !ok {
			return nil, errMerchantNotFound
		}
	}
	var err error
	if w.change, err = w.decide(f); err != nil {
		return nil, err
	}
	w.answer = w.change.Answer
	w.answer.Payment = w.change.Payment
	w.fresh = w.step.Payment != "" && !f.Found
	w.changed = w.fresh || w.change.Payment.Revision != f.Payment.Revision
	if w.fresh {
		i.keys = append(i.keys, "payment\x00"+w.step.Payment)
	}
	if w.changed && w.step.Assertion != "" {
		i.keys = append(i.keys, "assertion\x00"+w.step.Assertion)
	}
	if r := w.step.Request; r != nil {
		i.keys = append(i.keys, "request\x00"+requestKey(r.Caller, r.Method, r.ID))
	}
	return w.change.Posted, nil
}

func requestKey(caller, method, id string) string {
	return strings.Join([]string{caller, method, id}, "\x00")
}

// keep shows the change to the items that are decided after this one.
func (w *work) keep() {
	w.kept = true
	if w.changed {
		w.view.payments[w.change.Payment.ID] = w.change.Payment
	}
	maps.Copy(w.view.counters, w.change.Counters)
}

// workOf is what items carry; those of the bare ledger carry nothing.
func workOf(items []*item) []*work {
	out := make([]*work, 0, len(items))
	for _, i := range items {
		if w, ok := i.load.(*work); ok {
			out = append(out, w)
		}
	}
	return out
}

// lock implements cargo. Payments are locked by id and then counters by id. A repeat gets its answer and an assertion that
// was used its refusal; both end the attempt, and the next one is without them.
func (s *Store) lock(ctx context.Context, tx *sqldb.Tx, items []*item) error {
	todo := workOf(items)
	if len(todo) == 0 {
		return nil
	}
	v := &view{payments: map[string]payment.Payment{}, merchants: map[string]payment.Merchant{}, counters: limit.Counters{}}
	for _, w := range todo {
		w.view, w.kept = v, false
	}
	if err := s.lockPayments(ctx, tx, todo, v); err != nil {
		return err
	}
	if err := s.lockCounters(ctx, tx, todo, v); err != nil {
		return err
	}
	if err := s.readMerchants(ctx, tx, todo, v); err != nil {
		return err
	}
	repeats, err := s.answerRepeats(ctx, tx, items)
	if err != nil {
		return err
	}
	used, err := s.refuseUsed(ctx, tx, items)
	if err != nil {
		return err
	}
	if repeats || used {
		return &tryAgain{}
	}
	return nil
}

func (s *Store) lockPayments(ctx context.Context, tx *sqldb.Tx, todo []*work, v *view) error {
	ids := gather(todo, func(w *work) []string { return []string{w.step.Payment} })
	list, err := s.readMany(ctx, tx, ids, tx.ForUpdate())
	for _, p := range list {
		v.payments[p.ID] = p
	}
	return err
}

// gather is the ids that the work needs, sorted, each once.
func gather(todo []*work, of func(*work) []string) []string {
	var ids []string
	for _, w := range todo {
		ids = append(ids, of(w)...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > 0 && ids[0] == "" {
		ids = ids[1:]
	}
	return ids
}

var (
	addCounters = sqldb.NewBulk("id text, expires_at bigint?", `INSERT INTO limit_counters (id, amount, taps, generation, expires_at)
		SELECT id, 0, 0, 0, expires_at FROM {rows} AS r WHERE TRUE ORDER BY id ON CONFLICT (id) DO NOTHING`, 0)
	setCounters = sqldb.NewBulk("id text, amount bigint, taps bigint, generation bigint", `UPDATE limit_counters AS c
		SET amount = r.amount, taps = r.taps, generation = r.generation FROM {rows} AS r WHERE c.id = r.id`, 0)
)

// lockCounters makes the counters that are missing and locks them all.
func (s *Store) lockCounters(ctx context.Context, tx *sqldb.Tx, todo []*work, v *view) error {
	expires := map[string]any{}
	ids := gather(todo, func(w *work) []string {
		var out []string
		for _, k := range w.step.Counters {
			out = append(out, k.ID)
			if expires[k.ID] = nil; !k.ExpireTime.IsZero() {
				expires[k.ID] = micros(k.ExpireTime)
			}
		}
		return out
	})
	if len(ids) == 0 {
		return nil
	}
	missing := addCounters.Rows(len(ids))
	for _, id := range ids {
		missing.Add(id, expires[id])
	}
	if _, err := missing.Exec(ctx, tx); err != nil {
		return fmt.Errorf("make counters: %w", err)
	}
	return readCounters(ctx, tx, tx.Dialect(), ids, tx.ForUpdate(), v.counters)
}

func readCounters(ctx context.Context, q sqldb.Queryer, d sqldb.Dialect, ids []string, suffix string, into limit.Counters) error {
	in, arg, err := sqldb.In(d, ids)
	if err != nil {
		return err
	}
	rows, err := q.QueryContext(ctx, `SELECT id, amount, taps, generation FROM limit_counters WHERE id `+in+` ORDER BY id`+suffix, arg)
	if err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		var c limit.Counter
		if err := rows.Scan(&id, &c.Amount, &c.Taps, &c.Generation); err != nil {
			return fmt.Errorf("read counters: %w", err)
		}
		into[id] = c
	}
	return rows.Err()
}

func (s *Store) readMerchants(ctx context.Context, tx *sqldb.Tx, todo []*work, v *view) error {
	ids := gather(todo, func(w *work) []string { return []string{w.step.Merchant} })
	if len(ids) == 0 {
		return nil
	}
	in, arg, err := sqldb.In(tx.Dialect(), ids)
	if err != nil {
		return err
	}
	found, err := queryMerchants(ctx, tx, `WHERE id `+in, arg)
	for _, m := range found {
		v.merchants[m.ID] = m
	}
	return err
}

var findRequests = sqldb.NewBulk("caller text, method text, request_id text", `SELECT q.caller, q.method, q.request_id, q.fingerprint, q.response
	FROM {rows} AS r JOIN requests AS q ON q.caller = r.caller AND q.method = r.method AND q.request_id = r.request_id`, 0)

// answerRepeats gives those whose request was done before their answer.
func (s *Store) answerRepeats(ctx context.Context, tx *sqldb.Tx, items []*item) (bool, error) {
	wanted := findRequests.Rows(len(items))
	for _, w := range workOf(items) {
		if r := w.step.Request; r != nil {
			wanted.Add(r.Caller, r.Method, r.ID)
		}
	}
	if wanted.Len() == 0 {
		return false, nil
	}
	rows, err := wanted.Query(ctx, tx, tx.Dialect())
	if err != nil {
		return false, fmt.Errorf("look for requests: %w", err)
	}
	defer func() { _ = rows.Close() }()
	type stored struct{ fingerprint, response []byte }
	done := map[string]stored{}
	for rows.Next() {
		var caller, method, id string
		var r stored
		if err := rows.Scan(&caller, &method, &id, &r.fingerprint, &r.response); err != nil {
			return false, fmt.Errorf("look for requests: %w", err)
		}
		done[requestKey(caller, method, id)] = r
	}
	if err := rows.Err(); err != nil || len(done) == 0 {
		return false, err
	}
	for _, i := range items {
		w, ok := i.load.(*work)
		if !ok || w.step.Request == nil {
			continue
		}
		r := w.step.Request
		first, ok := done[requestKey(r.Caller, r.Method, r.ID)]
		switch {
		case !ok:
		case !bytes.Equal(first.fingerprint, r.Fingerprint):
			i.fail(errRequestReused())
		default:
			w.changed = false
			w.answer, err = openAnswer(first.response, w.view.payments[w.step.Payment])
			i.fail(err)
		}
	}
	return true, nil
}

func errRequestReused() error {
	return fault.New(fault.FailedPrecondition, "REQUEST_ID_REUSED",
		"the request_id was used for another request before; use a new one").WithField("request_id")
}

// refuseUsed refuses those whose assertion another payment has used.
func (s *Store) refuseUsed(ctx context.Context, tx *sqldb.Tx, items []*item) (bool, error) {
	ids := gather(workOf(items), func(w *work) []string { return []string{w.step.Assertion} })
	if len(ids) == 0 {
		return false, nil
	}
	in, arg, err := sqldb.In(tx.Dialect(), ids)
	if err != nil {
		return false, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT jti, payment FROM assertions WHERE jti `+in, arg)
	if err != nil {
		return false, fmt.Errorf("look for assertions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	used := map[string]string{}
	for rows.Next() {
		var jti, id string
		if err := rows.Scan(&jti, &id); err != nil {
			return false, fmt.Errorf("look for assertions: %w", err)
		}
		used[jti] = id
	}
	refused := false
	for _, i := range items {
		w, ok := i.load.(*work)
		if !ok || w.step.Assertion == "" {
			continue
		}
		if by, ok := used[w.step.Assertion]; ok && by != w.step.Payment {
			i.fail(fault.New(fault.FailedPrecondition, "ASSERTION_MISMATCH",
				"the approval was used for another payment before (jti differs); nothing was moved").WithMeta("claim", "jti"))
			refused = true
		}
	}
	return refused, rows.Err()
}

var (
	insertAssertions = sqldb.NewBulk("jti text, payment text, used_at bigint",
		`INSERT INTO assertions ({columns}) SELECT {columns} FROM {rows} AS r ORDER BY jti`, 0)
	insertRequests = sqldb.NewBulk("caller text, method text, request_id text, fingerprint bytea, response bytea, created_at bigint",
		`INSERT INTO requests ({columns}) SELECT {columns} FROM {rows} AS r
		ORDER BY caller, method, request_id`, 0)
)

// rows implements cargo.
func (s *Store) rows(_ context.Context, tx *sqldb.Tx, items []*item) ([]*sqldb.BulkRows, error) {
	fresh, changed := insertPayments.Rows(0), updatePayments.Rows(0)
	assertions, requests := insertAssertions.Rows(0), insertRequests.Rows(0)
	counters, latest := limit.Counters{}, map[string]bool{}
	var v *view
	var facts []events.Event
	for _, i := range items {
		w, ok := i.load.(*work)
		if !ok || !w.kept {
			continue
		}
		if w.changed { // of several changes of one payment the last is written
			latest[w.change.Payment.ID] = latest[w.change.Payment.ID] || w.fresh
			v = w.view
		}
		if w.changed && w.step.Assertion != "" {
			assertions.Add(w.step.Assertion, w.change.Payment.ID, micros(w.change.Payment.UpdateTime))
		}
		if r := w.step.Request; r != nil {
			response, err := json.Marshal(closeAnswer(w.answer))
			if err != nil {
				return nil, fmt.Errorf("remember an answer: %w", err)
			}
			requests.Add(r.Caller, r.Method, r.ID, r.Fingerprint, response, micros(s.now()))
		}
		maps.Copy(counters, w.change.Counters)
		if w.changed || len(w.change.Posted) > 0 {
			more, err := s.encodeAll(i.ctx, w.change.Events)
			if err != nil {
				return nil, err
			}
			facts = append(facts, more...)
		}
	}
	for id, isNew := range latest {
		if isNew {
			fresh.Add(values(v.payments[id])...)
		} else {
			changed.Add(changes(v.payments[id])...)
		}
	}
	outbox, err := events.Rows(tx, facts...)
	if err != nil {
		return nil, err
	}
	return []*sqldb.BulkRows{fresh, changed, assertions, requests, counterRows(counters), outbox}, nil
}

func counterRows(counters limit.Counters) *sqldb.BulkRows {
	out := setCounters.Rows(len(counters))
	for _, id := range slices.Sorted(maps.Keys(counters)) {
		c := counters[id]
		out.Add(id, c.Amount, c.Taps, c.Generation)
	}
	return out
}
