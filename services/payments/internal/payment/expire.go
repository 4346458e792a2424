package payment

import (
	"context"
	"time"
)

// Get reads a payment that the caller may see.
func (s *Service) Get(ctx context.Context, c Caller, id string, now time.Time) (Payment, error) {
	p, err := s.store.Payment(ctx, id)
	if err != nil {
		return Payment{}, err
	}
	if !c.Sees(p) {
		return Payment{}, notFound()
	}
	return s.expireIfDue(ctx, p, now)
}

// List reads the payments that the caller may see and that match what it asks for, newest first.
func (s *Service) List(ctx context.Context, c Caller, want Filter, after *Cursor, limit int, now time.Time) ([]Payment, error) {
	filter, err := c.Filter(want)
	if err != nil {
		return nil, err
	}
	list, err := s.store.List(ctx, filter, after, limit)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i], err = s.expireIfDue(ctx, list[i], now); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ExpireDue expires payments that nobody tapped in time, and holds whose time is over, and returns how many, at most limit.
// Limit counters
// that nobody needs any more go too. Any number of processes may do so at once.
func (s *Service) ExpireDue(ctx context.Context, limit int, now time.Time) (int, error) {
	due, err := s.store.Due(ctx, now.Add(-s.grace), now, limit)
	if err != nil {
		return 0, err
	}
	for i, p := range due {
		if _, err := s.expire(ctx, p, now); err != nil {
			return i, err
		}
	}
	if _, err := s.directory.ForgetCounters(ctx, now, limit); err != nil {
		return len(due), err
	}
	return len(due), nil
}

func (s *Service) expireIfDue(ctx context.Context, p Payment, now time.Time) (Payment, error) {
	if !p.due(s.grace, now) {
		return p, nil
	}
	return s.expire(ctx, p, now)
}

// expire races with confirmations and captures; whoever locks the payment first wins, and the other finds it decided.
func (s *Service) expire(ctx context.Context, p Payment, now time.Time) (Payment, error) {
	step := Step{Payment: p.ID}
	if p.State.holds() {
		step = p.step(nil)
	}
	transaction := s.newID()
	out, err := s.store.Step(ctx, step, func(f Facts) (Change, error) {
		// One that was authorized since it was read is not due for a long time.
		if !f.Payment.due(s.grace, now) || f.Payment.State.holds() != p.State.holds() {
			return Change{Payment: f.Payment}, nil
		}
		return f.Payment.expire(f, transaction, now)
	})
	return s.told(out.Payment, err)
}

func (p Payment) expire(f Facts, transaction string, now time.Time) (Change, error) {
	if p.State.holds() {
		return p.release(f, Expired, p.hold().Expire(), transaction, now)
	}
	next := p.move(Expired, now)
	return Change{Payment: next, Events: []Event{ExpiredEvent{Payment: next}}}, nil
}

// due says whether nobody tapped in time, or whether what is held lapsed.
func (p Payment) due(grace time.Duration, now time.Time) bool {
	return p.State == AwaitingTap && now.After(p.Tap.ExpireTime.Add(grace)) ||
		p.State.holds() && now.After(p.AuthorizationExpireTime)
}
