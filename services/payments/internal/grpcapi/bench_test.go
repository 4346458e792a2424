package grpcapi_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/testkit"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/bus"
	"github.com/armlet-pay/armlet/services/payments/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

const (
	benchAccounts = 10_000
	benchCallers  = 256
	benchConns    = 8
	benchTime     = 4 * time.Second
)

// BenchmarkPostTransfers transfers over gRPC on TCP, one transfer a call and a hundred, between spread accounts and to a hot
// one. Callers and server share the machine's processors with PostgreSQL.
func BenchmarkPostTransfers(b *testing.B) {
	run.TuneMemory() // as the program does
	url := testkit.Postgres(b)
	pgbench := testkit.PGBench(b, testkit.Postgres(b))
	db := testkit.OpenDB(b, url)
	must(b, db.Migrate(b.Context(), store.Migrations()))
	books := store.New(db, bus.Encode, time.Now)
	payers, payees, shop := benchBooks(b, books)
	clients := benchClients(b, books)
	before := pgbench(benchTime)
	cases := []struct {
		name  string
		to    []string
		batch int
	}{{"one/spread", payees, 1}, {"one/hot", shop, 1}, {"hundred/spread", payees, 100}, {"hundred/hot", shop, 100}}
	rates := make([]float64, len(cases))
	for i, c := range cases {
		rates[i] = post(b, clients, payers, c.to, c.batch)
	}
	reference := testkit.Mean(before, pgbench(benchTime))
	for i, c := range cases {
		testkit.Record(b, testkit.Figure{
			Measure:   testkit.Measure{Name: "payments/grpc/postgres/" + c.name, Value: rates[i], Unit: "transfers/s"},
			Reference: reference,
		})
	}
}

// benchBooks opens wallets, of which half are rich, and a shop.
func benchBooks(b *testing.B, books *store.Store) (payers, payees, shop []string) {
	b.Helper()
	accounts := []ledger.Account{ledger.Open(ledger.Funding, "CNY", "CNY"), ledger.Open(ledger.Merchant, "shop", "CNY")}
	fill := ledger.Transaction{ID: newID(), Purpose: ledger.TopUp, Reference: newID(), Time: time.Now()}
	for i := range benchAccounts {
		a := ledger.Open(ledger.Wallet, fmt.Sprintf("w%06d", i), "CNY")
		accounts = append(accounts, a)
		if i%2 == 0 {
			payees = append(payees, a.ID)
			continue
		}
		payers = append(payers, a.ID)
		fill.Postings = append(fill.Postings, ledger.Posting{Debit: "funding/CNY", Credit: a.ID, Amount: 1_000_000_000, Currency: "CNY"})
	}
	must(b, books.OpenAccounts(b.Context(), accounts...))
	_, err := books.Post(b.Context(), fill)
	must(b, err)
	return payers, payees, []string{"merchant/shop"}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// benchClients are connections to a server on TCP.
func benchClients(b *testing.B, books *store.Store) []paymentsv1.PaymentsServiceClient {
	b.Helper()
	rules := payment.NewService(books, payment.Directory{Wallets: books, Merchants: books, Limits: books, Holds: books}, nil, payment.Config{NewID: newID})
	srv, err := rpc.NewServer(rpc.ServerConfig{
		Service: "payments", Policy: grpcapi.Policy(),
		Verifier: testkit.Tokens{"operator": {Role: rpc.RoleOperator, ID: "operator"}},
	})
	must(b, err)
	paymentsv1.RegisterPaymentsServiceServer(srv.GRPC(), grpcapi.New(rules, books, books, []byte("page key"), time.Now))
	must(b, srv.Check())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	go func() { _ = srv.Serve(lis) }()
	b.Cleanup(func() { srv.Stop(context.Background()) })
	clients := make([]paymentsv1.PaymentsServiceClient, benchConns)
	for i := range clients {
		conn, err := rpc.Dial(lis.Addr().String(), rpc.DialConfig{Token: func(context.Context) (string, error) { return "operator", nil }})
		must(b, err)
		b.Cleanup(func() { _ = conn.Close() })
		clients[i] = paymentsv1.NewPaymentsServiceClient(conn)
	}
	return clients
}

// post is how many transfers a second are posted.
func post(b *testing.B, clients []paymentsv1.PaymentsServiceClient, from, to []string, batch int) float64 {
	b.Helper()
	var posted atomic.Int64
	begin := time.Now()
	var all sync.WaitGroup
	for c := range benchCallers {
		client := clients[c%len(clients)]
		all.Go(func() {
			for time.Since(begin) < benchTime {
				transfers := make([]*paymentsv1.Transfer, batch)
				for i := range transfers {
					transfers[i] = move(newID(), from[rand.N(len(from))], to[rand.N(len(to))], 1)
				}
				out, err := client.PostTransfers(context.Background(), &paymentsv1.PostTransfersRequest{Transfers: transfers})
				if err != nil {
					b.Error(err)
					return
				}
				for _, r := range out.GetResults() {
					if r.GetReason() != "" {
						b.Error(r.GetReason(), r.GetProblem())
						return
					}
				}
				posted.Add(int64(batch))
			}
		})
	}
	all.Wait()
	return float64(posted.Load()) / time.Since(begin).Seconds()
}
