package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/platform/rpc"
)

// Defaults of Suite.
const (
	// DefaultStartTimeout is how long one service may take to become ready.
	DefaultStartTimeout = 30 * time.Second
	// DefaultDrainTimeout is how long all services together may take to stop; it fits the 30 s that Kubernetes grants.
	DefaultDrainTimeout = 25 * time.Second
	// DefaultCheckEvery is how often a running service is asked whether it is still ready.
	DefaultCheckEvery = 5 * time.Second
)

// Suite runs services in one process. The zero value is good.
type Suite struct {
	// Log gets starts, stops and failures; nil is silence.
	Log *slog.Logger
	// Network is given to services that have none, so that they listen on it under their names.
	Network *rpc.Network
	// StartTimeout is how long one service may take to become ready, 0 for DefaultStartTimeout.
	StartTimeout time.Duration
	// DrainTimeout bounds the stop of Run, 0 for DefaultDrainTimeout.
	DrainTimeout time.Duration
	// CheckEvery is how often a running service is asked whether it is still ready, 0 for DefaultCheckEvery.
	CheckEvery time.Duration
	// DrainDelay is how long services that are not ready any more still take calls before they stop, for load balancers
	// that ask only now and then. It comes before, and is not part of, DrainTimeout.
	DrainDelay time.Duration
}

// Running is services that were started.
type Running struct {
	log      *slog.Logger
	services []*running // in the order of their start
	failed   chan error // the first failure of a server
	stopped  chan struct{}
	once     sync.Once
	stopErr  error
}

// Start starts services in the order given; see Suite.Start.
func Start(ctx context.Context, services ...*Service) (*Running, error) {
	return Suite{}.Start(ctx, services...)
}

// Together starts the services in the order given, runs them until the context ends or a server fails, and drains them in
// reverse order.
func Together(ctx context.Context, log *slog.Logger, services ...*Service) error {
	return Suite{Log: log}.Run(ctx, services...)
}

// Start starts the services one after the other, each when the one before is ready. When one cannot start, those already
// started are stopped and all are closed. The context bounds the start alone; Stop ends what was started.
func (s Suite) Start(ctx context.Context, services ...*Service) (*Running, error) {
	r, startErr, stopErr := s.start(ctx, services)
	return r, errors.Join(startErr, stopErr)
}

// start gives either what runs, or why not and what went wrong while it was taken back.
func (s Suite) start(ctx context.Context, services []*Service) (r *Running, startErr, stopErr error) {
	s = s.withDefaults()
	r = &Running{log: s.Log, failed: make(chan error, 1), stopped: make(chan struct{})}
	startErr = s.check(services)
	for i := 0; startErr == nil && i < len(services); i++ {
		svc := newRunning(services[i], s, r.fail)
		r.services = append(r.services, svc)
		startCtx, cancel := context.WithTimeout(ctx, s.StartTimeout)
		startErr = svc.start(startCtx)
		cancel()
	}
	if startErr == nil {
		return r, nil, nil
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.DrainTimeout)
	defer cancel()
	for _, svc := range services[len(r.services):] {
		r.services = append(r.services, newRunning(svc, s, r.fail)) // never started; to be closed
	}
	return nil, startErr, r.Stop(stopCtx)
}

// Run is Start, then waiting until the context ends or a server fails, then Stop.
func (s Suite) Run(ctx context.Context, services ...*Service) error {
	s = s.withDefaults()
	r, startErr, stopErr := s.start(ctx, services)
	switch {
	case r == nil && ctx.Err() != nil: // told to stop while starting: no failure
		return stopErr
	case r == nil:
		return errors.Join(startErr, stopErr)
	}
	var err error
	select {
	case <-ctx.Done():
		r.leave(s.DrainDelay)
	case err = <-r.failed:
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.DrainTimeout)
	defer cancel()
	return errors.Join(err, r.Stop(stopCtx))
}

func (s Suite) withDefaults() Suite {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.StartTimeout <= 0 {
		s.StartTimeout = DefaultStartTimeout
	}
	if s.DrainTimeout <= 0 {
		s.DrainTimeout = DefaultDrainTimeout
	}
	if s.CheckEvery <= 0 {
		s.CheckEvery = DefaultCheckEvery
	}
	return s
}

// check finds what is wrong with any service before the first one starts.
func (s Suite) check(services []*Service) error {
	seen := map[string]bool{}
	for _, svc := range services {
		if svc.Name == "" || seen[svc.Name] {
			return fmt.Errorf("service %q has no name or its name is taken", svc.Name)
		}
		if svc.HTTPSListen != "" && svc.HTTPS == nil {
			return fmt.Errorf("service %s: https-listen: needs a certificate", svc.Name)
		}
		seen[svc.Name] = true
		if svc.Network == nil {
			svc.Network = s.Network
		}
		if svc.Server == nil {
			continue
		}
		if svc.Listen == "" && svc.Network == nil {
			return fmt.Errorf("service %s has nowhere to listen: set listen to an address such as 127.0.0.1:0", svc.Name)
		}
		if err := svc.Server.Check(); err != nil {
			return fmt.Errorf("service %s: %w", svc.Name, err)
		}
	}
	return nil
}

// fail notes the first failure of a server; the suite cannot go on without it.
func (r *Running) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

func (r *Running) service(name string) *running {
	if i := slices.IndexFunc(r.services, func(s *running) bool { return s.svc.Name == name }); i >= 0 {
		return r.services[i]
	}
	return nil
}

// Addr is the TCP address that the service serves gRPC on, with the port it really has; empty when it has none.
func (r *Running) Addr(name string) string {
	if s := r.service(name); s != nil {
		return s.addr
	}
	return ""
}

// HTTPAddr is the TCP address that the service serves HTTP on, with the port it really has; empty when it has none.
func (r *Running) HTTPAddr(name string) string {
	if s := r.service(name); s != nil {
		return s.httpAddr
	}
	return ""
}

// HTTPSAddr is the TCP address that the service serves HTTPS on, with the port it really has; empty when it has none.
func (r *Running) HTTPSAddr(name string) string {
	if s := r.service(name); s != nil {
		return s.httpsAddr
	}
	return ""
}

// leave says that the services are not ready while they still take calls.
func (r *Running) leave(delay time.Duration) {
	if delay <= 0 {
		return
	}
	for _, svc := range r.services {
		svc.leaving.Store(true)
		svc.setReady(false)
	}
	select {
	case <-time.After(delay):
	case err := <-r.failed:
		r.fail(err)
	}
}

// Wait waits until Stop has been called or a server has failed, in which case it says how; Stop is still needed then.
func (r *Running) Wait() error {
	select {
	case err := <-r.failed:
		r.fail(err) // for the next one who waits
		return err
	case <-r.stopped:
		return nil
	}
}

// Stop drains the services in the reverse order of their start: each takes no new calls, finishes those it has, ends its
// workers, and is closed. When the context ends first the rest is broken off. A second Stop gives the same answer.
func (r *Running) Stop(ctx context.Context) error {
	r.once.Do(func() {
		defer close(r.stopped)
		var errs []error
		for _, svc := range slices.Backward(r.services) {
			errs = append(errs, svc.stop(ctx))
		}
		r.stopErr = errors.Join(errs...)
	})
	<-r.stopped
	return r.stopErr
}
