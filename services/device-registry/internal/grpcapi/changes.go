package grpcapi

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

// ListModels implements the contract.
func (s *Server) ListModels(ctx context.Context, req *devicesv1.ListModelsRequest) (*devicesv1.ListModelsResponse, error) {
	partner := partnerOf(req.GetParent())
	if !actorFrom(ctx).SeesPartner(partner) {
		return nil, device.ErrNotYours
	}
	list, size := listName("models", partner), pageSize(req.GetPageSize())
	after, err := s.pages.after(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	models, err := s.cfg.Catalog.Models(ctx, partner, after, size+1)
	if err != nil {
		return nil, err
	}
	out := &devicesv1.ListModelsResponse{}
	models, more := cut(models, size)
	for _, m := range models {
		out.Models = append(out.Models, ModelMessage(m))
	}
	if more {
		out.NextPageToken = s.pages.token(list, models[size-1].ID)
	}
	return out, nil
}

// UpdateModel implements the contract.
func (s *Server) UpdateModel(ctx context.Context, req *devicesv1.UpdateModelRequest) (*devicesv1.Model, error) {
	in := req.GetModel()
	partner, id, err := parseModel("model.name", in.GetName())
	if err != nil {
		return nil, err
	}
	return once(ctx, s, req, func(ctx context.Context, by device.Actor, now time.Time) (*devicesv1.Model, error) {
		m, err := s.cfg.Devices.ChangeModel(ctx, by, partner, id, func(old device.Model) (device.Model, []device.ModelEvent, error) {
			if in.GetEtag() != "" && in.GetEtag() != etag(old.Head) {
				return old, nil, device.ErrETag
			}
			return old.Change(device.Model{
				DisplayName: in.GetDisplayName(), HasDisplay: in.GetHasDisplay(), HasWristDetection: in.GetHasWristDetection(),
				MinSVN: in.GetMinSvn(), Sensors: small(in.GetSensors()), Proximity: small(in.GetProximityMethods()),
			}, req.GetUpdateMask().GetPaths(), by, now)
		})
		return s.modelAfter(ctx, m, err)
	})
}

// SetModelStatus implements the contract.
func (s *Server) SetModelStatus(ctx context.Context, req *devicesv1.SetModelStatusRequest) (*devicesv1.Model, error) {
	partner, id, err := parseModel("name", req.GetName())
	if err != nil {
		return nil, err
	}
	return once(ctx, s, req, func(ctx context.Context, by device.Actor, now time.Time) (*devicesv1.Model, error) {
		m, err := s.cfg.Devices.ChangeModel(ctx, by, partner, id, func(old device.Model) (device.Model, []device.ModelEvent, error) {
			return old.SetStatus(device.ModelStatus(req.GetStatus()), req.GetNote(), by, now)
		})
		return s.modelAfter(ctx, m, err)
	})
}

// modelAfter reads a changed model anew, since its etag comes with the record of the change.
func (s *Server) modelAfter(ctx context.Context, m device.Model, err error) (*devicesv1.Model, error) {
	if err == nil {
		m, err = s.cfg.Catalog.Model(ctx, m.Partner, m.ID)
	}
	if err != nil {
		return nil, err
	}
	return ModelMessage(m), nil
}

// ReleaseLot implements the contract.
func (s *Server) ReleaseLot(ctx context.Context, req *devicesv1.ReleaseLotRequest) (*devicesv1.Lot, error) {
	return s.changeLot(ctx, req, req.GetName(), func(old lot.Lot, by device.Actor, now time.Time) (lot.Lot, []lot.Event, error) {
		return old.Release(req.GetNote(), by, now)
	})
}

// RecallLot implements the contract.
func (s *Server) RecallLot(ctx context.Context, req *devicesv1.RecallLotRequest) (*devicesv1.Lot, error) {
	return s.changeLot(ctx, req, req.GetName(), func(old lot.Lot, by device.Actor, now time.Time) (lot.Lot, []lot.Event, error) {
		return old.Recall(req.GetNote(), by, now)
	})
}

func (s *Server) changeLot(ctx context.Context, req repeatable, name string,
	rule func(old lot.Lot, by device.Actor, now time.Time) (lot.Lot, []lot.Event, error),
) (*devicesv1.Lot, error) {
	partner, no, err := parseLot(name)
	if err != nil {
		return nil, err
	}
	return once(ctx, s, req, func(ctx context.Context, by device.Actor, now time.Time) (*devicesv1.Lot, error) {
		l, err := s.cfg.Lots.Change(ctx, by, partner, no, func(old lot.Lot) (lot.Lot, []lot.Event, error) { return rule(old, by, now) })
		if err != nil {
			return nil, err
		}
		return LotMessage(l), nil
	})
}

// GetQuota implements the contract.
func (s *Server) GetQuota(ctx context.Context, req *devicesv1.GetQuotaRequest) (*devicesv1.Quota, error) {
	partner := partnerOf(req.GetName())
	if !actorFrom(ctx).SeesPartner(partner) {
		return nil, device.ErrNotYours
	}
	return s.quotaOf(ctx, req.GetName())
}

// UpdateQuota implements the contract.
func (s *Server) UpdateQuota(ctx context.Context, req *devicesv1.UpdateQuotaRequest) (*devicesv1.Quota, error) {
	return once(ctx, s, req, func(ctx context.Context, _ device.Actor, _ time.Time) (*devicesv1.Quota, error) {
		own := quota.Own{Models: req.ModelLimit, Lots: req.LotLimit, Devices: req.DeviceLimit}
		if err := s.cfg.Catalog.SetQuota(ctx, partnerOf(req.GetName()), own); err != nil {
			return nil, err
		}
		return s.quotaOf(ctx, req.GetName())
	})
}

func (s *Server) quotaOf(ctx context.Context, name string) (*devicesv1.Quota, error) {
	limits, used, err := s.cfg.Catalog.Usage(ctx, partnerOf(name))
	if err != nil {
		return nil, err
	}
	return &devicesv1.Quota{
		Name: name, ModelLimit: limits.Models, Models: used.Models, LotLimit: limits.Lots, Lots: used.Lots,
		DeviceLimit: limits.Devices, Devices: used.Devices,
	}, nil
}

// parseModel reads the name of a model where the contract's field rules cannot check it.
func parseModel(field, name string) (partner, id string, err error) {
	partner, id = partnerOf(name), lastOf(name)
	if ModelName(partner, id) != name || !resourceID.MatchString(partner) || !resourceID.MatchString(id) {
		return "", "", fault.InvalidField(field, "wants partners/{partner}/models/{model}")
	}
	return partner, id, nil
}
