package rpc

import (
	"errors"
	"io"

	rpccode "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/armlet-pay/armlet/platform/fault"
)

var kindOf = map[codes.Code]fault.Kind{
	codes.Canceled:           fault.Canceled,
	codes.Unknown:            fault.Internal,
	codes.InvalidArgument:    fault.Invalid,
	codes.DeadlineExceeded:   fault.DeadlineExceeded,
	codes.NotFound:           fault.NotFound,
	codes.AlreadyExists:      fault.AlreadyExists,
	codes.PermissionDenied:   fault.PermissionDenied,
	codes.ResourceExhausted:  fault.ResourceExhausted,
	codes.FailedPrecondition: fault.FailedPrecondition,
	codes.Aborted:            fault.Aborted,
	codes.OutOfRange:         fault.Invalid,
	codes.Unimplemented:      fault.Unimplemented,
	codes.Internal:           fault.Internal,
	codes.Unavailable:        fault.Unavailable,
	codes.DataLoss:           fault.Internal,
	codes.Unauthenticated:    fault.Unauthenticated,
}

// localFaults are shown for statuses that gRPC itself made. Their own text names addresses and transports, which must not
// travel on to a caller when a service returns the fault as it is; it stays in the cause.
var localFaults = map[codes.Code]*fault.Error{
	codes.Canceled:          fault.New(fault.Canceled, "CANCELED", "the call was given up"),
	codes.DeadlineExceeded:  fault.New(fault.DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline passed; whether the call took effect is not known"),
	codes.Unavailable:       fault.New(fault.Unavailable, "UNAVAILABLE", "a service cannot be reached at present; try again"),
	codes.Unknown:           fault.New(fault.Internal, ReasonInternal, "a service failed"),
	codes.Internal:          fault.New(fault.Internal, ReasonInternal, "a service failed"),
	codes.DataLoss:          fault.New(fault.Internal, ReasonInternal, "a service failed"),
	codes.ResourceExhausted: fault.New(fault.ResourceExhausted, "RESOURCE_EXHAUSTED", "the message is too large or a limit was reached"),
	codes.Unimplemented:     fault.New(fault.Unimplemented, "UNIMPLEMENTED", "the called service does not have this method"),
}

// fromStatus is toStatus backwards. nil and io.EOF, which ends a stream, stay as they are.
func fromStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	f := fault.Error{Kind: kindOf[st.Code()], Message: st.Message()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == Domain {
				f.Reason, f.Meta = d.GetReason(), d.GetMetadata()
			}
		case *errdetails.BadRequest:
			if v := d.GetFieldViolations(); len(v) > 0 {
				f.Field = v[0].GetField()
			}
		}
	}
	if f.Reason != "" {
		return f.WithCause(remote{st})
	}
	if local, ok := localFaults[st.Code()]; ok {
		return local.WithCause(err)
	}
	f.Reason = rpccode.Code(st.Code()).String()
	return f.WithCause(remote{st})
}

// remote is the cause of a fault that another service sent: status.Code still finds the status through it, and the fault's
// text does not say everything twice.
type remote struct{ st *status.Status }

func (r remote) Error() string              { return "status " + r.st.Code().String() }
func (r remote) GRPCStatus() *status.Status { return r.st }
