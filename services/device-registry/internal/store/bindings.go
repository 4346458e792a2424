package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

type bindingRow struct {
	id, uid, partner, account string
	nonce                     []byte
	state                     binding.State
	generation                int64
	created                   int64
	bound                     sql.Null[int64]
}

func (r *bindingRow) value() (binding.Binding, error) {
	b := binding.Binding{
		Partner: r.partner, Account: r.account, State: r.state, Generation: r.generation, CreatedAt: fromMicros(r.created),
	}
	id, err := hex.DecodeString(r.id)
	if err != nil || copy(b.ID[:], id) != len(b.ID) || copy(b.Nonce[:], r.nonce) != len(b.Nonce) {
		return binding.Binding{}, fmt.Errorf("store: stored binding %s is malformed", r.id)
	}
	if b.UID, err = parseUID(r.uid); err != nil {
		return binding.Binding{}, err
	}
	if r.bound.Valid {
		b.BoundAt = fromMicros(r.bound.V)
	}
	return b, nil
}

// Standing reads everything a payment needs to know of a device, in one statement if the device has a row and in one more
// if it is known from its lot alone. It fails with DEVICE_NOT_FOUND.
//
// Outside a transaction it reads together with others who ask at the same time, and shares what it finds with those who ask for
// the same device.
func (s *Store) Standing(ctx context.Context, uid device.UID) (binding.Standing, error) {
	if s.read(ctx) == sqldb.Queryer(s.db) {
		return s.standings.Do(ctx, uid)
	}
	found, err := s.loadDevices(ctx, whereUID, ``, uidText(uid))
	if err != nil {
		return binding.Standing{}, err
	}
	if len(found) > 0 {
		return found[0], nil
	}
	d, model, err := s.unseen(ctx, uid)
	return binding.Standing{Device: d, Model: model}, err
}

// standingsByUID is StandingsOf for those who wait for one each.
func (s *Store) standingsByUID(ctx context.Context, uids []device.UID) (map[device.UID]binding.Standing, error) {
	found, err := s.StandingsOf(ctx, uids)
	byUID := make(map[device.UID]binding.Standing, len(found))
	for _, st := range found {
		byUID[st.Device.UID] = st
	}
	return byUID, err
}

// StandingOf is Standing of the device that was bound to the account last and still is.
func (s *Store) StandingOf(ctx context.Context, account string) (binding.Standing, error) {
	found, err := s.loadDevices(ctx, whereAccount, ``, account)
	if err != nil {
		return binding.Standing{}, err
	}
	if len(found) == 0 {
		return binding.Standing{}, device.ErrNotFound
	}
	return found[0], nil
}

// Begin writes a pending binding and releases an earlier pending one of the same device and account.
func (s *Store) Begin(ctx context.Context, b binding.Binding) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := lockHolder(ctx, tx, b.Account, b.CreatedAt); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE bindings SET state = 3 WHERE uid = $1 AND account = $2 AND state = 1`,
			uidText(b.UID), b.Account)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO bindings
			(binding_id, uid, partner, account, nonce, state, generation, created_at, bound_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL)`,
			hex.EncodeToString(b.ID[:]), uidText(b.UID), b.Partner, b.Account, b.Nonce[:], int(b.State), b.Generation, micros(b.CreatedAt))
		return err
	})
}

// lockHolder makes changes to one account's bindings wait for each other.
func lockHolder(ctx context.Context, tx *sqldb.Tx, account string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO holders (account, created_at) VALUES ($1, $2) ON CONFLICT (account) DO NOTHING`,
		account, micros(now))
	if err != nil {
		return err
	}
	return tx.QueryRowContext(ctx, `SELECT account FROM holders WHERE account = $1`+tx.ForUpdate(), account).Scan(&account)
}

// Decide lets decide act on the scene under a lock and writes what it returns. It fails with BINDING_NOT_FOUND; an error
// of decide leaves everything as it was.
func (s *Store) Decide(ctx context.Context, id device.BindingID, now time.Time,
	decide func(binding.Scene) (binding.Outcome, error),
) (binding.Binding, error) {
	var confirmed binding.Binding
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		scene, err := s.lockScene(ctx, tx, id, now)
		if err != nil {
			return err
		}
		out, err := decide(scene)
		if err != nil {
			return err
		}
		confirmed = out.Binding
		if len(out.Events) == 0 {
			return nil
		}
		if out.Ended != nil {
			if err := updateBinding(ctx, tx, *out.Ended); err != nil {
				return err
			}
		}
		if err := updateBinding(ctx, tx, out.Binding); err != nil {
			return err
		}
		return s.write(ctx, tx, scene.Device, out.Device, out.Events)
	})
	return confirmed, err
}

// lockScene reads the binding to learn what to lock, and again once that is locked.
func (s *Store) lockScene(ctx context.Context, tx *sqldb.Tx, id device.BindingID, now time.Time) (binding.Scene, error) {
	b, err := loadBinding(ctx, tx, id)
	if err != nil {
		return binding.Scene{}, err
	}
	if _, err := s.lockDevice(ctx, tx, b.UID, now); err != nil {
		return binding.Scene{}, err
	}
	if err := lockHolder(ctx, tx, b.Account, now); err != nil {
		return binding.Scene{}, err
	}
	scene := binding.Scene{}
	if scene.Binding, err = loadBinding(ctx, tx, id); err != nil {
		return binding.Scene{}, err
	}
	standing, err := s.Standing(ctx, b.UID)
	if err != nil {
		return binding.Scene{}, err
	}
	scene.Device, scene.Active = standing.Device, standing.Binding
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM bindings WHERE account = $1 AND state = 2`, b.Account).Scan(&scene.Held)
	return scene, err
}

func loadBinding(ctx context.Context, q sqldb.Queryer, id device.BindingID) (binding.Binding, error) {
	r := bindingRow{id: hex.EncodeToString(id[:])}
	err := q.QueryRowContext(ctx, `SELECT uid, partner, account, nonce, state, generation, created_at, bound_at
		FROM bindings WHERE binding_id = $1`, r.id).
		Scan(&r.uid, &r.partner, &r.account, &r.nonce, &r.state, &r.generation, &r.created, &r.bound)
	if err != nil {
		return binding.Binding{}, missing(err, binding.ErrNotFound)
	}
	return r.value()
}

func updateBinding(ctx context.Context, tx *sqldb.Tx, b binding.Binding) error {
	var bound any
	if !b.BoundAt.IsZero() {
		bound = micros(b.BoundAt)
	}
	res, err := tx.ExecContext(ctx, `UPDATE bindings SET state = $2, generation = $3, bound_at = $4 WHERE binding_id = $1`,
		hex.EncodeToString(b.ID[:]), int(b.State), b.Generation, bound)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("store: binding to be updated: %d rows", n), err)
	}
	return nil
}
