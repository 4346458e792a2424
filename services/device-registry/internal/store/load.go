package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// standings is the statement that reads the devices that where chooses, each with its model, its active binding and its
// suspensions. Every join goes through a primary key or the index of active bindings. A device has a row per suspension,
// and these are adjacent.
func standings(where, page string) string {
	return `
		SELECT d.uid, d.partner, d.model_id, d.lot_no, d.state, d.suite, d.key_epoch, d.public_key, d.auth_epoch, d.generation,
			d.audit_seq, d.audit_hash, d.created_at, d.credentials, d.labels, d.transfer_hash, d.transfer_until,
			coalesce(l.state, 0), coalesce(l.epoch, 0),
			b.binding_id, b.account, b.nonce, b.generation, b.created_at, b.bound_at,
			s.reason, s.authority, s.created_at, ` + modelColumns + `
		FROM (SELECT * FROM devices WHERE ` + where + page + `) d
		JOIN models m ON m.partner = d.partner AND m.model_id = d.model_id
		LEFT JOIN lots l ON d.lot_no > 0 AND l.partner = d.partner AND l.lot_no = d.lot_no
		LEFT JOIN bindings b ON b.uid = d.uid AND b.state = 2
		LEFT JOIN suspensions s ON s.uid = d.uid
		ORDER BY d.uid, s.reason`
}

const (
	whereUID     = `uid = $1`
	whereAccount = `uid = (SELECT uid FROM bindings WHERE account = $1 AND state = 2 ORDER BY bound_at DESC, uid DESC LIMIT 1)`
)

func (s *Store) loadDevices(ctx context.Context, where, page string, args ...any) ([]binding.Standing, error) {
	rows, err := s.read(ctx).QueryContext(ctx, standings(where, page), args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var found []binding.Standing
	for rows.Next() {
		var row standingRow
		if err := rows.Scan(row.targets()...); err != nil {
			return nil, err
		}
		next, err := row.value()
		if err != nil {
			return nil, err
		}
		if last := len(found) - 1; last >= 0 && found[last].Device.UID == next.Device.UID {
			found[last].Device.Suspensions = append(found[last].Device.Suspensions, next.Device.Suspensions...)
			continue
		}
		found = append(found, next)
	}
	return found, rows.Err()
}

// standingRow is one row of loadDevices. The columns of the binding and the suspension are null when there is none.
type standingRow struct {
	device  device.Device
	model   modelRow
	uid     string
	key     []byte
	head    []byte
	created int64

	credentials, labels sql.Null[string]
	transferHash        []byte
	transferUntil       sql.Null[int64]
	lotEpoch            int64

	bindingID, account sql.Null[string]
	nonce              []byte
	generation         sql.Null[int64]
	begun, bound       sql.Null[int64]

	reason, authority sql.Null[uint8]
	suspended         sql.Null[int64]
}

func (r *standingRow) targets() []any {
	d := &r.device
	t := []any{
		&r.uid, &d.Partner, &d.ModelID, &d.LotNo, &d.State, &d.Suite, &d.KeyEpoch, &r.key, &d.AuthEpoch, &d.Generation,
		&d.Head.Sequence, &r.head, &r.created, &r.credentials, &r.labels, &r.transferHash, &r.transferUntil,
		&d.LotState, &r.lotEpoch,
		&r.bindingID, &r.account, &r.nonce, &r.generation, &r.begun, &r.bound,
		&r.reason, &r.authority, &r.suspended,
	}
	return append(t, r.model.targets()...)
}

func (r *standingRow) value() (binding.Standing, error) {
	d := r.device
	var err error
	if d.UID, err = parseUID(r.uid); err != nil {
		return binding.Standing{}, err
	}
	if copy(d.Head.Hash[:], r.head) != len(d.Head.Hash) {
		return binding.Standing{}, fmt.Errorf("store: stored audit hash has %d bytes", len(r.head))
	}
	d.CreatedAt = fromMicros(r.created)
	if r.reason.Valid {
		d.Suspensions = []device.Suspension{{
			Reason: device.Reason(r.reason.V), Authority: device.Authority(r.authority.V), At: fromMicros(r.suspended.V),
		}}
	}
	st := binding.Standing{}
	if st.Model, err = r.model.value(); err != nil {
		return binding.Standing{}, err
	}
	if d, err = r.keys(d); err != nil {
		return binding.Standing{}, err
	}
	d.ModelStatus, d.SharedEpoch = st.Model.Status, st.Model.Epoch+r.lotEpoch
	d.AuthEpoch += d.SharedEpoch
	if len(r.transferHash) == len(device.Transfer{}.Hash) && r.transferUntil.Valid {
		d.Transfer = &device.Transfer{Hash: [32]byte(r.transferHash), Until: fromMicros(r.transferUntil.V)}
	}
	st.Device = d.Settle()
	if r.bindingID.Valid {
		st.Device.Account = r.account.V
		b := bindingRow{
			id: r.bindingID.V, uid: r.uid, partner: d.Partner, account: r.account.V, nonce: r.nonce, state: binding.Active,
			generation: r.generation.V, created: r.begun.V, bound: r.bound,
		}
		active, err := b.value()
		if err != nil {
			return binding.Standing{}, err
		}
		st.Binding = &active
	}
	return st, nil
}

// keys reads the credentials and the labels. A device that never had but one public key has it in its column alone.
func (r *standingRow) keys(d device.Device) (device.Device, error) {
	if r.labels.Valid {
		if err := json.Unmarshal([]byte(r.labels.V), &d.Labels); err != nil {
			return d, fmt.Errorf("store: stored labels: %w", err)
		}
	}
	if !r.credentials.Valid {
		return d.FirstCredential(r.key), nil
	}
	var kept storedCredentials
	if err := json.Unmarshal([]byte(r.credentials.V), &kept); err != nil {
		return d, fmt.Errorf("store: stored credentials: %w", err)
	}
	d.CredentialCount = kept.Count
	for _, k := range kept.Keys {
		c := device.Credential{ID: k.ID, Key: k.Key, From: fromMicros(k.From)}
		if k.Until != 0 {
			c.Until = fromMicros(k.Until)
		}
		d.Credentials = append(d.Credentials, c)
	}
	return d, nil
}

type storedCredentials struct {
	Count uint32      `json:"count"`
	Keys  []storedKey `json:"keys"`
}

type storedKey struct {
	ID    uint32 `json:"id"`
	Key   []byte `json:"key"`
	From  int64  `json:"from"`
	Until int64  `json:"until,omitempty"`
}

// keyColumns are the columns public_key and credentials of a device.
func keyColumns(d device.Device) (key, credentials any, err error) {
	if len(d.Credentials) == 0 {
		return nil, nil, nil
	}
	key = d.Credentials[0].Key
	first := d.FirstCredential(d.Credentials[0].Key)
	if d.CredentialCount == 1 && d.Credentials[0].From.Equal(first.Credentials[0].From) && d.Credentials[0].Until.IsZero() {
		return key, nil, nil
	}
	kept := storedCredentials{Count: d.CredentialCount}
	for _, c := range d.Credentials {
		k := storedKey{ID: c.ID, Key: c.Key, From: micros(c.From)}
		if !c.Until.IsZero() {
			k.Until = micros(c.Until)
		}
		kept.Keys = append(kept.Keys, k)
	}
	text, err := json.Marshal(kept)
	return key, string(text), err
}

// labelColumn is the column labels of a device; the map's keys come out sorted.
func labelColumn(labels map[string]string) (any, error) {
	if len(labels) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(labels)
	return string(text), err
}
