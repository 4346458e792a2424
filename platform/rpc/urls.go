package rpc

import (
	"errors"
	"strings"
	"sync/atomic"
)

// urls are where replicas of an issuer publish the same document. Each request goes to the one that answered last, and to
// the next when it does not answer.
type urls struct {
	list []string
	next atomic.Uint32
}

// newURLs takes one URL or several with commas between them.
func newURLs(text string) *urls {
	u := &urls{}
	for one := range strings.SplitSeq(text, ",") {
		u.list = append(u.list, strings.TrimSpace(one))
	}
	return u
}

// first gives the first answer that is no error. done says that there is no time for another attempt; the next request
// begins with another replica then.
func first[T any](u *urls, done func() bool, ask func(url string) (T, error)) (answer T, err error) {
	var errs []error
	for range u.list {
		at := u.next.Load()
		if answer, err = ask(u.list[int(at)%len(u.list)]); err == nil {
			return answer, nil
		}
		errs = append(errs, err)
		u.next.CompareAndSwap(at, at+1)
		if done() {
			break
		}
	}
	return answer, errors.Join(errs...)
}
