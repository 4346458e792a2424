package grpcapi_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

// unset stands for a field that is left out.
type unset struct{}

// badInput are values that a field cannot have, by request and path, beyond those that no field of its type can have; see ofType.
var badInput = map[string][]any{
	"CreateModelRequest.model":                      {unset{}},
	"CreateModelRequest.model.display_name":         {unset{}, strings.Repeat("é", 101)},
	"CreateModelRequest.model.suites":               {unset{}, []any{number(1), number(1)}, number(257)},
	"CreateModelRequest.model.sensors":              {[]any{number(1), number(1)}, number(0), number(257)},
	"CreateModelRequest.model.proximity_methods":    {[]any{number(2), number(2)}, number(0), number(257)},
	"CreateModelRequest.model.min_svn":              {int32(65536)},
	"UpdateModelRequest.model":                      {unset{}},
	"UpdateModelRequest.model.min_svn":              {int32(65536)},
	"UpdateModelRequest.model.sensors":              {[]any{number(1), number(1)}, number(0)},
	"UpdateModelRequest.model.proximity_methods":    {[]any{number(2), number(2)}, number(0)},
	"SetModelStatusRequest.status":                  {number(0)},
	"CreateLotRequest.lot_no":                       {uint32(0)},
	"CreateLotRequest.suite":                        {number(0)},
	"CreateLotRequest.key_epoch":                    {uint32(0), uint32(65536)},
	"CreateLotRequest.first_serial":                 {^uint64(0)}, // with a count of 1,000
	"CreateLotRequest.device_count":                 {uint64(0), uint64(1_000_000_001)},
	"CreateLotRequest.exceptions.first_serial":      {uint64(999), uint64(3000)},
	"CreateLotRequest.exceptions.last_serial":       {uint64(2000), uint64(1)},
	"RecallLotRequest.note":                         {unset{}},
	"ImportDevicesRequest.header.expected_rows":     {uint64(0), uint64(1_000_000_001)},
	"ImportDevicesRequest.header.digest":            {make([]byte, 31), unset{}},
	"ImportDevicesRequest.header.mode":              {number(0)},
	"ImportDevicesRequest.chunk.sequence":           {uint64(0)},
	"ImportDevicesRequest.chunk.rows.key_epoch":     {uint32(65536)},
	"CreateDeviceRequest.suite":                     {number(0)},
	"CreateDeviceRequest.key_epoch":                 {uint32(0), uint32(65536)},
	"CreateDeviceRequest.public_key":                {make([]byte, 32)}, // of suite 1
	"UpdateDeviceRequest.device":                    {unset{}},
	"BatchGetDevicesRequest.names":                  {unset{}, slices.Repeat([]any{name(1000)}, 1001)},
	"CheckDeviceRequest.uid":                        {strings.Repeat("z", 26)}, // more than 128 bits
	"BeginBindingRequest.uid":                       {strings.Repeat("z", 26)},
	"CreateDeviceRequest.uid":                       {strings.Repeat("z", 26)},
	"ConfirmBindingRequest.binding_id":              {make([]byte, 7), unset{}},
	"ReleaseBindingRequest.binding_id":              {make([]byte, 9), unset{}},
	"CompleteTransferRequest.binding_id":            {make([]byte, 9), unset{}},
	"SuspendDeviceRequest.reason":                   {number(0), number(1)}, // OWNER_LOST is ReportDeviceLost's
	"LiftSuspensionRequest.reason":                  {number(0)},
	"RevokeDeviceRequest.note":                      {unset{}},
	"AddCredentialRequest.public_key":               {make([]byte, 31), unset{}},
	"AddCredentialRequest.valid_until_time":         {timestamppb.New(day(-1))},
	"RetireCredentialRequest.credential_id":         {uint32(0)},
	"ListDevicesRequest.filter":                     {"state", "state = SOLD", "color = red", "state = BOUND AND", `model = "w1"`, `lot = "9"`, `labels.a = "x`, "labels.a=\"\x01\"", "account = \"a\x00\""},
	"ListDevicesRequest.page_size":                  {int32(1001)},
	"ListModelsRequest.page_size":                   {int32(1001)},
	"ListLotsRequest.page_size":                     {int32(1001)},
	"ListAuditEntriesRequest.page_size":             {int32(1001)},
	"VerifyAuditRangeRequest.last":                  {int64(4)}, // before first, which is 5
	"VerifyAuditRangeRequest.checkpoint":            {goodCheckpoint()},
	"VerifyAuditRangeRequest.checkpoint.log_hash":   {make([]byte, 31)},
	"VerifyAuditRangeRequest.checkpoint.sign_time":  {unset{}},
	"VerifyAuditRangeRequest.checkpoint.signature":  {make([]byte, 63)},
	"VerifyAuditRangeRequest.checkpoint.public_key": {make([]byte, 33)},
	"ImportDevicesRequest.chunk.rows":               {unset{}, rowsOf(2001)},
	"ImportDevicesRequest.chunk.rows.uid":           {strings.Repeat("0", 256)},
	"ImportDevicesRequest.chunk.rows.suite":         {number(256), number(-1)},
	"ImportDevicesRequest.chunk.rows.labels":        {map[string]string{"a": strings.Repeat("b", 256)}},
	"ImportDevicesRequest.chunk.rows.public_key":    {make([]byte, 256)},
	"UpdateDeviceRequest.device.labels":             {map[string]string{"a": strings.Repeat("b", 65)}, map[string]string{"a": ""}},
	"CreateLotRequest.exceptions":                   {&devicesv1.SerialRange{FirstSerial: 1000, LastSerial: 1999}},
}

