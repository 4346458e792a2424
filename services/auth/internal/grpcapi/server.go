// Package grpcapi is auth as others see it: the gRPC service armlet.auth.v1, and over HTTP the token endpoint, the public
// keys and the discovery document. It translates; the rules are in the domain packages.
package grpcapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

// Reader is what plain reads take from the store.
type Reader interface {
	Partner(ctx context.Context, id string) (partner.Partner, error)
	Grants(ctx context.Context, partner string) ([]partner.Grant, error)
}

// Server implements authv1.AuthServiceServer.
type Server struct {
	authv1.UnimplementedAuthServiceServer
	partners   *partner.Service
	challenges *challenge.Service
	offline    *offline.Service
	ring       *keys.Ring
	mint       *token.Mint
	reader     Reader
	now        func() time.Time
}

// New makes a Server.
func New(partners *partner.Service, challenges *challenge.Service, taps *offline.Service, ring *keys.Ring, mint *token.Mint, reader Reader,
	now func() time.Time,
) *Server {
	return &Server{partners: partners, challenges: challenges, offline: taps, ring: ring, mint: mint, reader: reader, now: now}
}

// CreatePartner implements authv1.AuthServiceServer.
func (s *Server) CreatePartner(ctx context.Context, in *authv1.CreatePartnerRequest) (*authv1.Partner, error) {
	req, err := requestOf(ctx, "CreatePartner", in)
	if err != nil {
		return nil, err
	}
	p, err := s.partners.Create(ctx, req, in.GetPartnerId(), in.GetDisplayName(), s.now())
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
	p, err := s.reader.Partner(ctx, id(in.GetName()))
	if err != nil {
		return nil, err
	}
	return bus.PartnerMessage(p), nil
}

// CreateClient implements authv1.AuthServiceServer.
func (s *Server) CreateClient(ctx context.Context, in *authv1.CreateClientRequest) (*authv1.Client, error) {
	req, err := requestOf(ctx, "CreateClient", in)
	if err != nil {
		return nil, err
	}
	c, err := s.partners.CreateClient(ctx, req, partner.Client{
		ID: in.GetClientId(), Role: roleOf[in.GetRole()], Partner: id(in.GetPartner()), PublicJWK: in.GetPublicJwk(), Mode: modeOf[in.GetMode()],
	}, s.now())
	if err != nil {
		return nil, err
	}
	return clientMessage(c), nil
}

// CreateGrant implements authv1.AuthServiceServer.
func (s *Server) CreateGrant(ctx context.Context, in *authv1.CreateGrantRequest) (*authv1.Grant, error) {
	req, err := requestOf(ctx, "CreateGrant", in)
	if err != nil {
		return nil, err
	}
	g := partner.Grant{Partner: id(in.GetParent()), Scope: in.GetScope()}
	if end := in.GetExpireTime(); end != nil {
		if !end.IsValid() {
			return nil, fault.InvalidField("expire_time", "this is not a time")
		}
		g.ExpiresAt = end.AsTime().Truncate(time.Microsecond)
	}
	if g, err = s.partners.Grant(ctx, req, g, s.now()); err != nil {
		return nil, err
	}
	return bus.GrantMessage(g), nil
}

// RevokeGrant implements authv1.AuthServiceServer.
func (s *Server) RevokeGrant(ctx context.Context, in *authv1.RevokeGrantRequest) (*authv1.Grant, error) {
	req, err := requestOf(ctx, "RevokeGrant", in)
	if err != nil {
		return nil, err
	}
	owner, scope := grantParts(in.GetName())
	g, err := s.partners.Revoke(ctx, req, owner, scope, s.now())
	if fault.ReasonOf(err) == partner.ErrNotFound.Reason {
		return nil, partner.ErrGrantNotFound
	}
	if err != nil {
		return nil, err
	}
	return bus.GrantMessage(g), nil
}

// ListGrants implements authv1.AuthServiceServer.
func (s *Server) ListGrants(ctx context.Context, in *authv1.ListGrantsRequest) (*authv1.ListGrantsResponse, error) {
	owner := id(in.GetParent())
	if err := ownOnly(ctx, owner); err != nil {
		return nil, err
	}
	if _, err := s.reader.Partner(ctx, owner); err != nil {
		return nil, err
	}
	grants, err := s.reader.Grants(ctx, owner)
	if err != nil {
		return nil, err
	}
	out := &authv1.ListGrantsResponse{}
	for _, g := range grants {
		out.Grants = append(out.Grants, bus.GrantMessage(g))
	}
	return out, nil
}

