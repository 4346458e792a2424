package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

const docs = "../../docs"

func TestTheDocumentIsAsyncAPI3(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(docs, "asyncapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile("testdata/asyncapi-3.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v", err)
	}
	spoilt, ok := doc.(map[string]any)
	if !ok {
		t.Fatalf("the document is a %T", doc)
	}
	delete(spoilt, "info")
	if err := schema.Validate(spoilt); err == nil {
		t.Error("a document without info is taken")
	}
}

// Every reference leads somewhere: inside the document, or to the file of a schema.
func TestEveryReferenceOfTheDocumentLeadsSomewhere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(docs, "asyncapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	refs := regexp.MustCompile(`\$ref: '?([^'\n]+)'?`).FindAllStringSubmatch(string(text), -1)
	if len(refs) < 100 {
		t.Errorf("only %d references", len(refs))
	}
	for _, r := range refs {
		if file, ok := strings.CutPrefix(r[1], "./"); ok {
			if _, err := os.Stat(filepath.Join(docs, file)); err != nil {
				t.Error(err)
			}
			continue
		}
		var at any = doc
		for _, part := range strings.Split(strings.TrimPrefix(r[1], "#/"), "/") {
			inner, _ := at.(map[string]any)
			at = inner[part]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", r[1])
		}
	}
}

func TestEverySchemaOfAnEventIsOne(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(docs, "events", "*.json"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if _, err := c.Compile(file); err != nil {
			t.Error(err)
		}
	}
}

// contract is one made for the tests: a file of events whose one message has the comment.
func contract(t *testing.T, comment string) []byte {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	for _, pkg := range []string{"devices", "auth", "payments", "notify"} {
		file := &descriptorpb.FileDescriptorProto{
			Name: proto.String("armlet/" + pkg + "/v1/events.proto"), Package: proto.String("armlet." + pkg + ".v1"), Syntax: proto.String("proto3"),
		}
		if pkg == "payments" {
			field := func(name string, no int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
				return &descriptorpb.FieldDescriptorProto{
					Name: proto.String(name), JsonName: proto.String(name), Number: proto.Int32(no), Type: kind.Enum(),
					Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
				}
			}
			file.MessageType = []*descriptorpb.DescriptorProto{{Name: proto.String("Paid"), Field: []*descriptorpb.FieldDescriptorProto{
				field("minor", 1, descriptorpb.FieldDescriptorProto_TYPE_INT64), field("ok", 2, descriptorpb.FieldDescriptorProto_TYPE_BOOL),
			}}}
			file.SourceCodeInfo = &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{
				{Path: []int32{4, 0}, Span: []int32{1, 0, 1}, LeadingComments: proto.String(comment)},
			}}
		}
		if _, err := protodesc.NewFile(file, nil); err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, file)
	}
	data, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAnEventsCommentSaysItsSubjects(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]string{
		` Paid is published when it was paid: subject entity "bill", verb "paid".`:                          "payments.bill.paid",
		" Paid is published when\n it was paid: subject entity \"bill\", verb\n \"paid\".":                  "payments.bill.paid",
		` Paid is published when: domain "books", subject entity "bill", verb "paid" or "part_paid". More.`: "books.bill.paid books.bill.part_paid",
		` Paid is sent to one: domain "books", subject entity the bill's id, verb "paid".`:                  "books.{id}.paid",
		` Paid is an event of its own: domain "books", subject entity the bill's id, verb "paid".`:          "books.{id}.paid",
		` Paid is what every bill carries.`:                                                                 "",
		` Paid is published when it was paid.`:                                                              "error",
		` Owed is published when it was paid: subject entity "bill", verb "paid".`:                          "error",
		``: "error",
	} {
		all, err := read(contract(t, comment))
		got := ""
		for _, e := range all {
			got = strings.Join(e.kinds(), " ")
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q says %q, want %q (%v)", comment, got, want, err)
		}
	}
}

func TestTheTableStandsBetweenItsMarks(t *testing.T) {
	t.Parallel()
	all, err := read(contract(t, ` Paid is published when it was paid: subject entity "bill", verb "paid".`))
	if err != nil {
		t.Fatal(err)
	}
	files, err := render(all, "before\n"+tableBegins+"old\n"+tableEnds+"after\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "| `payments.bill.paid` | [`armlet.payments.v1.Paid`](events/armlet.payments.v1.Paid.json) | when it was paid |\n"
	if text := files["events.md"]; !strings.HasPrefix(text, "before\n") || !strings.HasSuffix(text, "after\n") || !strings.Contains(text, want) || strings.Contains(text, "old") {
		t.Errorf("got\n%s", text)
	}
	if _, err := render(all, "no marks"); err == nil {
		t.Error("a text without marks is taken")
	}
}
