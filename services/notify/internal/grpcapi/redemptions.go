package grpcapi

import (
	"context"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// ReserveVoucher implements notifyv1.NotifyServiceServer.
func (s *Server) ReserveVoucher(ctx context.Context, req *notifyv1.ReserveVoucherRequest) (*notifyv1.Redemption, error) {
	caller := rpc.CallerFrom(ctx)
	by := actor(caller)
	u := voucher.Use{
		Code: req.GetCode(), Assertion: req.GetAssertion(), Merchant: lastID(req.GetMerchant()), Category: req.GetMerchantCategoryCode(),
		Payment: lastID(req.GetPayment()), DeviceUID: req.GetDeviceUid(), Account: lastID(req.GetAccount()),
	}
	switch {
	case by.Role == voucher.RoleService && (u.Payment == "" || (u.DeviceUID == "") == (u.Account == "")):
		return nil, fault.InvalidField("payment", "payments names the payment, and either the band or the account that pays")
	case by.Role != voucher.RoleService && (u.Payment != "" || u.DeviceUID != "" || u.Account != "" || req.GetOnBehalfOf() != ""):
		return nil, fault.InvalidField("payment", "only payments may say what the voucher is for; leave out payment, device_uid, account and on_behalf_of")
	}
	by.Behalf = req.GetOnBehalfOf()
	r, err := request(caller, "ReserveVoucher", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	if u.Price, err = positive("purchase_amount", req.GetPurchaseAmount()); err != nil {
		return nil, err
	}
	done, c, err := s.cfg.Vouchers.Reserve(ctx, by, r, u, s.cfg.Now())
	return redemptionFor(by, done, c, err)
}

// RedeemVoucher implements notifyv1.NotifyServiceServer.
func (s *Server) RedeemVoucher(ctx context.Context, req *notifyv1.RedeemVoucherRequest) (*notifyv1.Redemption, error) {
	caller := rpc.CallerFrom(ctx)
	by := actor(caller)
	r, err := request(caller, "RedeemVoucher", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	u := voucher.Use{
		Code: req.GetCode(), Assertion: req.GetAssertion(), Merchant: lastID(req.GetMerchant()), Category: req.GetMerchantCategoryCode(), Once: true,
	}
	if u.Price, err = positive("purchase_amount", req.GetPurchaseAmount()); err != nil {
		return nil, err
	}
	done, c, err := s.cfg.Vouchers.Reserve(ctx, by, r, u, s.cfg.Now())
	return redemptionFor(by, done, c, err)
}

// ConfirmRedemption implements notifyv1.NotifyServiceServer.
func (s *Server) ConfirmRedemption(ctx context.Context, req *notifyv1.ConfirmRedemptionRequest) (*notifyv1.Redemption, error) {
	caller := rpc.CallerFrom(ctx)
	by := actor(caller)
	r, err := request(caller, "ConfirmRedemption", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	done, c, err := s.cfg.Vouchers.Confirm(ctx, by, r, lastID(req.GetName()), s.cfg.Now())
	return redemptionFor(by, done, c, err)
}

// CancelRedemption implements notifyv1.NotifyServiceServer.
func (s *Server) CancelRedemption(ctx context.Context, req *notifyv1.CancelRedemptionRequest) (*notifyv1.Redemption, error) {
	caller := rpc.CallerFrom(ctx)
	by := actor(caller)
	r, err := request(caller, "CancelRedemption", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	done, c, err := s.cfg.Vouchers.Cancel(ctx, by, r, lastID(req.GetName()), s.cfg.Now())
	return redemptionFor(by, done, c, err)
}

// RollbackRedemption implements notifyv1.NotifyServiceServer.
func (s *Server) RollbackRedemption(ctx context.Context, req *notifyv1.RollbackRedemptionRequest) (*notifyv1.Redemption, error) {
	caller := rpc.CallerFrom(ctx)
	by := actor(caller)
	r, err := request(caller, "RollbackRedemption", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	amount, err := positive("amount", req.GetAmount())
	if err != nil {
		return nil, err
	}
	done, c, err := s.cfg.Vouchers.Rollback(ctx, by, r, lastID(req.GetName()), amount, s.cfg.Now())
	return redemptionFor(by, done, c, err)
}

// redemptionFor tells whose it was only to payments, which compares, and to those who run the campaign.
func redemptionFor(by voucher.Actor, r voucher.Redemption, c voucher.Campaign, err error) (*notifyv1.Redemption, error) {
	if err != nil {
		return nil, err
	}
	out := bus.RedemptionProto(r, c)
	if by.Role != voucher.RoleService && !by.Owns(c) {
		bus.ClearRedeemer(out)
	}
	return out, nil
}
