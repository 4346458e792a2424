package grpcapi_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/bus"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

// The operator gives one partner more or less than all others have, and every process holds it to that at once.
func TestAPartnerMayHaveAQuotaOfItsOwn(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, first *world) {
		w := newWorldAt(t, first.url, bus.Outbox{}, quota.Amounts{Models: 1, Lots: 1, Devices: 1000})
		acme, operator := w.as("acme"), w.as("operator")
		refuse(w, acme.CreateModel, modelRequest("w2", "q1"), fault.ResourceExhausted, "QUOTA_EXCEEDED")
		req := &devicesv1.UpdateQuotaRequest{Name: "partners/acme/quota", ModelLimit: proto.Int64(2), DeviceLimit: proto.Int64(0), RequestId: "u1"}
		want := &devicesv1.Quota{Name: req.GetName(), ModelLimit: 2, Models: 1, LotLimit: 1, Lots: 1, DeviceLimit: 0, Devices: 1000}
		for range 2 {
			if diff := cmp.Diff(want, must(w, operator.UpdateQuota, req), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		}
		if diff := cmp.Diff(want, must(w, acme.GetQuota, &devicesv1.GetQuotaRequest{Name: req.GetName()}), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		must(w, acme.CreateModel, modelRequest("w2", "q1"))
		refuse(w, acme.CreateModel, modelRequest("w3", "q2"), fault.ResourceExhausted, "QUOTA_EXCEEDED")
		refuse(w, acme.CreateLot, lotRequest(4, "q3"), fault.ResourceExhausted, "QUOTA_EXCEEDED") // lots are the configuration's still
		must(w, acme.CreateDevice, &devicesv1.CreateDeviceRequest{
			Parent: "partners/acme", Uid: wire.NewRangeUID(7, 501, 1).String(), Model: "partners/acme/models/w1", Suite: 1, KeyEpoch: 1, RequestId: "d",
		})
		// One that has nothing yet, and one whose limit is below what it has: it keeps that and gets no more.
		must(w, operator.UpdateQuota, &devicesv1.UpdateQuotaRequest{Name: "partners/zenith/quota", ModelLimit: proto.Int64(9), RequestId: "u2"})
		got := must(w, operator.UpdateQuota, &devicesv1.UpdateQuotaRequest{Name: req.GetName(), ModelLimit: proto.Int64(1), RequestId: "u3"})
		if got.GetModels() != 2 || got.GetModelLimit() != 1 || got.GetDeviceLimit() != 1000 {
			t.Errorf("%v", got)
		}
		refuse(w, acme.CreateModel, modelRequest("w3", "q4"), fault.ResourceExhausted, "QUOTA_EXCEEDED")
		if other := must(w, operator.GetQuota, &devicesv1.GetQuotaRequest{Name: "partners/zenith/quota"}); other.GetModelLimit() != 9 || other.GetModels() != 0 {
			t.Errorf("%v", other)
		}
		refuse(w, operator.UpdateQuota, &devicesv1.UpdateQuotaRequest{Name: req.GetName(), RequestId: "u1"}, fault.FailedPrecondition, "REQUEST_ID_REUSED")
		refuse(w, acme.UpdateQuota, req, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	})
}

// A thousand devices of a range lot that nobody has seen, one that was bound and some that are not there, in one call.
func TestAThousandDevicesAtOnce(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.bind(1003, "alice")
		req := &devicesv1.BatchGetDevicesRequest{}
		var want, missing []string
		for i := range uint64(1000) {
			serial := 1000 + i
			if i%100 == 99 {
				serial += 5000 // behind the lot
			}
			if req.Names = append(req.Names, name(serial)); serial < 2000 {
				want = append(want, uid(serial))
			} else {
				missing = append(missing, name(serial))
			}
		}
		got := must(w, w.as("acme").BatchGetDevices, req)
		var uids []string
		for _, d := range got.GetDevices() {
			uids = append(uids, d.GetUid())
			if bound := d.GetUid() == uid(1003); (d.GetState() == devicesv1.DeviceState_DEVICE_STATE_BOUND) != bound || d.GetAccount() != "" {
				t.Errorf("%v", d)
			}
		}
		if diff := cmp.Diff(want, uids); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(missing, got.GetNotFound()); diff != "" || len(missing) != 10 {
			t.Error(diff)
		}
		if none := must(w, w.as("zenith").BatchGetDevices, req); len(none.GetDevices()) != 0 || len(none.GetNotFound()) != 1000 {
			t.Errorf("another partner sees %d", len(none.GetDevices()))
		}
	})
}

// A suspension that is lifted stays on record with who, when and why.
func TestWhyASuspensionWasLiftedIsOnRecord(t *testing.T) {
	w := newWorld(t)
	operator := w.as("operator")
	must(w, operator.SuspendDevice, &devicesv1.SuspendDeviceRequest{Name: name(1000), Reason: 3, Note: "case 17", RequestId: "s"})
	must(w, operator.LiftSuspension, &devicesv1.LiftSuspensionRequest{Name: name(1000), Reason: 3, Note: "case 17 closed", RequestId: "l"})
	var told []string
	for _, e := range must(w, operator.ListAuditEntries, &devicesv1.ListAuditEntriesRequest{Parent: name(1000)}).GetAuditEntries() {
		told = append(told, fmt.Sprint(e.GetActor(), " ", e.GetAction(), " ", e.GetNote()))
	}
	if diff := cmp.Diff([]string{"operator/desk suspension.added.risk case 17", "operator/desk suspension.lifted.risk case 17 closed"}, told); diff != "" {
		t.Error(diff)
	}
}
