// Package grpcapi is auth as others see it: the gRPC service armlet.auth.v1, and over HTTP the token endpoint, the public
// keys and the discovery document. It translates; the rules are in the domain packages.
package grpcapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/audit"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

// Reader is what plain reads take from the store.
type Reader interface {
	Partner(ctx context.Context, id string) (partner.Partner, error)
	Partners(ctx context.Context, after string, limit int) ([]partner.Partner, error)
	Client(ctx context.Context, id string) (partner.Client, error)
	Clients(ctx context.Context, partner, after string, limit int) ([]partner.Client, error)
	Grant(ctx context.Context, partner, scope string) (partner.Grant, error)
	Grants(ctx context.Context, partner string) ([]partner.Grant, error)
	Audit(ctx context.Context, subject string, after int64, limit int) ([]audit.Entry, error)
	AuditHead(ctx context.Context) (audit.Entry, error)
}

// Sessions remembers what is done to sessions, which have no row of their own.
type Sessions interface {
	// RecordAudit adds entries to the audit.
	RecordAudit(ctx context.Context, now time.Time, entries ...audit.Entry) error
	// RevokeOnce takes something back and says when; a repeated request says when it was. It fails with REQUEST_ID_REUSED.
	RevokeOnce(ctx context.Context, req request.ID, e revocation.Entry, why audit.Entry, now time.Time) (time.Time, error)
}

var errNotYours = fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "a wearer ends the sessions of the own account")

// Server implements authv1.AuthServiceServer.
type Server struct {
	authv1.UnimplementedAuthServiceServer
	partners   *partner.Service
	challenges *challenge.Service
	offline    *offline.Service
	ring       *keys.Ring
	keys       *keys.Service
	mint       *token.Mint
	reader     Reader
	sessions   Sessions
	now        func() time.Time
}

// New makes a Server.
func New(partners *partner.Service, challenges *challenge.Service, taps *offline.Service, ring *keys.Ring, lives *keys.Service, mint *token.Mint,
	reader Reader, sessions Sessions, now func() time.Time,
) *Server {
	return &Server{
		partners: partners, challenges: challenges, offline: taps, ring: ring, keys: lives, mint: mint, reader: reader, sessions: sessions, now: now,
	}
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