// anyInput are fields that can have every value of their type, and why.
var anyInput = map[string]string{
	"CreateModelRequest.model.name":             "the registry makes it and ignores the caller's",
	"CreateModelRequest.model.create_time":      "likewise",
	"CreateModelRequest.model.status":           "likewise",
	"CreateModelRequest.model.status_authority": "likewise",
	"CreateModelRequest.model.etag":             "likewise",
	"UpdateModelRequest.model.suites":           "it is not among the facts that can be changed; the mask refuses it",
	"UpdateModelRequest.model.create_time":      "likewise",
	"UpdateModelRequest.model.status":           "likewise",
	"UpdateModelRequest.model.status_authority": "likewise",
	"UpdateModelRequest.model.etag":             "another than the present one is ETAG_MISMATCH",
	"UpdateDeviceRequest.device.etag":           "another than the present one is ETAG_MISMATCH",
	"ImportDevicesRequest.chunk.rows.uid":       "what the digest can count and is wrong fails its row alone",
	"ImportDevicesRequest.chunk.rows.suite":     "likewise",
	"ImportDevicesRequest.chunk.rows.labels":    "likewise",
}

// ignoredOfDevice are fields of Device that UpdateDevice cannot change; the mask refuses them.
var ignoredOfDevice = []string{
	"uid", "model", "lot", "state", "suspensions", "account", "auth_epoch", "suite", "create_time", "credentials", "transfer_expire_time",
}

type number = protoreflect.EnumNumber

func rowsOf(n int) []any {
	out := make([]any, n)
	for i, r := range rows(n) {
		out[i] = r
	}
	return out
}

// ofType are values that no field of the type can have unless anyInput says so.
func ofType(fd protoreflect.FieldDescriptor) []any {
	switch {
	case fd.IsMap():
		return []any{map[string]string{"A": "x"}, map[string]string{"a": "\x00"}}
	case fd.Message() != nil:
		switch fd.Message().FullName() {
		case "google.protobuf.Timestamp":
			return []any{&timestamppb.Timestamp{Nanos: -1}}
		case "google.protobuf.FieldMask":
			return []any{unset{}, &fieldmaskpb.FieldMask{}, mask("nonsense")}
		}
		return nil
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return []any{"\x00", strings.Repeat("a", 5000)}
	case protoreflect.BytesKind:
		return []any{make([]byte, 5000)}
	case protoreflect.EnumKind:
		return []any{number(99), number(-1)}
	case protoreflect.Int32Kind:
		return []any{int32(-1)}
	case protoreflect.Int64Kind:
		return []any{int64(-1)}
	}
	return nil
}

