package rpc_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/armlet-pay/armlet/platform/rpc"
)

const (
	echo = "/test.v1.Test/Echo" // StringValue -> StringValue
	rule = "/test.v1.Test/Rule" // a message with field rules -> StringValue
	feed = "/test.v1.Test/Feed" // StringValue -> stream of StringValue
	sink = "/test.v1.Test/Sink" // stream of messages with field rules -> StringValue
)

// handlers are what the test service does; a nil one answers with its request.
type handlers struct {
	echo func(context.Context, string) (string, error)
	feed func(string, grpc.ServerStream) error
}

// ruled is a message with the field rules `name: 1 to 8 bytes` and `inner.count: above 0`.
var ruled = func() protoreflect.MessageDescriptor {
	optional := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
	opts := func(r *validate.FieldRules) *descriptorpb.FieldOptions {
		o := &descriptorpb.FieldOptions{}
		proto.SetExtension(o, validate.E_Field, r)
		return o
	}
	name := validate.FieldRules_builder{String: validate.StringRules_builder{MinLen: proto.Uint64(1), MaxBytes: proto.Uint64(8)}.Build()}
	count := validate.FieldRules_builder{Int64: validate.Int64Rules_builder{Gt: proto.Int64(0)}.Build()}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test/v1/test.proto"), Package: proto.String("test.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Ruled"), Field: []*descriptorpb.FieldDescriptorProto{
				{
					Name: proto.String("name"), Number: proto.Int32(1), Label: optional,
					Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Options: opts(name.Build()),
				},
				{
					Name: proto.String("inner"), Number: proto.Int32(2), Label: optional,
					Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), TypeName: proto.String(".test.v1.Inner"),
				},
			}},
			{Name: proto.String("Inner"), Field: []*descriptorpb.FieldDescriptorProto{{
				Name: proto.String("count"), Number: proto.Int32(1), Label: optional,
				Type: descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum(), Options: opts(count.Build()),
			}}},
		},
	}, nil)
	if err != nil {
		panic(err)
	}
	return fd.Messages().ByName("Ruled")
}()

func newRuled(name string, count int64) *dynamicpb.Message {
	m := dynamicpb.NewMessage(ruled)
	m.Set(ruled.Fields().ByName("name"), protoreflect.ValueOfString(name))
	inner := m.Mutable(ruled.Fields().ByName("inner")).Message()
	inner.Set(inner.Descriptor().Fields().ByName("count"), protoreflect.ValueOfInt64(count))
	return m
}

func unary(name string, request func() proto.Message, do func(context.Context, proto.Message) (proto.Message, error)) grpc.MethodDesc {
	full := "/test.v1.Test/" + name
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, ic grpc.UnaryServerInterceptor) (any, error) {
		req := request()
		if err := dec(req); err != nil {
			return nil, err
		}
		return ic(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, func(ctx context.Context, req any) (any, error) {
			return do(ctx, req.(proto.Message))
		})
	}}
}

func (h handlers) desc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "test.v1.Test", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("Echo", func() proto.Message { return new(wrapperspb.StringValue) }, func(ctx context.Context, m proto.Message) (proto.Message, error) {
				text := m.(*wrapperspb.StringValue).GetValue()
				if h.echo == nil {
					return wrapperspb.String(text), nil
				}
				answer, err := h.echo(ctx, text)
				return wrapperspb.String(answer), err
			}),
			unary("Rule", func() proto.Message { return dynamicpb.NewMessage(ruled) }, func(context.Context, proto.Message) (proto.Message, error) {
				return wrapperspb.String("accepted"), nil
			}),
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "Feed", ServerStreams: true, Handler: func(_ any, ss grpc.ServerStream) error {
				var req wrapperspb.StringValue
				if err := ss.RecvMsg(&req); err != nil {
					return err
				}
				if h.feed == nil {
					return ss.SendMsg(&req)
				}
				return h.feed(req.GetValue(), ss)
			}},
			{StreamName: "Sink", ClientStreams: true, Handler: func(_ any, ss grpc.ServerStream) error {
				if err := ss.RecvMsg(dynamicpb.NewMessage(ruled)); err != nil {
					return err
				}
				return ss.SendMsg(wrapperspb.String("accepted"))
			}},
		},
	}
}

// open lets every role and the service `friend` call everything.
func open() rpc.Policy {
	all := rpc.Rule{
		Roles:    []rpc.Role{rpc.RoleOperator, rpc.RolePartner, rpc.RoleWearer, rpc.RoleTerminal, rpc.RoleService},
		Services: []string{"friend"},
	}
	return rpc.Policy{echo: all, rule: all, feed: all, sink: all}
}

// rig is a served test service.
type rig struct {
	srv *rpc.Server
	net *rpc.Network
	tcp string // its TCP address
	log *lockedBuffer
}

// serve serves on an in-process listener ("test") and on TCP at once.
func serve(t *testing.T, cfg rpc.ServerConfig, h handlers) *rig {
	t.Helper()
	r := &rig{net: rpc.NewNetwork(), log: &lockedBuffer{}}
	cfg.Service = "test"
	cfg.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if cfg.Policy == nil {
		cfg.Policy = open()
	}
	var err error
	if r.srv, err = rpc.NewServer(cfg); err != nil {
		t.Fatal(err)
	}
	r.srv.GRPC().RegisterService(h.desc(), nil)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.tcp = lis.Addr().String()
	inproc := r.net.Listen("test")
	done := make(chan error, 1)
	go func() { done <- r.srv.Serve(inproc, lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r.srv.Stop(ctx)
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return r
}

// as connects in-process as the service.
func (r *rig) as(t *testing.T, service string) *grpc.ClientConn {
	t.Helper()
	return connected(t)(r.net.Dial(service, "test", rpc.DialConfig{}))
}

// with connects in-process as nobody, with a token.
func (r *rig) with(t *testing.T, token string) *grpc.ClientConn {
	t.Helper()
	return connected(t)(r.net.Dial("", "test", rpc.DialConfig{Token: fixed(token)}))
}

func fixed(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

func connected(t *testing.T) func(*grpc.ClientConn, error) *grpc.ClientConn {
	return func(cc *grpc.ClientConn, err error) *grpc.ClientConn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cc.Close() })
		return cc
	}
}

func call(ctx context.Context, cc *grpc.ClientConn, text string) (string, error) {
	var out wrapperspb.StringValue
	err := cc.Invoke(ctx, echo, wrapperspb.String(text), &out)
	return out.GetValue(), err
}

// openFeed begins the server stream.
func openFeed(ctx context.Context, cc *grpc.ClientConn, text string) (grpc.ClientStream, error) {
	cs, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, feed)
	if err != nil {
		return nil, err
	}
	if err := cs.SendMsg(wrapperspb.String(text)); err != nil {
		return nil, err
	}
	return cs, cs.CloseSend()
}

// tokens is a verifier that knows its callers by their tokens.
type tokens map[string]rpc.Caller

func (v tokens) Verify(_ context.Context, token string) (rpc.Caller, error) {
	c, ok := v[token]
	if !ok {
		return rpc.Caller{}, fmt.Errorf("no such token")
	}
	return c, nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
