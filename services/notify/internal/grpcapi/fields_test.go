package grpcapi_test

import (
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/testkit"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

// recorder is a connection that keeps what would be sent.
type recorder struct{ sent proto.Message }

func (r *recorder) Invoke(_ context.Context, _ string, args, _ any, _ ...grpc.CallOption) error {
	r.sent, _ = args.(proto.Message)
	return io.EOF
}

func (r *recorder) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return recorded{r}, nil
}

type recorded struct{ r *recorder }

func (s recorded) SendMsg(m any) error { s.r.sent, _ = m.(proto.Message); return nil }

func (recorded) RecvMsg(any) error            { return io.EOF }
func (recorded) CloseSend() error             { return nil }
func (recorded) Header() (metadata.MD, error) { return nil, nil }
func (recorded) Trailer() metadata.MD         { return nil }
func (recorded) Context() context.Context     { return context.Background() }

// ignored are the fields that may hold anything, by the request's message or by the message they are part of.
var ignored = map[string]string{
	"Campaign":  "only the fields that an update may change are read: see update_mask",
	"AlertType": "only the draft, the name and the etag are read",
	"EventType": "output only",
}

// readable are the fields of those messages that are read all the same.
var readable = []string{
	"Campaign.name", "Campaign.display_name", "Campaign.voucher_limit", "Campaign.budget", "Campaign.expire_time",
	"AlertType.name", "AlertType.draft", "AlertType.etag", "EventType.display_name", "EventType.payload_schema", "EventType.daily_quota",
}

// anything are the fields without a bad value, or whose bad value is refused for another reason, and why.
var anything = map[string]string{
	"Campaign.voucher_limit":          "read when update_mask names it; CAMPAIGN_BOUND_TOO_LOW",
	"Campaign.expire_time":            "read when update_mask names it; CAMPAIGN_WINDOW_INVALID",
	"AlertType.etag":                  "one that is not the type's is ETAG_MISMATCH",
	"Webhook.public_keys":             "output only",
	"SendAlertRequest.payload":        "held against its type, which is found first: TestAPartnersTypeIsMadePreviewedPublishedAndSent",
	"BatchSendAlertsRequest.requests": "each result says what is wrong with its request; the fields are those of SendAlertRequest",
	"PublishedEvent.payload":          "each result says what is wrong with its event: TestWhyAnEventIsRefusedStandsInItsResult",
}

// goodParts are what is put where a request of calls() has nothing, so that only one of its fields is bad.
var goodParts = map[string]proto.Message{
	"AlertAction": &notifyv1.AlertAction{Id: "yes", Label: "Yes"},
	"PercentOff":  &notifyv1.PercentOff{BasisPoints: 100, Cap: &typev1.Money{MinorUnits: 1, CurrencyCode: "CNY"}},
	"QuietHours":  &notifyv1.QuietHours{Start: "22:00", End: "07:00"},
	"Webhook":     &notifyv1.Webhook{Url: "https://example.com/hook"},
	"AlertPreference": &notifyv1.AlertPreference{
		Category: notifyv1.AlertCategory_ALERT_CATEGORY_PARTNERS, Surface: notifyv1.Surface_SURFACE_BAND,
	},
	"CampaignLimit": &notifyv1.CampaignLimit{
		Scope: notifyv1.LimitScope_LIMIT_SCOPE_VOUCHER, Metric: notifyv1.LimitMetric_LIMIT_METRIC_REDEMPTIONS,
		Period: notifyv1.LimitPeriod_LIMIT_PERIOD_DAY, Value: 1,
	},
}

