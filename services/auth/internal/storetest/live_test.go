package storetest

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const life = 60 * time.Second

// eachLive runs test on every live store.
func eachLive(t *testing.T, test func(t *testing.T, s challenge.LiveStore)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, live.NewMemory()) })
	t.Run("redis", func(t *testing.T) { test(t, openRedis(t, testkit.Redis(t))) })
	t.Run("redis cluster", func(t *testing.T) {
		nodes := testkit.RedisCluster(t)
		test(t, openLive(t, "redis://"+nodes[0]+"?addr="+strings.Join(nodes[1:], "&addr=")))
	})
}

func openRedis(t testing.TB, addr string) *live.Redis { return openLive(t, "redis://"+addr) }

func openLive(t testing.TB, url string) *live.Redis {
	t.Helper()
	s, err := live.OpenRedis(url, tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider())
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantReason(t testing.TB, err error, reason string) {
	t.Helper()
	if got := fault.ReasonOf(err); got != reason {
		t.Fatalf("got reason %q (%v), want %q", got, err, reason)
	}
}

// sample is a challenge for a device that was issued at a moment.
func sample(t testing.TB, uid wire.UID, p wire.Purpose, at time.Time) challenge.Challenge {
	t.Helper()
	c := challenge.Challenge{
		Owner: "service/payments", Device: "partners/acme/devices/" + uid.String(), Partner: "acme", UID: uid,
		Account: "accounts/ann", IssuedAt: at, Frame: []byte("frame"),
		Content: wire.Challenge{
			Suite: wire.SuiteHMAC, Purpose: p, Require: wire.RequireGesture, Currency: "CNY", Amount: 1200,
			IssuedAt: uint32(at.Unix()), TTL: uint16(life / time.Second), Epoch: 1, Display: "Tea House",
		},
	}
	rand.Read(c.Content.Nonce[:])
	c.Nonce = c.Content.Nonce
	var err error
	c.Body, err = c.Content.MarshalBinary()
	must(t, err)
	return c
}

var (
	uidA = wire.NewRangeUID(1, 1, 1)
	uidB = wire.NewRangeUID(1, 1, 2)
)

func digestOf(text string) [32]byte { return sha256.Sum256([]byte(text)) }

func wantState(t testing.TB, s challenge.LiveStore, c challenge.Challenge, at time.Time, want challenge.State) {
	t.Helper()
	_, got, err := s.Load(t.Context(), c.Nonce, at)
	must(t, err)
	if got != want {
		t.Fatalf("the challenge is %q, want %q", got, want)
	}
}

func wantTaken(t testing.TB, s challenge.LiveStore, c challenge.Challenge, answer string, at time.Time, want challenge.Taken) {
	t.Helper()
	got, err := s.Take(t.Context(), c.Nonce, digestOf(answer), at)
	must(t, err)
	if got != want {
		t.Fatalf("taking gave %d, want %d", got, want)
	}
}

func TestAnIssuedChallengeIsFoundAsItWas(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		c := sample(t, uidA, wire.PurposePay, start)
		must(t, s.Issue(t.Context(), c, start))
		got, state, err := s.Load(t.Context(), c.Nonce, start)
		must(t, err)
		if diff := cmp.Diff(c, got); diff != "" || state != challenge.Live {
			t.Errorf("state %q, challenge differs: %s", state, diff)
		}
		other := sample(t, uidB, wire.PurposeVoucher, start)
		must(t, s.Issue(t.Context(), other, start))
		wantState(t, s, c, start, challenge.Live)
		wantState(t, s, other, start, challenge.Live)
	})
}

func TestAnUnknownChallengeIsGone(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		c := sample(t, uidA, wire.PurposePay, start)
		wantState(t, s, c, start, challenge.Gone)
		wantTaken(t, s, c, "answer", start, challenge.TakenGone)
		must(t, s.Miss(t.Context(), c.Nonce, start))
	})
}

func TestANewChallengeOfTheSamePurposeSupersedesTheOld(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		old, fresh := sample(t, uidA, wire.PurposePay, start), sample(t, uidA, wire.PurposePay, start)
		must(t, s.Issue(t.Context(), old, start))
		must(t, s.Issue(t.Context(), fresh, start))
		wantState(t, s, old, start, challenge.Superseded)
		wantTaken(t, s, old, "answer", start, challenge.TakenSuperseded)
		must(t, s.Issue(t.Context(), old, start)) // a repeat does not bring it back
		wantState(t, s, old, start, challenge.Superseded)
		wantTaken(t, s, fresh, "answer", start, challenge.TakenWon)
	})
}

