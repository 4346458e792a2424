package storetest

import (
	"fmt"
	"testing"
)

// Streams that ask at the same time share reads, and each gets the steps of its own inbox after its own place.
func TestManyInboxesAreReadTogether(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		const inboxes, most = 12, 3
		for i := range inboxes {
			for n := range i % 6 {
				b.mustDeliver(order(fmt.Sprint("member-", i), fmt.Sprint(n)))
			}
		}
		if _, err := b.db.ExecContext(t.Context(), `UPDATE alerts SET content = '?' WHERE account = 'member-11'`); err != nil {
			t.Fatal(err)
		}
		together(8*inboxes, func(i int) {
			account, after := i%inboxes, i/inboxes%3
			steps, err := b.StepsAfter(t.Context(), fmt.Sprint("member-", account), int64(after), most)
			if account == 11 {
				if err == nil {
					t.Error("an alert that cannot be read was passed over")
				}
				return
			}
			want := max(0, min(most, account%6-after))
			if err != nil || len(steps) != want {
				t.Errorf("member-%d has %d steps after %d, want %d (%v)", account, len(steps), after, want, err)
			}
			for n, step := range steps {
				if step.Sequence != int64(after+n+1) || step.Alert.Account != fmt.Sprint("member-", account) || step.Alert.Text.Band != fmt.Sprint(after+n) {
					t.Errorf("step %d after %d of member-%d is %+v", n, after, account, step)
				}
			}
		})
		if _, err := b.db.ExecContext(t.Context(), `DELETE FROM inbox_steps WHERE account = 'member-5' AND sequence <= 2`); err != nil {
			t.Fatal(err)
		}
		if steps, err := b.StepsAfter(t.Context(), "member-5", 0, 2); err != nil || len(steps) != 2 || steps[0].Sequence != 3 {
			t.Errorf("after steps were forgotten: %+v, %v", steps, err)
		}
	})
}
