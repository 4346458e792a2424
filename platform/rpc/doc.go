// Package rpc is how services speak gRPC: one server with one list of interceptors, one way to dial, and one idea of who
// is calling.
//
// # Who is calling
//
// A caller is known by one of three things, and by nothing else:
//
//   - the in-process listener of a [Network], which knows which service dialed it;
//   - a verified TLS client certificate with the URI SAN spiffe://armlet/service/NAME;
//   - a bearer token (`authorization: Bearer …`), which a [Verifier] turns into a [Caller].
//
// The first two identify services, the last everybody else. When a token is presented it decides, and a bad one is
// refused even on a channel that has an identity of its own.
//
// # Who may call
//
// A [Policy] names every method and who may call it. It denies by default: a [Server] with a registered method that is
// missing from its policy does not start.
//
// # Errors
//
// Handlers return faults (package fault). They become a status with google.rpc.ErrorInfo (domain "armlet") and, where a
// field is at fault, google.rpc.BadRequest; connections made by [Dial] turn them back into faults. Any other error
// becomes INTERNAL "internal error" with an id that is also in the log. The reasons of this package itself are its
// Reason constants.
package rpc
