package grpcapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/armlet-pay/armlet/platform/fault"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// VerifyTaps finds every tap good, as one of the band's, under one grant of 20.00 in all.
func (s *signer) VerifyTaps(_ context.Context, taps []payment.TapSubmission) ([]payment.TapVerdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	if s.taps == nil {
		s.taps = map[string]bool{}
	}
	out := make([]payment.TapVerdict, len(taps))
	for i, t := range taps {
		frame, err := wire.ParseTerminalTap(t.TerminalFrame)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(append(t.TerminalFrame, t.TapFrame...))
		out[i] = payment.TapVerdict{
			Reason: s.reject, Duplicate: s.taps[string(digest[:])], Digest: digest[:], Device: band, Partner: "acme", Account: s.account,
			Mode: payment.Live, Grant: 1, FareCap: int64(frame.FareCap), GrantLimit: 2000, Currency: frame.Currency,
			TapTime: time.Unix(int64(frame.Time), 0).UTC(), ValidUntil: start.Add(time.Hour), Missing: 3,
		}
		s.taps[string(digest[:])] = true
	}
	return out, nil
}

// offlineTap is the nth tap that a terminal took, of at most 5.00.
func offlineTap(t testing.TB, terminal string, n, fare int64) *paymentsv1.SubmitOfflineTapsRequest {
	t.Helper()
	id, err := hex.DecodeString(strings.TrimPrefix(terminal, "terminals/"))
	must(t, err)
	frame, err := wire.TerminalTap{
		TerminalID: wire.TerminalID(id), FareCap: 500, Currency: "CNY", MCC: 4111, Time: uint32(start.Add(-time.Minute).Unix() + n),
	}.MarshalBinary()
	must(t, err)
	return &paymentsv1.SubmitOfflineTapsRequest{Sequence: n, TerminalFrame: frame, TapFrame: fmt.Appendf(nil, "tap %d", n), Fare: amount(fare, "CNY")}
}

// submit sends taps and returns the answers that came and why no more did.
func submit(ctx context.Context, c client, taps ...*paymentsv1.SubmitOfflineTapsRequest) ([]*paymentsv1.SubmitOfflineTapsResponse, error) {
	stream, err := c.SubmitOfflineTaps(ctx)
	if err != nil {
		return nil, err
	}
	for _, tap := range taps {
		if err := stream.Send(tap); err != nil {
			break // what went wrong is told to the receiver
		}
	}
	_ = stream.CloseSend()
	var out []*paymentsv1.SubmitOfflineTapsResponse
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, answer)
	}
}

func TestOfflineTapsAreClearedInTheirOrder(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var taps []*paymentsv1.SubmitOfflineTapsRequest
	for n := range int64(150) { // more than are cleared at once, and more than the grant allows
		taps = append(taps, offlineTap(t, a.terminal, n, 100))
	}
	taps = append(taps, taps[0])
	answers, err := submit(t.Context(), a.till, taps...)
	must(t, err)
	var accepted, over int
	for i, x := range answers {
		if x.GetSequence() != taps[i].GetSequence() || x.GetMissingTaps() != 3 || (x.GetPayment() != "") != (x.GetFare() != nil) {
			t.Fatalf("answer %d: %v", i, x)
		}
		switch {
		case x.GetStatus() == paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_ACCEPTED && x.GetPayment() != "":
			accepted++
		case x.GetStatus() == paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_REJECTED && x.GetReason() == paymentsv1.OfflineTapReason_OFFLINE_TAP_REASON_OVER_CUMULATIVE:
			over++
		}
	}
	if len(answers) != len(taps) || accepted != 20 || over < 130 {
		t.Errorf("%d answers, %d accepted, %d over the grant", len(answers), accepted, over)
	}
	if got := a.balance(t, "alice"); got != 3000 {
		t.Errorf("alice has %d", got)
	}
	a.balanced(t)
}