func TestALiveChallengeKeepsOtherPurposesOutUntilItIsDone(t *testing.T) {
	for name, done := range map[string]func(t *testing.T, s challenge.LiveStore, c challenge.Challenge) time.Time{
		"taken": func(t *testing.T, s challenge.LiveStore, c challenge.Challenge) time.Time {
			wantTaken(t, s, c, "answer", start, challenge.TakenWon)
			return start
		},
		"spent": func(t *testing.T, s challenge.LiveStore, c challenge.Challenge) time.Time {
			for range challenge.MaxTries {
				must(t, s.Miss(t.Context(), c.Nonce, start))
			}
			return start
		},
		"expired": func(*testing.T, challenge.LiveStore, challenge.Challenge) time.Time { return start.Add(life) },
	} {
		t.Run(name, func(t *testing.T) {
			eachLive(t, func(t *testing.T, s challenge.LiveStore) {
				pay, voucher := sample(t, uidA, wire.PurposePay, start), sample(t, uidA, wire.PurposeVoucher, start)
				must(t, s.Issue(t.Context(), pay, start))
				wantReason(t, s.Issue(t.Context(), voucher, start), "CHALLENGE_BUSY")
				wantState(t, s, pay, start, challenge.Live)
				wantState(t, s, voucher, start, challenge.Gone)
				at := done(t, s, pay)
				voucher = sample(t, uidA, wire.PurposeVoucher, at)
				must(t, s.Issue(t.Context(), voucher, at))
				wantState(t, s, voucher, at, challenge.Live)
			})
		})
	}
}

func TestAChallengeStandsThreeRefusedAnswers(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		c := sample(t, uidA, wire.PurposePay, start)
		must(t, s.Issue(t.Context(), c, start))
		for range challenge.MaxTries - 1 {
			must(t, s.Miss(t.Context(), c.Nonce, start))
		}
		wantState(t, s, c, start, challenge.Live)
		must(t, s.Miss(t.Context(), c.Nonce, start))
		wantState(t, s, c, start, challenge.Spent)
		wantTaken(t, s, c, "answer", start, challenge.TakenSpent)
	})
}

func TestRefusedAnswersDoNotTouchAUsedChallenge(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		c := sample(t, uidA, wire.PurposePay, start)
		must(t, s.Issue(t.Context(), c, start))
		wantTaken(t, s, c, "answer", start, challenge.TakenWon)
		for range challenge.MaxTries {
			must(t, s.Miss(t.Context(), c.Nonce, start))
		}
		wantTaken(t, s, c, "answer", start, challenge.TakenSame)
		wantTaken(t, s, c, "another", start, challenge.TakenOther)
	})
}

func TestExpiryIsDecidedByTheTimeThatIsPassed(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		c := sample(t, uidA, wire.PurposePay, start)
		must(t, s.Issue(t.Context(), c, start))
		end := start.Add(life)
		wantState(t, s, c, end.Add(-time.Microsecond), challenge.Live)
		wantState(t, s, c, end, challenge.Gone)
		wantTaken(t, s, c, "answer", end, challenge.TakenGone)
		for range challenge.MaxTries {
			must(t, s.Miss(t.Context(), c.Nonce, end))
		}
		wantTaken(t, s, c, "answer", end.Add(-time.Microsecond), challenge.TakenWon)
	})
}

// together has n callers begin at once.
func together(n int, do func(i int)) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-gate
			do(i)
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()
}

func TestSixtyFourTakersHaveOneWinner(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(i int) string
		losers challenge.Taken
	}{
		"with the same bytes":  {func(int) string { return "answer" }, challenge.TakenSame},
		"with different bytes": {strconv.Itoa, challenge.TakenOther},
	} {
		t.Run(name, func(t *testing.T) {
			eachLive(t, func(t *testing.T, s challenge.LiveStore) {
				ch := sample(t, uidA, wire.PurposePay, start)
				must(t, s.Issue(t.Context(), ch, start))
				var fates [64]challenge.Taken
				var errs [64]error
				together(64, func(i int) {
					fates[i], errs[i] = s.Take(t.Context(), ch.Nonce, digestOf(c.answer(i)), start)
				})
				must(t, errors.Join(errs[:]...))
				count := map[challenge.Taken]int{}
				for _, f := range fates {
					count[f]++
				}
				if count[challenge.TakenWon] != 1 || count[c.losers] != 63 {
					t.Errorf("fates: %v, want one winner and 63 of %d", count, c.losers)
				}
			})
		})
	}
}

