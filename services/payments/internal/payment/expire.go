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

// List reads the payments that the caller may see, newest first.
func (s *Service) List(ctx context.Context, c Caller, after *Cursor, limit int, now time.Time) ([]Payment, error) {
	filter, err := c.Filter()
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

// ExpireDue expires payments that nobody tapped in time and returns how many, at most limit. Any number of processes may
// do so at once.
func (s *Service) ExpireDue(ctx context.Context, limit int, now time.Time) (int, error) {
	ids, err := s.store.Due(ctx, now.Add(-s.grace), limit)
	if err != nil {
		return 0, err
	}
	for i, id := range ids {
		if _, err := s.expire(ctx, id, now); err != nil {
			return i, err
		}
	}
	return len(ids), nil
}

func (s *Service) expireIfDue(ctx context.Context, p Payment, now time.Time) (Payment, error) {
	if !p.due(s.grace, now) {
		return p, nil
	}
	return s.expire(ctx, p.ID, now)
}

// expire races with confirmations; whoever locks the payment first wins, and the other finds it decided.
func (s *Service) expire(ctx context.Context, id string, now time.Time) (Payment, error) {
	return s.store.Update(ctx, id, func(old Payment) (Change, error) {
		if !old.due(s.grace, now) {
			return Change{Payment: old}, nil
		}
		p := old.finish(Expired, now)
		return Change{Payment: p, Events: []Event{ExpiredEvent{Payment: p}}}, nil
	})
}

// due says whether nobody tapped in time.
func (p Payment) due(grace time.Duration, now time.Time) bool {
	return p.State == AwaitingTap && now.After(p.Tap.ExpireTime.Add(grace))
}