func TestAnAnswerComesBeforeTheNextTapIsSent(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	stream, err := a.till.SubmitOfflineTaps(t.Context())
	must(t, err)
	for n := range int64(3) {
		must(t, stream.Send(offlineTap(t, a.terminal, n, 100)))
		got, err := stream.Recv()
		must(t, err)
		if got.GetSequence() != n || got.GetStatus() != paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_ACCEPTED {
			t.Errorf("answer %d: %v", n, got)
		}
	}
	must(t, stream.CloseSend())
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

func TestWhoMayClearWhichTaps(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for name, c := range map[string]struct {
		client  client
		problem string
		reason  string
	}{
		"a terminal its own merchant's": {a.till, "", ""}, "another merchant's terminal": {a.otherTill, "TERMINAL_NOT_FOUND", ""},
		"the operator": {a.operator, "", ""}, "the device's partner": {a.acmeClear, "", ""}, "another partner": {a.rivalClear, "CALLER_NOT_ALLOWED", ""},
		"a terminal of another merchant": {a.strayTill, "", "TERMINAL_NOT_FOUND"}, "a partner without the scope": {a.acme, "", "SCOPE_MISSING"},
		"a partner's test": {a.acmeTest, "", "CALLER_NOT_ALLOWED"}, "a wearer": {a.alice, "", "CALLER_NOT_ALLOWED"},
		"a service": {a.service, "", "CALLER_NOT_ALLOWED"}, "nobody": {a.nobody, "", "CALLER_UNKNOWN"},
	} {
		answers, err := submit(t.Context(), c.client, offlineTap(t, a.terminal, 1, 100))
		if fault.ReasonOf(err) != c.reason || (err == nil) != (c.reason == "") {
			t.Errorf("%s: got %v, want %q", name, err, c.reason)
		} else if err == nil && answers[0].GetProblem() != c.problem {
			t.Errorf("%s: got %v, want %q", name, answers, c.problem)
		}
	}
	if got := a.balance(t, "alice"); got != 4900 {
		t.Errorf("alice has %d", got)
	}
	_, err := a.operator.SuspendTerminal(t.Context(), &paymentsv1.SuspendTerminalRequest{Name: a.terminal, RequestId: uuid.NewString()})
	must(t, err)
	_, err = submit(t.Context(), a.till, offlineTap(t, a.terminal, 2, 100))
	wants{codes.FailedPrecondition, "TERMINAL_SUSPENDED"}.check(t, "a suspended terminal", err)
	answers, err := submit(t.Context(), a.operator, offlineTap(t, a.terminal, 2, 100))
	must(t, err)
	if answers[0].GetProblem() != "TERMINAL_SUSPENDED" {
		t.Errorf("a suspended terminal's tap: %v", answers)
	}
}

func TestEveryReasonOfTheProtocolIsPassedOn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for n, reason := range []string{
		"BAD_MAC", "UNKNOWN_GRANT", "GRANT_EXPIRED", "OVER_TAP", "OVER_CUMULATIVE", "MCC_NOT_ALLOWED", "REVOKED_BEFORE_TAP", "CLONE",
	} {
		a.auth.reject = reason
		for _, status := range []string{"REJECTED", "DUPLICATE"} {
			got, err := submit(t.Context(), a.till, offlineTap(t, a.terminal, int64(n), 100))
			must(t, err)
			if got[0].GetReason().String() != "OFFLINE_TAP_REASON_"+reason || got[0].GetStatus().String() != "OFFLINE_TAP_STATUS_"+status || got[0].GetPayment() != "" {
				t.Errorf("%s: %v", reason, got)
			}
		}
	}
	a.auth.reject = ""
	bad := offlineTap(t, a.terminal, 99, 100)
	bad.TerminalFrame = bad.TerminalFrame[:31]
	got, err := submit(t.Context(), a.till, bad)
	must(t, err)
	if got[0].GetReason() != paymentsv1.OfflineTapReason_OFFLINE_TAP_REASON_BAD_MAC {
		t.Errorf("a short frame: %v", got)
	}
	if got := a.balance(t, "alice"); got != 5000 {
		t.Errorf("alice has %d", got)
	}
}

