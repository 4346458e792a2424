package grpcapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/grpcapi"
)

// Who may call what, as the contract's comments say it. A partner here has every scope.
var mayCall = map[string][]string{
	"CreatePartner":         {"operator"},
	"ListPartners":          {"operator", "support", "auditor"},
	"SuspendPartner":        {"operator"},
	"OffboardPartner":       {"operator"},
	"ResumePartner":         {"operator"},
	"CreateClient":          {"operator"},
	"ResumeClient":          {"operator"},
	"ApproveGrant":          {"operator"},
	"SuspendGrant":          {"operator"},
	"RevokeGrant":           {"operator"},
	"ListAuditEntries":      {"operator", "support", "auditor"},
	"VerifyAudit":           {"operator", "support", "auditor"},
	"GetPartner":            {"operator", "partner", "support", "auditor"},
	"GetClient":             {"operator", "partner", "support", "auditor"},
	"ListClients":           {"operator", "partner", "support", "auditor"},
	"AddClientKey":          {"operator", "partner"},
	"RemoveClientKey":       {"operator", "partner"},
	"SuspendClient":         {"operator", "partner"},
	"RevokeClient":          {"operator", "partner"},
	"CreateGrant":           {"operator", "partner"},
	"ApplyGrantBundle":      {"operator"},
	"GetGrant":              {"operator", "support", "auditor", "partner", "notify"},
	"ListGrants":            {"operator", "support", "auditor", "partner", "notify"},
	"RevokeSessions":        {"operator", "support", "wearer"},
	"CreateMasterKey":       {"operator"},
	"ImportMasterKey":       {"operator"},
	"GetImportKey":          {"operator", "support", "auditor"},
	"ListMasterKeys":        {"operator", "support", "auditor", "partner"},
	"ActivateMasterKey":     {"operator"},
	"TaintMasterKey":        {"operator"},
	"DestroyMasterKey":      {"operator"},
	"ListSigningKeys":       {"operator", "support", "auditor"},
	"RotateSigningKey":      {"operator"},
	"TaintSigningKey":       {"operator"},
	"ExportMasterKey":       {"partner"},
	"CreateWearerSession":   {"operator"},
	"CreateTerminalSession": {"operator"},
	"BeginClaim":            {"wearer"},
	"CompleteClaim":         {"wearer"},
	"CreateChallenge":       {"payments", "terminal", "wearer", "partner"},
	"VerifyResponse":        {"payments", "terminal", "wearer", "partner"},
}

// mayStream is mayCall of the streams.
var mayStream = map[string][]string{
	"VerifyOfflineTaps": {"payments"},
	"StreamDenyList":    {"operator", "terminal", "clearer"},
}

// emptyIsFine are the methods whose request needs nothing.
var emptyIsFine = map[string]bool{"ListPartners": true, "ListAuditEntries": true, "VerifyAudit": true, "GetImportKey": true, "ListSigningKeys": true}

func TestEveryMethodIsOpenToItsCallersAndToNobodyElse(t *testing.T) {
	f := newFixture(t)
	c := f.partner("acme", "devices.provision", "vouchers.redeem", "presence.verify")
	session := func(s *authv1.Session, err error) string {
		must(t, err)
		return s.GetAccessToken()
	}
	op := f.asOperator()
	support, auditor := newClient(t, "support"), newClient(t, "auditor")
	for c, role := range map[*client]authv1.OperatorRole{support: authv1.OperatorRole_OPERATOR_ROLE_SUPPORT, auditor: authv1.OperatorRole_OPERATOR_ROLE_AUDITOR} {
		_, err := op.CreateClient(t.Context(), &authv1.CreateClientRequest{
			ClientId: c.id, Role: authv1.ClientRole_CLIENT_ROLE_OPERATOR, OperatorRole: role, PublicJwk: c.public(t), RequestId: f.requestID(),
		})
		must(t, err)
	}
	callers := map[string]*grpc.ClientConn{
		"operator": testkit.ClientWithToken(t, f.server, f.tokenOf(f.operator)),
		"support":  testkit.ClientWithToken(t, f.server, f.tokenOf(support)),
		"auditor":  testkit.ClientWithToken(t, f.server, f.tokenOf(auditor)),
		"partner":  testkit.ClientWithToken(t, f.server, f.tokenOf(c)),
		"wearer": testkit.ClientWithToken(t, f.server, session(op.CreateWearerSession(t.Context(),
			&authv1.CreateWearerSessionRequest{Account: "accounts/ann"}))),
		"terminal": testkit.ClientWithToken(t, f.server, session(op.CreateTerminalSession(t.Context(),
			&authv1.CreateTerminalSessionRequest{Merchant: "merchants/01020304-0506-4708-890a-0b0c0d0e0f10", Terminal: "terminals/00000000000000aa"}))),
		"payments": testkit.Client(t, f.server, "payments"), "notify": testkit.Client(t, f.server, "notify"),
		"device-registry": testkit.Client(t, f.server, "device-registry"), "nobody": testkit.Client(t, f.server, ""),
	}
	methods := authv1.AuthService_ServiceDesc.Methods
	if n := len(authv1.AuthService_ServiceDesc.Streams); len(methods) != len(mayCall) || n != len(mayStream) {
		t.Fatalf("the contract has %d methods, %d of them streams, which this test does not all know", len(methods)+n, n)
	}
	for _, m := range methods {
		for name, conn := range callers {
			// An empty request passes the table and then fails at the field rules.
			err := conn.Invoke(t.Context(), "/armlet.auth.v1.AuthService/"+m.MethodName, &emptypb.Empty{}, &emptypb.Empty{})
			wanted := rpc.ReasonCallerNotAllowed
			switch {
			case name == "nobody":
				wanted = rpc.ReasonCallerUnknown
			case slices.Contains(mayCall[m.MethodName], name):
				wanted = fault.ReasonInvalidField
			}
			if wanted == fault.ReasonInvalidField && err == nil && emptyIsFine[m.MethodName] {
				continue
			}
			if got := fault.ReasonOf(err); got != wanted {
				t.Errorf("%s by %s: %q (%v), want %q", m.MethodName, name, got, err, wanted)
			}
		}
	}
}

