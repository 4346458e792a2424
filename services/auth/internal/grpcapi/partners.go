package grpcapi

import (
	"context"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

// CreatePartner implements authv1.AuthServiceServer.
func (s *Server) CreatePartner(ctx context.Context, in *authv1.CreatePartnerRequest) (*authv1.Partner, error) {
	req, err := requestOf(ctx, "CreatePartner", in)
	if err != nil {
		return nil, err
	}
	return partnerOr(s.partners.Create(ctx, req, in.GetPartnerId(), in.GetDisplayName(), s.now()))
}

func partnerOr(p partner.Partner, err error) (*authv1.Partner, error) {
	if err != nil {
		return nil, err
	}
	return bus.PartnerMessage(p), nil
}

// GetPartner implements authv1.AuthServiceServer.
func (s *Server) GetPartner(ctx context.Context, in *authv1.GetPartnerRequest) (*authv1.Partner, error) {
	if err := ownOnly(ctx, id(in.GetName())); err != nil {
		return nil, err
	}
	return partnerOr(s.reader.Partner(ctx, id(in.GetName())))
}

// ListPartners implements authv1.AuthServiceServer.
func (s *Server) ListPartners(ctx context.Context, in *authv1.ListPartnersRequest) (*authv1.ListPartnersResponse, error) {
	size := pageSize(in.GetPageSize())
	partners, err := s.reader.Partners(ctx, in.GetPageToken(), size)
	if err != nil {
		return nil, err
	}
	out := &authv1.ListPartnersResponse{}
	for _, p := range partners {
		out.Partners = append(out.Partners, bus.PartnerMessage(p))
	}
	if len(partners) == size {
		out.NextPageToken = partners[size-1].ID
	}
	return out, nil
}

// SuspendPartner implements authv1.AuthServiceServer.
func (s *Server) SuspendPartner(ctx context.Context, in *authv1.SuspendPartnerRequest) (*authv1.Partner, error) {
	req, err := requestOf(ctx, "SuspendPartner", in)
	if err != nil {
		return nil, err
	}
	return partnerOr(s.partners.Suspend(ctx, req, id(in.GetName()), in.GetNote(), s.now()))
}

// OffboardPartner implements authv1.AuthServiceServer.
func (s *Server) OffboardPartner(ctx context.Context, in *authv1.OffboardPartnerRequest) (*authv1.Partner, error) {
	req, err := requestOf(ctx, "OffboardPartner", in)
	if err != nil {
		return nil, err
	}
	return partnerOr(s.partners.Offboard(ctx, req, id(in.GetName()), in.GetNote(), s.now()))
}

// ResumePartner implements authv1.AuthServiceServer.
func (s *Server) ResumePartner(ctx context.Context, in *authv1.ResumePartnerRequest) (*authv1.Partner, error) {
	req, err := requestOf(ctx, "ResumePartner", in)
	if err != nil {
		return nil, err
	}
	return partnerOr(s.partners.Resume(ctx, req, id(in.GetName()), s.now()))
}