// ExportMasterKey implements authv1.AuthServiceServer.
func (s *Server) ExportMasterKey(ctx context.Context, in *authv1.ExportMasterKeyRequest) (*authv1.ExportMasterKeyResponse, error) {
	owner := id(in.GetPartner())
	if ownOnly(ctx, owner) != nil {
		return nil, keys.ErrNotFound
	}
	jwe, err := s.ring.Export(ctx, owner, int(in.GetKeyEpoch()), in.GetRecipientJwk())
	if err != nil {
		return nil, err
	}
	return &authv1.ExportMasterKeyResponse{Jwe: jwe}, nil
}

// CreateWearerSession implements authv1.AuthServiceServer.
func (s *Server) CreateWearerSession(ctx context.Context, in *authv1.CreateWearerSessionRequest) (*authv1.Session, error) {
	t, err := s.mint.Wearer(rpc.CallerFrom(ctx).ID, id(in.GetAccount()), s.now())
	if err != nil {
		return nil, err
	}
	return sessionMessage(t), nil
}

// CreateTerminalSession implements authv1.AuthServiceServer.
func (s *Server) CreateTerminalSession(ctx context.Context, in *authv1.CreateTerminalSessionRequest) (*authv1.Session, error) {
	t, err := s.mint.Terminal(rpc.CallerFrom(ctx).ID, id(in.GetMerchant()), id(in.GetTerminal()), s.now())
	if err != nil {
		return nil, err
	}
	return sessionMessage(t), nil
}

// BeginClaim implements authv1.AuthServiceServer.
func (s *Server) BeginClaim(ctx context.Context, in *authv1.BeginClaimRequest) (*authv1.Claim, error) {
	uid, err := scannedUID(in.GetUid())
	if err != nil {
		return nil, err
	}
	req, err := requestOf(ctx, "BeginClaim", in)
	if err != nil {
		return nil, err
	}
	c, err := s.challenges.BeginClaim(ctx, req, callerOf(ctx).Account, uid, s.now())
	if err != nil {
		return nil, err
	}
	return &authv1.Claim{Name: "claims/" + c.ID, ChallengeFrame: c.Frame, ExpireTime: timestamppb.New(c.ExpiresAt())}, nil
}

// CompleteClaim implements authv1.AuthServiceServer.
func (s *Server) CompleteClaim(ctx context.Context, in *authv1.CompleteClaimRequest) (*authv1.CompleteClaimResponse, error) {
	c, err := s.challenges.CompleteClaim(ctx, callerOf(ctx).Account, id(in.GetName()), in.GetResponseFrame(), in.GetTransferCode(), s.now())
	if err != nil {
		return nil, err
	}
	return &authv1.CompleteClaimResponse{Device: c.Device, Account: c.Account, ResultFrame: c.Result}, nil
}

// CreateChallenge implements authv1.AuthServiceServer.
func (s *Server) CreateChallenge(ctx context.Context, in *authv1.CreateChallengeRequest) (*authv1.Challenge, error) {
	wanted, err := wantedOf(in)
	if err != nil {
		return nil, err
	}
	req, err := requestOf(ctx, "CreateChallenge", in)
	if err != nil {
		return nil, err
	}
	c, err := s.challenges.Create(ctx, callerOf(ctx), req, wanted, s.now())
	if err != nil {
		return nil, err
	}
	return challengeMessage(ctx, c), nil
}

// VerifyResponse implements authv1.AuthServiceServer.
func (s *Server) VerifyResponse(ctx context.Context, in *authv1.VerifyResponseRequest) (*authv1.Decision, error) {
	nonce, err := nonceOf(in.GetChallenge())
	if err != nil {
		return nil, err
	}
	v, err := s.challenges.Verify(ctx, callerOf(ctx), nonce, in.GetResponseFrame(), s.now())
	if err != nil {
		return nil, err
	}
	return decisionMessage(ctx, v), nil
}
