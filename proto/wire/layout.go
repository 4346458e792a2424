package wire

// Domain-separation tags: the ASCII text ARML1/NAME padded with NUL to 16
// bytes. The version inside keeps two protocol versions apart in every MAC.
const (
	dstChallenge = "ARML1/CHALLENGE\x00"
	dstResponse  = "ARML1/RESPONSE\x00\x00"
	dstResult    = "ARML1/RESULT\x00\x00\x00\x00"
	dstOffline   = "ARML1/OFFLINE\x00\x00\x00"
	dstPong      = "ARML1/PONG\x00\x00\x00\x00\x00\x00"
)

// The first byte of each layout.
const (
	typeChallenge = 0x11
	typeResponse  = 0x12
	typeResult    = 0x13
	typeTerminal  = 0x21
	typeOffline   = 0x22
	typePing      = 0x31
	typePong      = 0x32
)

// TagLen is the length of the tag of a challenge or result, in bytes.
const TagLen = 8

// NoCurrency is the ISO 4217 code to use where there is no amount.
const NoCurrency = "XXX"

// Tag is the MAC at the end of a challenge or result, cut to 8 bytes.
type Tag [TagLen]byte

// Nonce is the 16-byte random nonce of a challenge; in a claim it is the
// bind_nonce too.
type Nonce [16]byte

// BindingID is random and names one (device, account, generation) for ever.
type BindingID [8]byte

// Alias stands for a wearer in offline taps. It is random per grant, so a
// terminal cannot track anyone.
type Alias [8]byte

// TerminalID names a terminal in offline taps.
type TerminalID [8]byte

func validCurrency(s string) bool {
	if len(s) != 3 {
		return false
	}
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}
