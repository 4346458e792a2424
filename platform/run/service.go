package run

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// checkTimeout is how long a service may think about whether it is ready.
	checkTimeout = 3 * time.Second
	// checkSoon is how often it is asked while it starts.
	checkSoon = 50 * time.Millisecond
)

// running is a service and what runs of it.
type running struct {
	svc  *Service
	log  *slog.Logger
	fail func(error)
	// every is the time between two checks.
	every time.Duration

	addr, httpAddr, httpsAddr string
	http                      *http.Server
	ready                     atomic.Bool
	started                   atomic.Bool        // was ready once
	leaving                   atomic.Bool        // will not be ready again
	readyMu                   sync.Mutex         // one change of readiness at a time
	cancel                    context.CancelFunc // ends the workers
	work                      sync.WaitGroup     // the workers and the readiness watch
	serve                     sync.WaitGroup     // the servers
}

func newRunning(svc *Service, suite Suite, fail func(error)) *running {
	return &running{svc: svc, log: suite.Log.With("service", svc.Name), fail: fail, every: suite.CheckEvery, cancel: func() {}}
}

// start returns when the service is ready.
func (r *running) start(ctx context.Context) error {
	if err := r.listen(ctx); err != nil {
		return fmt.Errorf("service %s: %w", r.svc.Name, err)
	}
	var work context.Context
	work, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, w := range r.svc.Workers {
		r.work.Go(func() { supervise(work, r.log, w) })
	}
	if err := r.waitReady(ctx); err != nil {
		return fmt.Errorf("service %s did not become ready: %w", r.svc.Name, err)
	}
	r.setReady(true)
	r.started.Store(true)
	r.work.Go(func() { r.watch(work) })
	r.log.Info("service ready", "grpc", r.addr, "http", r.httpAddr, "https", r.httpsAddr)
	return nil
}

// listen opens every listener before anything is served, so that a taken port starts nothing.
func (r *running) listen(ctx context.Context) (err error) {
	var opened []net.Listener
	defer func() {
		if err != nil {
			for _, l := range opened {
				_ = l.Close()
			}
		}
	}()
	open := func(key, on string, addr *string) (net.Listener, error) {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", on)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		opened, *addr = append(opened, l), l.Addr().String()
		return l, nil
	}
	var httpListeners, grpcListeners []net.Listener
	if r.svc.HTTPListen != "" {
		l, err := open("http-listen", r.svc.HTTPListen, &r.httpAddr)
		if err != nil {
			return err
		}
		httpListeners = append(httpListeners, l)
	}
	if r.svc.HTTPSListen != "" {
		l, err := open("https-listen", r.svc.HTTPSListen, &r.httpsAddr)
		if err != nil {
			return err
		}
		httpListeners = append(httpListeners, tls.NewListener(l, r.svc.HTTPS))
	}
	if r.svc.Server != nil && r.svc.Listen != "" {
		l, err := open("listen", r.svc.Listen, &r.addr)
		if err != nil {
			return err
		}
		grpcListeners = append(grpcListeners, l)
	}
	if r.svc.Server != nil && r.svc.Network != nil {
		grpcListeners = append(grpcListeners, r.svc.Network.Listen(r.svc.Name))
	}
	r.serveAll(httpListeners, grpcListeners)
	return nil
}

func (r *running) serveAll(httpListeners, grpcListeners []net.Listener) {
	if len(grpcListeners) > 0 {
		r.serve.Go(func() {
			if err := r.svc.Server.Serve(grpcListeners...); err != nil {
				r.fail(fmt.Errorf("service %s: %w", r.svc.Name, err))
			}
		})
	}
	if len(httpListeners) > 0 {
		r.http = r.httpServer()
	}
	for _, l := range httpListeners {
		r.serve.Go(func() {
			if err := r.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				r.fail(fmt.Errorf("service %s: http: %w", r.svc.Name, err))
			}
		})
	}
}

func (r *running) check(ctx context.Context) (err error) {
	if r.svc.Check == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the readiness check panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return r.svc.Check(ctx)
}

func (r *running) waitReady(ctx context.Context) error {
	tick := time.NewTicker(checkSoon)
	defer tick.Stop()
	for {
		err := r.check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// watch keeps the readiness true to what Check says.
func (r *running) watch(ctx context.Context) {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := r.check(ctx)
		if ctx.Err() != nil || r.leaving.Load() || (err == nil) == r.ready.Load() {
			continue
		}
		r.setReady(err == nil)
		if err != nil {
			r.log.Warn("service not ready", "error", err)
		} else {
			r.log.Info("service ready again")
		}
	}
}

func (r *running) setReady(ready bool) {
	r.readyMu.Lock()
	defer r.readyMu.Unlock()
	ready = ready && !r.leaving.Load()
	r.ready.Store(ready)
	if r.svc.Server != nil {
		r.svc.Server.SetReady(ready)
	}
}

// stop also closes a service that was never started.
func (r *running) stop(ctx context.Context) error {
	r.ready.Store(false)
	if r.svc.Server != nil {
		r.svc.Server.Stop(ctx)
	}
	var errs []error
	if r.http != nil {
		if err := r.http.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("http: %w", errors.Join(err, r.http.Close())))
		}
	}
	r.cancel()
	if err := waitFor(ctx, &r.work); err != nil {
		errs = append(errs, errors.New("a worker did not end in time"))
	}
	if err := waitFor(ctx, &r.serve); err != nil {
		errs = append(errs, errors.New("a server did not end in time"))
	}
	if r.svc.Close != nil {
		errs = append(errs, r.svc.Close(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop service %s: %w", r.svc.Name, err)
	}
	r.log.Info("service stopped")
	return nil
}

func waitFor(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
