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
	t, err := s.mint.Wearer(ctx, rpc.CallerFrom(ctx).ID, id(in.GetAccount()), s.now())
	return s.sessionOr(ctx, t, err, in.GetAccount())
}

// CreateTerminalSession implements authv1.AuthServiceServer.
func (s *Server) CreateTerminalSession(ctx context.Context, in *authv1.CreateTerminalSessionRequest) (*authv1.Session, error) {
	t, err := s.mint.Terminal(ctx, rpc.CallerFrom(ctx).ID, id(in.GetMerchant()), id(in.GetTerminal()), s.now())
	return s.sessionOr(ctx, t, err, in.GetTerminal())
}

// sessionOr gives out a session that is on record: whoever may make one can act as anybody.
func (s *Server) sessionOr(ctx context.Context, t token.Token, err error, subject string) (*authv1.Session, error) {
	if err != nil {
		return nil, err
	}
	e := audit.Entry{Actor: callerOf(ctx).Key(), Action: "session.created", Subject: subject, Detail: "sessions/" + t.ID}
	if err := s.sessions.RecordAudit(ctx, s.now(), e); err != nil {
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