func TestSixtyFourIssuersLeaveOneLiveChallenge(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		var all [64]challenge.Challenge
		for i := range all {
			all[i] = sample(t, uidA, wire.PurposePay, start)
		}
		var errs [64]error
		together(64, func(i int) { errs[i] = s.Issue(t.Context(), all[i], start) })
		must(t, errors.Join(errs[:]...))
		alive := 0
		for _, c := range all {
			_, state, err := s.Load(t.Context(), c.Nonce, start)
			must(t, err)
			if state == challenge.Live {
				alive++
			}
		}
		if alive != 1 {
			t.Errorf("%d challenges are live, want 1", alive)
		}
	})
}

func TestOneRequestReservesOneChallenge(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		var kept [64]challenge.Reservation
		var errs [64]error
		together(64, func(i int) {
			r := challenge.Reservation{Fingerprint: digestOf("same"), Challenge: sample(t, uidA, wire.PurposePay, start)}
			kept[i], errs[i] = s.Reserve(t.Context(), "request", r, start)
		})
		must(t, errors.Join(errs[:]...))
		for _, r := range kept {
			if r.Challenge.Nonce != kept[0].Challenge.Nonce {
				t.Fatal("two callers got different challenges")
			}
		}
		got, found, err := s.Recall(t.Context(), "request", start)
		must(t, err)
		if diff := cmp.Diff(kept[0], got); !found || diff != "" {
			t.Errorf("found %t, differs: %s", found, diff)
		}
		_, found, err = s.Recall(t.Context(), "another", start)
		must(t, err)
		if found {
			t.Error("a request that was never made was found")
		}
	})
}

func TestAReservationEndsWithItsChallengeOrWhenItIsReleased(t *testing.T) {
	eachLive(t, func(t *testing.T, s challenge.LiveStore) {
		first := challenge.Reservation{Challenge: sample(t, uidA, wire.PurposePay, start)}
		_, err := s.Reserve(t.Context(), "request", first, start)
		must(t, err)
		end := start.Add(life)
		if _, found, err := s.Recall(t.Context(), "request", end); err != nil || found {
			t.Fatalf("found %t, error %v; want neither", found, err)
		}
		second := challenge.Reservation{Challenge: sample(t, uidA, wire.PurposePay, end)}
		got, err := s.Reserve(t.Context(), "request", second, end)
		must(t, err)
		if got.Challenge.Nonce != second.Challenge.Nonce {
			t.Error("an expired reservation was kept")
		}
		must(t, s.Release(t.Context(), "request"))
		if _, found, err := s.Recall(t.Context(), "request", end); err != nil || found {
			t.Fatalf("found %t, error %v; want neither", found, err)
		}
	})
}

func TestALostRedisFailsEveryCallAndSaysSo(t *testing.T) {
	addr, stop := testkit.StartRedis(t)
	s := openRedis(t, addr)
	c := sample(t, uidA, wire.PurposePay, start)
	must(t, s.Issue(t.Context(), c, start))
	stop()
	ctx := t.Context()
	_, _, loadErr := s.Load(ctx, c.Nonce, start)
	_, takeErr := s.Take(ctx, c.Nonce, digestOf("answer"), start)
	_, reserveErr := s.Reserve(ctx, "request", challenge.Reservation{Challenge: c}, start)
	_, _, recallErr := s.Recall(ctx, "request", start)
	for name, err := range map[string]error{
		"Load": loadErr, "Take": takeErr, "Reserve": reserveErr, "Recall": recallErr, "Release": s.Release(ctx, "request"),
		"Issue": s.Issue(ctx, c, start), "Miss": s.Miss(ctx, c.Nonce, start), "Ping": s.Ping(ctx),
	} {
		if fault.ReasonOf(err) != "CHALLENGE_STORE_UNAVAILABLE" || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRedisKeepsADeviceInOneSlotAndNothingForEver(t *testing.T) {
	addr := testkit.Redis(t)
	s := openRedis(t, addr)
	c := sample(t, uidA, wire.PurposePay, time.Now())
	_, err := s.Reserve(t.Context(), "request", challenge.Reservation{Challenge: c}, time.Now())
	must(t, err)
	must(t, s.Issue(t.Context(), c, time.Now()))
	must(t, s.Issue(t.Context(), sample(t, uidA, wire.PurposePay, time.Now()), time.Now()))
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	all, err := client.Keys(t.Context(), "*").Result()
	must(t, err)
	tagged := 0
	for _, key := range all {
		if strings.HasPrefix(key, "armlet:ch:{"+uidA.String()+"}") {
			tagged++
		}
		ttl, err := client.PTTL(t.Context(), key).Result()
		must(t, err)
		if ttl <= 0 || ttl > life+time.Minute {
			t.Errorf("%s is kept for %s", key, ttl)
		}
	}
	if len(all) != 6 || tagged != 3 {
		t.Errorf("keys %v: want 1 reservation, 2 indexes, and 3 of the device with its uid as hash tag", all)
	}
}
