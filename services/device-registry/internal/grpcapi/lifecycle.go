package grpcapi

import (
	"context"
	"crypto/rand"
	"regexp"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

var (
	resourceID       = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,30}$`)
	deviceNameFormat = regexp.MustCompile(`^partners/([a-z0-9][a-z0-9-]{1,30}|-)/devices/[0-9a-hjkmnp-tv-z]{26}$`)
)

// deviceRule decides on a device.
type deviceRule func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error)

// changeDevice lets a rule decide on the device that the field of the request names.
func (s *Server) changeDevice(ctx context.Context, req repeatable, field, name string, rule deviceRule) (*devicesv1.Device, error) {
	uid, err := parseUID(field, lastOf(name))
	if err != nil {
		return nil, err
	}
	return once(ctx, s, req, func(ctx context.Context, by device.Actor, now time.Time) (*devicesv1.Device, error) {
		_, err := s.cfg.Devices.Change(ctx, by, partnerOf(name), uid, now, func(old device.Device) (device.Device, []device.Event, error) {
			return rule(old, by, now)
		})
		if err != nil {
			return nil, err
		}
		// Read anew: its etag comes with the record of the change.
		d, err := s.cfg.Reader.Device(ctx, uid)
		if err != nil {
			return nil, err
		}
		return deviceMessage(d, by, now), nil
	})
}

// ReportDeviceLost implements the contract.
func (s *Server) ReportDeviceLost(ctx context.Context, req *devicesv1.ReportDeviceLostRequest) (*devicesv1.Device, error) {
	return s.changeDevice(ctx, req, "name", req.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		return old.Suspend(device.OwnerLost, "", by, now)
	})
}

// SuspendDevice implements the contract.
func (s *Server) SuspendDevice(ctx context.Context, req *devicesv1.SuspendDeviceRequest) (*devicesv1.Device, error) {
	return s.changeDevice(ctx, req, "name", req.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		return old.Suspend(domainReason(req.GetReason()), req.GetNote(), by, now)
	})
}

// LiftSuspension implements the contract.
func (s *Server) LiftSuspension(ctx context.Context, req *devicesv1.LiftSuspensionRequest) (*devicesv1.Device, error) {
	return s.changeDevice(ctx, req, "name", req.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		return old.Lift(domainReason(req.GetReason()), req.GetNote(), by, now)
	})
}

// RetireDevice implements the contract.
func (s *Server) RetireDevice(ctx context.Context, req *devicesv1.RetireDeviceRequest) (*devicesv1.Device, error) {
	return s.changeDevice(ctx, req, "name", req.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		return old.End(device.Retired, req.GetNote(), by, now)
	})
}

// RevokeDevice implements the contract.
func (s *Server) RevokeDevice(ctx context.Context, req *devicesv1.RevokeDeviceRequest) (*devicesv1.Device, error) {
	return s.changeDevice(ctx, req, "name", req.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		return old.End(device.Revoked, req.GetNote(), by, now)
	})
}

// UpdateDevice implements the contract.
func (s *Server) UpdateDevice(ctx context.Context, req *devicesv1.UpdateDeviceRequest) (*devicesv1.Device, error) {
	in := req.GetDevice()
	if !deviceNameFormat.MatchString(in.GetName()) {
		return nil, fault.InvalidField("device.name", "wants partners/{partner}/devices/{uid}")
	}
	if paths := req.GetUpdateMask().GetPaths(); len(paths) != 1 || paths[0] != "labels" {
		return nil, fault.InvalidField("update_mask", "only labels can be changed; name them alone")
	}
	if err := device.CheckLabels("device.labels", in.GetLabels()); err != nil {
		return nil, err
	}
	return s.changeDevice(ctx, req, "device.name", in.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		if in.GetEtag() != "" && in.GetEtag() != etag(old.Head) {
			return old, nil, device.ErrETag
		}
		next, events := old.Label(in.GetLabels(), by, now)
		return next, events, nil
	})
}

// AddCredential implements the contract.
func (s *Server) AddCredential(ctx context.Context, req *devicesv1.AddCredentialRequest) (*devicesv1.Device, error) {
	c := device.Credential{Key: req.GetPublicKey()}
	if req.GetValidFromTime() != nil {
		if err := req.GetValidFromTime().CheckValid(); err != nil {
			return nil, fault.InvalidField("valid_from_time", "is no time")
		}
		c.From = req.GetValidFromTime().AsTime().Truncate(time.Microsecond)
	}
	if req.GetValidUntilTime() != nil {
		if err := req.GetValidUntilTime().CheckValid(); err != nil {
			return nil, fault.InvalidField("valid_until_time", "is no time")
		}
		c.Until = req.GetValidUntilTime().AsTime().Truncate(time.Microsecond)
	}
	return s.changeDevice(ctx, req, "name", req.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		if err := checkKey(old.Suite, c.Key); err != nil {
			return old, nil, err
		}
		return old.AddCredential(c, by, now)
	})
}

// checkKey is nil for a key as the device protocol wants it; a suite without keys is the domain's to refuse.
func checkKey(suite device.Suite, key []byte) error {
	if suite.Symmetric() {
		return nil
	}
	if _, err := wire.ParseCredential(wire.Suite(suite), key); err != nil {
		return fault.New(fault.Invalid, "CREDENTIAL_INVALID", "the public key is refused; suite 3 wants an uncompressed point of "+
			"P-256 (65 bytes), suite 4 a canonical Ed25519 key that is not of small order (32 bytes)").
			WithField("public_key").WithCause(err)
	}
	return nil
}

// RetireCredential implements the contract.
func (s *Server) RetireCredential(ctx context.Context, req *devicesv1.RetireCredentialRequest) (*devicesv1.Device, error) {
	return s.changeDevice(ctx, req, "name", req.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		return old.RetireCredential(req.GetCredentialId(), req.GetNote(), by, now)
	})
}

// BeginTransfer implements the contract.
func (s *Server) BeginTransfer(ctx context.Context, req *devicesv1.BeginTransferRequest) (*devicesv1.BeginTransferResponse, error) {
	uid, err := parseUID("name", lastOf(req.GetName()))
	if err != nil {
		return nil, err
	}
	var random wire.UID
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	code, by, now := random.String(), actorFrom(ctx), s.now()
	d, err := s.cfg.Devices.Change(ctx, by, partnerOf(req.GetName()), uid, now, func(old device.Device) (device.Device, []device.Event, error) {
		return old.BeginTransfer(device.TransferHash(uid, code), by, now)
	})
	if err != nil {
		return nil, err
	}
	return &devicesv1.BeginTransferResponse{TransferCode: code, ExpireTime: timestamp(d.Transfer.Until)}, nil
}

// CancelTransfer implements the contract.
func (s *Server) CancelTransfer(ctx context.Context, req *devicesv1.CancelTransferRequest) (*devicesv1.Device, error) {
	return s.changeDevice(ctx, req, "name", req.GetName(), func(old device.Device, by device.Actor, now time.Time) (device.Device, []device.Event, error) {
		return old.CancelTransfer(by, now)
	})
}
