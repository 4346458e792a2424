package audit

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Refusals gathers what was refused to strangers, who may ask as often as they like: entries say how often something was
// refused since the ones before, so that nobody can fill the record. Nothing of it is a decision; what is gathered when a
// process is killed is lost. It is safe for concurrent use.
type Refusals struct {
	mu   sync.Mutex
	seen map[refusal]int
}

type refusal struct{ action, subject, why string }

// maxRefusals bounds the memory. More kinds than that are counted without their subject.
const maxRefusals = 1000

// Note counts a refusal. The texts are ours and not the stranger's.
func (r *Refusals) Note(action, subject, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[refusal]int{}
	}
	k := refusal{action, subject, why}
	if _, known := r.seen[k]; !known && len(r.seen) >= maxRefusals {
		k.subject = ""
	}
	r.seen[k]++
}

// Take is what was gathered since it was taken before, as entries of an actor.
func (r *Refusals) Take(actor string) []Entry {
	r.mu.Lock()
	seen := r.seen
	r.seen = nil
	r.mu.Unlock()
	var entries []Entry
	for k, n := range seen {
		entries = append(entries, Entry{Actor: actor, Action: k.action, Subject: k.subject, Detail: fmt.Sprintf("%d × %s", n, k.why)})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Subject+"\x00"+a.Detail, b.Subject+"\x00"+b.Detail) })
	return entries
}
