package rpc

import (
	"context"
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/armlet-pay/armlet/platform/fault"
)

func validateUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := validate(req); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func validateStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return next(srv, &validatingStream{ss})
}

type validatingStream struct{ grpc.ServerStream }

func (s *validatingStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return validate(m)
}

// validate checks the field rules and reports the first that is broken: the rest are seldom of use, and stopping early
// keeps a hostile request cheap.
func validate(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	err := protovalidate.Validate(msg, protovalidate.WithFailFast())
	if err == nil {
		return nil
	}
	var ve *protovalidate.ValidationError
	if !errors.As(err, &ve) || len(ve.Violations) == 0 {
		return fmt.Errorf("field rules of %s: %w", msg.ProtoReflect().Descriptor().FullName(), err)
	}
	v := ve.Violations[0].Proto
	return fault.InvalidField(protovalidate.FieldPathString(v.GetField()), "%s", v.GetMessage())
}

// warmUp compiles the field rules of every registered request, which costs milliseconds each, so that the first caller does
// not pay for it and a rule that does not compile is found before anything is served.
func warmUp(registered map[string]grpc.ServiceInfo) error {
	for service := range registered {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			continue // registered by hand, without a descriptor: compiled when first used
		}
		sd, ok := d.(protoreflect.ServiceDescriptor)
		if !ok {
			continue
		}
		for i := range sd.Methods().Len() {
			mt, err := protoregistry.GlobalTypes.FindMessageByName(sd.Methods().Get(i).Input().FullName())
			if err != nil {
				continue
			}
			var ce *protovalidate.CompilationError
			if err := protovalidate.Validate(mt.New().Interface()); errors.As(err, &ce) {
				return fmt.Errorf("field rules of %s: %w", mt.Descriptor().FullName(), err)
			}
		}
	}
	return nil
}
