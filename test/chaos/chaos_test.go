package chaos

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/armlet-pay/armlet/test/programs"
)

// fullEnv asks for the long form, which make chaos runs: every fault there is, for longer and with more bands.
const fullEnv = "ARMLET_CHAOS"

func full() bool { return os.Getenv(fullEnv) != "" }

// fault is something that is broken and mended.
type fault struct {
	name string
	// breaks does it, and mends undoes it.
	breaks, mends func()
	// byItself says that nothing needs to be mended: the others make it good.
	byItself bool
}

// row is what came of a fault.
type row struct {
	fault string
	away  time.Duration
	// during is how many taps were acknowledged while it lasted.
	during int64
	// taps is how long after it was mended every band had paid again, events how long the last event took once taps were held.
	taps, events time.Duration
	refused      string
	err          error
}

// TestNothingIsLostWhateverBreaks breaks one thing after the other under taps. After each the checker must find every
// acknowledged payment once, a ledger that balances, and every event with one effect.
func TestNothingIsLostWhateverBreaks(t *testing.T) {
	t.Parallel()
	t.Run("one of each server", func(t *testing.T) {
		s := startSuite(t, false)
		s.suffer(func(*witness) []fault { return append(s.faults(), s.promotion()) })
	})
	if full() {
		t.Run("several of each server", func(t *testing.T) {
			s := startSuite(t, true)
			s.suffer(s.lossesOfOne)
		})
	}
}

func (s *suite) suffer(faults func(*witness) []fault) {
	t := s.t
	t.Helper()
	bands, away := 3, 300*time.Millisecond
	if full() {
		bands, away = 6, 2*time.Second
	}
	l := startLoad(s, bands)
	w := newWitness(s, l)
	if s.several() {
		s.until("three nodes keep every stream", w.replicated)
	}
	var rows []row
	for _, f := range faults(w) {
		r := l.suffer(w, f, away)
		rows = append(rows, r)
		if r.err != nil {
			t.Errorf("%s: %v", f.name, r.err)
			break
		}
	}
	t.Logf("%d taps acknowledged\n%s", l.acknowledged.Load(), table(rows))
	if !t.Failed() {
		w.seesLies()
	}
}

// faults are all that can be broken, or of the links between the parts those that matter most.
func (s *suite) faults() []fault {
	var all []fault
	for _, service := range programs.Services {
		p := s.processes[service]
		all = append(all, fault{name: "kill -9 " + service, breaks: p.Kill, mends: func() { p.Restart(s.t) }})
	}
	all = append(all,
		fault{name: "kill -9 PostgreSQL", breaks: s.postgres.Kill, mends: s.postgres.Start},
		fault{name: "kill -9 Redis", breaks: s.redis.Kill, mends: s.redis.Start},
		fault{name: "kill -9 NATS", breaks: s.nats.Kill, mends: s.nats.Start})
	short := map[string]bool{"payments-auth cut": true, "payments-postgres swallows": true, "notify-nats swallows": true, "auth-redis slow": true}
	for _, pair := range s.links.names {
		for _, f := range []fault{
			{name: pair + " cut", breaks: func() { s.links.cut(pair) }, mends: func() { s.links.join(pair) }},
			{name: pair + " swallows", breaks: func() { s.links.swallow(pair) }, mends: func() { s.links.heal(pair) }},
			{name: pair + " slow", breaks: func() { s.links.slow(pair) }, mends: func() { s.links.heal(pair) }},
		} {
			if full() || short[f.name] {
				all = append(all, f)
			}
		}
	}
	return all
}

// suffer breaks one thing for a while, and waits until all is well.
func (l *load) suffer(w *witness, f fault, away time.Duration) (r row) {
	r.fault = f.name
	if r.err = l.untilMore(int64(len(l.bands))); r.err != nil {
		return r
	}
	before := l.acknowledged.Load()
	broken := time.Now()
	f.breaks()
	mended := broken
	if !f.byItself {
		time.Sleep(away)
		r.during = l.acknowledged.Load() - before
		mended = time.Now()
		f.mends()
		r.away = mended.Sub(broken)
	}
	if r.taps, r.err = l.recovered(mended); r.err == nil {
		r.events, r.err = w.settle()
	}
	r.refused = l.refusals()
	return r
}

func table(rows []row) string {
	var out strings.Builder
	tab := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "what broke\tfor\ttaps meanwhile\ttaps back after\tevents complete after\tverdict\ttaps that ended otherwise")
	for _, r := range rows {
		verdict := "nothing lost, nothing twice"
		if r.err != nil {
			verdict = "BROKEN"
		}
		fmt.Fprintf(tab, "%s\t%.1fs\t%d\t%.2fs\t%.2fs\t%s\t%s\n", r.fault, r.away.Seconds(), r.during, r.taps.Seconds(), r.events.Seconds(), verdict, r.refused)
	}
	_ = tab.Flush()
	return out.String()
}
