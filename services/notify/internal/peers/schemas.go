package peers

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/armlet-pay/armlet/platform/fault"
)

const (
	maxSchema      = 8192
	maxSchemaDepth = 16
	maxSchemas     = 4096
	schemaURL      = "schema:///payload"
)

// Schemas reads the JSON Schemas (draft 2020-12) that partners hand in. A schema cannot refer to anything, itself
// included: so holding a payload against it takes time in proportion to both, and nothing is ever fetched. Patterns are
// Go's, which take linear time.
type Schemas struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]*jsonschema.Schema
}

// NewSchemas makes a Schemas.
func NewSchemas() *Schemas { return &Schemas{all: map[[sha256.Size]byte]*jsonschema.Schema{}} }

func invalidSchema(why string, a ...any) *fault.Error {
	return fault.New(fault.Invalid, "SCHEMA_INVALID", why, a...).WithField("payload_schema")
}

// Check implements alert.Schemas.
func (s *Schemas) Check(schema string) error {
	_, err := s.compile(schema)
	return err
}

// Validate implements alert.Schemas.
func (s *Schemas) Validate(schema string, payload map[string]any) error {
	compiled, err := s.compile(schema)
	if err != nil {
		return err
	}
	if payload == nil {
		payload = map[string]any{}
	}
	err = compiled.Validate(payload)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	return errors.New(firstCause(invalid))
}

// firstCause is the deepest first error, on one line and without the schema's address.
func firstCause(e *jsonschema.ValidationError) string {
	for len(e.Causes) > 0 {
		e = e.Causes[0]
	}
	lines := strings.Split(strings.TrimSpace(e.Error()), "\n")
	return strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "- ")
}

func (s *Schemas) compile(text string) (*jsonschema.Schema, error) {
	sum := sha256.Sum256([]byte(text))
	s.mu.Lock()
	compiled, ok := s.all[sum]
	s.mu.Unlock()
	if ok {
		return compiled, nil
	}
	compiled, err := compile(text)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxSchemas {
		clear(s.all)
	}
	s.all[sum] = compiled
	return compiled, nil
}

func compile(text string) (*jsonschema.Schema, error) {
	if len(text) > maxSchema {
		return nil, invalidSchema("a schema has at most %d bytes", maxSchema)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, invalidSchema("the schema is not JSON: %v", err)
	}
	root, ok := doc.(map[string]any)
	if !ok || root["type"] != "object" {
		return nil, invalidSchema(`a payload is an object: the schema needs "type": "object"`)
	}
	if err := refuse(doc, 0); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nothing{})
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, invalidSchema("the schema cannot be read").WithCause(err)
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		return nil, invalidSchema("the schema is no JSON Schema of draft 2020-12: %s", lastLine(err))
	}
	return compiled, nil
}

func lastLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return strings.ReplaceAll(strings.TrimSpace(lines[len(lines)-1]), schemaURL, "")
}

// refuse finds what would make a schema's cost more than its size. A property may be called "$ref"; that is refused too.
func refuse(value any, depth int) error {
	if depth > maxSchemaDepth {
		return invalidSchema("the schema is nested more than %d deep", maxSchemaDepth)
	}
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			switch name {
			case "$ref", "$dynamicRef", "$recursiveRef", "$id", "$schema", "$anchor", "$dynamicAnchor", "$vocabulary":
				return invalidSchema("a schema is whole in itself: leave %s out", name)
			}
			if err := refuse(inner, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for _, inner := range v {
			if err := refuse(inner, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// nothing loads nothing.
type nothing struct{}

// Load implements jsonschema.URLLoader.
func (nothing) Load(url string) (any, error) { return nil, fmt.Errorf("%s is not fetched", url) }
