package peers

import (
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

func TestAPayloadIsHeldAgainstItsSchema(t *testing.T) {
	s := NewSchemas()
	schema := `{"type":"object","required":["level"],"properties":{"level":{"type":"integer","minimum":0,"maximum":100}},"additionalProperties":false}`
	if err := s.Check(schema); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		payload map[string]any
		ok      bool
	}{
		"right":       {map[string]any{"level": 12.0}, true},
		"missing":     {nil, false},
		"a fraction":  {map[string]any{"level": 12.5}, false},
		"too much":    {map[string]any{"level": 101.0}, false},
		"a text":      {map[string]any{"level": "12"}, false},
		"one unknown": {map[string]any{"level": 1.0, "x": 1.0}, false},
	} {
		err := s.Validate(schema, tc.payload)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), schemaURL)) {
			t.Errorf("%s is told as %q", name, err)
		}
	}
}

func TestASchemaThatIsNoneOrMayCostMoreThanItsSizeIsRefused(t *testing.T) {
	s := NewSchemas()
	for name, schema := range map[string]string{
		"no JSON":          `{`,
		"not of an object": `{"type":"string"}`,
		"wrong":            `{"type":"object","required":"level"}`,
		"a bad pattern":    `{"type":"object","properties":{"a":{"type":"string","pattern":"("}}}`,
		"itself":           `{"type":"object","properties":{"a":{"$ref":"#"}}}`,
		"a bomb":           `{"type":"object","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"},{"$ref":"#/$defs/b"}]},"b":{}}}`,
		"another machine":  `{"type":"object","properties":{"a":{"$ref":"http://127.0.0.1:1/schema.json"}}}`,
		"another meta":     `{"$schema":"http://127.0.0.1:1/meta.json","type":"object"}`,
		"too deep":         `{"type":"object","properties":` + strings.Repeat(`{"a":`, 20) + `{}` + strings.Repeat(`}`, 20) + `}`,
		"too long":         `{"type":"object","title":"` + strings.Repeat("x", maxSchema) + `"}`,
	} {
		if err := s.Check(schema); fault.ReasonOf(err) != "SCHEMA_INVALID" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheBuiltInSchemasAreSchemas(t *testing.T) {
	s := NewSchemas()
	for _, id := range alert.BuiltIns() {
		content, _ := alert.BuiltIn(id)
		if err := s.Check(content.Schema); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	content, _ := alert.BuiltIn(alert.PaymentCaptured)
	if err := s.Validate(content.Schema, map[string]any{"amount": map[string]any{"minor_units": int64(5), "currency_code": "CNY"}}); err != nil {
		t.Error(err)
	}
}
