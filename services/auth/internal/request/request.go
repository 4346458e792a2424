// Package request names a mutation, so that repeating it is safe.
package request

import "github.com/armlet-pay/armlet/platform/fault"

// ID makes a mutation safe to repeat: the same caller, method and id with the same fingerprint gives the first answer,
// with another one REQUEST_ID_REUSED.
type ID struct {
	Caller, Method, ID string
	Fingerprint        [32]byte // of everything else in the request
}

// ErrReused is the refusal for an id that came with another content before.
var ErrReused = fault.New(fault.FailedPrecondition, "REQUEST_ID_REUSED",
	"this request_id came with another content before; use a new one").WithField("request_id")
