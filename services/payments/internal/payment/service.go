package payment

import (
	"context"
	"time"
)

// Store keeps payments. Step is how anything changes.
type Store interface {
	// Step has decide look at the facts and writes the change, all of it in one transaction. When decide fails, or leaves the
	// payment at its revision and posts nothing, nothing is written. decide may run again when others changed the facts in
	// between, and has no effect of its own.
	// It returns PAYMENT_NOT_FOUND, MERCHANT_NOT_FOUND, REQUEST_ID_REUSED, and ASSERTION_MISMATCH when the assertion was used
	// for another payment.
	Step(ctx context.Context, step Step, decide func(Facts) (Change, error)) (Answer, error)
	// Payment reads one. It returns PAYMENT_NOT_FOUND.
	Payment(ctx context.Context, id string) (Payment, error)
	// Due lists payments that wait for a tap which expired before the one time, and those with holds that lapsed before the
	// other, oldest first.
	Due(ctx context.Context, tap, hold time.Time, limit int) ([]Payment, error)
	// Answered is the answer that a request got before, without its payment.
	Answered(ctx context.Context, req Request) (a Answer, found bool, err error)
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
	// VerifyTaps gives a verdict on each offline tap, in their order. The same tap gets the same verdict, marked as a duplicate.
	VerifyTaps(ctx context.Context, taps []TapSubmission) ([]TapVerdict, error)
}

// ChallengeRequest says what the band is to sign.
type ChallengeRequest struct {
	// Payment is the id, the intent that the band signs.
	Payment string
	Payer   Payer
	Amount  Money
	// Merchant is who the band will show and sign.
	Merchant Merchant
	// Assurance is what the answer has to show, 1 to 3.
	Assurance int
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

// DefaultHold is how long what is held stays held unless something else is configured.
const DefaultHold = 7 * 24 * time.Hour

// Config is what the rules need to know.
type Config struct {
	// Grace is how long after the tap's expiry a confirmation that is under way may still arrive.
	Grace time.Duration
	// HoldFor is how long an authorization is good; zero is DefaultHold.
	HoldFor time.Duration
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
	holdFor       time.Duration
	issuer        string
	newID         func() string
	newTerminalID func() string
}

// NewService puts the rules on top of a store and auth.
func NewService(store Store, directory Directory, auth Auth, cfg Config) *Service {
	if cfg.HoldFor == 0 {
		cfg.HoldFor = DefaultHold
	}
	return &Service{
		store: store, directory: directory, auth: auth, holdFor: cfg.HoldFor,
		grace: cfg.Grace, issuer: cfg.Issuer, newID: cfg.NewID, newTerminalID: cfg.NewTerminalID,
	}
}
