package virtual

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

// Allowance is what a band may pay without a connection, and what it has paid.
type Allowance struct {
	Grant wire.Grant `json:"grant"`
	Spent uint32     `json:"spent"`
	Taps  uint16     `json:"taps"`
}

// Allowance is the grant that the band holds; ok is false when it has none.
func (b *Band) Allowance() (a Allowance, ok bool) {
	b.locked(func() {
		if ok = b.state.Offline != nil; ok {
			a = *b.state.Offline
		}
	})
	return a, ok
}

// TapOffline answers a terminal that cannot ask anybody. The band decides by its
// grant alone, and stores its counter and sum before it answers. A tap that it
// refuses is answered with a status, as the protocol demands.
func (b *Band) TapOffline(frame []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked, err := wire.ParseTerminalTap(frame)
	if err != nil {
		return nil, fmt.Errorf("virtual: terminal: %w", err)
	}
	if b.state.Binding == nil || b.state.Offline == nil {
		return nil, errors.New("virtual: the band holds no grant and stays silent")
	}
	next, grant := b.state, *b.state.Offline
	status := grant.decide(asked, !b.worn.IsZero())
	if status == wire.StatusOK {
		grant.Spent += asked.FareCap
		grant.Taps++
	}
	next.Offline = &grant
	next.OfflineCounter++
	if err := b.save(next); err != nil {
		return nil, err
	}
	keys, err := b.keysFor(*next.Binding)
	if err != nil {
		return nil, err
	}
	signer, err := b.signer(keys)
	if err != nil {
		return nil, fmt.Errorf("virtual: sign: %w", err)
	}
	return wire.SealOffline(signer, next.UID, asked, wire.OfflineTap{
		Suite: next.Suite, Status: status, Flags: wire.FlagOnWrist | wire.FlagUnlocked, Counter: next.OfflineCounter,
		GrantID: grant.Grant.ID, Alias: grant.Grant.Alias, Cumulative: grant.Spent,
	})
}

// decide holds what the terminal asks against the grant.
func (a Allowance) decide(t wire.TerminalTap, worn bool) wire.Status {
	g := a.Grant
	switch {
	case !worn:
		return wire.StatusNotWorn
	case t.Currency != g.Currency, t.Time >= g.ValidUntil, !g.MCCGroup.Allows(t.MCC), t.FareCap > g.MaxTap,
		t.FareCap > g.CumulativeLimit-a.Spent, a.Taps >= g.MaxTaps:
		return wire.StatusDeclined
	}
	return wire.StatusOK
}

// Refill brings the band a grant to pay without a connection, up to an amount in
// all; the wearer must wear it, and knock where it asks for that.
func (p *Phone) Refill(ctx context.Context, amount *typev1.Money) error {
	_, err := p.prove(ctx, p.Client, &authv1.CreateChallengeRequest{ // a grant pays no merchant yet
		Purpose: authv1.Purpose_PURPOSE_OFFLINE_REFILL, Amount: amount, MerchantUid: make([]byte, 16), Display: "Pay offline?",
	})
	return err
}

// Gate is a terminal that takes taps without a connection, such as a turnstile,
// and clears them later through a Terminal.
type Gate struct {
	// Name is the terminal, `terminals/{16 hex digits}`.
	Name string
	// CategoryCode is its merchant's.
	CategoryCode uint16
	Currency     string
	// Now is the gate's clock; nil is time.Now.
	Now func() time.Time
	// Denied says which grants do not count any more, see [sdk.DenyList]; nil is none.
	Denied func(wire.Alias) bool

	taps int64
}

// ErrDenied is a tap with a grant that is on the deny-list.
var ErrDenied = errors.New("virtual: the band's grant is on the deny-list")

// ErrBandRefused is a tap that the band did not agree to.
var ErrBandRefused = errors.New("virtual: the band refuses the tap")

// Tap asks a band for a fare, in minor units, and returns what is to be submitted.
func (g *Gate) Tap(band *Band, fare uint32) (*paymentsv1.SubmitOfflineTapsRequest, error) {
	id, err := hex.DecodeString(strings.TrimPrefix(g.Name, "terminals/"))
	if err != nil || len(id) != len(wire.TerminalID{}) {
		return nil, fmt.Errorf("virtual: the terminal's name %q holds no id", g.Name)
	}
	now := time.Now
	if g.Now != nil {
		now = g.Now
	}
	asked := wire.TerminalTap{TerminalID: wire.TerminalID(id), FareCap: fare, Currency: g.Currency, MCC: g.CategoryCode, Time: uint32(now().Unix())}
	_, _ = rand.Read(asked.Unpredictable[:]) // never fails
	frame, err := asked.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("virtual: terminal: %w", err)
	}
	answer, err := band.TapOffline(frame)
	if err != nil {
		return nil, err
	}
	tap, _, err := wire.ParseOfflineTap(answer)
	if err != nil {
		return nil, fmt.Errorf("virtual: tap: %w", err)
	}
	if tap.Status != wire.StatusOK {
		return nil, fmt.Errorf("%w: %s", ErrBandRefused, tap.Status)
	}
	if g.Denied != nil && g.Denied(tap.Alias) {
		return nil, ErrDenied
	}
	g.taps++
	return &paymentsv1.SubmitOfflineTapsRequest{
		Sequence: g.taps, TerminalFrame: frame, TapFrame: answer, Fare: &typev1.Money{MinorUnits: int64(fare), CurrencyCode: g.Currency},
	}, nil
}

// Submit clears taps and returns the answers that came, in their order. After an
// error the rest can be submitted again, and so can all of them.
func (t *Terminal) Submit(ctx context.Context, taps ...*paymentsv1.SubmitOfflineTapsRequest) ([]*paymentsv1.SubmitOfflineTapsResponse, error) {
	return Submit(ctx, t.Client.Payments, taps...)
}

// Submit is [Terminal.Submit] for any client that may clear taps.
func Submit(ctx context.Context, payments paymentsv1.PaymentsServiceClient, taps ...*paymentsv1.SubmitOfflineTapsRequest) ([]*paymentsv1.SubmitOfflineTapsResponse, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := payments.SubmitOfflineTaps(ctx)
	if err != nil {
		return nil, err
	}
	go func() { // beside receiving, so that neither side waits for the other
		for _, tap := range taps {
			if err := stream.Send(tap); err != nil {
				return // the receiver is told why
			}
		}
		_ = stream.CloseSend()
	}()
	var answers []*paymentsv1.SubmitOfflineTapsResponse
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return answers, nil
		}
		if err != nil {
			return answers, err
		}
		answers = append(answers, answer)
	}
}
