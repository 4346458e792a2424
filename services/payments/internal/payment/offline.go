package payment

import (
	"bytes"
	"context"
	"encoding/hex"
	"strconv"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

// grantMemory is how long after a grant's end it is remembered what was spent under it. A tap that comes even later is held
// against the grant by auth alone.
const grantMemory = 180 * 24 * time.Hour

// bookTries is how often a tap is tried to be booked while others change its wallet or book it too.
const bookTries = 6

// OfflineTap is a tap that a terminal took without a connection, as it is submitted.
type OfflineTap struct {
	TerminalFrame, TapFrame []byte
	// Terminal is whose the terminal's frame says it is; empty when it is no such frame.
	Terminal string
	Fare     Money
}

// TapSubmission is a tap for auth, with the category of the merchant whose terminal it was.
type TapSubmission struct {
	TerminalFrame, TapFrame []byte
	Category                uint32
}

// TapVerdict is auth's on one tap. A reason but for the first two fields alone, and what does not rest on a valid
// authenticator is empty.
type TapVerdict struct {
	// Reason is why it was rejected, by the names of the device protocol; empty when it is good.
	Reason string
	// Duplicate says that this is the verdict that was given before.
	Duplicate bool
	// Digest names the tap for ever.
	Digest []byte
	// Device is a resource name, Partner its maker, Account the wallet that was granted.
	Device, Partner, Account string
	Mode                     Mode
	Grant                    uint32
	// FareCap is what the band signed, GrantLimit what the grant allows in all; in minor units of Currency.
	FareCap, GrantLimit int64
	Currency            string
	// TapTime is by the terminal's clock, ValidUntil when the grant ends.
	TapTime, ValidUntil time.Time
	// Missing is how many taps of the grant are known to be on their way.
	Missing int64
}

// Reasons of the device protocol that payments itself gives.
const (
	badMAC         = "BAD_MAC"
	overTap        = "OVER_TAP"
	overCumulative = "OVER_CUMULATIVE"
)

// ClearingStatus says what became of a tap.
type ClearingStatus int

// The statuses.
const (
	// NotCleared is for a tap that nothing was decided about, see Problem.
	NotCleared ClearingStatus = iota
	TapAccepted
	TapDuplicate
	TapRejected
)

// Clearing is the answer to a tap.
type Clearing struct {
	Status ClearingStatus
	// Reason is why it was rejected, Problem why nothing was decided.
	Reason, Problem string
	// Payment is what it became, and Fare what that took.
	Payment string
	Fare    Money
	Missing int64
}

// Clear clears taps. Auth verifies each once, whatever comes in how often and in which order; what it found good is booked
// once, by whoever comes first, so that a crash between the two is made good by the next submission.
func (s *Service) Clear(ctx context.Context, c Caller, taps []OfflineTap, now time.Time) ([]Clearing, error) {
	if c.Mode == Test {
		return nil, notAllowed("a client in test mode cannot move live money; use a client in live mode")
	}
	if err := s.checkTerminal(ctx, c); err != nil {
		return nil, err
	}
	out, shops := make([]Clearing, len(taps)), map[string]Merchant{}
	var asked []int
	var ask []TapSubmission
	for i, t := range taps {
		if t.Terminal == "" {
			out[i] = Clearing{Status: TapRejected, Reason: badMAC}
			continue
		}
		shop, err := s.shopOf(ctx, c, t, shops)
		if err != nil {
			if out[i], err = problem(err); err != nil {
				return nil, err
			}
			continue
		}
		asked, ask = append(asked, i), append(ask, TapSubmission{TerminalFrame: t.TerminalFrame, TapFrame: t.TapFrame, Category: shop.CategoryCode})
	}
	if len(ask) == 0 {
		return out, nil
	}
	verdicts, err := s.auth.VerifyTaps(ctx, ask)
	if err != nil {
		return nil, err
	}
	return out, together(len(asked), func(n int) (err error) {
		i := asked[n]
		out[i], err = s.clear(ctx, c, shops[taps[i].Terminal], taps[i], verdicts[n], now)
		return err
	})
}

// together runs do for 0 to n-1 at once, so that they are committed together, and returns one of the errors.
func together(n int, do func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// problem is the answer to a tap that may be submitted again once what is wrong is mended. Other errors end the call.
func problem(err error) (Clearing, error) {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.FailedPrecondition, fault.PermissionDenied:
		return Clearing{Problem: fault.ReasonOf(err)}, nil
	}
	return Clearing{}, err
}

// shopOf is the merchant whose terminal took the tap, as far as the caller may submit it and it may be paid.
func (s *Service) shopOf(ctx context.Context, c Caller, t OfflineTap, known map[string]Merchant) (Merchant, error) {
	m, ok := known[t.Terminal]
	if !ok {
		terminal, err := s.directory.Terminal(ctx, t.Terminal)
		if err != nil {
			return Merchant{}, err
		}
		if c.Role == Terminal && terminal.Merchant != c.Merchant {
			return Merchant{}, fault.New(fault.NotFound, "TERMINAL_NOT_FOUND", "the merchant has no such terminal; register it first")
		}
		if terminal.Suspended {
			return Merchant{}, fault.New(fault.FailedPrecondition, "TERMINAL_SUSPENDED", "the terminal is suspended; the operator can resume it")
		}
		if m, err = s.directory.Merchant(ctx, terminal.Merchant); err != nil {
			return Merchant{}, err
		}
		known[t.Terminal] = m
	}
	if m.Suspended {
		return Merchant{}, merchantSuspended()
	}
	if err := checkAmount(t.Fare); err != nil {
		return Merchant{}, err
	}
	if m.Currency != t.Fare.Currency {
		return Merchant{}, currencyMismatch("merchant", m.Currency, t.Fare.Currency)
	}
	return m, nil
}

// clear answers one tap that auth has verified.
func (s *Service) clear(ctx context.Context, c Caller, shop Merchant, t OfflineTap, v TapVerdict, now time.Time) (Clearing, error) {
	rejected := func(reason string) (Clearing, error) {
		return Clearing{Status: TapRejected, Reason: reason, Missing: v.Missing}, nil
	}
	switch {
	case c.Role == Partner && v.Partner != "" && v.Partner != c.Partner, v.Mode == Test:
		return Clearing{Problem: "CALLER_NOT_ALLOWED"}, nil
	case v.Reason != "" && v.Duplicate:
		return Clearing{Status: TapDuplicate, Reason: v.Reason, Missing: v.Missing}, nil
	case v.Reason != "":
		return rejected(v.Reason)
	case v.Currency != t.Fare.Currency:
		return Clearing{Problem: "CURRENCY_MISMATCH"}, nil
	case t.Fare.Minor > v.FareCap:
		return rejected(overTap)
	}
	answer, err := s.book(ctx, offlinePayment(c, shop, t, v, now), v, now)
	switch reason := fault.ReasonOf(err); {
	case reason == overCumulative:
		return rejected(reason)
	case reason == "LEDGER_ACCOUNT_CLOSED":
		return problem(accountClosed())
	case reason == "LEDGER_ACCOUNT_FROZEN":
		return problem(accountFrozen())
	case reason == "LEDGER_ACCOUNT_NOT_FOUND":
		return Clearing{Problem: "ACCOUNT_NOT_FOUND"}, nil
	case err != nil:
		return problem(err)
	}
	p, status := answer.Payment, TapDuplicate
	if answer.ID != "" {
		status = TapAccepted
	}
	return Clearing{Status: status, Payment: p.ID, Fare: p.Amount, Missing: v.Missing}, nil
}

// offlinePayment is the payment that a good tap becomes.
func offlinePayment(c Caller, shop Merchant, t OfflineTap, v TapVerdict, now time.Time) Payment {
	return Payment{
		ID: tapID(v), Amount: t.Fare, Merchant: shop.ID, MerchantDisplayName: shop.DisplayName, Terminal: t.Terminal, CategoryCode: shop.CategoryCode,
		Device: v.Device, Partner: v.Partner, Account: v.Account, Mode: Live, CaptureMode: Automatic, Creator: c.Key(),
		Offline: true, TapTime: v.TapTime, ResponseDigest: v.Digest, Need: limit.Need{Level: limit.LeastLevel}, CreateTime: now, UpdateTime: now,
	}
}

// tapID makes the payment's id of what names the tap, so that the same tap is the same payment: a UUIDv7 of the tap's time,
// with the digest in place of what is random.
func tapID(v TapVerdict) string {
	var id [16]byte
	ms := uint64(v.TapTime.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	copy(id[6:], v.Digest)
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// book captures the payment of a tap unless that was done before; the answer's ID is set when it was done now. The wallet may
// fall below zero by what is left of the grant.
func (s *Service) book(ctx context.Context, p Payment, v TapVerdict, now time.Time) (Answer, error) {
	policy, err := s.directory.Policy(ctx, p.Amount.Currency)
	if err != nil {
		return Answer{}, err
	}
	b := booking{policy: policy, grant: v.grantKey(), limit: v.GrantLimit, id: s.newID(), now: now}
	step := Step{Payment: p.ID, Fresh: true, Merchant: p.Merchant, Ledger: p.accounts(), Counters: append(policy.Keys(p.tap(p.TapTime)), b.grant)}
	for try := 1; ; try++ {
		room := int64(0)
		answer, err := s.store.Step(ctx, step, func(f Facts) (Change, error) {
			room = b.limit - min(b.limit, f.Counters[b.grant.ID].Amount)
			return p.clear(f, b, room)
		})
		switch reason := fault.ReasonOf(err); {
		case reason != "INSUFFICIENT_FUNDS" && reason != "TRANSACTION_POSTED":
			return answer, err
		case try == bookTries:
			return Answer{}, fault.New(fault.Aborted, "TAP_CONTENTION", "too many changes at once: try again").WithCause(err)
		case reason == "TRANSACTION_POSTED": // another process has just booked it; the next look finds it
			continue
		}
		if err := s.directory.AllowDebt(ctx, p.Account, room); err != nil {
			return Answer{}, err
		}
	}
}

// booking is what a tap is booked with.
type booking struct {
	policy limit.Policy
	// grant counts what was spent under the grant, limit is what may be.
	grant limit.Key
	limit int64
	// id is for the ledger transaction.
	id  string
	now time.Time
}

func (v TapVerdict) grantKey() limit.Key {
	return limit.Key{ID: "grant/" + uidOf(v.Device) + "/" + strconv.FormatUint(uint64(v.Grant), 10), ExpireTime: v.ValidUntil.Add(grantMemory)}
}

// clear is the step of a tap that is booked. room is what is left of its grant.
func (p Payment) clear(f Facts, b booking, room int64) (Change, error) {
	if f.Found {
		if !bytes.Equal(f.Payment.ResponseDigest, p.ResponseDigest) {
			return Change{}, fault.New(fault.Internal, "TAP_ID_TAKEN", "two taps make one payment id, %s", p.ID)
		}
		return Change{Payment: f.Payment}, nil
	}
	if f.Merchant.Suspended {
		return Change{}, merchantSuspended()
	}
	if p.Amount.Minor > room {
		return Change{}, fault.New(fault.FailedPrecondition, overCumulative, "the taps of the grant together are more than it allows")
	}
	next := p.move(Captured, b.now).count(f.Merchant.Fees, p.Amount.Minor, b.id)
	change := Change{Answer: Answer{ID: p.ID}}
	change.Counters, next.Reserved = b.policy.Reserve(p.tap(p.TapTime), limit.LeastLevel, f.Counters)
	spent := f.Counters[b.grant.ID]
	spent.Amount += p.Amount.Minor
	spent.Taps++
	change.Counters[b.grant.ID] = spent
	t := next.captureOf(p, ledger.Posting{Debit: p.wallet(), Credit: p.till(), Amount: p.Amount.Minor, Currency: p.Amount.Currency})
	t.ID, t.Time, t.MayOverdraw = b.id, b.now, true
	if err := change.post(f, t); err != nil {
		return Change{}, err
	}
	change.Payment = next
	change.Events = []Event{CapturedEvent{Payment: next, Amount: p.Amount, Transaction: b.id}}
	if owed := change.Posted[0].Owed(p.wallet()); owed > 0 {
		change.Events = append(change.Events, OverdrawnEvent{Account: p.Account, Owed: p.money(owed), Payment: p.ID, Time: b.now})
	}
	return change, nil
}

func merchantSuspended() error {
	return fault.New(fault.FailedPrecondition, "MERCHANT_SUSPENDED", "the merchant takes no payments until the operator resumes it")
}
