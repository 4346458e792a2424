package grpcapi

import (
	"context"
	"time"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// CheckDevice implements the contract. It is the hot call: one statement, no transaction.
func (s *Server) CheckDevice(ctx context.Context, req *devicesv1.CheckDeviceRequest) (*devicesv1.CheckDeviceResponse, error) {
	if account := req.GetAccount(); account != "" {
		st, err := s.cfg.Reader.StandingOf(ctx, bareAccount(account))
		if err != nil {
			return nil, err
		}
		return standingMessage(st, actorFrom(ctx), s.now()), nil
	}
	uid, err := parseUID("uid", req.GetUid())
	if err != nil {
		return nil, err
	}
	st, err := s.cfg.Reader.Standing(ctx, uid)
	if err != nil {
		return nil, err
	}
	return standingMessage(st, actorFrom(ctx), s.now()), nil
}

// BeginBinding implements the contract.
func (s *Server) BeginBinding(ctx context.Context, req *devicesv1.BeginBindingRequest) (*devicesv1.Binding, error) {
	uid, err := parseUID("uid", req.GetUid())
	if err != nil {
		return nil, err
	}
	return once(ctx, s, req, func(ctx context.Context, _ device.Actor, now time.Time) (*devicesv1.Binding, error) {
		b, err := s.cfg.Bindings.Begin(ctx, uid, bareAccount(req.GetAccount()), now)
		if err != nil {
			return nil, err
		}
		return bindingMessage(b), nil
	})
}

// ConfirmBinding implements the contract.
func (s *Server) ConfirmBinding(ctx context.Context, req *devicesv1.ConfirmBindingRequest) (*devicesv1.Binding, error) {
	b, err := s.cfg.Bindings.Confirm(ctx, actorFrom(ctx), device.BindingID(req.GetBindingId()), s.now())
	if err != nil {
		return nil, err
	}
	return bindingMessage(b), nil
}

// ReleaseBinding implements the contract.
func (s *Server) ReleaseBinding(ctx context.Context, req *devicesv1.ReleaseBindingRequest) (*devicesv1.Binding, error) {
	return once(ctx, s, req, func(ctx context.Context, by device.Actor, now time.Time) (*devicesv1.Binding, error) {
		b, err := s.cfg.Bindings.Release(ctx, by, device.BindingID(req.GetBindingId()), bareAccount(req.GetAccount()), req.GetProof(), now)
		if err != nil {
			return nil, err
		}
		return bindingMessage(b), nil
	})
}

// CompleteTransfer implements the contract.
func (s *Server) CompleteTransfer(ctx context.Context, req *devicesv1.CompleteTransferRequest) (*devicesv1.Binding, error) {
	b, err := s.cfg.Bindings.Complete(ctx, actorFrom(ctx), device.BindingID(req.GetBindingId()), req.GetTransferCode(), s.now())
	if err != nil {
		return nil, err
	}
	return bindingMessage(b), nil
}
