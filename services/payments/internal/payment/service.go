package payment

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// Store keeps payments. Update and Capture are how one changes.
type Store interface {
	// Reserve remembers that a request makes the payment with this id and returns the id it was given first, which is
	// another one when the request is a repeat. It returns REQUEST_ID_REUSED.
	Reserve(ctx context.Context, req Request, id string) (string, error)
	// Add stores a new payment with its events. When it is there already nothing changes and the stored one is returned.
	Add(ctx context.Context, p Payment, events []Event) (Payment, error)
	// Payment reads one. It returns PAYMENT_NOT_FOUND.
	Payment(ctx context.Context, id string) (Payment, error)
	// Update locks the payment, has fn decide and writes the change, in one transaction. When fn fails, or leaves the state
	// as it was, nothing is written. fn may run again when the transaction lost a race.
	// It returns PAYMENT_NOT_FOUND, and ASSERTION_MISMATCH when the change uses an assertion that was used before.
	Update(ctx context.Context, id string, fn func(old Payment) (Change, error)) (Payment, error)
	// Capture is Update with the ledger accounts under lock too, in the order of their ids.
	Capture(ctx context.Context, id string, accounts []string, fn func(old Payment, books ledger.Books) (Change, error)) (Payment, error)
	// Due lists payments that wait for a tap which expired before the given time, oldest first.
	Due(ctx context.Context, before time.Time, limit int) ([]string, error)
	// List reads payments, newest first, from just after the cursor or, when that is nil, from the newest.
	List(ctx context.Context, f Filter, after *Cursor, limit int) ([]Payment, error)
}

// Auth decides who taps.
type Auth interface {
	// CreateChallenge makes the frame for the band. The same payment gets the same challenge until it expires.
	CreateChallenge(ctx context.Context, req ChallengeRequest) (Challenge, error)
	// VerifyResponse decides on the band's response. The same bytes get the same decision.
	VerifyResponse(ctx context.Context, challenge string, response []byte) (Decision, error)
	// OpenAssertion checks an assertion's signature and its times (see [Assertion.CheckTimes]) and reads it. It returns
	// ASSERTION_MISMATCH.
	OpenAssertion(ctx context.Context, token string) (Assertion, error)
}

// ChallengeRequest says what the band is to sign.
type ChallengeRequest struct {
	// Payment is the id, the intent that the band signs.
	Payment string
	Payer   Payer
	Amount  Money
	// Merchant is who the band will show and sign.
	Merchant Merchant
}

// Payer is who pays: exactly one of the two is set.
type Payer struct {
	// DeviceUID is the band, in 26 characters, and DevicePartnerNo the number of its maker, which the uid starts with.
	DeviceUID       string
	DevicePartnerNo uint32
	// Account is the wallet: the band that was bound to it last.
	Account string
}

// Challenge is auth's answer.
type Challenge struct {
	Tap Tap
	// Device is a resource name, Partner its maker, Account the wallet it is bound to.
	Device, Partner, Account string
}

// Decision says that the band's wearer approved.
type Decision struct {
	// Assertion is the signed statement. Secret.
	Assertion string
	// ApprovedFrame and DeclinedFrame are the two answers for the band.
	ApprovedFrame, DeclinedFrame []byte
}

// Config is what the rules need to know.
type Config struct {
	// Grace is how long after the tap's expiry a confirmation that is under way may still arrive.
	Grace time.Duration
	// Issuer is who signs assertions.
	Issuer string
	// NewID makes UUIDs that sort by time; NewTerminalID makes 16 random hex digits.
	NewID         func() string
	NewTerminalID func() string
}

// Service applies the rules.
type Service struct {
	store         Store
	directory     Directory
	auth          Auth
	grace         time.Duration
	issuer        string
	newID         func() string
	newTerminalID func() string
}

// NewService puts the rules on top of a store and auth.
func NewService(store Store, directory Directory, auth Auth, cfg Config) *Service {
	return &Service{
		store: store, directory: directory, auth: auth,
		grace: cfg.Grace, issuer: cfg.Issuer, newID: cfg.NewID, newTerminalID: cfg.NewTerminalID,
	}
}
