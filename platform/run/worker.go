package run

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

const (
	restartFirst = 100 * time.Millisecond
	restartMost  = 30 * time.Second
	// restartCalm is how long a worker has to run for its failures to be forgotten.
	restartCalm = time.Minute
)

// supervise runs the worker until the context ends or it says that it has finished.
func supervise(ctx context.Context, log *slog.Logger, w Worker) {
	pause := restartFirst
	for {
		began := time.Now()
		err := runOnce(ctx, log, w)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			log.Info("worker finished", "worker", w.Name)
			return
		}
		if time.Since(began) > restartCalm {
			pause = restartFirst
		}
		// Up to a quarter more, so that what failed together is not tried again together.
		wait := pause + time.Duration(rand.Int64N(int64(pause)/4+1)) //nolint:gosec // nobody gains by guessing it
		log.Error("worker failed; it is started again", "worker", w.Name, "error", err, "after", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		pause = min(pause*2, restartMost)
	}
}

func runOnce(ctx context.Context, log *slog.Logger, w Worker) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("worker panicked", "worker", w.Name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.Run(ctx)
}
