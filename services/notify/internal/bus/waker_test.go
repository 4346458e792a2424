package bus

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
)

func TestAnAlertOfAnotherReplicaWakesTheStreamsHere(t *testing.T) {
	db := testkit.OpenDB(t, "sqlite:"+filepath.Join(t.TempDir(), "notify.db"))
	if err := store.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	there := store.New(db, Encode, func(string) {})
	hub := alert.NewHub()
	wake, leave := hub.Join("alice")
	defer leave()
	other, leaveOther := hub.Join("bob")
	defer leaveOther()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- NewWaker(hub, there, time.Now, discard).Run(ctx) }()
	err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := there.AppendAlert(ctx, tx, alert.Draft{Account: "alice", Mode: "live"}, time.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-wake:
	case <-time.After(20 * time.Second):
		t.Error("nobody woke the stream")
	}
	if len(other) != 0 {
		t.Error("bob's stream was woken too")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
