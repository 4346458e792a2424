package notify_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

// size is a number from the environment, for forms that take longer.
func size(b *testing.B, name string, usual int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return n
}

const benchScopes = "vouchers.issue vouchers.verify vouchers.redeem"

func (w *world) acme(addr string) notifyv1.NotifyServiceClient {
	return w.dial(addr, map[string]any{
		"role": "partner", "partner": "acme", "mode": "live", "scope": benchScopes, "exp": time.Now().Add(time.Hour).Unix(),
	})
}

// BenchmarkInboxStreams has 2,000 phones connected by TCP (ARMLET_BENCH_STREAMS for another number), and sends an alert to
// a topic that all of them are members of. The memory is that of both ends of each stream, which are in one process here.
func BenchmarkInboxStreams(b *testing.B) {
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(dialect), func(b *testing.B) { benchStreams(b, dialect) })
	}
}

func benchStreams(b *testing.B, dialect sqldb.Dialect) {
	const conns, perConn = 20, 1000 // streams of one connection that a server allows
	n := size(b, "ARMLET_BENCH_STREAMS", 2_000)
	w := newWorldOn(b, dialect)
	addr, stop := w.start()
	defer stop()
	operator := w.dial(addr, map[string]any{"role": "operator", "operator_role": "admin", "exp": time.Now().Add(time.Hour).Unix()})
	w.topic(b, operator, n)
	w.warmUp(b, operator)
	var clients []notifyv1.NotifyServiceClient
	for range max(conns, n/perConn+1) {
		conn, err := rpc.Dial(addr, rpc.DialConfig{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		clients = append(clients, notifyv1.NewNotifyServiceClient(conn))
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	before := heap()
	var ready sync.WaitGroup
	var received atomic.Int64 // those of the warm-up too
	for i := range n {
		ready.Add(1)
		token := w.token(map[string]any{"role": "wearer", "account": "member-" + strconv.Itoa(i), "exp": time.Now().Add(time.Hour).Unix()})
		stream, err := clients[i%len(clients)].StreamInbox(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token),
			&notifyv1.StreamInboxRequest{Account: "accounts/member-" + strconv.Itoa(i), ClientId: "phone", Surface: notifyv1.Surface_SURFACE_PHONE})
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			opened := sync.OnceFunc(ready.Done)
			for {
				step, err := stream.Recv()
				if err != nil {
					return // the benchmark is over
				}
				if step.GetHeartbeat() != nil {
					opened()
				}
				if step.GetUpsert() != nil {
					received.Add(1)
				}
			}
		}()
	}
	ready.Wait()
	perStream := float64(heap()-before) / float64(n) / 1024
	var took time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		want := int64((rounds + 1) * n)
		begin := time.Now()
		_, err := operator.SendAlert(ctx, &notifyv1.SendAlertRequest{
			Topic: "topics/all", BandText: "Gates open", PhoneText: "The gates are open", RequestId: fmt.Sprint("r", rounds),
		})
		if err != nil {
			b.Fatal(err)
		}
		for received.Load() < want {
			time.Sleep(time.Millisecond)
			if time.Since(begin) > time.Minute {
				b.Fatalf("%d of %d", received.Load(), want)
			}
		}
		took += time.Since(begin)
	}
	fanOut := took.Seconds() / float64(rounds)
	b.ReportMetric(perStream, "KiB/stream")
	b.ReportMetric(fanOut, "s/fan-out")
	testkit.Record(b, testkit.Figure{Measure: testkit.Measure{Name: "notify/inbox/memory-a-stream/" + string(dialect), Value: perStream, Unit: "KiB"}})
	testkit.Record(b, testkit.Figure{
		Measure:   testkit.Measure{Name: fmt.Sprintf("notify/inbox/fan-out/%s/%d-streams", dialect, n), Value: fanOut, Unit: "s"},
		Reference: &testkit.Measure{Name: "target", Value: 2, Unit: "s"},
	})
}

