// Package doctor examines a deployment from outside, with nothing but its addresses, its authority and an operator's token.
package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
	"github.com/armlet-pay/armlet/sdk"
)

// State is how serious a finding is.
type State string

// What there is nothing to do about, what to look after in the coming days, and what breaks something now.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "fail"
)

// Finding is what one check found.
type Finding struct {
	State State  `json:"state"`
	Part  string `json:"part"`         // a service, a replica of one, or "suite", "nats", "ledger"
	Check string `json:"check"`        // such as "certificate"
	Found string `json:"found"`        // for people
	Do    string `json:"do,omitempty"` // what to do, when it is not ok
}

// Deployment is what is examined.
type Deployment struct {
	At       sdk.Endpoints
	TLS      *tls.Config // nil where services are spoken to in clear text
	Tokens   sdk.TokenSource
	Payments paymentsv1.PaymentsServiceClient
	// WholeLedger has every transaction of the ledger walked, which takes a minute per some millions: Patience has to be as long.
	WholeLedger bool
	// Patience is how long each check may take.
	Patience time.Duration
	Now      func() time.Time
}

// Examine makes all checks, side by side. A part that is down fails its own checks and holds up no other.
func (d Deployment) Examine(ctx context.Context) []Finding {
	replicas, findings := d.replicas(ctx)
	others := [...]func(context.Context) []Finding{d.keys, d.entrance, d.books}
	found := make([][]Finding, len(replicas)+len(others))
	states := make([]*statusv1.Status, len(replicas))
	var all sync.WaitGroup
	for i, r := range replicas {
		all.Go(func() { found[i], states[i] = d.replica(ctx, r) })
	}
	for i, other := range others {
		all.Go(func() { found[len(replicas)+i] = other(ctx) })
	}
	all.Wait()
	unserved(replicas, found)
	findings = slices.Concat(append([][]Finding{findings}, found...)...)
	return slices.Concat(findings, versions(replicas, states), streams(replicas, states))
}

func (f Finding) ok(format string, args ...any) Finding {
	f.State, f.Found = OK, fmt.Sprintf(format, args...)
	return f
}

func (f Finding) warn(do, format string, args ...any) Finding {
	f.State, f.Do, f.Found = Warn, do, fmt.Sprintf(format, args...)
	return f
}

func (f Finding) fail(do, format string, args ...any) Finding {
	f.State, f.Do, f.Found = Fail, do, fmt.Sprintf(format, args...)
	return f
}

// unserved makes a failure of services of which no replica serves: one of several may be leaving, but then nobody is there.
func unserved(replicas []replica, found [][]Finding) {
	serves := map[string]bool{}
	each := func(do func(service string, f *Finding)) {
		for i, r := range replicas {
			for k := range found[i] {
				if found[i][k].Check == checkServing {
					do(r.service, &found[i][k])
				}
			}
		}
	}
	each(func(service string, f *Finding) { serves[service] = serves[service] || f.State == OK })
	each(func(service string, f *Finding) {
		if !serves[service] {
			f.State = Fail
		}
	})
}

// versions compares what replicas were built from. Two versions side by side are normal only while an upgrade is going on.
func versions(replicas []replica, states []*statusv1.Status) []Finding {
	running := map[string][]string{}
	for i, st := range states {
		if st == nil {
			continue
		}
		build := fmt.Sprintf("%s (%s)", st.GetVersion(), st.GetRevision())
		running[build] = append(running[build], replicas[i].label)
	}
	f := Finding{Part: "suite", Check: "versions"}
	switch len(running) {
	case 0:
		return []Finding{f.fail("see the services above", "no service told its version")}
	case 1:
		for build := range running {
			f = f.ok("all are %s", build)
		}
		return []Finding{f}
	}
	var lines []string
	for build, names := range running {
		lines = append(lines, strings.Join(names, ", ")+" run "+build)
	}
	slices.Sort(lines)
	return []Finding{f.warn("finish the upgrade, or undo it: docs/operations.md, Upgrade", "%s", strings.Join(lines, "; "))}
}
