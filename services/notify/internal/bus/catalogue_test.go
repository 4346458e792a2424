package bus

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const schemaFolder = "../../../../docs/events"

// Every event that there is, empty and with every field set, is what its published JSON schema says, and the schema knows
// each of its fields.
func TestEveryEventIsWhatItsSchemaSays(t *testing.T) {
	published := 0
	for name, empty := range known {
		file := filepath.Join(schemaFolder, name+".json")
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) && strings.HasSuffix(name, "Facts") { // a part of events
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		published++
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		schema, err := c.Compile(file)
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := json.Unmarshal(text, &document); err != nil {
			t.Fatal(err)
		}
		full := empty()
		fill(full.ProtoReflect(), 0)
		for _, msg := range []proto.Message{empty(), full} {
			sample := asJSON(t, msg)
			if err := schema.Validate(sample); err != nil {
				t.Errorf("%s: %v\n%v", name, err, sample)
			}
			knows(t, name, document, document, sample)
		}
	}
	files, err := filepath.Glob(filepath.Join(schemaFolder, "*.json"))
	if err != nil || len(files) != published {
		t.Errorf("there are %d schemas of %d events (%v)", len(files), published, err)
	}
}

func asJSON(t *testing.T, msg proto.Message) any {
	t.Helper()
	text, err := protojson.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// knows checks that each property of a sample stands in the schema: schemas allow others, which may be added later.
func knows(t *testing.T, where string, root, schema map[string]any, sample any) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		defs, _ := root["$defs"].(map[string]any)
		schema, _ = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	properties, ok := schema["properties"].(map[string]any)
	if list, isList := sample.([]any); isList {
		items, _ := schema["items"].(map[string]any)
		for _, one := range list {
			knows(t, where+"[]", root, items, one)
		}
		return
	}
	object, isObject := sample.(map[string]any)
	if !isObject || !ok {
		return
	}
	for name, value := range object {
		inner, ok := properties[name].(map[string]any)
		if !ok {
			t.Errorf("the schema does not know %s.%s", where, name)
			continue
		}
		knows(t, where+"."+name, root, inner, value)
	}
}

// fill sets every field of a message, and of the messages in it to some depth.
func fill(m protoreflect.Message, depth int) {
	switch special := m.Interface().(type) {
	case *timestamppb.Timestamp:
		special.Seconds, special.Nanos = 1_700_000_000, 5000
		return
	case *durationpb.Duration:
		special.Seconds = 90
		return
	case *structpb.Struct:
		special.Fields = map[string]*structpb.Value{"k": structpb.NewStringValue("v")}
		return
	}
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case f.IsMap():
			fillMap(m, f)
		case f.Message() != nil && depth > 4:
		case f.IsList() && f.Message() != nil:
			fill(m.Mutable(f).List().AppendMutable().Message(), depth+1)
		case f.IsList():
			m.Mutable(f).List().Append(sampleOf(f))
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), depth+1)
		default:
			m.Set(f, sampleOf(f))
		}
	}
}

func fillMap(m protoreflect.Message, f protoreflect.FieldDescriptor) {
	if f.MapKey().Kind() == protoreflect.StringKind && f.MapValue().Message() == nil {
		m.Mutable(f).Map().Set(protoreflect.ValueOfString("k").MapKey(), sampleOf(f.MapValue()))
	}
}

func sampleOf(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len() - 1).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(-7)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(7)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(-1 << 60)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(1 << 60)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(1.5)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(1.5)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0xfb, 0xff})
	default:
		return protoreflect.ValueOfString("text")
	}
}
