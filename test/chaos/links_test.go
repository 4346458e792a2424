package chaos

import (
	"context"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/armlet-pay/armlet/platform/testkit"
)

// links are the connections between the parts, each through a proxy of its own, by the two ends: "payments-auth".
type links struct {
	t      testing.TB
	server *toxiproxy.ApiServer
	pairs  map[string][]*toxiproxy.Proxy
	names  []string
}

func newLinks(t testing.TB) *links {
	return &links{t: t, server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), pairs: map[string][]*toxiproxy.Proxy{}}
}

// to returns the address of a proxy to the target that belongs to the pair. A pair may have several.
func (l *links) to(pair, target string) string {
	l.t.Helper()
	p := toxiproxy.NewProxy(l.server, pair+target, testkit.Addr(l.t), target)
	must(l.t, p.Start())
	l.t.Cleanup(p.Stop)
	if _, known := l.pairs[pair]; !known {
		l.names = append(l.names, pair)
	}
	l.pairs[pair] = append(l.pairs[pair], p)
	return p.Listen
}

// cut resets all connections of the pair and refuses new ones.
func (l *links) cut(pair string) {
	for _, p := range l.pairs[pair] {
		p.Stop()
	}
}

// join undoes cut.
func (l *links) join(pair string) {
	l.t.Helper()
	for _, p := range l.pairs[pair] {
		must(l.t, p.Start())
	}
}

// swallow keeps the connections of the pair and lets nothing through, as a network does that has lost its way.
func (l *links) swallow(pair string) { l.poison(pair, `"type":"timeout","attributes":{"timeout":0}`) }

// slow delays everything between the pair by 100 to 300 milliseconds in each direction.
func (l *links) slow(pair string) {
	l.poison(pair, `"type":"latency","attributes":{"latency":200,"jitter":100}`)
}

func (l *links) poison(pair, toxic string) {
	l.t.Helper()
	for _, p := range l.pairs[pair] {
		for _, stream := range []string{"upstream", "downstream"} {
			_, err := p.Toxics.AddToxicJson(strings.NewReader(`{"name":"` + stream + `","stream":"` + stream + `",` + toxic + `}`))
			must(l.t, err)
		}
	}
}

// heal undoes swallow and slow.
func (l *links) heal(pair string) {
	for _, p := range l.pairs[pair] {
		p.Toxics.ResetToxics(context.Background())
	}
}
