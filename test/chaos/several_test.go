package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/test/programs"
)

// severalServers starts Redis, and says where the nodes of NATS will be.
func (s *suite) severalServers() {
	s.t.Helper()
	s.users, s.sentinel = programs.NATSSettings(s.t, s.dir, ""), testkit.NewRedisSentinel(s.t)
	for range 3 {
		s.nodeAddrs = append(s.nodeAddrs, testkit.Addr(s.t))
	}
}

func (s *suite) several() bool { return s.sentinel != nil }

// redisURL is how auth gets to Redis.
func (s *suite) redisURL(link func(to, target string) string) string {
	if s.several() {
		return s.sentinel.URL()
	}
	return "redis://" + link("redis", s.redis.Addr())
}

// promotion loses the primary of PostgreSQL for good and promotes the standby with the script that operators have.
func (s *suite) promotion() fault {
	return fault{name: "kill -9 PostgreSQL, promote the standby", breaks: s.postgres.Kill, mends: func() {
		s.t.Helper()
		cmd := exec.Command(filepath.Join("..", "..", "deploy", "postgres", "promote.sh"), s.postgres.URL(), s.standby.URL())
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":"+s.postgres.Programs())
		out, err := cmd.CombinedOutput()
		if err != nil {
			s.t.Fatalf("promote.sh: %v\n%s", err, out)
		}
	}}
}

// lossesOfOne are the faults that the others make good by themselves.
func (s *suite) lossesOfOne(w *witness) []fault {
	var node *testkit.NATSProcess
	all := []fault{
		{name: "kill -9 the primary of Redis", breaks: s.sentinel.Primary.Kill, byItself: true},
		{name: "it comes back as a replica", breaks: s.sentinel.Primary.Start, byItself: true},
		{name: "kill -9 the leader of EVT_PAYMENTS", byItself: true, breaks: func() { node = w.leader("EVT_PAYMENTS"); node.Kill() }},
		{name: "it comes back", byItself: true, breaks: func() { node.Start() }},
		{name: "kill -9 another node of NATS", byItself: true, breaks: func() {
			s.until("all nodes keep the streams", w.replicated)
			node = s.nodes[0]
			if leader := w.leader("EVT_PAYMENTS"); leader == node {
				node = s.nodes[1]
			}
			node.Kill()
		}},
		{name: "it comes back too", byItself: true, breaks: func() { node.Start() }},
	}
	return append(all, s.promotion())
}

func (w *witness) streams() ([]*jetstream.StreamInfo, error) {
	js, err := jetstream.New(w.core)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var all []*jetstream.StreamInfo
	list := js.ListStreams(ctx)
	for info := range list.Info() {
		all = append(all, info)
	}
	return all, list.Err()
}

// replicated says whether three nodes have all of every stream.
func (w *witness) replicated() error {
	all, err := w.streams()
	if err != nil || len(all) == 0 {
		return errors.Join(errors.New("there are no streams"), err)
	}
	for _, info := range all {
		if info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			return fmt.Errorf("%s is not kept three times", info.Config.Name)
		}
		for _, peer := range info.Cluster.Replicas {
			if !peer.Current || peer.Offline {
				return fmt.Errorf("%s has not caught up on %s", info.Config.Name, peer.Name)
			}
		}
	}
	return nil
}

// leader is the node that leads a stream.
func (w *witness) leader(stream string) (node *testkit.NATSProcess) {
	w.t.Helper()
	w.s.until("the stream has a leader", func() error {
		all, err := w.streams()
		for _, info := range all {
			if info.Config.Name == stream && info.Cluster != nil {
				for i, n := range w.s.nodes {
					if info.Cluster.Leader == fmt.Sprintf("n%d", i+1) {
						node = n
						return nil
					}
				}
			}
		}
		return errors.Join(errors.New("nobody leads it"), err)
	})
	return node
}
