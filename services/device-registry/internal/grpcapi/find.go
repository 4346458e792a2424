package grpcapi

import (
	"context"
	"encoding/binary"
	"regexp"
	"strings"
	"unicode"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/store"
)

// BatchGetDevices implements the contract.
func (s *Server) BatchGetDevices(ctx context.Context, req *devicesv1.BatchGetDevicesRequest) (*devicesv1.BatchGetDevicesResponse, error) {
	viewer, now := actorFrom(ctx), s.now()
	uids := make([]device.UID, len(req.GetNames()))
	for i, name := range req.GetNames() {
		uid, err := parseUID("names", lastOf(name))
		if err != nil {
			return nil, err
		}
		uids[i] = uid
	}
	found, err := s.cfg.Reader.DevicesOf(ctx, uids)
	if err != nil {
		return nil, err
	}
	byUID := make(map[device.UID]device.Device, len(found))
	for _, d := range found {
		byUID[d.UID] = d
	}
	out := &devicesv1.BatchGetDevicesResponse{}
	for i, name := range req.GetNames() {
		if d, ok := byUID[uids[i]]; ok && viewer.Check(d, partnerOf(name)) == nil {
			out.Devices = append(out.Devices, deviceMessage(d, viewer, now))
			continue
		}
		out.NotFound = append(out.NotFound, name)
	}
	return out, nil
}

// comparison is one `field = value` of a filter.
var comparison = regexp.MustCompile(`^\s*(state|model|lot|account|labels\.[a-z][a-z0-9_-]{0,31})\s*=\s*("(?:[^"\\]|\\["\\])*"|[^\s"]+)\s*(?:AND(?:\s|$)|$)`)

// deviceFilter reads the contract's subset of AIP-160.
func (s *Server) deviceFilter(ctx context.Context, text string) (store.DeviceFilter, error) {
	f := store.DeviceFilter{Labels: map[string]string{}}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return f, fault.InvalidField("filter", "holds a control character; none is in what it looks for")
	}
	seen := map[string]bool{}
	rest := text
	for strings.TrimSpace(rest) != "" {
		m := comparison.FindStringSubmatch(rest)
		if m == nil {
			return f, fault.InvalidField("filter", "cannot be read from %q on; write field = value, joined by AND, with the fields "+
				"state, model, lot, labels.KEY and account", rest)
		}
		if rest = rest[len(m[0]):]; strings.TrimSpace(rest) == "" && strings.HasSuffix(strings.TrimSpace(m[0]), " AND") {
			return f, fault.InvalidField("filter", "ends with AND")
		}
		if seen[m[1]] {
			return f, fault.InvalidField("filter", "names %s twice", m[1])
		}
		seen[m[1]] = true
		if err := s.addToFilter(ctx, &f, m[1], unquote(m[2])); err != nil {
			return f, err
		}
	}
	return f, nil
}

var unescape = strings.NewReplacer(`\"`, `"`, `\\`, `\`)

func unquote(value string) string {
	if strings.HasPrefix(value, `"`) {
		return unescape.Replace(value[1 : len(value)-1])
	}
	return value
}

func (s *Server) addToFilter(ctx context.Context, f *store.DeviceFilter, field, value string) error {
	switch field {
	case "state":
		n, ok := devicesv1.DeviceState_value["DEVICE_STATE_"+value]
		if !ok || n == 0 {
			return fault.InvalidField("filter", "%q is not a state; use REGISTERED, AVAILABLE, BOUND, RETIRED or REVOKED", value)
		}
		f.State = device.State(n)
	case "model":
		partner, id, err := parseModel("filter", value)
		if err != nil {
			return err
		}
		f.ModelPartner, f.ModelID = partner, id
	case "lot":
		partner, no, err := parseLot(value)
		if err != nil || LotName(partner, no) != value || !resourceID.MatchString(partner) {
			return fault.InvalidField("filter", "%q is not the name of a lot, partners/{partner}/lots/{number}", value)
		}
		f.LotPartner, f.LotNo = partner, no
	case "account":
		if actorFrom(ctx).Role != device.RoleOperator {
			return fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "only operators find devices by account")
		}
		if f.Account = bareAccount(value); f.Account == "" {
			return fault.InvalidField("filter", "account wants accounts/{account}")
		}
	default:
		f.Labels[strings.TrimPrefix(field, "labels.")] = value
	}
	return nil
}

// devices lists what the filter chooses. Of a range lot, when nothing else is asked for, also the devices nobody has seen:
// these the store cannot list, but the lot can count them up.
func (s *Server) devices(ctx context.Context, f store.DeviceFilter) ([]device.Device, error) {
	if f.LotNo == 0 || f.ModelID != "" || f.State != 0 || f.Account != "" || len(f.Labels) > 0 {
		return s.cfg.Reader.Devices(ctx, f)
	}
	if f.Partner != "" && f.Partner != f.LotPartner {
		return nil, nil
	}
	l, err := s.cfg.Catalog.Lot(ctx, f.LotPartner, f.LotNo)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil || l.Kind != lot.Range {
		if err != nil {
			return nil, err
		}
		return s.cfg.Reader.Devices(ctx, f)
	}
	from := l.First
	if f.After != (device.UID{}) {
		from = binary.BigEndian.Uint64(f.After[8:]) + 1
		if from == 0 { // the last serial number there is
			return nil, nil
		}
	}
	var uids []device.UID
	for _, serial := range l.Serials(from, f.Limit) {
		uids = append(uids, l.UID(serial))
	}
	return s.cfg.Reader.DevicesOf(ctx, uids)
}
