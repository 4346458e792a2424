package grpcapi

import (
	"context"
	"time"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// CreateDevice implements the contract.
func (s *Server) CreateDevice(ctx context.Context, req *devicesv1.CreateDeviceRequest) (*devicesv1.Device, error) {
	uid, err := parseUID("uid", req.GetUid())
	if err != nil {
		return nil, err
	}
	suite := domainSuite(req.GetSuite())
	if key := req.GetPublicKey(); len(key) > 0 {
		if err := checkKey(suite, key); err != nil {
			return nil, err
		}
	}
	return once(ctx, s, req, func(ctx context.Context, by device.Actor, now time.Time) (*devicesv1.Device, error) {
		partner := partnerOf(req.GetParent())
		if partnerOf(req.GetModel()) != partner {
			return nil, device.ErrModelNotFound
		}
		d, err := s.cfg.Devices.CreateDevice(ctx, by, device.Device{
			UID: uid, Partner: partner, ModelID: lastOf(req.GetModel()), Suite: suite,
			KeyEpoch: uint16(req.GetKeyEpoch()),
		}, req.GetPublicKey(), now)
		if err == nil {
			d, err = s.cfg.Reader.Device(ctx, d.UID) // with the head of its record
		}
		if err != nil {
			return nil, err
		}
		return deviceMessage(d, by, now), nil
	})
}

// find reads a device by name as the caller may see it.
func (s *Server) find(ctx context.Context, field, name string) (device.Device, error) {
	uid, err := parseUID(field, lastOf(name))
	if err != nil {
		return device.Device{}, err
	}
	d, err := s.cfg.Reader.Device(ctx, uid)
	if err != nil {
		return device.Device{}, err
	}
	return d, actorFrom(ctx).Check(d, partnerOf(name))
}

// GetDevice implements the contract.
func (s *Server) GetDevice(ctx context.Context, req *devicesv1.GetDeviceRequest) (*devicesv1.Device, error) {
	d, err := s.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	return deviceMessage(d, actorFrom(ctx), s.now()), nil
}

// ListDevices implements the contract.
func (s *Server) ListDevices(ctx context.Context, req *devicesv1.ListDevicesRequest) (*devicesv1.ListDevicesResponse, error) {
	viewer, size := actorFrom(ctx), pageSize(req.GetPageSize())
	partner, account, err := viewer.Scope(partnerOf(req.GetParent()))
	if err != nil {
		return nil, err
	}
	f, err := s.deviceFilter(ctx, req.GetFilter())
	if err != nil {
		return nil, err
	}
	if f.Account == "" {
		f.Account = account
	}
	f.Partner, f.Limit = partner, size+1
	list := listName("devices", partner, account, req.GetFilter())
	last, err := s.pages.after(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if last != "" {
		if f.After, err = parseUID("page_token", last); err != nil {
			return nil, err
		}
	}
	devices, err := s.devices(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &devicesv1.ListDevicesResponse{}
	devices, more := cut(devices, size)
	for _, d := range devices {
		out.Devices = append(out.Devices, deviceMessage(d, viewer, s.now()))
	}
	if more {
		out.NextPageToken = s.pages.token(list, UIDText(devices[size-1].UID))
	}
	return out, nil
}
