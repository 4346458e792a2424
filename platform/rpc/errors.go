package rpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Domain is the domain of every google.rpc.ErrorInfo.
const Domain = "armlet"

// The reasons of this package itself.
const (
	// ReasonDeadlineRequired is INVALID_ARGUMENT: the call has no deadline.
	ReasonDeadlineRequired = "DEADLINE_REQUIRED"
	// ReasonCallerUnknown is UNAUTHENTICATED: no credential, or one that is not valid. In the latter case the metadata
	// `token` says why: "expired", "revoked", "unbound" (it is for the holder of another client certificate) or "invalid".
	ReasonCallerUnknown = "CALLER_UNKNOWN"
	// ReasonCallerNotAllowed is PERMISSION_DENIED: the policy does not let this caller call this method.
	ReasonCallerNotAllowed = "CALLER_NOT_ALLOWED"
	// ReasonScopeMissing is PERMISSION_DENIED: a partner's token lacks the scope that the metadata `scope` names.
	ReasonScopeMissing = "SCOPE_MISSING"
	// ReasonGrantLimitExceeded is RESOURCE_EXHAUSTED: more calls than the partner's grant permits.
	ReasonGrantLimitExceeded = "GRANT_LIMIT_EXCEEDED"
	// ReasonKeysUnavailable is UNAVAILABLE: the keys that tokens are verified with cannot be fetched at present.
	ReasonKeysUnavailable = "KEYS_UNAVAILABLE"
	// ReasonRevocationsUnavailable is UNAVAILABLE: whether the token was taken back cannot be found out at present.
	ReasonRevocationsUnavailable = "REVOCATIONS_UNAVAILABLE"
	// ReasonDependencyTimeout is UNAVAILABLE: something behind the service took too long although the call itself still had time.
	ReasonDependencyTimeout = "DEPENDENCY_TIMEOUT"
	// ReasonShuttingDown is UNAVAILABLE: the service is being stopped and has ended this stream; open it again.
	ReasonShuttingDown = "SHUTTING_DOWN"
	// ReasonInternal is INTERNAL; the metadata `error_id` is also in the server's log.
	ReasonInternal = "INTERNAL"
)

var (
	errCallerUnknown = fault.New(fault.Unauthenticated, ReasonCallerUnknown,
		"the caller is not known; present a client certificate or an access token")
	errTokenInvalid = fault.New(fault.Unauthenticated, ReasonCallerUnknown,
		"the access token is not valid; get a new one").WithMeta("token", "invalid")
	errTokenExpired = fault.New(fault.Unauthenticated, ReasonCallerUnknown,
		"the access token has expired; get a new one").WithMeta("token", "expired")
	errTokenRevoked = fault.New(fault.Unauthenticated, ReasonCallerUnknown,
		"the access token was revoked; get a new one").WithMeta("token", "revoked")
	errTokenUnbound = fault.New(fault.Unauthenticated, ReasonCallerUnknown,
		"the access token is bound to a client certificate; connect with that certificate").WithMeta("token", "unbound")
	errRevocationsUnavailable = fault.New(fault.Unavailable, ReasonRevocationsUnavailable,
		"access tokens cannot be checked against the revocations at present; try again")
	errCallerNotAllowed = fault.New(fault.PermissionDenied, ReasonCallerNotAllowed,
		"this caller may not call this method")
	errDeadlineRequired = fault.New(fault.Invalid, ReasonDeadlineRequired,
		"every call needs a deadline; set one, a few seconds is usual")
	errDraining = fault.New(fault.Unavailable, ReasonShuttingDown,
		"the service is shutting down; open the stream again")
	errKeysUnavailable = fault.New(fault.Unavailable, ReasonKeysUnavailable,
		"access tokens cannot be verified at present; try again")
)

var codeOf = map[fault.Kind]codes.Code{
	fault.Internal:           codes.Internal,
	fault.Invalid:            codes.InvalidArgument,
	fault.NotFound:           codes.NotFound,
	fault.AlreadyExists:      codes.AlreadyExists,
	fault.FailedPrecondition: codes.FailedPrecondition,
	fault.PermissionDenied:   codes.PermissionDenied,
	fault.Unauthenticated:    codes.Unauthenticated,
	fault.ResourceExhausted:  codes.ResourceExhausted,
	fault.Aborted:            codes.Aborted,
	fault.Unavailable:        codes.Unavailable,
	fault.DeadlineExceeded:   codes.DeadlineExceeded,
	fault.Canceled:           codes.Canceled,
	fault.Unimplemented:      codes.Unimplemented,
}

// toStatus turns what a handler returned into what the caller may see.
func toStatus(ctx context.Context, log *slog.Logger, method string, err error) error {
	if f, ok := fault.As(err); ok {
		return faultStatus(ctx, log, method, f, err)
	}
	if e := contextFault(ctx, err); e != nil {
		return faultStatus(ctx, log, method, e, err)
	}
	// Statuses that gRPC itself makes (an unimplemented method, a stream message that is too large) reach here unwrapped.
	if se, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		switch se.GRPCStatus().Code() {
		case codes.Internal, codes.Unknown, codes.DataLoss:
		case codes.Unavailable: // its text may name addresses
			return faultStatus(ctx, log, method, localFaults[codes.Unavailable], err)
		default:
			return err
		}
	}
	return internalStatus(ctx, log, method, "error", err)
}

// contextFault tells a call that ended from a dependency that was slow while the call still had time.
func contextFault(ctx context.Context, err error) *fault.Error {
	deadline, canceled := errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled)
	switch {
	case !deadline && !canceled:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(fault.DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline passed; whether the call took effect is not known")
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.New(fault.Canceled, "CANCELED", "the caller gave the call up")
	case deadline:
		return fault.New(fault.Unavailable, ReasonDependencyTimeout, "something behind the service took too long; try again")
	}
	return nil
}

func faultStatus(ctx context.Context, log *slog.Logger, method string, f *fault.Error, err error) error {
	code, known := codeOf[f.Kind]
	if !known || code == codes.Internal {
		return internalStatus(ctx, log, method, "error", err)
	}
	level := slog.LevelDebug
	switch f.Kind {
	case fault.Unavailable:
		level = slog.LevelWarn
	case fault.PermissionDenied:
		level = slog.LevelInfo
	default:
	}
	if log.Enabled(ctx, level) {
		log.LogAttrs(ctx, level, "call refused", slog.String("method", method), slog.String("code", code.String()),
			slog.String("reason", f.Reason), slog.String("caller", CallerFrom(ctx).String()), slog.Any("error", err))
	}
	return withDetails(code, f)
}

func withDetails(code codes.Code, f *fault.Error) error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: f.Reason, Domain: Domain, Metadata: f.Meta}}
	if f.Field != "" {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: f.Field, Description: f.Message, Reason: f.Reason},
		}})
	}
	st := status.New(code, f.Message)
	if detailed, err := st.WithDetails(details...); err == nil {
		st = detailed
	}
	return st.Err()
}

// internalStatus writes everything to the log and shows the caller an id alone.
func internalStatus(ctx context.Context, log *slog.Logger, method, what string, err any, attrs ...slog.Attr) error {
	id := errorID()
	attrs = append(attrs, slog.String("method", method), slog.String("error_id", id),
		slog.String("caller", CallerFrom(ctx).String()), slog.Any("error", err))
	log.LogAttrs(ctx, slog.LevelError, "internal "+what, attrs...)
	return withDetails(codes.Internal, fault.New(fault.Internal, ReasonInternal, "internal error").WithMeta("error_id", id))
}

func errorID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}
