package peers_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/peers"
)

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	intent   = "01957a10-0000-7000-8000-000000000001"
	merchant = "01957a10-0000-7000-8000-000000000002"
)

// authServer records what it was asked and answers what it was told.
type authServer struct {
	authv1.UnimplementedAuthServiceServer
	challengeRequest *authv1.CreateChallengeRequest
	verifyRequest    *authv1.VerifyResponseRequest
	challenge        *authv1.Challenge
	err              error
	taps             []*authv1.VerifyOfflineTapsRequest
	verdicts         []*authv1.VerifyOfflineTapsResponse
}

func (a *authServer) CreateChallenge(_ context.Context, in *authv1.CreateChallengeRequest) (*authv1.Challenge, error) {
	a.challengeRequest = in
	return a.challenge, a.err
}

func (a *authServer) VerifyResponse(_ context.Context, in *authv1.VerifyResponseRequest) (*authv1.Decision, error) {
	a.verifyRequest = in
	return &authv1.Decision{Assertion: "a.b.c", ResultFrame: []byte("yes"), DeclinedFrame: []byte("no")}, a.err
}

func newAuth(t *testing.T) (*authServer, *peers.Auth) {
	t.Helper()
	payments := rpc.Rule{Roles: []rpc.Role{rpc.RoleService}, Services: []string{"payments"}}
	policy := rpc.Policy{}
	for _, m := range authv1.AuthService_ServiceDesc.Methods {
		policy["/"+authv1.AuthService_ServiceDesc.ServiceName+"/"+m.MethodName] = payments
	}
	for _, m := range authv1.AuthService_ServiceDesc.Streams {
		policy["/"+authv1.AuthService_ServiceDesc.ServiceName+"/"+m.StreamName] = payments
	}
	srv, err := rpc.NewServer(rpc.ServerConfig{Service: "auth", Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	fake := &authServer{challenge: &authv1.Challenge{
		Name: "challenges/00112233445566778899aabbccddeeff", ChallengeFrame: []byte("frame"), ExpireTime: timestamppb.New(noon),
		Requirements: []authv1.Requirement{authv1.Requirement_REQUIREMENT_ON_WRIST, authv1.Requirement_REQUIREMENT_GESTURE},
		Device:       "partners/acme/devices/d1", Account: "accounts/alice", PongKey: []byte("pong"),
	}}
	authv1.RegisterAuthServiceServer(srv.GRPC(), fake)
	return fake, peers.NewAuth(testkit.Client(t, srv, "payments"), nil, func() time.Time { return noon })
}

func ask(payer payment.Payer) payment.ChallengeRequest {
	return payment.ChallengeRequest{
		Payment: intent, Payer: payer, Amount: payment.Money{Minor: 1200, Currency: "CNY"},
		Merchant: payment.Merchant{ID: merchant, DisplayName: "Noodles", CategoryCode: 5812, Currency: "CNY"},
	}
}

func TestAuthIsAskedForExactlyThisPayment(t *testing.T) {
	fake, auth := newAuth(t)
	got, err := auth.CreateChallenge(t.Context(), ask(payment.Payer{Account: "alice"}))
	if err != nil {
		t.Fatal(err)
	}
	want := payment.Challenge{
		Tap: payment.Tap{
			Challenge: "challenges/00112233445566778899aabbccddeeff", Frame: []byte("frame"), ExpireTime: noon,
			Requirements: []string{"ON_WRIST", "GESTURE"}, PongKey: []byte("pong"),
		},
		Device: "partners/acme/devices/d1", Partner: "acme", Account: "alice",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the answer: %s", diff)
	}
	sent := &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_PAY, Subject: &authv1.CreateChallengeRequest_Account{Account: "accounts/alice"},
		Amount:      &typev1.Money{MinorUnits: 1200, CurrencyCode: "CNY"},
		MerchantUid: []byte{0x01, 0x95, 0x7a, 0x10, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 2}, MerchantCategoryCode: 5812,
		IntentUid: []byte{0x01, 0x95, 0x7a, 0x10, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}, Display: "Noodles", RequestId: intent,
	}
	if diff := cmp.Diff(sent, fake.challengeRequest, protocmp.Transform()); diff != "" {
		t.Errorf("the request: %s", diff)
	}
	uid := "00000070000000000000000001"
	if _, err := auth.CreateChallenge(t.Context(), ask(payment.Payer{DeviceUID: uid})); err != nil || fake.challengeRequest.GetDeviceUid() != uid {
		t.Errorf("by uid: %v, %v", fake.challengeRequest, err)
	}
	d, err := auth.VerifyResponse(t.Context(), "challenges/00112233445566778899aabbccddeeff", []byte("response"))
	if err != nil || d.Assertion != "a.b.c" || string(d.ApprovedFrame) != "yes" || string(d.DeclinedFrame) != "no" {
		t.Errorf("the decision: %+v, %v", d, err)
	}
	if fake.verifyRequest.GetChallenge() != "challenges/00112233445566778899aabbccddeeff" || string(fake.verifyRequest.GetResponseFrame()) != "response" {
		t.Errorf("asked for %v", fake.verifyRequest)
	}
}

func TestAnIncompleteChallengeIsNotUsed(t *testing.T) {
	fake, auth := newAuth(t)
	good := fake.challenge
	for name, c := range map[string]*authv1.Challenge{
		"no account": {Name: good.Name, ChallengeFrame: good.ChallengeFrame, ExpireTime: good.ExpireTime, Device: good.Device},
		"no device":  {Name: good.Name, ChallengeFrame: good.ChallengeFrame, ExpireTime: good.ExpireTime, Account: good.Account},
		"no expiry":  {Name: good.Name, ChallengeFrame: good.ChallengeFrame, Device: good.Device, Account: good.Account},
		"no frame":   {Name: good.Name, ExpireTime: good.ExpireTime, Device: good.Device, Account: good.Account},
	} {
		fake.challenge = c
		if got, err := auth.CreateChallenge(t.Context(), ask(payment.Payer{Account: "alice"})); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestWhichRefusalsReachTheCaller(t *testing.T) {
	fake, auth := newAuth(t)
	for reason, c := range map[string]struct {
		kind fault.Kind
		want string
	}{
		"TAP_DECLINED":        {fault.FailedPrecondition, "TAP_DECLINED"},
		"RESPONSE_REJECTED":   {fault.PermissionDenied, "RESPONSE_REJECTED"},
		"KEYS_UNAVAILABLE":    {fault.Unavailable, "KEYS_UNAVAILABLE"},
		"PURPOSE_NOT_ALLOWED": {fault.PermissionDenied, "AUTH_REFUSED"}, // ours, not the caller's fault
		"REQUEST_ID_REUSED":   {fault.FailedPrecondition, "AUTH_REFUSED"},
	} {
		fake.err = fault.New(c.kind, reason, "no")
		_, err := auth.VerifyResponse(t.Context(), "challenges/00112233445566778899aabbccddeeff", []byte("r"))
		if got := fault.ReasonOf(err); got != c.want || (c.want == "AUTH_REFUSED") != (fault.KindOf(err) == fault.Internal) {
			t.Errorf("%s became %v", reason, err)
		}
	}
	fake.err = errors.New("a secret of auth")
	if _, err := auth.CreateChallenge(t.Context(), ask(payment.Payer{Account: "alice"})); fault.KindOf(err) != fault.Internal {
		t.Errorf("a failure of auth became %v", err)
	}
}
