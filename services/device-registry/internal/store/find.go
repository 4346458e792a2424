package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
)

// DeviceFilter chooses devices that have a row. Empty fields choose all.
type DeviceFilter struct {
	Partner      string
	Account      string // bound to this account
	State        device.State
	ModelPartner string // with ModelID
	ModelID      string
	LotPartner   string // with LotNo
	LotNo        uint32
	Labels       map[string]string
	After        device.UID // with a greater uid
	Limit        int
}

// where is the condition on the table devices, and its arguments. Each part of it goes through an index of its own.
func (f DeviceFilter) where() (string, []any) {
	var parts []string
	var args []any
	add := func(format string, values ...any) {
		numbers := make([]any, len(values))
		for i := range values {
			numbers[i] = len(args) + i + 1
		}
		parts, args = append(parts, fmt.Sprintf(format, numbers...)), append(args, values...)
	}
	add(`uid > $%d`, uidText(f.After))
	if f.Partner != "" {
		add(`partner = $%d`, f.Partner)
	}
	if f.Account != "" {
		add(`uid IN (SELECT uid FROM bindings WHERE account = $%d AND state = 2)`, f.Account)
	}
	if f.ModelID != "" {
		add(`partner = $%d AND model_id = $%d`, f.ModelPartner, f.ModelID)
	}
	if f.LotNo != 0 {
		add(`partner = $%d AND lot_no > 0 AND lot_no = $%d`, f.LotPartner, int64(f.LotNo))
	}
	for _, key := range slices.Sorted(maps.Keys(f.Labels)) {
		add(`uid IN (SELECT uid FROM device_labels WHERE key = $%d AND value = $%d)`, key, f.Labels[key])
	}
	switch f.State {
	case 0:
	case device.Registered, device.Available:
		held := `EXISTS (SELECT 1 FROM lots l WHERE l.partner = devices.partner AND l.lot_no = devices.lot_no AND l.state = 1)`
		if f.State == device.Available {
			held = `NOT ` + held
		}
		parts = append(parts, `state < 3 AND CASE WHEN lot_no = 0 THEN state = `+fmt.Sprint(int(f.State))+` ELSE `+held+` END`)
	default:
		// As text, so that the planner sees that the partial index covers it.
		parts = append(parts, fmt.Sprintf(`state > 2 AND state = %d`, int(f.State)))
	}
	return strings.Join(parts, ` AND `), args
}

// Devices lists devices by uid.
func (s *Store) Devices(ctx context.Context, f DeviceFilter) ([]device.Device, error) {
	where, args := f.where()
	found, err := s.loadDevices(ctx, where, fmt.Sprintf(` ORDER BY uid LIMIT $%d`, len(args)+1), append(args, f.Limit)...)
	return devicesOf(found), err
}

// Standings lists what payments need to know of the devices that have a row, by uid.
func (s *Store) Standings(ctx context.Context, after device.UID, limit int) ([]binding.Standing, error) {
	return s.loadDevices(ctx, `uid > $1`, ` ORDER BY uid LIMIT $2`, uidText(after), limit)
}

// StandingsOf is Standing of several devices at once, by uid; those that are not there are left out.
func (s *Store) StandingsOf(ctx context.Context, uids []device.UID) ([]binding.Standing, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	found, err := s.seen(ctx, uids)
	if err != nil {
		return nil, err
	}
	wanted := make(map[device.UID]bool, len(uids))
	for _, uid := range uids {
		wanted[uid] = true
	}
	for _, st := range found {
		delete(wanted, st.Device.UID)
	}
	unseen, err := s.unseenOf(ctx, wanted)
	if err != nil {
		return nil, err
	}
	found = append(found, unseen...)
	slices.SortFunc(found, func(a, b binding.Standing) int { return slices.Compare(a.Device.UID[:], b.Device.UID[:]) })
	return found, nil
}

// seen is Standing of those of the devices that have a row.
func (s *Store) seen(ctx context.Context, uids []device.UID) ([]binding.Standing, error) {
	texts := make([]string, len(uids))
	for i, uid := range uids {
		texts[i] = uidText(uid)
	}
	list, err := listOf(s.db.Dialect(), texts)
	if err != nil {
		return nil, err
	}
	return s.loadDevices(ctx, whereUIDs[s.db.Dialect()], ``, list)
}

// DevicesOf reads several devices at once, by uid; those that are not there are left out.
func (s *Store) DevicesOf(ctx context.Context, uids []device.UID) ([]device.Device, error) {
	found, err := s.StandingsOf(ctx, uids)
	return devicesOf(found), err
}

// unseenOf finds devices through their range lots, reading each lot once.
func (s *Store) unseenOf(ctx context.Context, wanted map[device.UID]bool) ([]binding.Standing, error) {
	type number struct{ partner, lot uint32 }
	byLot := map[number][]device.UID{}
	for uid := range wanted {
		partnerNo, lotNo := lot.Numbers(uid)
		byLot[number{partnerNo, lotNo}] = append(byLot[number{partnerNo, lotNo}], uid)
	}
	var found []binding.Standing
	for n, uids := range byLot {
		l, model, err := s.rangeLot(ctx, n.partner, n.lot)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, uid := range uids {
			if d, ok := l.Device(uid); ok {
				found = append(found, binding.Standing{Device: withModel(d, model), Model: model})
			}
		}
	}
	return found, nil
}

func devicesOf(standings []binding.Standing) []device.Device {
	devices := make([]device.Device, len(standings))
	for i := range standings {
		devices[i] = standings[i].Device
	}
	return devices
}

// placeholders are the numbers of n arguments from first on.
func placeholders(first, n int) string {
	b := make([]byte, 0, 7*n)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "$%d", first+i)
	}
	return string(b)
}
