package grpcapi

import (
	"context"
	"strconv"
	"time"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
)

// CreateModel implements the contract.
func (s *Server) CreateModel(ctx context.Context, req *devicesv1.CreateModelRequest) (*devicesv1.Model, error) {
	return once(ctx, s, req, func(ctx context.Context, by device.Actor, now time.Time) (*devicesv1.Model, error) {
		in := req.GetModel()
		m := device.Model{
			Partner: partnerOf(req.GetParent()), ID: req.GetModelId(), DisplayName: in.GetDisplayName(),
			HasDisplay: in.GetHasDisplay(), HasWristDetection: in.GetHasWristDetection(), MinSVN: in.GetMinSvn(),
			Sensors: small(in.GetSensors()), Proximity: small(in.GetProximityMethods()),
		}
		for _, suite := range in.GetSuites() {
			m.Suites = append(m.Suites, domainSuite(suite))
		}
		m, err := s.cfg.Devices.CreateModel(ctx, by, m, now)
		return s.modelAfter(ctx, m, err)
	})
}

// GetModel implements the contract.
func (s *Server) GetModel(ctx context.Context, req *devicesv1.GetModelRequest) (*devicesv1.Model, error) {
	m, err := s.findModel(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return ModelMessage(m), nil
}

// findModel reads a model by name as the caller may see it.
func (s *Server) findModel(ctx context.Context, name string) (device.Model, error) {
	partner := partnerOf(name)
	if !actorFrom(ctx).SeesPartner(partner) {
		return device.Model{}, device.ErrModelNotFound
	}
	return s.cfg.Catalog.Model(ctx, partner, lastOf(name))
}

// CreateLot implements the contract.
func (s *Server) CreateLot(ctx context.Context, req *devicesv1.CreateLotRequest) (*devicesv1.Lot, error) {
	return once(ctx, s, req, func(ctx context.Context, by device.Actor, now time.Time) (*devicesv1.Lot, error) {
		partner := partnerOf(req.GetParent())
		if partnerOf(req.GetModel()) != partner {
			return nil, device.ErrModelNotFound
		}
		l, err := s.cfg.Lots.Create(ctx, by, lot.Lot{
			Kind: lotKind(req.GetKind()), State: heldOrReleased(req.GetHold()), Exceptions: runs(req.GetExceptions()), Partner: partner, No: req.GetLotNo(), ModelID: lastOf(req.GetModel()), Suite: domainSuite(req.GetSuite()),
			KeyEpoch: uint16(req.GetKeyEpoch()), First: req.GetFirstSerial(), Count: req.GetDeviceCount(),
		}, now)
		if err != nil {
			return nil, err
		}
		return LotMessage(l), nil
	})
}

// GetLot implements the contract.
func (s *Server) GetLot(ctx context.Context, req *devicesv1.GetLotRequest) (*devicesv1.Lot, error) {
	l, err := s.findLot(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return LotMessage(l), nil
}

// findLot reads a lot by name as the caller may see it.
func (s *Server) findLot(ctx context.Context, name string) (lot.Lot, error) {
	partner, no, err := parseLot(name)
	if err != nil || !actorFrom(ctx).SeesPartner(partner) {
		return lot.Lot{}, lot.ErrNotFound
	}
	return s.cfg.Catalog.Lot(ctx, partner, no)
}

// parseLot reads the name of a lot. A lot has one name: 007 is not another one of lot 7.
func parseLot(name string) (partner string, no uint32, err error) {
	text := lastOf(name)
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return "", 0, lot.ErrNotFound
	}
	return partnerOf(name), uint32(n), nil
}

func lotKind(k devicesv1.LotKind) lot.Kind {
	if k == devicesv1.LotKind_LOT_KIND_LISTED {
		return lot.Listed
	}
	return lot.Range
}

func heldOrReleased(hold bool) device.LotState {
	if hold {
		return device.LotHeld
	}
	return device.LotReleased
}

func runs(ranges []*devicesv1.SerialRange) []lot.Run {
	var out []lot.Run
	for _, r := range ranges {
		out = append(out, lot.Run{First: r.GetFirstSerial(), Last: r.GetLastSerial()})
	}
	return out
}

// ListLots implements the contract.
func (s *Server) ListLots(ctx context.Context, req *devicesv1.ListLotsRequest) (*devicesv1.ListLotsResponse, error) {
	partner := partnerOf(req.GetParent())
	if !actorFrom(ctx).SeesPartner(partner) {
		return nil, device.ErrNotYours
	}
	list, size := listName("lots", partner), pageSize(req.GetPageSize())
	last, err := s.pages.after(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	var after uint64
	if last != "" {
		if after, err = strconv.ParseUint(last, 10, 32); err != nil {
			return nil, err
		}
	}
	lots, err := s.cfg.Catalog.Lots(ctx, partner, uint32(after), size+1)
	if err != nil {
		return nil, err
	}
	out := &devicesv1.ListLotsResponse{}
	lots, more := cut(lots, size)
	for _, l := range lots {
		out.Lots = append(out.Lots, LotMessage(l))
	}
	if more {
		out.NextPageToken = s.pages.token(list, strconv.FormatUint(uint64(lots[size-1].No), 10))
	}
	return out, nil
}
