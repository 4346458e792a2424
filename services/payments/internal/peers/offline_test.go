package peers_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// VerifyOfflineTaps answers with the verdicts it was told, in the order of the taps, and then with the error.
func (a *authServer) VerifyOfflineTaps(stream grpc.BidiStreamingServer[authv1.VerifyOfflineTapsRequest, authv1.VerifyOfflineTapsResponse]) error {
	for _, v := range a.verdicts {
		tap, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		a.taps = append(a.taps, tap)
		if err := stream.Send(v); err != nil {
			return err
		}
	}
	return a.err
}

func good(sequence int64) *authv1.VerifyOfflineTapsResponse {
	return &authv1.VerifyOfflineTapsResponse{
		Sequence: sequence, Status: authv1.OfflineVerdict_OFFLINE_VERDICT_ACCEPTED, Device: "partners/acme/devices/d1", Account: "accounts/alice",
		Partner: "partners/acme", Mode: typev1.Mode_MODE_LIVE, GrantId: 9, FareCap: 500, Currency: "CNY", TapTime: timestamppb.New(noon),
		CumulativeLimit: 2000, ValidUntilTime: timestamppb.New(noon.Add(time.Hour)), TapDigest: bytes.Repeat([]byte{7}, 32), MissingTaps: 2,
	}
}

func TestVerdictsComeInTheOrderOfTheTaps(t *testing.T) {
	server, auth := newAuth(t)
	duplicate, rejected, clone := good(1), &authv1.VerifyOfflineTapsResponse{
		Sequence: 2, Status: authv1.OfflineVerdict_OFFLINE_VERDICT_REJECTED, Reason: authv1.OfflineReason_OFFLINE_REASON_BAD_MAC,
	}, good(3)
	duplicate.Status = authv1.OfflineVerdict_OFFLINE_VERDICT_DUPLICATE
	clone.Status, clone.Reason = authv1.OfflineVerdict_OFFLINE_VERDICT_DUPLICATE, authv1.OfflineReason_OFFLINE_REASON_CLONE
	server.verdicts = []*authv1.VerifyOfflineTapsResponse{good(0), duplicate, rejected, clone}
	got, err := auth.VerifyTaps(t.Context(), []payment.TapSubmission{{TerminalFrame: []byte("t"), TapFrame: []byte("o"), Category: 4111}, {}, {}, {}})
	if err != nil {
		t.Fatal(err)
	}
	want := payment.TapVerdict{
		Digest: bytes.Repeat([]byte{7}, 32), Device: "partners/acme/devices/d1", Partner: "acme", Account: "alice", Mode: payment.Live, Grant: 9,
		FareCap: 500, GrantLimit: 2000, Currency: "CNY", TapTime: noon, ValidUntil: noon.Add(time.Hour), Missing: 2,
	}
	again, copied := want, want
	again.Duplicate, copied.Duplicate, copied.Reason = true, true, "CLONE"
	if diff := cmp.Diff([]payment.TapVerdict{want, again, got[2], copied}, got); diff != "" || got[2].Reason != "BAD_MAC" || got[2].Duplicate {
		t.Errorf("got %+v: %s", got, diff)
	}
	if first := server.taps[0]; string(first.GetTerminalFrame()) != "t" || string(first.GetTapFrame()) != "o" || first.GetMerchantCategoryCode() != 4111 {
		t.Errorf("auth was asked about %v", first)
	}
}

// Money moves only by a verdict that says everything.
func TestAVerdictThatIsNotWholeIsNone(t *testing.T) {
	for name, spoil := range map[string]func(*authv1.VerifyOfflineTapsResponse){
		"no status": func(v *authv1.VerifyOfflineTapsResponse) {
			v.Status = authv1.OfflineVerdict_OFFLINE_VERDICT_UNSPECIFIED
		},
		"rejected without a reason": func(v *authv1.VerifyOfflineTapsResponse) {
			v.Status = authv1.OfflineVerdict_OFFLINE_VERDICT_REJECTED
		},
		"no device":        func(v *authv1.VerifyOfflineTapsResponse) { v.Device = "" },
		"no account":       func(v *authv1.VerifyOfflineTapsResponse) { v.Account = "" },
		"no partner":       func(v *authv1.VerifyOfflineTapsResponse) { v.Partner = "" },
		"half a digest":    func(v *authv1.VerifyOfflineTapsResponse) { v.TapDigest = v.TapDigest[:16] },
		"no time":          func(v *authv1.VerifyOfflineTapsResponse) { v.TapTime = nil },
		"another sequence": func(v *authv1.VerifyOfflineTapsResponse) { v.Sequence = 5 },
	} {
		server, auth := newAuth(t)
		v := proto.CloneOf(good(0))
		spoil(v)
		server.verdicts = []*authv1.VerifyOfflineTapsResponse{v}
		if got, err := auth.VerifyTaps(t.Context(), []payment.TapSubmission{{}}); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	server, auth := newAuth(t)
	if _, err := auth.VerifyTaps(t.Context(), []payment.TapSubmission{{}}); err == nil {
		t.Error("no verdict is one")
	}
	server.err = fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "no")
	if _, err := auth.VerifyTaps(t.Context(), []payment.TapSubmission{{}}); fault.ReasonOf(err) != "AUTH_REFUSED" {
		t.Errorf("auth's own refusal: %v", err)
	}
	server.err = fault.New(fault.Unavailable, "UNAVAILABLE", "away")
	if _, err := auth.VerifyTaps(t.Context(), []payment.TapSubmission{{}}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("auth away: %v", err)
	}
}