// TestEveryFieldOfEveryRequestHasABadValue takes a good request of each RPC, puts a bad value into each of its fields in turn,
// and wants to hear of that very field. A new field is tried by itself; one that takes everything has to be named above.
func TestEveryFieldOfEveryRequestHasABadValue(t *testing.T) {
	a := newAPI(t)
	conns := map[string]*grpc.ClientConn{}
	for _, token := range []string{"operator", "acme", "alice", "terminal"} {
		conns[token] = testkit.ClientWithToken(t, a.server, token)
	}
	conns["payments"] = testkit.Client(t, a.server, "payments")
	tried := 0
	for method, call := range calls() {
		r := &recorder{}
		_ = call(t.Context(), notifyv1.NewNotifyServiceClient(r))
		if r.sent == nil {
			t.Fatalf("%s sends nothing", method)
		}
		send := a.caller(conns, method, r.sent)
		for _, c := range badFields(r.sent, "", string(r.sent.ProtoReflect().Descriptor().Name())) {
			tried++
			err := send(c.request)
			f, _ := fault.As(err)
			if f == nil || f.Kind != fault.Invalid || !names(f.Field, c.path) {
				t.Errorf("%s with a bad %s: %v (field %q)", method, c.path, err, fieldOf(f))
			}
		}
	}
	t.Logf("%d bad values", tried)
	for _, table := range []string{"campaigns", "vouchers", "alerts", "alert_kinds", "topics", "subscriptions", "custom_event_types"} {
		if n := a.count(`SELECT COUNT(*) FROM ` + table); n != 0 {
			t.Errorf("nonsense left %d rows in %s", n, table)
		}
	}
}

func fieldOf(f *fault.Error) string {
	if f == nil {
		return ""
	}
	return f.Field
}

var index = regexp.MustCompile(`\[[^\]]*\]`)

// names says whether a fault's field is the path or what the path is part of.
func names(field, path string) bool {
	field = index.ReplaceAllString(field, "")
	return field != "" && (field == path || strings.HasPrefix(path, field+".") || strings.HasPrefix(field, path+"."))
}

// caller sends as the first who may call the method.
func (a *api) caller(conns map[string]*grpc.ClientConn, method string, good proto.Message) func(proto.Message) error {
	a.t.Helper()
	full := "/" + notifyv1.NotifyService_ServiceDesc.ServiceName + "/" + method
	as := func(token string) func(proto.Message) error {
		return func(m proto.Message) error {
			for _, s := range notifyv1.NotifyService_ServiceDesc.Streams {
				if s.StreamName == method {
					return sendStream(a.t.Context(), conns[token], full, m)
				}
			}
			return conns[token].Invoke(a.t.Context(), full, m, &emptypb.Empty{})
		}
	}
	empty := good.ProtoReflect().New().Interface()
	for _, token := range []string{"operator", "acme", "alice", "terminal", "payments"} {
		err := as(token)(empty)
		if reason := fault.ReasonOf(err); reason != "CALLER_NOT_ALLOWED" && reason != "SCOPE_MISSING" {
			return as(token)
		}
	}
	a.t.Fatalf("nobody may call %s", method)
	return nil
}

func sendStream(ctx context.Context, conn *grpc.ClientConn, method string, m proto.Message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err == nil {
		err = stream.SendMsg(m)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		err = stream.RecvMsg(&emptypb.Empty{})
	}
	return err
}

// bad is a request with one bad field.
type bad struct {
	path    string
	request proto.Message
}

// badFields are copies of the message with one bad field each.
func badFields(m proto.Message, prefix, name string) []bad {
	var all []bad
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		path, full := prefix+string(f.Name()), name+"."+string(f.Name())
		if _, free := anything[full]; free || ignored[name] != "" && !slices.Contains(readable, full) {
			continue
		}
		if f.Message() != nil && f.Message().ParentFile().Package() == "armlet.notify.v1" && !f.IsMap() {
			all = append(all, within(m, f, path)...)
			if !f.IsList() {
				continue
			}
		}
		if set := spoil(f); set != nil {
			spoiled := proto.Clone(m)
			set(spoiled.ProtoReflect())
			all = append(all, bad{path, spoiled})
		}
	}
	return all
}

