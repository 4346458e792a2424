// Package fault is the one error type that the domain of every service speaks: a kind that a machine can act on, a
// stable reason that a program can compare, and a message that tells a person what is wrong and what to do.
//
// What stands in Reason, Message, Field and Meta is shown to callers; what must stay inside belongs in the cause. The
// package imports the standard library only, so that domain packages may use it.
package fault

import (
	"errors"
	"fmt"
	"maps"
)

// Kind says what sort of failure it is and so what a caller can do about it. Each kind has one gRPC status code.
type Kind uint8

// The kinds. The zero Kind is Internal, so that an error nobody classified is never shown to a caller.
const (
	// Internal is a failure that callers can do nothing about; its message is not shown to them.
	Internal Kind = iota
	// Invalid is a request that is wrong whatever the state of the system.
	Invalid
	// NotFound is a thing that is not there, or that the caller may not know about.
	NotFound
	// AlreadyExists is a thing that is there already.
	AlreadyExists
	// FailedPrecondition is a request that the present state forbids; the state has to change first.
	FailedPrecondition
	// PermissionDenied is a known caller who may not do this.
	PermissionDenied
	// Unauthenticated is a caller whose credentials are missing or not valid.
	Unauthenticated
	// ResourceExhausted is a limit that was reached.
	ResourceExhausted
	// Aborted is a conflict with a concurrent change; the same request may succeed when it is repeated.
	Aborted
	// Unavailable is a passing failure; the same request may succeed a little later.
	Unavailable
	// DeadlineExceeded is a request whose time ran out; whether it took effect is not known.
	DeadlineExceeded
	// Canceled is a request that its caller gave up.
	Canceled
	// Unimplemented is an operation that does not exist here.
	Unimplemented
)

var kindNames = [...]string{
	Internal:           "internal",
	Invalid:            "invalid",
	NotFound:           "not found",
	AlreadyExists:      "already exists",
	FailedPrecondition: "failed precondition",
	PermissionDenied:   "permission denied",
	Unauthenticated:    "unauthenticated",
	ResourceExhausted:  "resource exhausted",
	Aborted:            "aborted",
	Unavailable:        "unavailable",
	DeadlineExceeded:   "deadline exceeded",
	Canceled:           "canceled",
	Unimplemented:      "unimplemented",
}

// String is the kind in lower-case words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ReasonInvalidField is the reason of every fault that [InvalidField] makes.
const ReasonInvalidField = "INVALID_FIELD"

// Error is a failure with a meaning. It is immutable: the With methods return changed copies, so a package may keep its
// faults in variables.
type Error struct {
	// Kind decides the status code.
	Kind Kind
	// Reason is stable, UPPER_SNAKE_CASE, at most 63 characters; programs compare it.
	Reason string
	// Message says in a sentence what is wrong and what to do. It may change, so programs do not compare it.
	Message string
	// Field is the path of the request field that is at fault (`amount.minor_units`), or empty.
	Field string
	// Meta is further detail for programs. Keys are lower_snake_case. Do not change it; use WithMeta.
	Meta map[string]string

	cause error
}

// New makes a fault. The message is built as fmt.Sprintf does.
func New(kind Kind, reason, format string, a ...any) *Error {
	return &Error{Kind: kind, Reason: reason, Message: sprintf(format, a)}
}

// InvalidField makes a fault of kind Invalid and reason INVALID_FIELD about one field of a request.
func InvalidField(field, format string, a ...any) *Error {
	return &Error{Kind: Invalid, Reason: ReasonInvalidField, Message: sprintf(format, a), Field: field}
}

func sprintf(format string, a []any) string {
	if len(a) == 0 {
		return format
	}
	return fmt.Sprintf(format, a...)
}

// Error is the reason, the message and the cause. It is for logs: a caller is shown Reason and Message alone.
func (e *Error) Error() string {
	s := e.Reason + ": " + e.Message
	if e.Field != "" {
		s = e.Reason + ": " + e.Field + ": " + e.Message
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap is the cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is compare kind and reason, so that a copy with more detail still matches the fault it came from.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Reason == e.Reason
}

// WithField is a copy that names the request field at fault.
func (e *Error) WithField(field string) *Error {
	c := *e
	c.Field = field
	return &c
}

// WithMeta is a copy with one more detail, which callers see. An existing key is replaced.
func (e *Error) WithMeta(key, value string) *Error {
	c := *e
	c.Meta = make(map[string]string, len(e.Meta)+1)
	maps.Copy(c.Meta, e.Meta)
	c.Meta[key] = value
	return &c
}

// WithCause is a copy that wraps the error behind it. The cause is for logs and errors.Is; callers never see it.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// As finds the first fault in the error's chain.
func As(err error) (*Error, bool) {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e, true
	}
	return nil, false
}

// ReasonOf is the reason of the first fault in the error's chain, and empty when there is none.
func ReasonOf(err error) string {
	if e, ok := As(err); ok {
		return e.Reason
	}
	return ""
}

// KindOf is the kind of the first fault in the error's chain, and Internal for an error that is not a fault.
func KindOf(err error) Kind {
	if e, ok := As(err); ok {
		return e.Kind
	}
	return Internal
}
