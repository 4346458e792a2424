package grpcapi

import (
	"context"

	"github.com/armlet-pay/armlet/platform/rpc"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

// CreateClient implements authv1.AuthServiceServer.
func (s *Server) CreateClient(ctx context.Context, in *authv1.CreateClientRequest) (*authv1.Client, error) {
	req, err := requestOf(ctx, "CreateClient", in)
	if err != nil {
		return nil, err
	}
	c, err := s.partners.CreateClient(ctx, req, partner.Client{
		ID: in.GetClientId(), Role: roleOf[in.GetRole()], Partner: id(in.GetPartner()), Mode: modeOf[in.GetMode()], TLS: in.GetTlsClientAuth(),
		OperatorRole: operatorOf[in.GetOperatorRole()], Merchant: id(in.GetMerchant()), Terminal: id(in.GetTerminal()),
	}, in.GetPublicJwk(), s.now())
	return clientOr(c, err)
}

func clientOr(c partner.Client, err error) (*authv1.Client, error) {
	if err != nil {
		return nil, err
	}
	return bus.ClientMessage(c), nil
}

// owner is the partner whose clients the caller may touch; empty is all.
func owner(ctx context.Context) string { return rpc.CallerFrom(ctx).Partner }

// GetClient implements authv1.AuthServiceServer.
func (s *Server) GetClient(ctx context.Context, in *authv1.GetClientRequest) (*authv1.Client, error) {
	c, err := s.reader.Client(ctx, id(in.GetName()))
	if own := owner(ctx); err == nil && own != "" && c.Partner != own {
		err = partner.ErrClientNotFound
	}
	return clientOr(c, err)
}

// ListClients implements authv1.AuthServiceServer.
func (s *Server) ListClients(ctx context.Context, in *authv1.ListClientsRequest) (*authv1.ListClientsResponse, error) {
	of := id(in.GetParent())
	if err := ownOnly(ctx, of); err != nil {
		return nil, err
	}
	if of == "-" {
		of = ""
	} else if _, err := s.reader.Partner(ctx, of); err != nil {
		return nil, err
	}
	size := pageSize(in.GetPageSize())
	clients, err := s.reader.Clients(ctx, of, in.GetPageToken(), size)
	if err != nil {
		return nil, err
	}
	out := &authv1.ListClientsResponse{}
	for _, c := range clients {
		out.Clients = append(out.Clients, bus.ClientMessage(c))
	}
	if len(clients) == size {
		out.NextPageToken = clients[size-1].ID
	}
	return out, nil
}

// pageSize is how many to list.
func pageSize(asked int32) int {
	if asked == 0 {
		return 100
	}
	return int(min(asked, 1000))
}

// AddClientKey implements authv1.AuthServiceServer.
func (s *Server) AddClientKey(ctx context.Context, in *authv1.AddClientKeyRequest) (*authv1.Client, error) {
	req, err := requestOf(ctx, "AddClientKey", in)
	if err != nil {
		return nil, err
	}
	return clientOr(s.partners.AddKey(ctx, req, owner(ctx), id(in.GetName()), in.GetPublicJwk(), s.now()))
}

// RemoveClientKey implements authv1.AuthServiceServer.
func (s *Server) RemoveClientKey(ctx context.Context, in *authv1.RemoveClientKeyRequest) (*authv1.Client, error) {
	req, err := requestOf(ctx, "RemoveClientKey", in)
	if err != nil {
		return nil, err
	}
	return clientOr(s.partners.RemoveKey(ctx, req, owner(ctx), id(in.GetName()), in.GetKeyId(), s.now()))
}

// SuspendClient implements authv1.AuthServiceServer.
func (s *Server) SuspendClient(ctx context.Context, in *authv1.SuspendClientRequest) (*authv1.Client, error) {
	req, err := requestOf(ctx, "SuspendClient", in)
	if err != nil {
		return nil, err
	}
	return clientOr(s.partners.SetClientState(ctx, req, owner(ctx), id(in.GetName()), partner.ClientSuspended, in.GetNote(), s.now()))
}

// ResumeClient implements authv1.AuthServiceServer.
func (s *Server) ResumeClient(ctx context.Context, in *authv1.ResumeClientRequest) (*authv1.Client, error) {
	req, err := requestOf(ctx, "ResumeClient", in)
	if err != nil {
		return nil, err
	}
	return clientOr(s.partners.SetClientState(ctx, req, owner(ctx), id(in.GetName()), partner.ClientActive, "", s.now()))
}

// RevokeClient implements authv1.AuthServiceServer.
func (s *Server) RevokeClient(ctx context.Context, in *authv1.RevokeClientRequest) (*authv1.Client, error) {
	req, err := requestOf(ctx, "RevokeClient", in)
	if err != nil {
		return nil, err
	}
	return clientOr(s.partners.SetClientState(ctx, req, owner(ctx), id(in.GetName()), partner.ClientRevoked, in.GetNote(), s.now()))
}