// within spoils the fields of a message that is a field of m, of its first element when that is a list.
func within(m proto.Message, f protoreflect.FieldDescriptor, path string) []bad {
	inner := m.ProtoReflect().Get(f)
	part := m.ProtoReflect().NewField(f)
	var element protoreflect.Message
	switch {
	case f.IsList() && inner.List().Len() > 0:
		element = inner.List().Get(0).Message()
	case f.IsList():
		element = goodPart(part.List().NewElement().Message())
	case m.ProtoReflect().Has(f):
		element = inner.Message()
	default:
		element = goodPart(part.Message())
	}
	var all []bad
	for _, b := range badFields(element.Interface(), path+".", string(f.Message().Name())) {
		whole := proto.Clone(m)
		if f.IsList() {
			list := whole.ProtoReflect().Mutable(f).List()
			list.Truncate(0)
			list.Append(protoreflect.ValueOfMessage(b.request.ProtoReflect()))
		} else {
			whole.ProtoReflect().Set(f, protoreflect.ValueOfMessage(b.request.ProtoReflect()))
		}
		all = append(all, bad{b.path, whole})
	}
	return all
}

func goodPart(empty protoreflect.Message) protoreflect.Message {
	if good := goodParts[string(empty.Descriptor().Name())]; good != nil {
		return good.ProtoReflect()
	}
	return empty
}

// spoil puts a bad value into a field; it is nil for a kind that has none.
func spoil(f protoreflect.FieldDescriptor) func(protoreflect.Message) {
	if f.IsMap() {
		return func(m protoreflect.Message) {
			pairs := m.Mutable(f).Map()
			value := pairs.NewValue()
			if f.MapValue().Kind() == protoreflect.StringKind {
				value = protoreflect.ValueOfString(strings.Repeat("\x01", 5000))
			}
			pairs.Set(protoreflect.ValueOfString(strings.Repeat("\x01", 5000)).MapKey(), value)
		}
	}
	value := func() protoreflect.Value {
		switch f.Kind() {
		case protoreflect.StringKind:
			return protoreflect.ValueOfString(strings.Repeat("\x01?", 5000))
		case protoreflect.BytesKind:
			return protoreflect.ValueOfBytes(make([]byte, 20_000))
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(9999)
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(-1)
		case protoreflect.Int64Kind:
			return protoreflect.ValueOfInt64(-1)
		case protoreflect.Uint32Kind:
			return protoreflect.ValueOfUint32(1 << 31)
		case protoreflect.MessageKind:
			return badMessage(f)
		}
		return protoreflect.Value{}
	}
	if f.Kind() == protoreflect.BoolKind {
		return nil
	}
	return func(m protoreflect.Message) {
		v := value()
		if !f.IsList() {
			m.Set(f, v)
			return
		}
		list := m.Mutable(f).List()
		if f.Kind() == protoreflect.StringKind {
			v = protoreflect.ValueOfString("\x01")
		}
		for range 10_001 { // too many, and each is bad
			list.Append(v)
		}
	}
}

// badMessage is a bad value of the messages that are not notify's own.
func badMessage(f protoreflect.FieldDescriptor) protoreflect.Value {
	payload, _ := structpb.NewStruct(map[string]any{"x": strings.Repeat("x", 20_000)})
	values := map[protoreflect.FullName]proto.Message{
		"armlet.type.v1.Money": &typev1.Money{MinorUnits: -1, CurrencyCode: "yuan"}, "google.protobuf.Timestamp": &timestamppb.Timestamp{Nanos: -1},
		"google.protobuf.Duration": &durationpb.Duration{Seconds: -1}, "google.protobuf.FieldMask": &fieldmaskpb.FieldMask{Paths: []string{"nonsense"}},
		"google.protobuf.Struct": payload,
	}
	if v, ok := values[f.Message().FullName()]; ok {
		return protoreflect.ValueOfMessage(v.ProtoReflect())
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(f.Message().FullName())
	if err != nil {
		panic(err)
	}
	return protoreflect.ValueOfMessage(kind.New())
}
