package group_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/armlet-pay/armlet/platform/group"
)

type call = group.Call[int, int]

// double answers each call with twice what it asked for.
func double(calls []*call) {
	for _, c := range calls {
		c.Out = 2 * c.In
	}
}

func TestEachCallerGetsItsOwnAnswer(t *testing.T) {
	var most atomic.Int64
	g := group.New(group.Config{Max: 8, Lanes: 2, Linger: time.Microsecond}, func(_ context.Context, calls []*call) error {
		for old := most.Load(); int64(len(calls)) > old && !most.CompareAndSwap(old, int64(len(calls))); old = most.Load() {
		}
		time.Sleep(rand.N(time.Millisecond))
		double(calls)
		return nil
	})
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			if out, err := g.Do(t.Context(), i); err != nil || out != 2*i {
				t.Errorf("%d got %d, %v", i, out, err)
			}
		})
	}
	all.Wait()
	if n := most.Load(); n < 2 || n > 8 {
		t.Errorf("the largest group had %d calls", n)
	}
}

func TestACallThatIsAloneDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := group.New(group.Config{Linger: time.Hour}, func(_ context.Context, calls []*call) error {
			double(calls)
			return nil
		})
		begin := time.Now()
		for i := range 3 {
			if out, err := g.Do(t.Context(), i); err != nil || out != 2*i {
				t.Errorf("got %d, %v", out, err)
			}
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("waited %v", d)
		}
	})
}

func TestCallsThatComeWhileALaneIsAtWorkAreOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		g := group.New(group.Config{}, func(_ context.Context, calls []*call) error {
			sizes = append(sizes, len(calls))
			time.Sleep(time.Second)
			double(calls)
			return nil
		})
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if out, err := g.Do(t.Context(), i); err != nil || out != 2*i {
					t.Errorf("got %d, %v", out, err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if fmt.Sprint(sizes) != "[1 19]" {
			t.Errorf("the groups had %v calls", sizes)
		}
	})
}

var errOdd = errors.New("odd")

func TestOneThatCannotBeDoneFailsAlone(t *testing.T) {
	for name, fails := range map[string]func(){
		"error": nil,
		"panic": func() { panic("odd") },
	} {
		t.Run(name, func(t *testing.T) {
			g := group.New(group.Config{}, func(_ context.Context, calls []*call) error {
				time.Sleep(time.Millisecond)
				for _, c := range calls {
					if c.In%2 == 1 {
						if fails != nil {
							fails()
						}
						return errOdd
					}
				}
				double(calls)
				return nil
			})
			var all sync.WaitGroup
			for i := range 40 {
				all.Go(func() {
					out, err := g.Do(t.Context(), i)
					if odd := i%2 == 1; odd != (err != nil) || !odd && out != 2*i || odd && out != 0 {
						t.Errorf("%d got %d, %v", i, out, err)
					}
				})
			}
			all.Wait()
		})
	}
}

func TestOwnFailureIsTheCallersAlone(t *testing.T) {
	g := group.New(group.Config{}, func(_ context.Context, calls []*call) error {
		time.Sleep(time.Millisecond)
		double(calls)
		for _, c := range calls {
			if c.In == 7 {
				c.Err = errOdd
			}
		}
		return nil
	})
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if out, err := g.Do(t.Context(), i); (i == 7) != errors.Is(err, errOdd) || out != 2*i {
				t.Errorf("%d got %d, %v", i, out, err)
			}
		})
	}
	all.Wait()
}

func TestAFailureThatMeetsAllIsMetOnce(t *testing.T) {
	var attempts atomic.Int64
	hold := make(chan struct{})
	g := group.New(group.Config{Shared: func(err error) bool { return errors.Is(err, errOdd) }}, func(context.Context, []*call) error {
		attempts.Add(1)
		<-hold
		return errOdd
	})
	synced := make(chan error, 20)
	for i := range 20 {
		go func() {
			_, err := g.Do(context.Background(), i)
			synced <- err
		}()
	}
	time.Sleep(20 * time.Millisecond)
	close(hold)
	for range 20 {
		if err := <-synced; !errors.Is(err, errOdd) {
			t.Errorf("got %v", err)
		}
	}
	if n := attempts.Load(); n > 3 {
		t.Errorf("tried %d times", n)
	}
}

func TestACallerThatGoesAwayHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var worked []int
		g := group.New(group.Config{}, func(ctx context.Context, calls []*call) error {
			time.Sleep(time.Second)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			for _, c := range calls {
				worked = append(worked, c.In)
			}
			double(calls)
			return nil
		})
		var all sync.WaitGroup
		for i, wait := range []time.Duration{time.Hour, 500 * time.Millisecond, time.Hour} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				out, err := g.Do(ctx, i)
				if gone := wait < time.Second; gone != errors.Is(err, context.DeadlineExceeded) || !gone && out != 2*i {
					t.Errorf("%d got %d, %v", i, out, err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if fmt.Sprint(worked) != "[0 2]" {
			t.Errorf("worked on %v", worked)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := g.Do(ended, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

type traceKey struct{}

func TestACallThatIsAloneHasItsCallersValues(t *testing.T) {
	g := group.New(group.Config{Timeout: time.Minute}, func(ctx context.Context, calls []*call) error {
		if ctx.Value(traceKey{}) != 5 || calls[0].Context.Value(traceKey{}) != 5 {
			t.Error("the values are lost")
		}
		if d, ok := ctx.Deadline(); !ok || time.Until(d) > time.Minute {
			t.Error("the work is not bounded")
		}
		return nil
	})
	if _, err := g.Do(context.WithValue(t.Context(), traceKey{}, 5), 1); err != nil {
		t.Error(err)
	}
}

func TestLoadAsksForEachKeyOnce(t *testing.T) {
	errMissing := errors.New("missing")
	var most atomic.Int64
	g := group.Load(group.Config{}, errMissing, func(_ context.Context, keys []int) (map[int]string, error) {
		time.Sleep(time.Millisecond)
		most.Store(max(most.Load(), int64(len(keys))))
		found := map[int]string{}
		for _, k := range keys {
			if k != 3 {
				found[k] = fmt.Sprint(k)
			}
		}
		return found, nil
	})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			k := i % 5
			out, err := g.Do(t.Context(), k)
			if k == 3 && !errors.Is(err, errMissing) || k != 3 && (err != nil || out != fmt.Sprint(k)) {
				t.Errorf("%d got %q, %v", k, out, err)
			}
		})
	}
	all.Wait()
	if n := most.Load(); n > 5 {
		t.Errorf("asked for %d of 5 keys", n)
	}
}
