package grpcapi_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

// rpcCall is one RPC: a request that is as it should be, and the callers of the table that may make it.
type rpcCall struct {
	request proto.Message
	allowed []string
}

// everyCall has every RPC of the contract.
func everyCall() map[string]rpcCall {
	alone := wire.NewRangeUID(7, 99, 1).String()
	return map[string]rpcCall{
		"CreateModel": {modelRequest("w2", "p1"), []string{"acme"}},
		"GetModel":    {&devicesv1.GetModelRequest{Name: "partners/acme/models/w1"}, []string{"acme", "operator"}},
		"ListModels":  {&devicesv1.ListModelsRequest{Parent: "partners/acme"}, []string{"acme", "operator"}},
		"CreateLot":   {lotRequest(4, "p1"), []string{"acme"}},
		"GetLot":      {&devicesv1.GetLotRequest{Name: "partners/acme/lots/3"}, []string{"acme", "operator"}},
		"ListLots":    {&devicesv1.ListLotsRequest{Parent: "partners/acme"}, []string{"acme", "operator"}},
		"CreateDevice": {&devicesv1.CreateDeviceRequest{
			Parent: "partners/acme", Uid: alone, Model: "partners/acme/models/w1", Suite: 1, KeyEpoch: 1, RequestId: "p1",
		}, []string{"acme"}},
		"GetDevice":      {&devicesv1.GetDeviceRequest{Name: name(1000)}, []string{"acme", "operator", "alice", "bob", "service auth"}},
		"ListDevices":    {&devicesv1.ListDevicesRequest{Parent: "partners/-"}, []string{"acme", "zenith", "operator", "alice", "bob"}},
		"CheckDevice":    {&devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: uid(1000)}}, []string{"service auth"}},
		"BeginBinding":   {&devicesv1.BeginBindingRequest{Uid: uid(1001), Account: "accounts/alice", RequestId: "p1"}, []string{"service auth"}},
		"ConfirmBinding": {&devicesv1.ConfirmBindingRequest{BindingId: make([]byte, 8)}, []string{"service auth"}},
		"ReportDeviceLost": {
			&devicesv1.ReportDeviceLostRequest{Name: name(1000), RequestId: "p1"}, []string{"operator", "alice", "bob"},
		},
		"SuspendDevice": {
			&devicesv1.SuspendDeviceRequest{Name: name(1000), Reason: 4, RequestId: "p1"}, []string{"operator", "service auth"},
		},
		"LiftSuspension": {
			&devicesv1.LiftSuspensionRequest{Name: name(1000), Reason: 2, RequestId: "p1"},
			[]string{"acme", "operator", "alice", "bob"},
		},
		"UpdateModel": {&devicesv1.UpdateModelRequest{
			Model: &devicesv1.Model{Name: "partners/acme/models/w1", MinSvn: 1}, UpdateMask: mask("min_svn"), RequestId: "p1",
		}, []string{"acme"}},
		"SetModelStatus": {
			&devicesv1.SetModelStatusRequest{Name: "partners/acme/models/w1", Status: 1, RequestId: "p1"}, []string{"acme", "operator"},
		},
		"ReleaseLot": {&devicesv1.ReleaseLotRequest{Name: "partners/acme/lots/3", RequestId: "p1"}, []string{"acme"}},
		"RecallLot": {
			&devicesv1.RecallLotRequest{Name: "partners/acme/lots/2", Note: "n", RequestId: "p1"}, []string{"acme", "operator"},
		},
		"ImportDevices": {importHeader("p1"), []string{"acme"}},
		"GetImport":     {&devicesv1.GetImportRequest{Name: "partners/acme/imports/p1"}, []string{"acme", "operator"}},
		"GetQuota":      {&devicesv1.GetQuotaRequest{Name: "partners/acme/quota"}, []string{"acme", "operator"}},
		"UpdateQuota":   {&devicesv1.UpdateQuotaRequest{Name: "partners/acme/quota", RequestId: "p1"}, []string{"operator"}},
		"UpdateDevice": {&devicesv1.UpdateDeviceRequest{
			Device: &devicesv1.Device{Name: name(1002)}, UpdateMask: mask("labels"), RequestId: "p1",
		}, []string{"acme"}},
		"BatchGetDevices": {&devicesv1.BatchGetDevicesRequest{Names: []string{name(1000)}}, []string{"acme", "zenith", "operator", "service auth"}},
		"ReleaseBinding": {&devicesv1.ReleaseBindingRequest{
			BindingId: make([]byte, 8), Account: "accounts/alice", Proof: "d1", RequestId: "p1",
		}, []string{"service auth"}},
		"BeginTransfer": {&devicesv1.BeginTransferRequest{Name: name(1003)}, []string{"alice", "bob"}},
		"CompleteTransfer": {&devicesv1.CompleteTransferRequest{
			BindingId: make([]byte, 8), TransferCode: strings.Repeat("0", 26),
		}, []string{"service auth"}},
		"CancelTransfer": {
			&devicesv1.CancelTransferRequest{Name: name(1003), RequestId: "p1"}, []string{"alice", "bob", "operator"},
		},
		"RetireDevice": {&devicesv1.RetireDeviceRequest{Name: name(1004), RequestId: "p1"}, []string{"acme", "operator"}},
		"RevokeDevice": {&devicesv1.RevokeDeviceRequest{Name: name(1005), Note: "n", RequestId: "p1"}, []string{"acme", "operator"}},
		"AddCredential": {&devicesv1.AddCredentialRequest{
			Name: name(1006), PublicKey: make([]byte, 32), RequestId: "p1",
		}, []string{"acme"}},
		"RetireCredential": {
			&devicesv1.RetireCredentialRequest{Name: name(1006), CredentialId: 1, RequestId: "p1"}, []string{"acme", "operator"},
		},
		"WatchDevices":       {&devicesv1.WatchDevicesRequest{}, []string{"operator", "service auth"}},
		"VerifyAuditRange":   {&devicesv1.VerifyAuditRangeRequest{Parent: name(1000)}, []string{"acme", "operator"}},
		"GetAuditCheckpoint": {&devicesv1.GetAuditCheckpointRequest{}, []string{"acme", "zenith", "operator"}},
		"ListAuditEntries":   {&devicesv1.ListAuditEntriesRequest{Parent: name(1000)}, []string{"acme", "operator"}},
	}
}