// What was answered before the call failed stays true, and the rest can be submitted again.
func TestABadTapEndsTheStreamAfterTheAnswersBeforeIt(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	none := offlineTap(t, a.terminal, 2, 100)
	none.Fare = nil
	long := offlineTap(t, a.terminal, 2, 100)
	long.TapFrame = make([]byte, 257)
	for n, bad := range []*paymentsv1.SubmitOfflineTapsRequest{none, long} {
		answers, err := submit(t.Context(), a.till, offlineTap(t, a.terminal, int64(10+n), 100), bad, offlineTap(t, a.terminal, 20, 100))
		wants{codes.InvalidArgument, "INVALID_FIELD"}.check(t, "a bad tap", err)
		if len(answers) != 1 || answers[0].GetStatus() != paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_ACCEPTED {
			t.Errorf("before it: %v", answers)
		}
	}
	a.auth.refuse = fault.New(fault.Unavailable, "UNAVAILABLE", "auth is away")
	answers, err := submit(t.Context(), a.till, offlineTap(t, a.terminal, 30, 100))
	if fault.KindOf(err) != fault.Unavailable || len(answers) != 0 {
		t.Errorf("without auth: %v, %v", answers, err)
	}
	if got := a.balance(t, "alice"); got != 4800 {
		t.Errorf("alice has %d", got)
	}
}

func TestATerminalDoesNotLearnWhichBandTappedOffline(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	answers, err := submit(t.Context(), a.till, offlineTap(t, a.terminal, 1, 100))
	must(t, err)
	for name, c := range map[string]struct {
		client client
		device string
	}{"till": {a.till, ""}, "alice": {a.alice, band}, "operator": {a.operator, band}, "acme": {a.acme, band}} {
		p, err := c.client.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Name: answers[0].GetPayment()})
		must(t, err)
		if p.GetDevice() != c.device || !p.GetOffline() || !p.GetTapTime().AsTime().Equal(start.Add(-time.Minute+time.Second)) || p.GetTap() != nil {
			t.Errorf("%s sees %v", name, p)
		}
		list, err := c.client.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{})
		must(t, err)
		if diff := cmp.Diff([]*paymentsv1.Payment{p}, list.GetPayments(), protocmp.Transform()); diff != "" {
			t.Errorf("%s lists: %s", name, diff)
		}
	}
	list, err := a.till.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{Device: band})
	must(t, err)
	if len(list.GetPayments()) != 0 {
		t.Errorf("a terminal finds it by its device: %v", list)
	}
}

func TestATopUpPaysWhatOfflineTapsOverspent(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.auth.account = "bob" // who has nothing
	_, err := submit(t.Context(), a.till, offlineTap(t, a.terminal, 1, 500))
	must(t, err)
	if got := a.balance(t, "bob"); got != -500 {
		t.Errorf("bob has %d", got)
	}
	top := func(minor int64) *paymentsv1.TopUpAccountResponse {
		out, err := a.operator.TopUpAccount(t.Context(), &paymentsv1.TopUpAccountRequest{Name: "accounts/bob", Amount: amount(minor, "CNY"), RequestId: fmt.Sprint(minor)})
		must(t, err)
		return out
	}
	for _, minor := range []int64{200, 200, 1000} { // the second is a repeat
		got := top(minor)
		want := map[int64][2]int64{200: {200, -300}, 1000: {300, 700}}[minor]
		if got.GetCollectedAmount().GetMinorUnits() != want[0] || got.GetAccount().GetBalance().GetMinorUnits() != want[1] {
			t.Errorf("a top-up of %d: %v", minor, got)
		}
	}
	if got := top(1); got.GetCollectedAmount() != nil {
		t.Errorf("nothing was owed: %v", got)
	}
	a.balanced(t)
}
