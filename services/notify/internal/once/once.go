// Package once says what makes a repeated request recognisable: the same caller, method and request id. The store keeps
// the first answer with the effect, in one transaction, and gives it again.
package once

import (
	"crypto/subtle"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Request identifies one request of one caller.
type Request struct {
	// Caller is the caller's role and id. Two callers may use the same request id.
	Caller string
	// Method is the RPC's short name.
	Method string
	// ID is the caller's request_id.
	ID string
	// Fingerprint is the SHA-256 of everything else in the request.
	Fingerprint []byte
}

// ErrReused is what a known request id with different content gets.
var ErrReused = fault.New(fault.FailedPrecondition, "REQUEST_ID_REUSED",
	"this request_id was used for a different request; take a new one").WithField("request_id")

// Same is nil when the stored fingerprint is this request's, and ErrReused otherwise.
func (r Request) Same(stored []byte) error {
	if subtle.ConstantTimeCompare(r.Fingerprint, stored) != 1 {
		return ErrReused
	}
	return nil
}