// Every RPC as every caller: refused by the table, or let through to the rules.
func TestWhoMayCallWhat(t *testing.T) {
	calls := everyCall()
	w := newWorld(t)
	methods := devicesv1.File_armlet_devices_v1_devices_proto.Services().Get(0).Methods()
	if methods.Len() != len(calls) {
		t.Errorf("the contract has %d methods, this test %d", methods.Len(), len(calls))
	}
	callers := []string{
		nobody, "operator", "support", "auditor", "acme", "acme reading", "acme provisioning", "acme without scopes", "zenith", "alice", "bob",
		"terminal", "service auth", "service payments", "service notify", "service device-registry",
	}
	for i := range methods.Len() {
		method := methods.Get(i)
		c, ok := calls[string(method.Name())]
		if !ok {
			t.Errorf("%s is not in this test", method.Name())
			continue
		}
		for _, caller := range callers {
			got := fault.ReasonOf(invoke(t.Context(), w.conn(caller), method, c.request))
			refused := got == "CALLER_UNKNOWN" || got == "CALLER_NOT_ALLOWED" || got == "SCOPE_MISSING"
			if want := c.refusal(string(method.Name()), caller); got != want && (refused || want != "") && !hiddenFrom(caller, got) {
				t.Errorf("%s by %q: %q, want %q", method.Name(), caller, got, want)
			}
		}
	}
}

// What operators who are not admins may call, and the calls of partners that only need to read; the rest needs devices.provision.
var (
	forAuditors = []string{
		"GetModel", "ListModels", "GetLot", "ListLots", "GetImport", "GetQuota", "GetDevice", "BatchGetDevices", "ListDevices", "WatchDevices",
		"ListAuditEntries", "VerifyAuditRange", "GetAuditCheckpoint",
	}
	forSupport = append([]string{"ReportDeviceLost"}, forAuditors...)
)

// refusal is the reason with which the caller is refused; empty when it is let through to the rules.
func (c rpcCall) refusal(method, caller string) string {
	lets := func(role string, allowed bool) string {
		if !slices.Contains(c.allowed, role) || !allowed {
			return "CALLER_NOT_ALLOWED"
		}
		return ""
	}
	partner := slices.Contains(c.allowed, "acme") || method == "SuspendDevice" // partners for another reason than this test's
	reads := slices.Contains(forAuditors, method)
	switch caller {
	case nobody:
		return "CALLER_UNKNOWN"
	case "support":
		return lets("operator", slices.Contains(forSupport, method))
	case "auditor":
		return lets("operator", reads)
	case "acme reading", "acme provisioning", "acme without scopes":
		if partner && (caller == "acme without scopes" || reads != (caller == "acme reading")) {
			return "SCOPE_MISSING"
		}
		return lets("acme", true)
	case "zenith":
		if !partner {
			return "CALLER_NOT_ALLOWED"
		}
	}
	return lets(caller, true)
}

// invoke calls the method; of one that streams it takes the first answer.
func invoke(ctx context.Context, conn *grpc.ClientConn, method protoreflect.MethodDescriptor, request proto.Message) error {
	path, answer := "/"+string(method.Parent().FullName())+"/"+string(method.Name()), dynamicpb.NewMessage(method.Output())
	if !method.IsStreamingServer() {
		return conn.Invoke(ctx, path, request, answer)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: method.IsStreamingClient()}, path)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg says why
		return err
	}
	return stream.RecvMsg(answer)
}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

func importHeader(id string) *devicesv1.ImportDevicesRequest {
	return &devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Header{Header: &devicesv1.ImportHeader{
		ImportId: id, Lot: "partners/acme/lots/9", ExpectedRows: 1, Digest: make([]byte, 32), Mode: 1,
	}}}
}

// hiddenFrom recognises another partner, to whom the things of this test do not exist.
func hiddenFrom(caller, reason string) bool {
	return caller == "zenith" && (reason == "IMPORT_NOT_FOUND" || reason == "MODEL_NOT_FOUND" || reason == "LOT_NOT_FOUND" || reason == "DEVICE_NOT_FOUND")
}
