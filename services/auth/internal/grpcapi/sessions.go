package grpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/rpc"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/audit"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

// CreateWearerSession implements authv1.AuthServiceServer.
func (s *Server) CreateWearerSession(ctx context.Context, in *authv1.CreateWearerSessionRequest) (*authv1.Session, error) {
	return sessionOr(s.mint.Wearer(ctx, rpc.CallerFrom(ctx).ID, id(in.GetAccount()), s.now()))
}

// CreateTerminalSession implements authv1.AuthServiceServer.
func (s *Server) CreateTerminalSession(ctx context.Context, in *authv1.CreateTerminalSessionRequest) (*authv1.Session, error) {
	return sessionOr(s.mint.Terminal(ctx, rpc.CallerFrom(ctx).ID, id(in.GetMerchant()), id(in.GetTerminal()), s.now()))
}

func sessionOr(t token.Token, err error) (*authv1.Session, error) {
	if err != nil {
		return nil, err
	}
	return &authv1.Session{Name: "sessions/" + t.ID, AccessToken: t.Text, ExpireTime: timestamppb.New(t.ExpiresAt)}, nil
}

// RevokeSessions implements authv1.AuthServiceServer.
func (s *Server) RevokeSessions(ctx context.Context, in *authv1.RevokeSessionsRequest) (*authv1.RevokeSessionsResponse, error) {
	req, err := requestOf(ctx, "RevokeSessions", in)
	if err != nil {
		return nil, err
	}
	e, subject := revocation.Entry{Kind: revocation.Session, ID: id(in.GetSession())}, in.GetSession()
	life := token.TerminalLife // a session's kind is not remembered
	switch in.GetSubject().(type) {
	case *authv1.RevokeSessionsRequest_Account:
		e, subject, life = revocation.Entry{Kind: revocation.Account, ID: id(in.GetAccount())}, in.GetAccount(), token.WearerLife
	case *authv1.RevokeSessionsRequest_Terminal:
		e, subject = revocation.Entry{Kind: revocation.Terminal, ID: id(in.GetTerminal())}, in.GetTerminal()
	}
	if c := rpc.CallerFrom(ctx); c.Role == rpc.RoleWearer && (e.Kind != revocation.Account || e.ID != c.Account) {
		return nil, errNotYours
	}
	e.Until = s.now().Add(life)
	at, err := s.sessions.RevokeOnce(ctx, req, e, audit.Entry{Actor: req.Caller, Action: "sessions.revoked", Subject: subject}, s.now())
	if err != nil {
		return nil, err
	}
	return &authv1.RevokeSessionsResponse{RevokeTime: timestamppb.New(at)}, nil
}
