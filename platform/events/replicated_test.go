package events_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// TestAClusterThatLosesANodeLosesAndDoublesNothing kills the node that leads the stream while events are published and handled.
func TestAClusterThatLosesANodeLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	addrs := []string{testkit.Addr(t), testkit.Addr(t), testkit.Addr(t)}
	nodes := testkit.NewNATSCluster(t, "", addrs...)
	plain := testkit.JetStream(t, strings.Join(addrs, ","))
	js := events.Replicated(plain, 3)
	eventually(t, "JetStream to have a leader", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := plain.AccountInfo(ctx)
		return err == nil
	})
	// The streams of a deployment that had one server, with something in them.
	old := makeStream(t, plain)
	if _, err := plain.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.DeadLetterStream, Subjects: []string{"dlq.v1.>"}}); err != nil {
		t.Fatal(err)
	}
	db := newDB(t, sqldb.SQLite)
	appendMany(t, db, 0, 10)
	stop := start(t, events.NewRelay(relayConfig(db, plain)).Run)
	eventually(t, "ten events in the old stream", func() bool { return messages(t, plain, streamName) == 10 })
	stop()

	start(t, events.NewRelay(relayConfig(db, js)).Run)
	start(t, events.NewConsumer(consumerConfig(db, js)).Run)
	appendMany(t, db, 10, 20)
	var info *jetstream.StreamInfo
	eventually(t, "three nodes to keep all streams", func() bool {
		for _, name := range []string{events.DeadLetterStream, streamName} {
			stream, err := plain.Stream(t.Context(), name)
			if err != nil {
				return false
			}
			if info = stream.CachedInfo(); info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
				return false
			}
			for _, peer := range info.Cluster.Replicas {
				if !peer.Current {
					return false
				}
			}
		}
		return true
	})
	if kept := info.State.Msgs; kept < 10 || old.CachedInfo().Config.Replicas != 1 {
		t.Fatalf("%d events are left of ten", kept)
	}
	for i, n := range nodes {
		if info.Cluster.Leader == []string{"n1", "n2", "n3"}[i] {
			n.Kill()
		}
	}
	killed := time.Now()
	appendMany(t, db, 20, 60)
	eventually(t, "every event to have its effect", func() bool { return count(t, db, `SELECT COUNT(DISTINCT n) FROM effects`) == 60 })
	t.Logf("all events had their effect %.1fs after the leader was killed", time.Since(killed).Seconds())
	if n := count(t, db, `SELECT COUNT(*) FROM effects`); n != 60 {
		t.Errorf("%d effects of 60 events", n)
	}
	eventually(t, "the outbox to be empty", func() bool { return pending(t, db) == 0 })
	if n := messages(t, plain, streamName); n != 60 {
		t.Errorf("%d messages of 60 events", n)
	}
}

func TestAStreamIsKeptOnOneThreeOrFiveNodes(t *testing.T) {
	for replicas, good := range map[int]bool{-1: false, 0: false, 1: true, 2: false, 3: true, 4: false, 5: true, 6: false} {
		if err := events.CheckReplicas(replicas); (err == nil) != good {
			t.Errorf("%d: %v", replicas, err)
		}
	}
}
