package grpcapi_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

func TestModels(t *testing.T) {
	w := newWorld(t)
	acme := w.as("acme")
	req := modelRequest("w2", "r1")
	made := must(w, acme.CreateModel, req)
	want := with(req.GetModel(), func(m *devicesv1.Model) {
		m.Name = "partners/acme/models/w2"
		m.Status, m.Etag = devicesv1.ModelStatus_MODEL_STATUS_ACTIVE, made.GetEtag()
		m.CreateTime = timestamppb.New(w.clock.Now().Truncate(1000))
	})
	if diff := cmp.Diff(want, made, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	w.clock.Advance(1e9)
	if diff := cmp.Diff(made, must(w, acme.CreateModel, req), protocmp.Transform()); diff != "" {
		t.Errorf("the repetition differs: %s", diff)
	}
	get := &devicesv1.GetModelRequest{Name: made.GetName()}
	for _, caller := range []string{"acme", "operator"} {
		if diff := cmp.Diff(made, must(w, w.as(caller).GetModel, get), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	refuse(w, w.as("zenith").GetModel, get, fault.NotFound, "MODEL_NOT_FOUND")
	refuse(w, acme.GetModel, &devicesv1.GetModelRequest{Name: "partners/acme/models/none"}, fault.NotFound, "MODEL_NOT_FOUND")
	refuse(w, acme.CreateModel, modelRequest("w2", "r2"), fault.AlreadyExists, "MODEL_EXISTS")
	refuse(w, acme.CreateModel, with(req, func(r *devicesv1.CreateModelRequest) { r.Model.HasDisplay = false }),
		fault.FailedPrecondition, "REQUEST_ID_REUSED", "request_id")
	refuse(w, w.as("zenith").CreateModel, modelRequest("w3", "r3"), fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	refuse(w, w.as("acme without number").CreateModel, modelRequest("w3", "r3"), fault.PermissionDenied, "CALLER_NOT_ALLOWED")

	for field, spoil := range map[string]func(*devicesv1.CreateModelRequest){
		"parent":             func(r *devicesv1.CreateModelRequest) { r.Parent = "acme" },
		"model_id":           func(r *devicesv1.CreateModelRequest) { r.ModelId = "W2" },
		"model":              func(r *devicesv1.CreateModelRequest) { r.Model = nil },
		"request_id":         func(r *devicesv1.CreateModelRequest) { r.RequestId = "" },
		"model.display_name": func(r *devicesv1.CreateModelRequest) { r.Model.DisplayName = "" },
		"model.suites":       func(r *devicesv1.CreateModelRequest) { r.Model.Suites = nil },
		// 257 is 1 in eight bits.
		"model.suites[0]": func(r *devicesv1.CreateModelRequest) { r.Model.Suites[0] = 257 },
		"model.min_svn":   func(r *devicesv1.CreateModelRequest) { r.Model.MinSvn = -1 },
	} {
		refuse(w, acme.CreateModel, with(modelRequest("w4", "r4"), spoil), fault.Invalid, "INVALID_FIELD", field)
	}
}

func TestModelsArePagedByID(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		acme := w.as("acme")
		for _, id := range []string{"b2", "a-1", "z9", "b1"} {
			must(w, acme.CreateModel, modelRequest(id, id))
		}
		want := []string{"a-1", "b1", "b2", "w1", "z9"}
		for size := int32(1); size <= 6; size++ {
			var got []string
			token := ""
			for {
				page := must(w, w.as("operator").ListModels, &devicesv1.ListModelsRequest{Parent: "partners/acme", PageSize: size, PageToken: token})
				for _, m := range page.GetModels() {
					got = append(got, strings.TrimPrefix(m.GetName(), "partners/acme/models/"))
				}
				if token = page.GetNextPageToken(); token == "" {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("pages of %d: %s", size, diff)
			}
		}
		all := must(w, acme.ListModels, &devicesv1.ListModelsRequest{Parent: "partners/acme"}).GetModels()
		if diff := cmp.Diff(must(w, acme.GetModel, &devicesv1.GetModelRequest{Name: all[3].GetName()}), all[3], protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		lots := must(w, acme.ListModels, &devicesv1.ListModelsRequest{Parent: "partners/acme", PageSize: 1}).GetNextPageToken()
		refuse(w, acme.ListLots, &devicesv1.ListLotsRequest{Parent: "partners/acme", PageToken: lots}, fault.Invalid, "PAGE_TOKEN_INVALID", "page_token")
		refuse(w, w.as("zenith").ListModels, &devicesv1.ListModelsRequest{Parent: "partners/acme"}, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
		if other := must(w, w.as("zenith").ListModels, &devicesv1.ListModelsRequest{Parent: "partners/zenith"}); len(other.GetModels()) != 0 {
			t.Errorf("%v", other)
		}
	})
}

func TestLots(t *testing.T) {
	w := newWorld(t)
	acme := w.as("acme")
	req := with(lotRequest(math.MaxUint32, "r1"), func(r *devicesv1.CreateLotRequest) {
		r.FirstSerial, r.DeviceCount = math.MaxUint64-9, 10
	})
	made := must(w, acme.CreateLot, req)
	want := &devicesv1.Lot{
		Name: "partners/acme/lots/4294967295", Model: "partners/acme/models/w1", Suite: 1, KeyEpoch: 4, FirstSerial: math.MaxUint64 - 9,
		Kind: devicesv1.LotKind_LOT_KIND_RANGE, State: devicesv1.LotState_LOT_STATE_RELEASED,
		DeviceCount: 10, FirstUid: wire.NewRangeUID(7, math.MaxUint32, math.MaxUint64-9).String(),
		CreateTime: timestamppb.New(w.clock.Now().Truncate(1000)),
	}
	if diff := cmp.Diff(want, made, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(made, must(w, acme.CreateLot, req), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	get := &devicesv1.GetLotRequest{Name: made.GetName()}
	if diff := cmp.Diff(made, must(w, w.as("operator").GetLot, get), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	refuse(w, w.as("zenith").GetLot, get, fault.NotFound, "LOT_NOT_FOUND")
	for _, no := range []string{"5", "03", "9999999999", "0"} {
		refuse(w, acme.GetLot, &devicesv1.GetLotRequest{Name: "partners/acme/lots/" + no}, fault.NotFound, "LOT_NOT_FOUND")
	}
	refuse(w, acme.CreateLot, lotRequest(3, "r2"), fault.AlreadyExists, "LOT_EXISTS")
	refuse(w, acme.CreateLot, with(req, func(r *devicesv1.CreateLotRequest) { r.LotNo = 5 }), fault.FailedPrecondition, "REQUEST_ID_REUSED")
	refuse(w, w.as("zenith").CreateLot, lotRequest(5, "r3"), fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	spoiled := func(spoil func(*devicesv1.CreateLotRequest)) *devicesv1.CreateLotRequest {
		return with(lotRequest(5, "r4"), spoil)
	}
	refuse(w, acme.CreateLot, spoiled(func(r *devicesv1.CreateLotRequest) { r.FirstSerial, r.DeviceCount = math.MaxUint64, 2 }),
		fault.Invalid, "LOT_RANGE_OVERFLOW", "first_serial")
	refuse(w, acme.CreateLot, spoiled(func(r *devicesv1.CreateLotRequest) { r.Suite = 2 }), fault.FailedPrecondition, "SUITE_NOT_SUPPORTED")
	refuse(w, acme.CreateLot, spoiled(func(r *devicesv1.CreateLotRequest) { r.Model = "partners/acme/models/none" }),
		fault.NotFound, "MODEL_NOT_FOUND")
	refuse(w, acme.CreateLot, spoiled(func(r *devicesv1.CreateLotRequest) { r.Model = "partners/zenith/models/w1" }),
		fault.NotFound, "MODEL_NOT_FOUND")
	for field, spoil := range map[string]func(*devicesv1.CreateLotRequest){
		"parent":       func(r *devicesv1.CreateLotRequest) { r.Parent = "partners/-" },
		"lot_no":       func(r *devicesv1.CreateLotRequest) { r.LotNo = 0 },
		"model":        func(r *devicesv1.CreateLotRequest) { r.Model = "w1" },
		"suite":        func(r *devicesv1.CreateLotRequest) { r.Suite = 5 },
		"key_epoch":    func(r *devicesv1.CreateLotRequest) { r.KeyEpoch = 65536 },
		"device_count": func(r *devicesv1.CreateLotRequest) { r.DeviceCount = 1_000_000_001 },
		"kind":         func(r *devicesv1.CreateLotRequest) { r.Kind = 3 },
		"request_id":   func(r *devicesv1.CreateLotRequest) { r.RequestId = "with space" },
	} {
		refuse(w, acme.CreateLot, spoiled(spoil), fault.Invalid, "INVALID_FIELD", field)
	}
}

func TestLotsArePagedByNumber(t *testing.T) {
	w := newWorld(t)
	for i, no := range []uint32{100, 20, 9} {
		must(w, w.as("acme").CreateLot, lotRequest(no, "page"+string(rune('a'+i))))
	}
	var names, tokens []string
	req := &devicesv1.ListLotsRequest{Parent: "partners/acme", PageSize: 2}
	for {
		page := must(w, w.as("operator").ListLots, req)
		for _, l := range page.GetLots() {
			names = append(names, l.GetName())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
		tokens = append(tokens, req.GetPageToken())
	}
	want := []string{"partners/acme/lots/3", "partners/acme/lots/9", "partners/acme/lots/20", "partners/acme/lots/100"}
	if diff := cmp.Diff(want, names); diff != "" || len(tokens) != 1 {
		t.Errorf("%d tokens, %s", len(tokens), diff)
	}
	token := tokens[0]
	other := "A" // than the token begins with
	if token[0] == 'A' {
		other = "B"
	}
	for _, bad := range []string{"x", "!", token + "A", token[1:], other + token[1:]} {
		refuse(w, w.as("acme").ListLots, &devicesv1.ListLotsRequest{Parent: "partners/acme", PageToken: bad},
			fault.Invalid, "PAGE_TOKEN_INVALID", "page_token")
	}
	refuse(w, w.as("zenith").ListLots, &devicesv1.ListLotsRequest{Parent: "partners/zenith", PageToken: token}, fault.Invalid, "PAGE_TOKEN_INVALID")
	refuse(w, w.as("acme").ListDevices, &devicesv1.ListDevicesRequest{Parent: "partners/acme", PageToken: token}, fault.Invalid, "PAGE_TOKEN_INVALID")
	refuse(w, w.as("zenith").ListLots, &devicesv1.ListLotsRequest{Parent: "partners/acme"}, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	refuse(w, w.as("acme").ListLots, &devicesv1.ListLotsRequest{Parent: "partners/acme", PageSize: 1001}, fault.Invalid, "INVALID_FIELD", "page_size")
	if page := must(w, w.as("acme").ListLots, &devicesv1.ListLotsRequest{Parent: "partners/acme"}); len(page.GetLots()) != 4 {
		t.Errorf("the default page has %d lots", len(page.GetLots()))
	}
}

func TestSingleDevicesAndTheirKeys(t *testing.T) {
	w := newWorld(t)
	acme := w.as("acme")
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := p256.PublicKey().Bytes()
	request := func(n uint64, suite devicesv1.Suite, key []byte) *devicesv1.CreateDeviceRequest {
		u := wire.NewRangeUID(7, 77, n).String()
		return &devicesv1.CreateDeviceRequest{
			Parent: "partners/acme", Uid: u, Model: "partners/acme/models/w1", Suite: suite, KeyEpoch: 2, PublicKey: key, RequestId: "d" + u,
		}
	}
	for i, c := range []struct {
		suite devicesv1.Suite
		key   []byte
	}{{1, nil}, {3, point}, {4, ed}} {
		req := request(uint64(i), c.suite, c.key)
		d := must(w, acme.CreateDevice, req)
		want := &devicesv1.Device{
			Name: "partners/acme/devices/" + req.GetUid(), Uid: req.GetUid(), Model: req.GetModel(), State: devicesv1.DeviceState_DEVICE_STATE_AVAILABLE,
			AuthEpoch: 1, Suite: c.suite, CreateTime: timestamppb.New(w.clock.Now().Truncate(1000)), Etag: d.GetEtag(),
		}
		if c.key != nil {
			want.Credentials = []*devicesv1.Credential{{CredentialId: 1, PublicKey: c.key, ValidFromTime: want.GetCreateTime()}}
		}
		if diff := cmp.Diff(want, d, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(d, must(w, acme.CreateDevice, req), protocmp.Transform()); diff != "" {
			t.Errorf("the repetition differs: %s", diff)
		}
		check := must(w, w.auth().CheckDevice, &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: req.GetUid()}})
		if string(check.GetPublicKey()) != string(c.key) || check.GetKeyEpoch() != 2 {
			t.Errorf("key is %x, epoch %d", check.GetPublicKey(), check.GetKeyEpoch())
		}
	}
	offCurve := append([]byte{}, point...)
	offCurve[64] ^= 1
	identity := append([]byte{1}, make([]byte, 31)...)
	for why, req := range map[string]*devicesv1.CreateDeviceRequest{
		"a point off the curve":       request(10, 3, offCurve),
		"a compressed point":          request(10, 3, append([]byte{2}, point[1:33]...)),
		"a key of the other suite":    request(10, 3, ed),
		"a small-order point":         request(10, 4, identity),
		"a key of the wrong length":   request(10, 4, ed[:31]),
		"a key for a symmetric suite": request(10, 1, ed),
	} {
		t.Log(why)
		refuse(w, acme.CreateDevice, req, fault.Invalid, "CREDENTIAL_INVALID", "public_key")
	}
	refuse(w, acme.CreateDevice, request(10, 3, nil), fault.Invalid, "CREDENTIAL_REQUIRED", "public_key")
	refuse(w, acme.CreateDevice, request(10, 2, nil), fault.FailedPrecondition, "SUITE_NOT_SUPPORTED")
	spoiled := func(spoil func(*devicesv1.CreateDeviceRequest)) *devicesv1.CreateDeviceRequest {
		return with(request(11, 4, ed), spoil)
	}
	refuse(w, acme.CreateDevice, with(request(0, 1, nil), func(r *devicesv1.CreateDeviceRequest) { r.RequestId = "other" }),
		fault.AlreadyExists, "DEVICE_EXISTS")
	refuse(w, acme.CreateDevice, spoiled(func(r *devicesv1.CreateDeviceRequest) { r.Uid = uid(1000) }), fault.AlreadyExists, "DEVICE_EXISTS")
	refuse(w, acme.CreateDevice, with(request(0, 1, nil), func(r *devicesv1.CreateDeviceRequest) { r.KeyEpoch = 3 }),
		fault.FailedPrecondition, "REQUEST_ID_REUSED")
	refuse(w, acme.CreateDevice, spoiled(func(r *devicesv1.CreateDeviceRequest) { r.Uid = wire.NewRangeUID(8, 1, 1).String() }),
		fault.PermissionDenied, "UID_OUTSIDE_PARTNER")
	refuse(w, acme.CreateDevice, spoiled(func(r *devicesv1.CreateDeviceRequest) { r.Model = "partners/acme/models/none" }),
		fault.NotFound, "MODEL_NOT_FOUND")
	for field, spoil := range map[string]func(*devicesv1.CreateDeviceRequest){
		"parent":     func(r *devicesv1.CreateDeviceRequest) { r.Parent = "" },
		"uid":        func(r *devicesv1.CreateDeviceRequest) { r.Uid = "z" + r.GetUid()[1:] }, // more than 128 bits
		"suite":      func(r *devicesv1.CreateDeviceRequest) { r.Suite = 5 },
		"key_epoch":  func(r *devicesv1.CreateDeviceRequest) { r.KeyEpoch = 0 },
		"public_key": func(r *devicesv1.CreateDeviceRequest) { r.PublicKey = make([]byte, 66) },
	} {
		refuse(w, acme.CreateDevice, spoiled(spoil), fault.Invalid, "INVALID_FIELD", field)
	}
}
