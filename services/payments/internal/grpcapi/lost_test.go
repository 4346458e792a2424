package grpcapi_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

// cut is the contract with calls that do all they have to and whose reply is lost, while lose is set.
func (a *api) cut(d grpc.ServiceDesc) grpc.ServiceDesc {
	d.Methods = slices.Clone(d.Methods)
	for i, m := range d.Methods {
		d.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
			reply, err := m.Handler(srv, ctx, decode, chain)
			if err == nil && a.lose.Load() {
				<-ctx.Done()
				return nil, status.FromContextError(ctx.Err()).Err()
			}
			return reply, err
		}
	}
	return d
}

// The deadline passes after the commit, the reply is lost, and the client tries again at another process: it is told what
// the first one did, and nothing happens twice.
func TestALostReplyIsAskedForAtAnotherProcess(t *testing.T) {
	t.Parallel()
	url := testkit.DBURL(t, sqldb.Postgres)
	db := testkit.OpenDB(t, url)
	must(t, db.Migrate(t.Context(), store.Migrations()))
	s := newStageOn(t, newAPIOn(t, db))
	second, _ := s.serve(t, testkit.OpenDB(t, url))
	count := func() (payments, transactions, requests int64) {
		must(t, s.db.QueryRowContext(t.Context(), `SELECT (SELECT COUNT(*) FROM payments), (SELECT COUNT(*) FROM ledger_transactions),
			(SELECT COUNT(*) FROM requests WHERE method NOT LIKE 'VoucherHold%')`).Scan(&payments, &transactions, &requests))
		return payments, transactions, requests
	}
	wanted := map[string][3]int64{ // payments, ledger transactions and remembered requests
		"CreatePayment": {1, 0, 1}, "ConfirmPayment": {0, 1, 0}, "AuthorizePayment": {0, 1, 0}, "CapturePayment": {0, 1, 1}, "RefundPayment": {0, 1, 1},
		"VoidPayment": {0, 1, 1}, "TopUpAccount": {0, 1, 1}, "WithdrawFromAccount": {0, 1, 1}, "PostTransfers": {0, 1, 0}, "CreateAccount": {0, 0, 1},
		"CloseAccount": {0, 0, 1},
	}
	for _, name := range methods() { // in their order: a capture brings the merchant what a refund takes
		want, ok := wanted[name]
		if !ok {
			continue
		}
		in := s.requests(t)[name]
		payments, transactions, requests := count()
		ctx, stop := context.WithTimeout(t.Context(), 400*time.Millisecond)
		s.lose.Store(true)
		err := call(ctx, s.conns[by(name)], name, in)
		s.lose.Store(false)
		stop()
		if fault.KindOf(err) != fault.DeadlineExceeded {
			t.Errorf("%s: the reply was to be lost, got %v", name, err)
		}
		first, err := answer(t.Context(), testkit.ClientWithToken(t, second, by(name)), name, in)
		must(t, err)
		again, err := answer(t.Context(), s.conns[by(name)], name, in)
		must(t, err)
		if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
			t.Errorf("%s: two processes answer differently: %s", name, diff)
		}
		p, x, r := count()
		if got := [3]int64{p - payments, x - transactions, r - requests}; got != want {
			t.Errorf("%s: %v payments, transactions and requests more, want %v", name, got, want)
		}
	}
	s.balanced(t)
}