// fieldsOf lists the paths of all fields of a message, those of messages in it included.
func fieldsOf(md protoreflect.MessageDescriptor, prefix string, visit func(path string, fd protoreflect.FieldDescriptor)) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		path := prefix + string(fd.Name())
		visit(path, fd)
		if m := fd.Message(); m != nil && !fd.IsMap() && m.ParentFile().Package() == md.ParentFile().Package() &&
			!(prefix == "device." || strings.HasPrefix(path, "device.")) {
			fieldsOf(m, path+".", visit)
		}
	}
}

// spoil sets the field at the path; lists on the way have one element at least.
func spoil(m protoreflect.Message, path []string, value any) {
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if len(path) > 1 {
		if !fd.IsList() {
			spoil(m.Mutable(fd).Message(), path[1:], value)
			return
		}
		list := m.Mutable(fd).List()
		if list.Len() == 0 {
			list.AppendMutable()
		}
		spoil(list.Get(0).Message(), path[1:], value)
		return
	}
	switch v := value.(type) {
	case unset:
		m.Clear(fd)
	case map[string]string:
		for key, text := range v {
			m.Mutable(fd).Map().Set(protoreflect.ValueOfString(key).MapKey(), protoreflect.ValueOfString(text))
		}
	case []any:
		m.Clear(fd)
		for _, item := range v {
			m.Mutable(fd).List().Append(valueOf(item))
		}
	default:
		if fd.IsList() {
			m.Clear(fd)
			m.Mutable(fd).List().Append(valueOf(v))
			return
		}
		m.Set(fd, valueOf(v))
	}
}

func valueOf(v any) protoreflect.Value {
	if m, ok := v.(proto.Message); ok {
		return protoreflect.ValueOfMessage(m.ProtoReflect())
	}
	return protoreflect.ValueOf(v)
}

// goodRequests are requests in which one bad field is the only thing wrong.
func goodRequests() map[string]proto.Message {
	good := map[string]proto.Message{}
	for method, c := range everyCall() {
		good[method] = c.request
	}
	good["CreateLot"] = with(lotRequest(5, "f"), func(r *devicesv1.CreateLotRequest) {
		r.Exceptions = []*devicesv1.SerialRange{{FirstSerial: 1001, LastSerial: 1002}}
	})
	good["UpdateModel"] = &devicesv1.UpdateModelRequest{
		Model:      &devicesv1.Model{Name: "partners/acme/models/w1", DisplayName: "W"},
		UpdateMask: mask("display_name", "min_svn", "sensors", "proximity_methods"), RequestId: "f",
	}
	good["VerifyAuditRange"] = &devicesv1.VerifyAuditRangeRequest{
		Parent: name(1000), First: 5,
	}
	good["AddCredential"] = &devicesv1.AddCredentialRequest{Name: "partners/acme/devices/" + keyed, PublicKey: goodKey(), RequestId: "f"}
	return good
}

// keyed is a device of suite 4.
var keyed = wire.NewRangeUID(7, 501, 1).String()

func goodKey() []byte {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
}

// day is noon so many days after the world's first.
func day(n int) time.Time { return time.Date(2026, 3, 1+n, 12, 0, 0, 0, time.UTC) }

// fieldCaller is who makes the calls of a method.
func fieldCaller(allowed []string) string {
	if slices.Contains(allowed, "operator") {
		return "operator" // to whom every field is open
	}
	return allowed[0]
}

var index = regexp.MustCompile(`\[[^]]*\]`)

