package bus

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/armlet-pay/armlet/platform/rpc"
)

// keyed is what a token that was signed with key k-1 begins with.
var keyed = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"k-1"}`)) + "."

// takenBack is a list of revocations that a test adds to.
type takenBack struct {
	mu   sync.Mutex
	list rpc.Revocations
	fail bool
}

func (l *takenBack) Revoked(context.Context) (rpc.Revocations, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail {
		l.fail = false
		return rpc.Revocations{}, errors.New("not now")
	}
	return l.list, nil
}

func (l *takenBack) add(sequence int64, handle string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list.Sequence = max(l.list.Sequence, sequence)
	l.list.Revoked = append(l.list.Revoked, rpc.Revocation{Sequence: sequence, Handle: handle})
}

func TestAConnectionIsCutOffWhenItsTokenIsTakenBack(t *testing.T) {
	url := startServer(t, known{"one": acme, "two": acme, "three": acme, keyed + "four": acme})
	sys, err := nats.Connect(url, nats.UserInfo("sys", "s"))
	must(t, err)
	t.Cleanup(sys.Close)
	list := &takenBack{fail: true}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	cutting := NewCutOff(sys, list.Revoked, slog.New(slog.DiscardHandler))
	go func() { done <- cutting.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	connect := func(token string) (*nats.Conn, chan struct{}) {
		closed := make(chan struct{})
		conn, err := nats.Connect(url, nats.Token(token), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		must(t, err)
		t.Cleanup(conn.Close)
		return conn, closed
	}
	_, one := connect("one")
	two, _ := connect("two")
	three, _ := connect("three")
	_, four := connect(keyed + "four")
	list.add(8, "h-one")
	list.add(7, "h-three") // before its token was issued
	list.add(9, "h-nobody")
	<-one
	list.add(10, rpc.KeyHandle("k-1"))
	<-four
	for name, conn := range map[string]*nats.Conn{"another client": two, "one with a newer token": three} {
		if err := conn.Flush(); err != nil {
			t.Errorf("%s was cut off too: %v", name, err)
		}
	}
	if _, late := connect("one"); late != nil { // let in by a responder that has not heard of it
		<-late
	}
}

func TestANameSaysWhatAConnectionRestsOn(t *testing.T) {
	name := userName("acme-backend", 7, []string{"a", "b", rpc.KeyHandle("k")})
	for what, c := range map[string]struct {
		name string
		r    rpc.Revocation
		want bool
	}{
		"a newer revocation":            {name, rpc.Revocation{Sequence: 8, Handle: "b"}, true},
		"an older one":                  {name, rpc.Revocation{Sequence: 7, Handle: "b"}, false},
		"one of something else":         {name, rpc.Revocation{Sequence: 8, Handle: "c"}, false},
		"a key that was withdrawn":      {name, rpc.Revocation{Sequence: 1, Handle: rpc.KeyHandle("k")}, true},
		"a user of the configuration":   {"edge", rpc.Revocation{Sequence: 8, Handle: "b"}, false},
		"a name that somebody made up":  {"a/b/c", rpc.Revocation{Sequence: 8, Handle: "b"}, false},
		"a name without anything in it": {"a/7/", rpc.Revocation{Sequence: 8, Handle: "b"}, false},
	} {
		if got := void(c.name, []rpc.Revocation{c.r}); got != c.want {
			t.Errorf("%s: %t", what, got)
		}
	}
	if got := void(name, nil); got {
		t.Error("nothing was taken back and the connection is void")
	}
}
