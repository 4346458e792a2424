package main

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// schema is a JSON schema, or a part of one. Its keys are written in this order.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Ref         string             `json:"$ref,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        any                `json:"type,omitempty"`
	Format      string             `json:"format,omitempty"`
	Encoding    string             `json:"contentEncoding,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Minimum     *int64             `json:"minimum,omitempty"`
	Maximum     *int64             `json:"maximum,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Additional  *schema            `json:"additionalProperties,omitempty"`
	Defs        map[string]*schema `json:"$defs,omitempty"`
}

const schemaBase = "https://armlet-pay.github.io/schemas/events/"

// schemaText is the schema of an event in its JSON form (ProtoJSON), which is that of webhooks with FULL content. Fields
// that are empty are left out there, and fields may be added later, so nothing is required and nothing else forbidden.
func schemaText(e event) (string, error) {
	w := writer{defs: map[string]*schema{}}
	root := w.message(e.message)
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.ID = schemaBase + string(e.message.FullName()) + ".json"
	root.Title = string(e.message.FullName())
	root.Defs = w.defs
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(root)
	return b.String(), err
}

// writer collects the messages that an event is made of.
type writer struct{ defs map[string]*schema }

func (w writer) message(m protoreflect.MessageDescriptor) *schema {
	s := &schema{Type: "object", Description: commentOf(m), Properties: map[string]*schema{}}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		s.Properties[f.JSONName()] = w.field(f)
	}
	return s
}

func (w writer) field(f protoreflect.FieldDescriptor) *schema {
	var s *schema
	switch {
	case f.IsMap():
		s = &schema{Type: "object", Additional: w.value(f.MapValue())}
	case f.IsList():
		s = &schema{Type: "array", Items: w.value(f)}
	default:
		s = w.value(f)
	}
	s.Description = commentOf(f)
	return s
}

// value is the schema of one value as ProtoJSON writes it.
func (w writer) value(f protoreflect.FieldDescriptor) *schema {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return &schema{Type: "boolean"}
	case protoreflect.StringKind:
		return &schema{Type: "string"}
	case protoreflect.BytesKind:
		return &schema{Type: "string", Encoding: "base64"}
	case protoreflect.EnumKind:
		return enum(f.Enum())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return integer(-1<<31, 1<<31-1)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return integer(0, 1<<32-1)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return &schema{Type: "string", Pattern: "^-?[0-9]+$"}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return &schema{Type: "string", Pattern: "^[0-9]+$"}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return &schema{Type: "number"}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.nested(f.Message())
	}
	return &schema{}
}

func integer(low, high int64) *schema { return &schema{Type: "integer", Minimum: &low, Maximum: &high} }

func enum(e protoreflect.EnumDescriptor) *schema {
	s := &schema{Type: "string"}
	for i := range e.Values().Len() {
		s.Enum = append(s.Enum, string(e.Values().Get(i).Name()))
	}
	return s
}

// nested is a reference to a message, or the special form that a well-known one has in JSON.
func (w writer) nested(m protoreflect.MessageDescriptor) *schema {
	switch m.FullName() {
	case "google.protobuf.Timestamp":
		return &schema{Type: "string", Format: "date-time"}
	case "google.protobuf.Duration":
		return &schema{Type: "string", Pattern: `^-?[0-9]+(\.[0-9]+)?s$`}
	case "google.protobuf.Struct":
		return &schema{Type: "object"}
	case "google.protobuf.Value":
		return &schema{}
	}
	name := string(m.FullName())
	if w.defs[name] == nil {
		w.defs[name] = &schema{} // it may contain itself
		w.defs[name] = w.message(m)
	}
	return &schema{Ref: "#/$defs/" + name}
}