// Every field of every request is given values that it cannot have. Each is refused with INVALID_ARGUMENT that names the field, and
// nothing is changed. A field that is added to a request needs a value that is refused here, or a reason why it has none.
func TestBadInputOfEveryFieldIsRefusedByName(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.listedLot(false)
		must(w, w.as("acme").CreateDevice, &devicesv1.CreateDeviceRequest{
			Parent: "partners/acme", Uid: keyed, Model: "partners/acme/models/w1", Suite: 4, KeyEpoch: 1, RequestId: "keyed",
			PublicKey: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey),
		})
		before := w.count(`SELECT count(*) FROM audit_entries`)
		unused := map[string]bool{}
		for field := range badInput {
			unused[field] = true
		}
		good, calls := goodRequests(), everyCall()
		methods := devicesv1.File_armlet_devices_v1_devices_proto.Services().Get(0).Methods()
		for i := range methods.Len() {
			method := methods.Get(i)
			request := good[string(method.Name())]
			if request == nil {
				t.Errorf("%s has no good request here", method.Name())
				continue
			}
			fieldsOf(method.Input(), "", func(path string, fd protoreflect.FieldDescriptor) {
				field := string(method.Input().Name()) + "." + path
				delete(unused, field)
				if strings.HasPrefix(field, "UpdateDeviceRequest.device.") && slices.Contains(ignoredOfDevice, string(fd.Name())) {
					return
				}
				values := slices.Clone(badInput[field])
				if anyInput[field] == "" {
					values = append(values, ofType(fd)...)
				} else if len(values) == 0 {
					return
				}
				if len(values) == 0 && fd.Kind() != protoreflect.BoolKind && !nestedAlone(fd) {
					t.Errorf("%s has no case: name a value that it cannot have, or why there is none", field)
				}
				for _, value := range values {
					bad := proto.Clone(request)
					if strings.HasPrefix(path, "chunk.") {
						bad = &devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Chunk{
							Chunk: &devicesv1.ImportChunk{Sequence: 1, Rows: rows(1)},
						}}
					}
					spoil(bad.ProtoReflect(), strings.Split(path, "."), value)
					if strings.HasPrefix(field, "VerifyAuditRangeRequest.checkpoint.") {
						fillCheckpoint(bad.(*devicesv1.VerifyAuditRangeRequest), path)
					}
					err := w.tryField(t, fieldCaller(calls[string(method.Name())].allowed), method, path, bad)
					f, _ := fault.As(err)
					if f == nil || f.Kind != fault.Invalid || !named(f.Field, path) {
						t.Errorf("%s = %.80q: %v, want INVALID_ARGUMENT that names it", field, value, err)
						continue
					}
					if f.Message == "" || !utf8.ValidString(f.Message) {
						t.Errorf("%s: %q", field, f.Message)
					}
				}
			})
		}
		for field := range unused {
			t.Errorf("%s is no field any more", field)
		}
		if after := w.count(`SELECT count(*) FROM audit_entries`); after != before {
			t.Errorf("%d changes were made", after-before)
		}
	})
}

// nestedAlone recognises messages whose fields have their own cases.
func nestedAlone(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && !fd.IsMap() && fd.Message().ParentFile().Package() == fd.ParentFile().Package()
}

// named reports whether a refusal names the field, its element or, of a run of serial numbers, the run.
func named(got, path string) bool {
	got = index.ReplaceAllString(got, "")
	return got == path || strings.HasPrefix(path, "exceptions.") && got == "exceptions"
}

func goodCheckpoint() *devicesv1.AuditCheckpoint {
	return &devicesv1.AuditCheckpoint{
		Position: 1, LogHash: make([]byte, 32), SignTime: timestamppb.New(day(0)), Signature: make([]byte, 64), PublicKey: make([]byte, 32),
	}
}

// fillCheckpoint makes the rest of a checkpoint good.
func fillCheckpoint(r *devicesv1.VerifyAuditRangeRequest, but string) {
	r.Parent = "partners/-"
	had := r.GetCheckpoint().ProtoReflect()
	goodCheckpoint().ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if "checkpoint."+string(fd.Name()) != but {
			had.Set(fd, v)
		}
		return true
	})
}

// tryField makes the call; a chunk goes behind a good header.
func (w *world) tryField(t *testing.T, caller string, method protoreflect.MethodDescriptor, path string, request proto.Message) error {
	t.Helper()
	if !strings.HasPrefix(path, "chunk") {
		return invoke(t.Context(), w.conn(caller), method, request)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := w.as(caller).ImportDevices(ctx)
	if err != nil {
		return err
	}
	for _, m := range []*devicesv1.ImportDevicesRequest{
		{Message: &devicesv1.ImportDevicesRequest_Header{Header: header("fields", rows(3000))}}, request.(*devicesv1.ImportDevicesRequest),
	} {
		if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) { // EOF: Recv says why
			return err
		}
	}
	if _, err := stream.Recv(); err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}
