package grpcapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

func check(serial uint64) *devicesv1.CheckDeviceRequest {
	return &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: uid(serial)}}
}

func checkAccount(account string) *devicesv1.CheckDeviceRequest {
	return &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Account{Account: "accounts/" + account}}
}

func begin(serial uint64, account, requestID string) *devicesv1.BeginBindingRequest {
	return &devicesv1.BeginBindingRequest{Uid: uid(serial), Account: "accounts/" + account, RequestId: requestID}
}

func confirm(b *devicesv1.Binding) *devicesv1.ConfirmBindingRequest {
	return &devicesv1.ConfirmBindingRequest{BindingId: b.GetBindingId()}
}

func suspend(serial uint64, r devicesv1.SuspensionReason, requestID string) *devicesv1.SuspendDeviceRequest {
	return &devicesv1.SuspendDeviceRequest{Name: name(serial), Reason: r, Note: "because", RequestId: requestID}
}

func lift(serial uint64, r devicesv1.SuspensionReason, requestID string) *devicesv1.LiftSuspensionRequest {
	return &devicesv1.LiftSuspensionRequest{Name: name(serial), Reason: r, RequestId: requestID}
}

func lost(serial uint64, requestID string) *devicesv1.ReportDeviceLostRequest {
	return &devicesv1.ReportDeviceLostRequest{Name: "partners/-/devices/" + uid(serial), RequestId: requestID}
}

const (
	ownerLost   = devicesv1.SuspensionReason_SUSPENSION_REASON_OWNER_LOST
	partnerHold = devicesv1.SuspensionReason_SUSPENSION_REASON_PARTNER_HOLD
	risk        = devicesv1.SuspensionReason_SUSPENSION_REASON_RISK
	clone       = devicesv1.SuspensionReason_SUSPENSION_REASON_SYSTEM_CLONE
)

