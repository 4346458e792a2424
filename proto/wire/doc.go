// Package wire is the Armlet device protocol, version 1: what a band, a phone,
// a terminal and the platform say to each other, byte by byte. The protocol's
// text is docs/device-protocol.md; this package is that text in Go.
//
// It holds the fixed layouts (Challenge, Response, Result, Grant, TerminalTap,
// OfflineTap, Ping, Pong), the key derivation and the authenticators of all
// four suites, the checks on public keys, device identities with their text
// forms, and the GATT framing. It uses the standard library only and keeps no
// state, so both ends of the link can share it.
//
// # Layouts
//
// All integers are big-endian and every layout is fixed. MarshalBinary and
// AppendBinary write a layout without its tag or authenticator and refuse a
// value that the layout cannot carry. The Parse functions read a whole frame,
// that is the layout and its tag or authenticator where it has one. They refuse
// a missing or trailing byte, an unknown suite, purpose or status, a reserved bit
// or byte that is not zero, a display text that is not UTF-8 and a currency that
// is not three capital letters. So every value has exactly one encoding, and
// what was parsed encodes to the same bytes again. Parsing proves nothing about
// the sender: call the matching Verify function before acting on a frame.
//
// # Text form of a device identity
//
// A [UID] is written as a 128-bit number in Crockford's base32, 26 lower-case
// characters with the two spare bits in front, as a ULID is; the first
// character is therefore 0 to 7. The form inside a QR code ends with
// Crockford's check symbol, the number modulo 37.
//
// # Errors
//
// Every error of this package is, or wraps, a constant of type [Error]; match
// it with errors.Is.
package wire
