package keys

import (
	"context"
	"strconv"
	"time"

	"github.com/armlet-pay/armlet/services/auth/internal/audit"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
)

// Changes remembers changes of keys. All keys of one purpose and partner are locked while one of them changes.
type Changes interface {
	// UpdateKeys lets change decide on the keys of a purpose and partner and stores, in this order, those it returns; a row
	// without an id that is known is added. It returns info and fails with PARTNER_NOT_FOUND and REQUEST_ID_REUSED.
	UpdateKeys(ctx context.Context, req request.ID, purpose Purpose, partner string, now time.Time,
		change func(rows []Row) (changed []Row, info Info, effects []any, err error)) (Info, error)
	// MaintainKeys is UpdateKeys by the service itself.
	MaintainKeys(ctx context.Context, purpose Purpose, now time.Time, change func(rows []Row) (changed []Row, effects []any, err error)) error
}

// Info is a key without its secret.
type Info struct {
	Partner   string    `json:"partner"`
	Epoch     int       `json:"epoch"`
	Kid       string    `json:"kid"` // of signing keys
	State     State     `json:"state"`
	Imported  bool      `json:"imported"`
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"`
}

// Info is what may be told of a key.
func (r Row) Info() Info {
	i := Info{Partner: r.Partner, Epoch: r.Epoch, State: r.State, Imported: r.Imported, CreatedAt: r.CreatedAt, ChangedAt: r.ChangedAt}
	if r.Purpose == Signing {
		i.Kid = kidOf(r.Public)
	}
	return i
}

// Name is the key's resource name.
func (i Info) Name() string {
	if i.Kid != "" {
		return "signingKeys/" + i.Kid
	}
	return "partners/" + i.Partner + "/masterKeys/" + strconv.Itoa(i.Epoch)
}

// Activated is the effect of a master key that new devices are made with from now on.
type Activated struct {
	Partner string
	Epoch   int
}

// Withdrawn is the effect of a master key that may be known to others: offline grants of its devices are denied.
type Withdrawn struct {
	Partner string
	Epoch   int
}

// Service leads keys through their lives.
type Service struct {
	changes  Changes
	ring     *Ring
	schedule Schedule
}

// NewService makes a Service.
func NewService(changes Changes, ring *Ring, schedule Schedule) *Service {
	return &Service{changes, ring, schedule}
}

func decided(req request.ID, action string, i Info) audit.Entry {
	return audit.Entry{Actor: req.Caller, Action: action, Subject: i.Name()}
}

// CreateMaster makes a partner's key of the next epoch.
func (s *Service) CreateMaster(ctx context.Context, req request.ID, partner string, now time.Time) (Info, error) {
	return s.addMaster(ctx, req, partner, "master_key.created", now, func(epoch int) (Row, error) {
		return s.ring.NewMaster(partner, epoch, now)
	})
}

// ImportMaster takes a key that was made elsewhere as that of the next epoch. It fails with KEY_INVALID.
func (s *Service) ImportMaster(ctx context.Context, req request.ID, partner string, in Incoming, now time.Time) (Info, error) {
	secret, err := s.ring.openImport(partner, in)
	if err != nil {
		return Info{}, err
	}
	defer clear(secret)
	return s.addMaster(ctx, req, partner, "master_key.imported", now, func(epoch int) (Row, error) {
		row, err := s.ring.seal(Row{ID: NewID(), Purpose: Master, Partner: partner, Epoch: epoch, CreatedAt: now, ChangedAt: now}, secret)
		row.Imported = true
		return row, err
	})
}

func (s *Service) addMaster(ctx context.Context, req request.ID, partner, action string, now time.Time, fresh func(epoch int) (Row, error)) (Info, error) {
	return s.changes.UpdateKeys(ctx, req, Master, partner, now, func(rows []Row) ([]Row, Info, []any, error) {
		row, err := fresh(nextEpoch(rows))
		if err != nil {
			return nil, Info{}, nil, err
		}
		row.State = Prepared
		return []Row{row}, row.Info(), []any{decided(req, action, row.Info())}, nil
	})
}

// ActivateMaster makes a prepared key the one of new devices.
func (s *Service) ActivateMaster(ctx context.Context, req request.ID, partner string, epoch int, now time.Time) (Info, error) {
	return s.changes.UpdateKeys(ctx, req, Master, partner, now, func(rows []Row) ([]Row, Info, []any, error) {
		changed, err := activate(rows, epoch, now)
		if err != nil {
			return nil, Info{}, nil, err
		}
		if len(changed) == 0 {
			key, err := byEpoch(rows, epoch)
			return nil, key.Info(), nil, err
		}
		info := changed[len(changed)-1].Info()
		return changed, info, []any{Activated{partner, epoch}, decided(req, "master_key.activated", info)}, nil
	})
}

// TaintMaster says that a key may be known to others: none of its devices counts from the next request on.
func (s *Service) TaintMaster(ctx context.Context, req request.ID, partner string, epoch int, now time.Time) (Info, error) {
	return s.endMaster(ctx, req, partner, epoch, "master_key.tainted", now, taint)
}

