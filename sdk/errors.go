package sdk

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reason is the stable reason in an error of a service, for example
// "INSUFFICIENT_FUNDS" (google.rpc.ErrorInfo, domain "armlet"). It is empty for
// other errors. Decide by the reason; the message is for people and may change.
func Reason(err error) string {
	for _, d := range details(err) {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// Field is the request field that a service found wrong, for example "amount.minor_units".
// It is empty when the error is not about a field.
func Field(err error) string {
	for _, d := range details(err) {
		if bad, ok := d.(*errdetails.BadRequest); ok && len(bad.GetFieldViolations()) > 0 {
			return bad.GetFieldViolations()[0].GetField()
		}
	}
	return ""
}

// Retryable says that the same call may succeed later: the service was away or
// busy, or the reply was lost. Repeat it with the same request_id.
func Retryable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Aborted, codes.DeadlineExceeded, codes.ResourceExhausted:
		return true
	default:
		return false
	}
}

// tokenRevoked reports whether a call was refused because its access token was taken back.
func tokenRevoked(err error) bool {
	if status.Code(err) != codes.Unauthenticated {
		return false
	}
	for _, d := range details(err) {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()["token"] == "revoked"
		}
	}
	return false
}

func details(err error) []any {
	st, ok := status.FromError(err)
	if !ok || st == nil {
		return nil
	}
	return st.Details()
}
