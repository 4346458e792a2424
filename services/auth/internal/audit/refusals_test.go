package audit

import (
	"strconv"
	"sync"
	"testing"
)

func TestRefusalsAreCountedAndBounded(t *testing.T) {
	var r Refusals
	if got := r.Take("auth"); len(got) != 0 {
		t.Errorf("nothing was refused, and yet %v", got)
	}
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() { r.Note("token.refused", "clients/a", "INVALID_CLIENT") })
	}
	callers.Wait()
	r.Note("token.refused", "clients/b", "INVALID_SCOPE")
	got := r.Take("auth")
	if len(got) != 2 || got[0].Detail != "64 × INVALID_CLIENT" || got[0].Subject != "clients/a" || got[1].Detail != "1 × INVALID_SCOPE" || got[0].Actor != "auth" {
		t.Errorf("%v", got)
	}
	for i := range 3 * maxRefusals {
		r.Note("token.refused", "clients/"+strconv.Itoa(i), "INVALID_CLIENT")
	}
	if got := r.Take("auth"); len(got) != maxRefusals+1 || got[0].Subject != "" || got[0].Detail != strconv.Itoa(2*maxRefusals)+" × INVALID_CLIENT" {
		t.Errorf("%d entries, the first is %v", len(got), got[0])
	}
}
