package testkit

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	redisSlots = 16384
	// redisNotices is after how many milliseconds without an answer a node or a primary counts as down.
	redisNotices = "500"
	// RedisMaster is the name that the sentinel of [NewRedisSentinel] knows its primary under.
	RedisMaster = "armlet"
)

// The one cluster of this test process. Making one takes seconds.
var redisCluster struct {
	sync.Mutex
	nodes []string
}

// RedisCluster returns the addresses of an empty Redis cluster of three primaries. It is started at the first call in the test
// process, ends with it and is emptied at each call, so tests that use it must not run at the same time.
func RedisCluster(t testing.TB) (nodes []string) {
	t.Helper()
	redisCluster.Lock()
	defer redisCluster.Unlock()
	if redisCluster.nodes == nil {
		nodes, err := startRedisCluster()
		if err != nil {
			t.Fatalf("testkit: Redis cluster: %v", err)
		}
		redisCluster.nodes = nodes
	}
	for _, addr := range redisCluster.nodes {
		if _, err := askRedis(addr, "FLUSHALL"); err != nil {
			t.Fatalf("testkit: Redis cluster: %v", err)
		}
	}
	return redisCluster.nodes
}

func startRedisCluster() (nodes []string, err error) {
	const size = 3
	program, err := redisProgram()
	if err != nil {
		return nil, err
	}
	var buses []string
	for range size {
		bus, err := freePort()
		if err != nil {
			return nil, err
		}
		addr, _, err := runRedis(program, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus),
			"--cluster-node-timeout", redisNotices)
		if err != nil {
			return nil, err
		}
		nodes, buses = append(nodes, addr), append(buses, strconv.Itoa(bus))
	}
	for i, addr := range nodes {
		first, last := redisSlots*i/size, redisSlots*(i+1)/size-1
		host, port, _ := net.SplitHostPort(nodes[0])
		for _, words := range [][]string{
			{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)},
			{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)},
			{"CLUSTER", "MEET", host, port, buses[0]},
		} {
			if answer, err := askRedis(addr, words...); err != nil || answer != "OK" {
				return nil, fmt.Errorf("%v: %s %w", words, answer, err)
			}
		}
	}
	return nodes, awaitRedis("the nodes have found each other", func() bool {
		for _, addr := range nodes {
			info, err := askRedis(addr, "CLUSTER", "INFO")
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", size)) {
				return false
			}
		}
		return true
	})
}

// RedisSentinel is a primary with a replica, and a sentinel that makes the replica the primary when the primary is down for
// half a second.
type RedisSentinel struct {
	// Primary and Replica are so named for what they are at the start.
	Primary, Replica *RedisProcess
	sentinel         *RedisProcess
}

// NewRedisSentinel starts them, with more settings for both servers; they end with the test.
func NewRedisSentinel(t testing.TB, settings ...string) *RedisSentinel {
	t.Helper()
	s := &RedisSentinel{Primary: NewRedisProcess(t, settings...)}
	host, port, err := net.SplitHostPort(s.Primary.Addr())
	if err != nil {
		t.Fatalf("testkit: Redis: %v", err)
	}
	s.Replica = NewRedisProcess(t, append([]string{"--replicaof", host + " " + port, "--repl-diskless-sync-delay", "0"}, settings...)...)
	s.sentinel = newRedisSentinel(t, host, port)
	err = awaitRedis("the sentinel knows a replica that has what the primary has", func() bool {
		known, err := askRedis(s.SentinelAddr(), "INFO", "sentinel")
		has, err2 := askRedis(s.Replica.Addr(), "INFO", "replication")
		return err == nil && err2 == nil && strings.Contains(known, "slaves=1") && strings.Contains(has, "master_link_status:up")
	})
	if err != nil {
		t.Fatalf("testkit: Redis: %v", err)
	}
	return s
}

// SentinelAddr is where the sentinel listens.
func (s *RedisSentinel) SentinelAddr() string { return s.sentinel.Addr() }

// URL is how a client gets to what is the primary.
func (s *RedisSentinel) URL() string {
	return "redis://" + s.SentinelAddr() + "/0?master_name=" + RedisMaster
}

func awaitRedis(what string, is func() bool) error {
	for deadline := time.Now().Add(startTimeout); !is(); time.Sleep(startPoll) {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited for %s until %s", startTimeout, what)
		}
	}
	return nil
}
