// Package grpcapi serves the registry's contract: it translates between proto and domain and has no rules of its own.
package grpcapi

import (
	"context"
	"crypto/sha256"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/rpc"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/imports"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
	"github.com/armlet-pay/armlet/services/device-registry/internal/store"
)

// Catalog answers the plain reads of what partners make, and keeps how much that may be.
type Catalog interface {
	Model(ctx context.Context, partner, id string) (device.Model, error)
	Models(ctx context.Context, partner, after string, limit int) ([]device.Model, error)
	Lot(ctx context.Context, partner string, no uint32) (lot.Lot, error)
	Lots(ctx context.Context, partner string, after uint32, limit int) ([]lot.Lot, error)
	Import(ctx context.Context, partner, id string) (imports.Import, error)
	Usage(ctx context.Context, partner string) (limits, used quota.Amounts, err error)
	SetQuota(ctx context.Context, partner string, own quota.Own) error
}

// Record answers the plain reads of the audit record.
type Record interface {
	EntriesOf(ctx context.Context, subject string, after int64, limit int) ([]device.Entry, error)
	Log(ctx context.Context, after int64, limit int) ([]device.Entry, error)
	LogHead(ctx context.Context) (device.Head, error)
}

// Reader answers the plain reads of devices.
type Reader interface {
	Device(ctx context.Context, uid device.UID) (device.Device, error)
	Devices(ctx context.Context, f store.DeviceFilter) ([]device.Device, error)
	DevicesOf(ctx context.Context, uids []device.UID) ([]device.Device, error)
	Standing(ctx context.Context, uid device.UID) (binding.Standing, error)
	StandingOf(ctx context.Context, account string) (binding.Standing, error)
}

// Repeater makes calls with a request_id safe to repeat.
type Repeater interface {
	Once(ctx context.Context, r store.Request, do func(ctx context.Context) ([]byte, error)) ([]byte, error)
}

// Config is what a Server is made of. Every field but Notary is needed.
type Config struct {
	Devices  *device.Service
	Lots     *lot.Service
	Bindings *binding.Service
	Imports  *imports.Service
	Catalog  Catalog
	Reader   Reader
	Record   Record
	Feed     Feed
	Notary   device.Notary // signs checkpoints; the zero one has no key
	Repeater Repeater
	PageKey  []byte // signs page tokens; the same in all processes of the service
	Now      func() time.Time
}

// Server implements DeviceRegistryService.
type Server struct {
	devicesv1.UnimplementedDeviceRegistryServiceServer
	cfg   Config
	pages pager
}

// New makes a Server.
func New(cfg Config) *Server { return &Server{cfg: cfg, pages: pager{cfg.PageKey}} }

// now is to the microsecond, as it is stored, so that an answer is the same before and after.
func (s *Server) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

func actorFrom(ctx context.Context) device.Actor {
	c := rpc.CallerFrom(ctx)
	return device.Actor{
		Role: device.Role(c.Role), ID: c.ID, Partner: c.Partner, PartnerNo: c.PartnerNo, Account: bareAccount(c.Account),
	}
}

// repeaterKey is under whose name request_ids are kept: a partner's or wearer's own, whichever client they use.
func repeaterKey(a device.Actor) string {
	switch a.Role {
	case device.RolePartner:
		return string(a.Role) + "/" + a.Partner
	case device.RoleWearer:
		return string(a.Role) + "/" + a.Account
	default:
		return string(a.Role) + "/" + a.ID
	}
}

type repeatable interface {
	proto.Message
	GetRequestId() string
}

// once runs do unless the request was answered before, and returns the first answer.
func once[T any, M interface {
	*T
	proto.Message
}](ctx context.Context, s *Server, req repeatable, do func(ctx context.Context, by device.Actor, now time.Time) (M, error)) (M, error) {
	by, now := actorFrom(ctx), s.now()
	sum, err := fingerprint(req)
	if err != nil {
		return nil, err
	}
	key := store.Request{
		Caller: repeaterKey(by), Method: string(req.ProtoReflect().Descriptor().FullName()), ID: req.GetRequestId(),
		Fingerprint: sum, At: now,
	}
	raw, err := s.cfg.Repeater.Once(ctx, key, func(ctx context.Context) ([]byte, error) {
		answer, err := do(ctx, by, now)
		if err != nil {
			return nil, err
		}
		return proto.MarshalOptions{Deterministic: true}.Marshal(answer)
	})
	if err != nil {
		return nil, err
	}
	answer := M(new(T))
	return answer, proto.Unmarshal(raw, answer)
}

// fingerprint is the hash of everything in the request but its id.
func fingerprint(req proto.Message) ([]byte, error) {
	content := proto.Clone(req)
	m := content.ProtoReflect()
	m.Clear(m.Descriptor().Fields().ByName("request_id"))
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(content)
	sum := sha256.Sum256(raw)
	return sum[:], err
}