// DestroyMaster erases the secret of a key.
func (s *Service) DestroyMaster(ctx context.Context, req request.ID, partner string, epoch int, now time.Time) (Info, error) {
	return s.endMaster(ctx, req, partner, epoch, "master_key.destroyed", now, destroy)
}

func (s *Service) endMaster(ctx context.Context, req request.ID, partner string, epoch int, action string, now time.Time,
	end func(Row, time.Time) (Row, bool, error),
) (Info, error) {
	return s.changes.UpdateKeys(ctx, req, Master, partner, now, func(rows []Row) ([]Row, Info, []any, error) {
		key, err := byEpoch(rows, epoch)
		if err != nil {
			return nil, Info{}, nil, err
		}
		next, changed, err := end(key, now)
		if err != nil || !changed {
			return nil, next.Info(), nil, err
		}
		return []Row{next}, next.Info(), []any{decided(req, action, next.Info()), Withdrawn{partner, epoch}}, nil
	})
}

// Rotate makes the prepared signing key the one that signs, and prepares the next.
func (s *Service) Rotate(ctx context.Context, req request.ID, force bool, now time.Time) (Info, error) {
	info, err := s.changes.UpdateKeys(ctx, req, Signing, "", now, func(rows []Row) ([]Row, Info, []any, error) {
		prepared := inState(rows, Prepared)
		var changed []Row
		switch {
		case len(prepared) == 0 && !force, len(prepared) > 0 && !force && now.Sub(prepared[0].CreatedAt) < s.schedule.Ahead:
			return nil, Info{}, nil, ErrTooYoung
		case len(prepared) == 0:
			row, err := s.ring.newRow(Signing, "", nextEpoch(rows), now)
			if err != nil {
				return nil, Info{}, nil, err
			}
			rows, prepared = append(rows, row), []Row{row}
		}
		changed = follow(inState(rows, Active), prepared[0], now)
		info := changed[len(changed)-1].Info()
		changed, err := s.withNext(rows, changed, now)
		return changed, info, []any{decided(req, "signing_key.activated", info)}, err
	})
	if err != nil {
		return info, err
	}
	return info, s.ring.Refresh(ctx)
}

// withNext adds a prepared key to the changes.
func (s *Service) withNext(rows, changed []Row, now time.Time) ([]Row, error) {
	next, err := s.ring.newRow(Signing, "", nextEpoch(append(rows, changed...)), now)
	if err != nil {
		return nil, err
	}
	next.State = Prepared
	return append(changed, next), nil
}

// TaintSigning withdraws a signing key; if it was the one that signs, the prepared one or a new one takes its place.
func (s *Service) TaintSigning(ctx context.Context, req request.ID, kid string, now time.Time) (Info, error) {
	info, err := s.changes.UpdateKeys(ctx, req, Signing, "", now, func(rows []Row) ([]Row, Info, []any, error) {
		for i, r := range rows {
			if r.Info().Kid != kid {
				continue
			}
			next, changed, err := taint(r, now)
			if err != nil || !changed {
				return nil, next.Info(), nil, err
			}
			rows[i] = next
			rest, err := s.replace(rows, r.State, now)
			effects := []any{
				decided(req, "signing_key.tainted", next.Info()),
				revocation.Entry{Kind: revocation.SigningKey, ID: kid, Until: now.Add(s.schedule.Kept)},
			}
			return append([]Row{next}, rest...), next.Info(), effects, err
		}
		return nil, Info{}, nil, ErrSigningNotFound
	})
	if err != nil {
		return info, err
	}
	return info, s.ring.Refresh(ctx)
}

// replace is what follows when a key in state was tainted: there is one that signs, and one that is prepared.
func (s *Service) replace(rows []Row, state State, now time.Time) ([]Row, error) {
	switch state {
	case Active:
		prepared := inState(rows, Prepared)
		if len(prepared) == 0 {
			row, err := s.ring.newRow(Signing, "", nextEpoch(rows), now)
			if err != nil {
				return nil, err
			}
			prepared = []Row{row}
		}
		return s.withNext(rows, []Row{prepared[0].become(Active, now)}, now)
	case Prepared:
		return s.withNext(rows, nil, now)
	}
	return nil, nil
}

// Maintain does what the schedule asks for and reads what other processes did. Call it every few seconds.
func (s *Service) Maintain(ctx context.Context, now time.Time) error {
	rows, err := s.ring.store.Keys(ctx, Signing, "")
	if err != nil {
		return err
	}
	if d := s.schedule.due(rows, now); d.prepare || len(d.changed) > 0 {
		err = s.changes.MaintainKeys(ctx, Signing, now, func(rows []Row) ([]Row, []any, error) {
			d := s.schedule.due(rows, now)
			var effects []any
			for _, r := range d.changed {
				effects = append(effects, audit.Entry{Actor: "auth", Action: "signing_key." + verbs[r.State], Subject: r.Info().Name()})
			}
			if !d.prepare {
				return d.changed, effects, nil
			}
			changed, err := s.withNext(rows, d.changed, now)
			return changed, effects, err
		})
		if err != nil {
			return err
		}
	}
	return s.ring.Refresh(ctx)
}

var verbs = map[State]string{Active: "activated", Retiring: "retired", Destroyed: "destroyed"}
