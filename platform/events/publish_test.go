package events

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// The short way and the long way read the same.
func FuzzHeadersAreReadAsJSONWould(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"a":"b"}`, `{"a":"b","c":"d"}`, ` {"a":"b"}`, `{"a" : "b"}`, `{"a":"b"`, `{"a":"b",}`, `{"a":"b" "c":"d"}`, `{"a":1}`,
		`{"a":"\\"}`, `{"a":"\u0041"}`, `{"a":"\""}`, `{"a","b"}`, `["a","b"]`, ``, `"`, `{"a":{"b":"c"}}`, `{"a":"b"}{"c":"d"}`,
		"{\"a\":\"new\nline\"}",
	} {
		f.Add(text)
	}
	f.Fuzz(sameAsJSON)
}

func sameAsJSON(t *testing.T, text string) {
	t.Helper()
	var want map[string]string
	wantErr := json.Unmarshal([]byte(text), &want)
	got := nats.Header{}
	_, err := parseHeaders(got, nil, text)
	if wantErr != nil {
		if err == nil {
			t.Errorf("%q is read as %v, and should be refused: %v", text, got, wantErr)
		}
		return
	}
	all := nats.Header{}
	for name, value := range want {
		all[name] = []string{value}
	}
	if diff := cmp.Diff(all, got); err != nil || diff != "" {
		t.Errorf("%q: %v\n%s", text, err, diff)
	}
}
