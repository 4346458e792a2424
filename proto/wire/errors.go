package wire

import "fmt"

// Error is a kind of refusal. Its constants are the only errors that this
// package originates; they may be wrapped with the place where they arose.
type Error string

// Error returns the text of e with the package's name in front.
func (e Error) Error() string { return "wire: " + string(e) }

// The refusals of the parsers and encoders.
const (
	// ErrLength means missing or trailing bytes.
	ErrLength Error = "wrong length"
	// ErrType means that the first byte does not name the expected layout.
	ErrType Error = "wrong message type"
	// ErrSuite means an unknown suite, or one that the operation is not for.
	ErrSuite Error = "unknown or unfit suite"
	// ErrSuiteMismatch means that two parts of one exchange name different suites.
	ErrSuiteMismatch Error = "the suites differ"
	// ErrPurpose means an unknown challenge purpose.
	ErrPurpose Error = "unknown purpose"
	// ErrStatus means an unknown response status.
	ErrStatus Error = "unknown status"
	// ErrOutcome means an unknown result outcome.
	ErrOutcome Error = "unknown outcome"
	// ErrProximity means an unknown proximity method.
	ErrProximity Error = "unknown proximity method"
	// ErrReserved means a reserved bit or byte that is not zero.
	ErrReserved Error = "reserved bits are not zero"
	// ErrCurrency means a currency that is not three capital ASCII letters.
	ErrCurrency Error = "currency is not three capital letters"
	// ErrDisplay means a display text that is not UTF-8 or exceeds MaxDisplay bytes.
	ErrDisplay Error = "display text is not UTF-8 or too long"
	// ErrRounds means more than MaxRounds RTT rounds, a round index beyond them,
	// or no rounds where some are to be verified.
	ErrRounds Error = "wrong number of RTT rounds"
	// ErrUID means a text that is not a device identity.
	ErrUID Error = "not a device identity"
	// ErrCheckSymbol means that the check symbol of a QR code does not fit: a misread.
	ErrCheckSymbol Error = "check symbol does not match"
)

// The refusals of keys, credentials and authenticators.
const (
	// ErrKey means a key that is missing or has the wrong length for its suite.
	ErrKey Error = "key is missing or has the wrong length"
	// ErrCredential means a public key that is malformed, not on its curve, of
	// small order or not canonically encoded.
	ErrCredential Error = "public key is refused" //nolint:gosec // a message, not a credential
	// ErrSigner means that a private key could not be used or gave a malformed signature.
	ErrSigner Error = "signer failed"
	// ErrBadTag means that the tag of a challenge or result does not verify.
	ErrBadTag Error = "tag does not verify"
	// ErrBadAuthenticator means that the authenticator of a response or an
	// offline tap does not verify.
	ErrBadAuthenticator Error = "authenticator does not verify"
	// ErrBadRound means that the phone's answer in an RTT round does not verify.
	ErrBadRound Error = "RTT answer does not verify"
)

// The refusals of the GATT framing.
const (
	// ErrMTU means an ATT_MTU below MinMTU.
	ErrMTU Error = "ATT_MTU is below 23"
	// ErrFrame means a frame without payload, or a FIRST frame whose index is not 0.
	ErrFrame Error = "malformed frame"
	// ErrMessageSize means an empty message, one over MaxMessage bytes, or
	// frames that do not add up to the announced total.
	ErrMessageSize Error = "message size is not allowed or does not match"
	// ErrOutOfOrder means a gap, a repeat, another message's frame, or a
	// continuation without a beginning.
	ErrOutOfOrder Error = "frame out of order"
	// ErrIdle means that the partial message waited IdleTimeout or longer.
	ErrIdle Error = "partial message timed out"
)

// at says where in which layout err arose.
func at(err Error, layout, field string) error {
	return fmt.Errorf("%w (%s, %s)", err, layout, field)
}
