package grpcapi

import (
	"context"
	"fmt"

	"github.com/armlet-pay/armlet/platform/fault"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/bus"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// CreateMerchant registers a merchant.
func (s *Server) CreateMerchant(ctx context.Context, in *paymentsv1.CreateMerchantRequest) (*paymentsv1.Merchant, error) {
	// What the contract says is ignored must not make a repeat look like another request.
	want := in.GetMerchant()
	counts := &paymentsv1.CreateMerchantRequest{RequestId: in.GetRequestId(), Merchant: &paymentsv1.Merchant{
		DisplayName: want.GetDisplayName(), CategoryCode: want.GetCategoryCode(), CurrencyCode: want.GetCurrencyCode(),
		FeeSchedule: want.GetFeeSchedule(), Settlement: want.GetSettlement(),
	}}
	req, err := request(caller(ctx), paymentsv1.PaymentsService_CreateMerchant_FullMethodName, counts)
	if err != nil {
		return nil, err
	}
	m, err := s.payments.CreateMerchant(ctx, req, payment.Merchant{
		DisplayName: want.GetDisplayName(), CategoryCode: want.GetCategoryCode(), Currency: want.GetCurrencyCode(),
		Fees: fees(want.GetFeeSchedule()), Settlement: schedule(want.GetSettlement()),
	}, s.now())
	if err != nil {
		return nil, err
	}
	return bus.MerchantProto(m), nil
}

// GetMerchant reads a merchant.
func (s *Server) GetMerchant(ctx context.Context, in *paymentsv1.GetMerchantRequest) (*paymentsv1.Merchant, error) {
	m, err := s.payments.Merchant(ctx, caller(ctx), id(in.GetName()))
	if err != nil {
		return nil, err
	}
	return bus.MerchantProto(m), nil
}

// ListMerchants lists all merchants, newest first.
func (s *Server) ListMerchants(ctx context.Context, in *paymentsv1.ListMerchantsRequest) (*paymentsv1.ListMerchantsResponse, error) {
	c := caller(ctx)
	after, err := s.pages.open(c, "merchants", in.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(in.GetPageSize())
	list, err := s.books.Merchants(ctx, after, size+1)
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.ListMerchantsResponse{}
	if len(list) > size {
		list = list[:size]
		last := list[size-1]
		out.NextPageToken = s.pages.seal(c, "merchants", payment.Cursor{CreateTime: last.CreateTime, ID: last.ID})
	}
	for _, m := range list {
		out.Merchants = append(out.Merchants, bus.MerchantProto(m))
	}
	return out, nil
}

// UpdateMerchant changes what the mask names.
func (s *Server) UpdateMerchant(ctx context.Context, in *paymentsv1.UpdateMerchantRequest) (*paymentsv1.Merchant, error) {
	want := in.GetMerchant()
	edits := map[string]func(*payment.Merchant){
		"display_name":  func(m *payment.Merchant) { m.DisplayName = want.GetDisplayName() },
		"category_code": func(m *payment.Merchant) { m.CategoryCode = want.GetCategoryCode() },
		"fee_schedule":  func(m *payment.Merchant) { m.Fees = fees(want.GetFeeSchedule()) },
		"settlement":    func(m *payment.Merchant) { m.Settlement = schedule(want.GetSettlement()) },
	}
	paths := in.GetUpdateMask().GetPaths()
	if len(paths) == 0 {
		return nil, fault.InvalidField("update_mask", "must name at least one of display_name, category_code, fee_schedule and settlement")
	}
	for i, path := range paths {
		if edits[path] == nil {
			return nil, fault.InvalidField(fmt.Sprintf("update_mask.paths[%d]", i),
				"must be display_name, category_code, fee_schedule or settlement")
		}
	}
	req, err := request(caller(ctx), paymentsv1.PaymentsService_UpdateMerchant_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	m, err := s.payments.UpdateMerchant(ctx, req, id(want.GetName()), func(m *payment.Merchant) {
		for _, path := range paths {
			edits[path](m)
		}
	}, s.now())
	if err != nil {
		return nil, err
	}
	return bus.MerchantProto(m), nil
}

// SuspendMerchant stops new payments to a merchant.
func (s *Server) SuspendMerchant(ctx context.Context, in *paymentsv1.SuspendMerchantRequest) (*paymentsv1.Merchant, error) {
	return s.suspendMerchant(ctx, paymentsv1.PaymentsService_SuspendMerchant_FullMethodName, in, true)
}

// ResumeMerchant lets a merchant be paid again.
func (s *Server) ResumeMerchant(ctx context.Context, in *paymentsv1.ResumeMerchantRequest) (*paymentsv1.Merchant, error) {
	return s.suspendMerchant(ctx, paymentsv1.PaymentsService_ResumeMerchant_FullMethodName, in, false)
}

func (s *Server) suspendMerchant(ctx context.Context, method string, in named, suspended bool) (*paymentsv1.Merchant, error) {
	req, err := request(caller(ctx), method, in)
	if err != nil {
		return nil, err
	}
	m, err := s.payments.SuspendMerchant(ctx, req, id(in.GetName()), suspended, s.now())
	if err != nil {
		return nil, err
	}
	return bus.MerchantProto(m), nil
}

// CreateTerminal registers a terminal.
func (s *Server) CreateTerminal(ctx context.Context, in *paymentsv1.CreateTerminalRequest) (*paymentsv1.Terminal, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_CreateTerminal_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	return terminal(s.payments.CreateTerminal(ctx, req, id(in.GetMerchant()), in.GetDisplayName()))
}

// GetTerminal reads a terminal.
func (s *Server) GetTerminal(ctx context.Context, in *paymentsv1.GetTerminalRequest) (*paymentsv1.Terminal, error) {
	return terminal(s.payments.Terminal(ctx, caller(ctx), id(in.GetName())))
}

// ListTerminals lists a merchant's terminals by name.
func (s *Server) ListTerminals(ctx context.Context, in *paymentsv1.ListTerminalsRequest) (*paymentsv1.ListTerminalsResponse, error) {
	c, scope := caller(ctx), "terminals "+in.GetMerchant()
	at, err := s.pages.open(c, scope, in.GetPageToken())
	if err != nil {
		return nil, err
	}
	after := ""
	if at != nil {
		after = at.ID
	}
	size := pageSize(in.GetPageSize())
	list, err := s.payments.Terminals(ctx, c, id(in.GetMerchant()), after, size+1)
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.ListTerminalsResponse{}
	if len(list) > size {
		list = list[:size]
		out.NextPageToken = s.pages.seal(c, scope, payment.Cursor{ID: list[size-1].ID})
	}
	for _, t := range list {
		shown, _ := terminal(t, nil)
		out.Terminals = append(out.Terminals, shown)
	}
	return out, nil
}

// SuspendTerminal stops everything that a terminal may do.
func (s *Server) SuspendTerminal(ctx context.Context, in *paymentsv1.SuspendTerminalRequest) (*paymentsv1.Terminal, error) {
	return s.suspendTerminal(ctx, paymentsv1.PaymentsService_SuspendTerminal_FullMethodName, in, true)
}

// ResumeTerminal lets a terminal work again.
func (s *Server) ResumeTerminal(ctx context.Context, in *paymentsv1.ResumeTerminalRequest) (*paymentsv1.Terminal, error) {
	return s.suspendTerminal(ctx, paymentsv1.PaymentsService_ResumeTerminal_FullMethodName, in, false)
}

func (s *Server) suspendTerminal(ctx context.Context, method string, in named, suspended bool) (*paymentsv1.Terminal, error) {
	req, err := request(caller(ctx), method, in)
	if err != nil {
		return nil, err
	}
	return terminal(s.payments.SuspendTerminal(ctx, req, id(in.GetName()), suspended))
}

func terminal(t payment.TerminalDevice, err error) (*paymentsv1.Terminal, error) {
	if err != nil {
		return nil, err
	}
	return &paymentsv1.Terminal{
		Name: "terminals/" + t.ID, Merchant: "merchants/" + t.Merchant, DisplayName: t.DisplayName, Suspended: t.Suspended,
	}, nil
}

func fees(f *paymentsv1.FeeSchedule) payment.FeeSchedule {
	return payment.FeeSchedule{BasisPoints: f.GetBasisPoints(), FixedMinor: f.GetFixedMinorUnits(), ReturnedOnRefund: f.GetReturnedOnRefund()}
}

func schedule(d *paymentsv1.SettlementSchedule) payment.SettlementSchedule {
	return payment.SettlementSchedule{CutOff: d.GetCutOff(), TimeZone: d.GetTimeZone(), PayoutAccount: d.GetPayoutAccount()}
}
