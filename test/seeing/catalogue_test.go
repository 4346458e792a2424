// Package seeing holds the dashboards, the alert rules and the runbook against each other and against the metrics that exist.
// That the services send what deploy/metrics.yaml says is a journey's to show.
package seeing

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"     // what events and methods there are
	_ "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"  // likewise
	_ "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"   // likewise
	_ "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1" // likewise
)

// entry is a metric of deploy/metrics.yaml.
type entry struct {
	Name       string   `yaml:"name"`
	Kind       string   `yaml:"kind"`
	Unit       string   `yaml:"unit"`
	Attributes []string `yaml:"attributes"`
	Services   []string `yaml:"services"`
}

func deploy(parts ...string) string {
	return filepath.Join(append([]string{"..", "..", "deploy"}, parts...)...)
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func readEntries(t *testing.T) []entry {
	t.Helper()
	var file struct {
		Metrics []entry `yaml:"metrics"`
	}
	readYAML(t, deploy("metrics.yaml"), &file)
	return file.Metrics
}

// units are the suffixes that the collector gives to a metric's name for its unit; those in braces give none.
var units = map[string]string{"s": "_seconds", "ms": "_milliseconds", "ns": "_nanoseconds", "By": "_bytes", "1": "_ratio"}

// series are the names under which Prometheus has the metric.
func (e entry) series() []string {
	name := underscores(e.Name)
	if suffix := units[e.Unit]; !strings.HasSuffix(name, suffix) {
		name += suffix
	}
	switch e.Kind {
	case "counter":
		return []string{name + "_total"}
	case "histogram":
		return []string{name + "_bucket", name + "_sum", name + "_count"}
	default:
		return []string{name}
	}
}

func underscores(s string) string { return strings.ReplaceAll(s, ".", "_") }

// known are the series that exist, each with its labels.
type known map[string][]string

// standard are the labels that the collector and Prometheus give to all that a service sends.
var standard = []string{"job", "instance"}

func knownSeries(t *testing.T) known {
	t.Helper()
	all := known{"up": standard, "target_info": append([]string{"service_version"}, standard...)}
	for _, e := range readEntries(t) {
		labels := slices.Clone(standard)
		if e.Kind == "histogram" {
			labels = append(labels, "le")
		}
		for _, a := range e.Attributes {
			labels = append(labels, underscores(a))
		}
		for _, s := range e.series() {
			all[s] = labels
		}
	}
	return all
}

// values are what labels with few values may be; a label that is not here may be anything.
func values() map[string][]string {
	all := map[string][]string{"job": {"auth", "device-registry", "notify", "payments", "collector"}, "status": {"ok", "nil", "error"}}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "armlet.") {
			return true
		}
		for i := 0; strings.HasSuffix(f.Path(), "/events.proto") && i < f.Messages().Len(); i++ {
			all["armlet_event_type"] = append(all["armlet_event_type"], string(f.Messages().Get(i).FullName()))
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				all["rpc_method"] = append(all["rpc_method"], fmt.Sprintf("%s/%s", s.FullName(), s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	return all
}

func TestNamesAreTranslatedAsTheCollectorDoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e    entry
		want string
	}{
		{entry{Name: "rpc.server.call.duration", Kind: "histogram", Unit: "s"}, "rpc_server_call_duration_seconds_bucket"},
		{entry{Name: "armlet.events.committed", Kind: "counter", Unit: "{event}"}, "armlet_events_committed_total"},
		{entry{Name: "armlet.outbox.age", Kind: "gauge", Unit: "s"}, "armlet_outbox_age_seconds"},
		{entry{Name: "db.client.connections.usage", Kind: "updowncounter"}, "db_client_connections_usage"},
	} {
		if got := c.e.series()[0]; got != c.want {
			t.Errorf("%s is %s, not %s", c.e.Name, got, c.want)
		}
	}
}