func TestADeviceIsSeenByItsMakerItsWearerAndTheHouse(t *testing.T) {
	w := newWorld(t)
	w.bind(1000, "alice")
	for _, parent := range []string{"acme", "-"} {
		get := &devicesv1.GetDeviceRequest{Name: "partners/" + parent + "/devices/" + uid(1000)}
		for caller, account := range map[string]string{
			"operator": "accounts/alice", "service auth": "accounts/alice", "alice": "accounts/alice", "acme": "",
		} {
			d := must(w, w.as(caller).GetDevice, get)
			if d.GetAccount() != account || d.GetState() != devicesv1.DeviceState_DEVICE_STATE_BOUND || d.GetName() != name(1000) {
				t.Errorf("%s sees %v", caller, d)
			}
		}
		for _, caller := range []string{"zenith", "bob"} {
			refuse(w, w.as(caller).GetDevice, get, fault.NotFound, "DEVICE_NOT_FOUND")
		}
	}
	operator := w.as("operator")
	refuse(w, operator.GetDevice, &devicesv1.GetDeviceRequest{Name: "partners/zenith/devices/" + uid(1000)}, fault.NotFound, "DEVICE_NOT_FOUND")
	refuse(w, operator.GetDevice, &devicesv1.GetDeviceRequest{Name: name(999)}, fault.NotFound, "DEVICE_NOT_FOUND")
	refuse(w, operator.GetDevice, &devicesv1.GetDeviceRequest{Name: "partners/acme/devices/z" + uid(1000)[1:]}, fault.Invalid, "INVALID_FIELD", "name")
	refuse(w, operator.GetDevice, &devicesv1.GetDeviceRequest{Name: "partners/acme/devices/" + strings.ToUpper(uid(1000))}, fault.Invalid, "INVALID_FIELD", "name")

	unseen := must(w, w.as("acme").GetDevice, &devicesv1.GetDeviceRequest{Name: name(1999)})
	want := &devicesv1.Device{
		Name: name(1999), Uid: uid(1999), Model: "partners/acme/models/w1", Lot: "partners/acme/lots/3",
		State: devicesv1.DeviceState_DEVICE_STATE_AVAILABLE, AuthEpoch: 1, Suite: 1,
		Etag: unseen.GetEtag(),
	}
	if diff := cmp.Diff(want, unseen, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestDevicesAreListedForThoseWhoSeeThem(t *testing.T) {
	w := newWorld(t)
	for i, serial := range []uint64{1003, 1001, 1002} {
		w.bind(serial, []string{"alice", "alice", "bob"}[i])
	}
	for _, c := range []struct {
		caller, parent string
		want           []uint64
	}{
		{"acme", "partners/acme", []uint64{1001, 1002, 1003}},
		{"acme", "partners/-", []uint64{1001, 1002, 1003}},
		{"operator", "partners/-", []uint64{1001, 1002, 1003}},
		{"operator", "partners/zenith", nil},
		{"zenith", "partners/-", nil},
		{"alice", "partners/-", []uint64{1001, 1003}},
		{"bob", "partners/-", []uint64{1002}},
		{"bob", "partners/zenith", nil},
	} {
		var got []string
		req := &devicesv1.ListDevicesRequest{Parent: c.parent, PageSize: 1}
		for {
			page := must(w, w.as(c.caller).ListDevices, req)
			for _, d := range page.GetDevices() {
				got = append(got, d.GetName())
				if (d.GetAccount() == "") != (c.caller == "acme") {
					t.Errorf("%s sees account %q", c.caller, d.GetAccount())
				}
			}
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		var want []string
		for _, serial := range c.want {
			want = append(want, name(serial))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s: %s", c.caller, c.parent, diff)
		}
	}
	refuse(w, w.as("zenith").ListDevices, &devicesv1.ListDevicesRequest{Parent: "partners/acme"}, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	alices := must(w, w.as("alice").ListDevices, &devicesv1.ListDevicesRequest{Parent: "partners/-", PageSize: 1})
	refuse(w, w.as("bob").ListDevices, &devicesv1.ListDevicesRequest{Parent: "partners/-", PageToken: alices.GetNextPageToken()},
		fault.Invalid, "PAGE_TOKEN_INVALID")
}

func TestCheckDeviceSaysWhetherItCanPayAndWhyNot(t *testing.T) {
	w := newWorld(t)
	expect := func(req *devicesv1.CheckDeviceRequest, canPay bool, block devicesv1.BlockReason) *devicesv1.CheckDeviceResponse {
		t.Helper()
		got := must(w, w.auth().CheckDevice, req)
		if got.GetCanPay() != canPay || got.GetBlockReason() != block || got.GetModel().GetMinSvn() != 2 || got.GetKeyEpoch() != 4 {
			t.Errorf("%v", got)
		}
		return got
	}
	expect(check(1000), false, devicesv1.BlockReason_BLOCK_REASON_NOT_BOUND)
	refuse(w, w.auth().CheckDevice, checkAccount("alice"), fault.NotFound, "DEVICE_NOT_FOUND")
	b := w.bind(1000, "alice")
	for _, req := range []*devicesv1.CheckDeviceRequest{check(1000), checkAccount("alice")} {
		got := expect(req, true, devicesv1.BlockReason_BLOCK_REASON_UNSPECIFIED)
		if diff := cmp.Diff(b, got.GetBinding(), protocmp.Transform()); diff != "" || got.GetDevice().GetAccount() != "accounts/alice" {
			t.Errorf("%v %s", got, diff)
		}
	}
	must(w, w.as("alice").ReportDeviceLost, lost(1000, "r1"))
	got := expect(checkAccount("alice"), false, devicesv1.BlockReason_BLOCK_REASON_SUSPENDED)
	if len(got.GetDevice().GetSuspensions()) != 1 || got.GetDevice().GetAuthEpoch() != 3 {
		t.Errorf("%v", got)
	}
	refuse(w, w.auth().CheckDevice, check(999), fault.NotFound, "DEVICE_NOT_FOUND")
	refuse(w, w.auth().CheckDevice, &devicesv1.CheckDeviceRequest{}, fault.Invalid, "INVALID_FIELD")
	refuse(w, w.auth().CheckDevice, &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: "1"}}, fault.Invalid, "INVALID_FIELD", "uid")
	refuse(w, w.auth().CheckDevice, checkAccount("Alice"), fault.Invalid, "INVALID_FIELD", "account")
}

func TestBinding(t *testing.T) {
	w := newWorld(t)
	auth := w.auth()
	pending := must(w, auth.BeginBinding, begin(1000, "alice", "r1"))
	if pending.GetState() != devicesv1.BindingState_BINDING_STATE_PENDING || len(pending.GetBindingId()) != 8 || len(pending.GetBindNonce()) != 16 ||
		pending.GetDevice() != name(1000) || pending.GetAccount() != "accounts/alice" {
		t.Errorf("%v", pending)
	}
	if diff := cmp.Diff(pending, must(w, auth.BeginBinding, begin(1000, "alice", "r1")), protocmp.Transform()); diff != "" {
		t.Errorf("the repetition differs: %s", diff)
	}
	refuse(w, auth.BeginBinding, begin(1001, "alice", "r1"), fault.FailedPrecondition, "REQUEST_ID_REUSED")
	refuse(w, auth.BeginBinding, begin(999, "alice", "r2"), fault.NotFound, "DEVICE_NOT_FOUND")
	bobs := must(w, auth.BeginBinding, begin(1000, "bob", "r3"))

	w.clock.Advance(time.Second)
	active := must(w, auth.ConfirmBinding, confirm(pending))
	if active.GetState() != devicesv1.BindingState_BINDING_STATE_ACTIVE || active.GetGeneration() != 1 ||
		string(active.GetBindNonce()) != string(pending.GetBindNonce()) {
		t.Errorf("%v", active)
	}
	if diff := cmp.Diff(active, must(w, auth.ConfirmBinding, confirm(pending)), protocmp.Transform()); diff != "" {
		t.Errorf("the repetition differs: %s", diff)
	}
	refuse(w, auth.ConfirmBinding, confirm(bobs), fault.FailedPrecondition, "ALREADY_BOUND")
	// A bound device can be begun: whether it is bound is told after the proof alone.
	must(w, auth.BeginBinding, begin(1000, "bob", "r4"))
	if second := must(w, auth.ConfirmBinding, confirm(must(w, auth.BeginBinding, begin(1000, "alice", "r5")))); second.GetGeneration() != 2 {
		t.Errorf("%v", second)
	}
	refuse(w, auth.ConfirmBinding, confirm(pending), fault.FailedPrecondition, "BINDING_SUPERSEDED")
	refuse(w, auth.ConfirmBinding, confirm(bobs), fault.FailedPrecondition, "BINDING_SUPERSEDED")
	refuse(w, auth.ConfirmBinding, &devicesv1.ConfirmBindingRequest{BindingId: make([]byte, 8)}, fault.NotFound, "BINDING_NOT_FOUND")

	must(w, w.as("acme").SuspendDevice, suspend(1001, partnerHold, "r6"))
	refuse(w, auth.ConfirmBinding, confirm(must(w, auth.BeginBinding, begin(1001, "alice", "r7"))), fault.FailedPrecondition, "DEVICE_SUSPENDED")
	w.bind(1002, "alice") // the limit of this server is 2
	refuse(w, auth.ConfirmBinding, confirm(must(w, auth.BeginBinding, begin(1003, "alice", "r8"))), fault.ResourceExhausted, "DEVICE_LIMIT_REACHED")

	for field, spoil := range map[string]func(*devicesv1.BeginBindingRequest){
		"uid":        func(r *devicesv1.BeginBindingRequest) { r.Uid = "8" + r.GetUid()[1:] },
		"account":    func(r *devicesv1.BeginBindingRequest) { r.Account = "alice" },
		"request_id": func(r *devicesv1.BeginBindingRequest) { r.RequestId = strings.Repeat("x", 65) },
	} {
		refuse(w, auth.BeginBinding, with(begin(1005, "alice", "r9"), spoil), fault.Invalid, "INVALID_FIELD", field)
	}
	refuse(w, auth.ConfirmBinding, &devicesv1.ConfirmBindingRequest{BindingId: make([]byte, 9)}, fault.Invalid, "INVALID_FIELD", "binding_id")
}

func TestALostDeviceIsStoppedByItsOwnerOnly(t *testing.T) {
	w := newWorld(t)
	w.bind(1000, "alice")
	refuse(w, w.as("bob").ReportDeviceLost, lost(1000, "r1"), fault.NotFound, "DEVICE_NOT_FOUND")
	refuse(w, w.as("bob").ReportDeviceLost, lost(1500, "r1"), fault.NotFound, "DEVICE_NOT_FOUND")
	refuse(w, w.as("alice").ReportDeviceLost, lost(999, "r1"), fault.NotFound, "DEVICE_NOT_FOUND")
	d := must(w, w.as("alice").ReportDeviceLost, lost(1000, "r1"))
	if len(d.GetSuspensions()) != 1 || d.GetSuspensions()[0].GetReason() != ownerLost ||
		d.GetSuspensions()[0].GetAuthority() != devicesv1.Authority_AUTHORITY_OWNER || d.GetAuthEpoch() != 3 {
		t.Errorf("%v", d)
	}
	if diff := cmp.Diff(d, must(w, w.as("alice").ReportDeviceLost, lost(1000, "r1")), protocmp.Transform()); diff != "" {
		t.Errorf("the repetition differs: %s", diff)
	}
	refuse(w, w.as("alice").ReportDeviceLost, lost(1001, "r1"), fault.FailedPrecondition, "REQUEST_ID_REUSED")
	// The same request_id of another caller is another request.
	if again := must(w, w.as("operator").ReportDeviceLost, lost(1000, "r1")); again.GetAuthEpoch() != 3 {
		t.Errorf("reporting it again changed it: %v", again)
	}
	refuse(w, w.as("bob").LiftSuspension, lift(1000, ownerLost, "r2"), fault.NotFound, "DEVICE_NOT_FOUND")
	found := must(w, w.as("alice").LiftSuspension, lift(1000, ownerLost, "r2"))
	if len(found.GetSuspensions()) != 0 || found.GetAuthEpoch() != 4 {
		t.Errorf("%v", found)
	}
	// Answered from memory: lifting anew would be refused.
	if diff := cmp.Diff(found, must(w, w.as("alice").LiftSuspension, lift(1000, ownerLost, "r2")), protocmp.Transform()); diff != "" {
		t.Errorf("the repetition differs: %s", diff)
	}
	refuse(w, w.as("alice").LiftSuspension, lift(1000, ownerLost, "r3"), fault.NotFound, "SUSPENSION_NOT_FOUND")
}

func TestSuspensionsAndAuthority(t *testing.T) {
	w := newWorld(t)
	w.bind(1000, "alice")
	for caller, reasons := range map[string][]devicesv1.SuspensionReason{
		"acme": {risk, clone}, "operator": {partnerHold}, "service auth": {partnerHold, risk},
	} {
		for _, r := range reasons {
			refuse(w, w.as(caller).SuspendDevice, suspend(1000, r, "no"), fault.PermissionDenied, "CALLER_NOT_ALLOWED")
		}
	}
	refuse(w, w.as("zenith").SuspendDevice, suspend(1000, partnerHold, "no"), fault.NotFound, "DEVICE_NOT_FOUND")
	refuse(w, w.as("operator").SuspendDevice, suspend(999, risk, "no"), fault.NotFound, "DEVICE_NOT_FOUND")
	must(w, w.as("acme").SuspendDevice, suspend(1000, partnerHold, "s1"))
	must(w, w.as("operator").SuspendDevice, suspend(1000, risk, "s1"))
	d := must(w, w.auth().SuspendDevice, suspend(1000, clone, "s1"))
	var reasons []devicesv1.SuspensionReason
	for _, s := range d.GetSuspensions() {
		reasons = append(reasons, s.GetReason())
	}
	if diff := cmp.Diff([]devicesv1.SuspensionReason{partnerHold, risk, clone}, reasons); diff != "" {
		t.Error(diff)
	}
	if d := must(w, w.as("acme").SuspendDevice, suspend(1000, partnerHold, "s1")); d.GetAccount() != "" || len(d.GetSuspensions()) != 1 {
		t.Errorf("the repetition is %v", d)
	}
	refuse(w, w.as("acme").SuspendDevice, suspend(1001, partnerHold, "s1"), fault.FailedPrecondition, "REQUEST_ID_REUSED")
	for _, c := range []struct {
		caller string
		reason devicesv1.SuspensionReason
	}{{"alice", partnerHold}, {"alice", risk}, {"alice", clone}, {"acme", risk}, {"acme", clone}} {
		refuse(w, w.as(c.caller).LiftSuspension, lift(1000, c.reason, "low"), fault.PermissionDenied, "AUTHORITY_TOO_LOW")
	}
	refuse(w, w.as("acme").LiftSuspension, lift(1000, ownerLost, "l0"), fault.NotFound, "SUSPENSION_NOT_FOUND")
	must(w, w.as("acme").LiftSuspension, lift(1000, partnerHold, "l1"))
	must(w, w.as("operator").LiftSuspension, lift(1000, risk, "l1"))
	if d := must(w, w.as("operator").LiftSuspension, lift(1000, clone, "l2")); len(d.GetSuspensions()) != 0 {
		t.Errorf("%v", d)
	}
	refuse(w, w.as("operator").LiftSuspension, lift(1001, clone, "l2"), fault.FailedPrecondition, "REQUEST_ID_REUSED")

	refuse(w, w.as("operator").SuspendDevice, suspend(1000, ownerLost, "s2"), fault.Invalid, "INVALID_FIELD", "reason")
	refuse(w, w.as("operator").SuspendDevice, suspend(1000, 260, "s2"), fault.Invalid, "INVALID_FIELD", "reason")
	refuse(w, w.as("operator").SuspendDevice, with(suspend(1000, risk, "s2"), func(r *devicesv1.SuspendDeviceRequest) { r.Note = strings.Repeat("é", 201) }),
		fault.Invalid, "INVALID_FIELD", "note")
	refuse(w, w.as("operator").LiftSuspension, lift(1000, 0, "l3"), fault.Invalid, "INVALID_FIELD", "reason")
	refuse(w, w.as("operator").LiftSuspension, with(lift(1000, risk, "l3"), func(r *devicesv1.LiftSuspensionRequest) { r.Name = "x" }),
		fault.Invalid, "INVALID_FIELD", "name")
}

func TestTheAuditRecordIsListedOldestFirst(t *testing.T) {
	w := newWorld(t)
	w.bind(1000, "alice")
	must(w, w.as("alice").ReportDeviceLost, lost(1000, "r1"))
	must(w, w.as("operator").SuspendDevice, suspend(1000, risk, "r1"))
	req := &devicesv1.ListAuditEntriesRequest{Parent: name(1000), PageSize: 2}
	var got []string
	for {
		page := must(w, w.as("acme").ListAuditEntries, req)
		for _, e := range page.GetAuditEntries() {
			if len(e.GetHash()) != 32 || e.GetCreateTime() == nil || e.GetState() != devicesv1.DeviceState_DEVICE_STATE_BOUND {
				t.Errorf("%v", e)
			}
			got = append(got, fmt.Sprintf("%d %s %s %d %q", e.GetSequence(), e.GetActor(), e.GetAction(), e.GetAuthEpoch(), e.GetNote()))
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	want := []string{
		`1 service/auth binding.confirmed 2 "generation 1"`,
		`2 wearer suspension.added.owner_lost 3 ""`,
		`3 operator/desk suspension.added.risk 4 "because"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	refuse(w, w.as("zenith").ListAuditEntries, &devicesv1.ListAuditEntriesRequest{Parent: name(1000)}, fault.NotFound, "DEVICE_NOT_FOUND")
	refuse(w, w.as("acme").ListAuditEntries, &devicesv1.ListAuditEntriesRequest{Parent: name(1000), PageToken: "AAAA"}, fault.Invalid, "PAGE_TOKEN_INVALID")
	unseen := must(w, w.as("acme").ListAuditEntries, &devicesv1.ListAuditEntriesRequest{Parent: name(1001)})
	if len(unseen.GetAuditEntries()) != 0 {
		t.Errorf("%v", unseen)
	}
}
