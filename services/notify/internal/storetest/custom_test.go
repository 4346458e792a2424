package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/custom"
)

// Twenty callers publish the same eight events, each in another order, and others beside them, with a quota of 30.
func TestConcurrentPublishersKeepTheQuotaAndPublishEachEventOnce(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		kind := custom.Type{Partner: "acme", ID: "sleep", DailyQuota: 30, Revision: 1}
		event := func(id string) custom.Published {
			return custom.Published{Type: kind, Mode: "live", ID: uuid.NewString(), Event: custom.Event{ID: id, Type: kind.ID, Fingerprint: []byte(id)}}
		}
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				var batch []custom.Published
				for j := range 8 {
					batch = append(batch, event(fmt.Sprintf("shared-%d", (i+j)%8)))
				}
				batch = append(batch, event(fmt.Sprintf("own-%d", i)), event(fmt.Sprintf("other-%d", i)))
				results, err := b.PublishEvents(t.Context(), "acme", batch, now)
				if err != nil {
					t.Error(err)
				}
				for _, r := range results {
					if r.Err != nil && fault.ReasonOf(r.Err) != "QUOTA_EXCEEDED" {
						t.Error(r.Err)
					}
				}
			})
		}
		all.Wait()
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE subject = 'pevt.v1.acme.live.custom.sleep.published'`); n != 30 {
			t.Errorf("%d events are published with a quota of 30", n)
		}
		if n := b.count(`SELECT COUNT(*) FROM requests WHERE method = 'PublishEvents'`); n != 30 {
			t.Errorf("%d ids are used up", n)
		}
	})
}