func TestEveryStreamIsOpenToItsCallersAndToNobodyElse(t *testing.T) {
	f := newFixture(t)
	wearer, err := f.asOperator().CreateWearerSession(t.Context(), &authv1.CreateWearerSessionRequest{Account: "accounts/ann"})
	must(t, err)
	terminal, err := f.asOperator().CreateTerminalSession(t.Context(), &authv1.CreateTerminalSessionRequest{
		Merchant: "merchants/01020304-0506-4708-890a-0b0c0d0e0f10", Terminal: "terminals/00000000000000aa",
	})
	must(t, err)
	callers := map[string]*grpc.ClientConn{
		"operator": testkit.ClientWithToken(t, f.server, f.tokenOf(f.operator)),
		"wearer":   testkit.ClientWithToken(t, f.server, wearer.GetAccessToken()),
		"terminal": testkit.ClientWithToken(t, f.server, terminal.GetAccessToken()),
		"clearer":  testkit.ClientWithToken(t, f.server, f.tokenOf(f.partner("acme", "offline.clear"))),
		"payments": testkit.Client(t, f.server, "payments"), "notify": testkit.Client(t, f.server, "notify"),
		"nobody": testkit.Client(t, f.server, ""),
	}
	for i := range authv1.AuthService_ServiceDesc.Streams {
		desc := &authv1.AuthService_ServiceDesc.Streams[i]
		for name, conn := range callers {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			stream, err := conn.NewStream(ctx, desc, "/armlet.auth.v1.AuthService/"+desc.StreamName)
			must(t, err)
			if err := stream.SendMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg says why
				t.Fatal(err)
			}
			must(t, stream.CloseSend())
			err = stream.RecvMsg(&emptypb.Empty{})
			cancel()
			wanted := rpc.ReasonCallerNotAllowed
			switch {
			case name == "nobody":
				wanted = rpc.ReasonCallerUnknown
			case slices.Contains(mayStream[desc.StreamName], name):
				wanted = ""
			}
			if got := fault.ReasonOf(err); got != wanted {
				t.Errorf("%s by %s: %q (%v), want %q", desc.StreamName, name, got, err, wanted)
			}
		}
	}
}

func TestTheTableNamesEveryMethod(t *testing.T) {
	policy := grpcapi.Policy()
	must(t, policy.Validate())
	for _, m := range authv1.AuthService_ServiceDesc.Methods {
		if _, ok := policy["/armlet.auth.v1.AuthService/"+m.MethodName]; !ok {
			t.Errorf("%s is missing", m.MethodName)
		}
	}
	if len(policy) != len(authv1.AuthService_ServiceDesc.Methods)+len(authv1.AuthService_ServiceDesc.Streams) {
		t.Errorf("the table has %d rules", len(policy))
	}
}

func TestCallsWithoutADeadlineOrFarTooLargeAreRefused(t *testing.T) {
	f := newFixture(t)
	payments := f.asService("payments")
	_, err := payments.VerifyResponse(t.Context(), &authv1.VerifyResponseRequest{
		Challenge: "challenges/00000000000000000000000000000000", ResponseFrame: bytes.Repeat([]byte{1}, 2<<20),
	})
	if fault.KindOf(err) != fault.ResourceExhausted {
		t.Errorf("an oversized message: %v", err)
	}
	_, err = payments.VerifyResponse(t.Context(), &authv1.VerifyResponseRequest{
		Challenge: "challenges/00000000000000000000000000000000", ResponseFrame: bytes.Repeat([]byte{1}, 257),
	})
	want(t, err, fault.Invalid, "INVALID_FIELD")

	// The project's own client adds a deadline, so this one is another's.
	lis, err := listen()
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(lis) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	in := &authv1.GetPartnerRequest{Name: "partners/acme"}
	_, err = authv1.NewAuthServiceClient(conn).GetPartner(context.WithoutCancel(t.Context()), in)
	if status.Code(err) != codes.InvalidArgument || !hasReason(err, rpc.ReasonDeadlineRequired) {
		t.Errorf("without a deadline: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = authv1.NewAuthServiceClient(conn).GetPartner(ctx, in)
	if status.Code(err) != codes.Unauthenticated || !hasReason(err, rpc.ReasonCallerUnknown) {
		t.Errorf("with one, and nobody: %v", err)
	}
}

func hasReason(err error, reason string) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(interface{ GetReason() string }); ok && info.GetReason() == reason {
			_, isMessage := d.(proto.Message)
			return isMessage
		}
	}
	return false
}

func listen() (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
}