// warmUp sends a first alert, which makes the inboxes many at a time: the streams would make them one by one.
func (w *world) warmUp(b *testing.B, operator notifyv1.NotifyServiceClient) {
	b.Helper()
	sent, err := operator.SendAlert(b.Context(), &notifyv1.SendAlertRequest{Topic: "topics/all", BandText: "Welcome", PhoneText: "Welcome", RequestId: "warm-up"})
	if err != nil {
		b.Fatal(err)
	}
	for {
		got, err := operator.GetAlertBroadcast(b.Context(), &notifyv1.GetAlertBroadcastRequest{Name: sent.GetBroadcast().GetName()})
		if err != nil {
			b.Fatal(err)
		}
		if got.GetSentCount() == got.GetMemberCount() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// heap is what is in use after a collection, the stacks of goroutines included.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func (w *world) topic(b *testing.B, operator notifyv1.NotifyServiceClient, members int) {
	b.Helper()
	_, err := operator.CreateTopic(b.Context(), &notifyv1.CreateTopicRequest{TopicId: "all", DisplayName: "All", RequestId: "t"})
	if err != nil {
		b.Fatal(err)
	}
	for at := 0; at < members; at += 500 {
		in := &notifyv1.ChangeTopicMembersRequest{Topic: "topics/all", RequestId: fmt.Sprint("m", at)}
		for i := at; i < min(at+500, members); i++ {
			in.Add = append(in.Add, "accounts/member-"+strconv.Itoa(i))
		}
		if _, err := operator.ChangeTopicMembers(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

func (w *world) benchCampaign(b *testing.B, acme notifyv1.NotifyServiceClient, id string, vouchers int64) string {
	b.Helper()
	c, err := acme.CreateCampaign(b.Context(), &notifyv1.CreateCampaignRequest{
		DisplayName: "Bench", Value: &typev1.Money{MinorUnits: 100, CurrencyCode: "CNY"}, VoucherLimit: vouchers,
		Budget: &typev1.Money{MinorUnits: 100 * vouchers, CurrencyCode: "CNY"}, ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), RequestId: id,
	})
	if err != nil {
		b.Fatal(err)
	}
	return c.GetName()
}

func generate(b *testing.B, acme notifyv1.NotifyServiceClient, campaign string, n int) []string {
	b.Helper()
	stream, err := acme.GenerateVouchers(b.Context(), &notifyv1.GenerateVouchersRequest{Campaign: campaign, Count: int32(n), RequestId: "g" + campaign[len(campaign)-12:]})
	if err != nil {
		b.Fatal(err)
	}
	codes := make([]string, 0, n)
	for len(codes) < n {
		piece, err := stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		codes = append(codes, piece.GetCodes()...)
	}
	return codes
}

// BenchmarkGenerateVouchers generates 100,000 codes over gRPC, or as many as ARMLET_BENCH_CODES says.
func BenchmarkGenerateVouchers(b *testing.B) {
	n := size(b, "ARMLET_BENCH_CODES", 100_000)
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(dialect), func(b *testing.B) {
			w := newWorldOn(b, dialect)
			addr, stop := w.start()
			defer stop()
			acme := w.acme(addr)
			rounds := 0
			for b.Loop() {
				rounds++
				generate(b, acme, w.benchCampaign(b, acme, fmt.Sprint("c", rounds), int64(n)), n)
			}
			rate := float64(rounds*n) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "codes/s")
			testkit.Record(b, testkit.Figure{
				Measure:   testkit.Measure{Name: fmt.Sprintf("notify/vouchers/generate/%s/%d", dialect, n), Value: rate, Unit: "codes/s"},
				Reference: &testkit.Measure{Name: "target, a million a minute", Value: 1e6 / 60, Unit: "codes/s"},
			})
		})
	}
}

// BenchmarkVouchers verifies and redeems over gRPC with 16 callers: vouchers of one campaign, whose budget is one row, and
// of a hundred. Beside it as many callers make bare transactions of one conditional update, of one row or of a hundred.
func BenchmarkVouchers(b *testing.B) {
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		for name, campaigns := range map[string]int{"one-campaign": 1, "hundred-campaigns": 100} {
			b.Run(string(dialect)+"/"+name, func(b *testing.B) { benchVouchers(b, dialect, name, campaigns) })
		}
	}
}

func benchVouchers(b *testing.B, dialect sqldb.Dialect, name string, campaigns int) {
	const vouchers = 2000
	w := newWorldOn(b, dialect)
	addr, stop := w.start()
	defer stop()
	acme := w.acme(addr)
	codes := make([]string, vouchers)
	for c := range campaigns {
		for i, code := range generate(b, acme, w.benchCampaign(b, acme, fmt.Sprint("c", c), vouchers), vouchers/campaigns) {
			codes[i*campaigns+c] = code
		}
	}
	bare := w.bareUpdates(b, campaigns)
	b.ResetTimer() // one round whatever b.N is: a voucher is redeemed once
	verify := callers(b, vouchers, func(ctx context.Context, i int) error {
		_, err := acme.VerifyVoucher(ctx, &notifyv1.VerifyVoucherRequest{Code: codes[i]})
		return err
	})
	redeem := callers(b, vouchers, func(ctx context.Context, i int) error {
		_, err := acme.RedeemVoucher(ctx, &notifyv1.RedeemVoucherRequest{Code: codes[i], RequestId: fmt.Sprint("r", i)})
		return err
	})
	reference := callers(b, vouchers, bare)
	b.ReportMetric(verify, "verify/s")
	b.ReportMetric(redeem, "redeem/s")
	b.ReportMetric(redeem/reference, "x-bare-update")
	testkit.Record(b, testkit.Figure{Measure: testkit.Measure{Name: fmt.Sprintf("notify/vouchers/verify/%s/%s", dialect, name), Value: verify, Unit: "calls/s"}})
	testkit.Record(b, testkit.Figure{
		Measure:   testkit.Measure{Name: fmt.Sprintf("notify/vouchers/redeem/%s/%s", dialect, name), Value: redeem, Unit: "calls/s"},
		Reference: &testkit.Measure{Name: "bare transactions of one conditional update", Value: reference, Unit: "transactions/s"},
	})
}

// bareUpdates is the least that a budget needs, on the other database of the same kind.
func (w *world) bareUpdates(b *testing.B, rows int) func(context.Context, int) error {
	b.Helper()
	if _, err := w.db.ExecContext(b.Context(), `CREATE TABLE budgets (id INTEGER PRIMARY KEY, used BIGINT NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	for i := range rows {
		if _, err := w.db.ExecContext(b.Context(), `INSERT INTO budgets (id, used) VALUES ($1, 0)`, i); err != nil {
			b.Fatal(err)
		}
	}
	return func(ctx context.Context, i int) error {
		return w.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE budgets SET used = used + 100 WHERE id = $1 AND used <= $2`, i%rows, 1<<40)
			return err
		})
	}
}

// callers makes n calls, 16 at a time, and returns how many that is a second.
func callers(b *testing.B, n int, call func(ctx context.Context, i int) error) float64 {
	b.Helper()
	const many = 16
	var wg sync.WaitGroup
	begin := time.Now()
	for c := range many {
		wg.Go(func() {
			for i := c; i < n; i += many {
				if err := call(b.Context(), i); err != nil {
					b.Errorf("call %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(begin).Seconds()
}
