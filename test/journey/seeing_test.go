package journey

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// catalogued is an entry of deploy/metrics.yaml.
type catalogued struct {
	Name       string   `yaml:"name"`
	Kind       string   `yaml:"kind"`
	Unit       string   `yaml:"unit"`
	Attributes []string `yaml:"attributes"`
	Services   []string `yaml:"services"`
	// When says under which circumstances alone a service sends it; a tap need not bring it about.
	When string `yaml:"when"`
	What string `yaml:"what"`
}

func readCatalogue(t testing.TB) map[string]catalogued {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "metrics.yaml"))
	must(t, err)
	var file struct {
		Metrics []catalogued `yaml:"metrics"`
	}
	must(t, yaml.Unmarshal(text, &file))
	all := map[string]catalogued{}
	for _, m := range file.Metrics {
		if _, twice := all[m.Name]; twice || m.What == "" {
			t.Errorf("%s stands twice or says nothing", m.Name)
		}
		all[m.Name] = m
	}
	return all
}

// oneTraceFromTapToWrist waits for what the services have sent of a tap: one trace through all of them, the outbox and NATS.
func oneTraceFromTapToWrist(t *testing.T, c *collector) {
	t.Helper()
	want := []madeSpan{
		{"payments", "armlet.payments.v1.PaymentsService/ConfirmPayment"},
		{"payments", "armlet.auth.v1.AuthService/VerifyResponse"},
		{"auth", "armlet.auth.v1.AuthService/VerifyResponse"},
		{"device-registry", "armlet.devices.v1.DeviceRegistryService/CheckDevice"},
		{"notify", "process armlet.payments.v1.PaymentCaptured"},
	}
	within(t, 20*time.Second, func() error {
		if c.traceThrough(want...) {
			return nil
		}
		return fmt.Errorf("no trace has all of %v; there are:\n%s", want, c.describeTraces())
	})
}

func (c *collector) describeTraces() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out strings.Builder
	for _, spans := range c.traces {
		if len(spans) > 4 {
			fmt.Fprintln(&out, spans)
		}
	}
	return out.String()
}

// everyMetricIsCatalogued compares what the services sent with deploy/metrics.yaml, in both directions.
func everyMetricIsCatalogued(t *testing.T, c *collector) {
	t.Helper()
	catalogue := readCatalogue(t)
	within(t, 20*time.Second, func() error {
		for name, m := range catalogue {
			seen, ok := c.metric(name)
			for _, service := range m.Services {
				if m.When == "" && (!ok || !seen.services[service]) {
					return fmt.Errorf("%s does not send %s", service, name)
				}
			}
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, seen := range c.metrics {
		m, ok := catalogue[name]
		attributes := slices.Sorted(maps.Keys(seen.attributes))
		if !ok {
			t.Errorf("deploy/metrics.yaml does not have {name: %s, kind: %s, unit: %q, attributes: [%s], services: [%s]}", name, seen.kind, seen.unit,
				strings.Join(attributes, ", "), strings.Join(slices.Sorted(maps.Keys(seen.services)), ", "))
			continue
		}
		if m.Kind != seen.kind || m.Unit != seen.unit {
			t.Errorf("%s is a %s in %q, not a %s in %q", name, seen.kind, seen.unit, m.Kind, m.Unit)
		}
		for _, a := range attributes {
			if !slices.Contains(m.Attributes, a) {
				t.Errorf("%s has the attribute %s, which deploy/metrics.yaml does not name", name, a)
			}
		}
		for service := range seen.services {
			if !slices.Contains(m.Services, service) {
				t.Errorf("%s sends %s, which deploy/metrics.yaml does not say", service, name)
			}
		}
	}
	if !c.metrics["rpc.server.call.duration"].exemplars {
		t.Error("the duration of calls has no exemplar that leads to a trace")
	}
	if worst := c.metrics["armlet.ledger.difference"].worst; worst != 0 {
		t.Errorf("the books differ by %d", worst)
	}
}

// within repeats a check until it passes.
func within(t *testing.T, d time.Duration, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatal(err)
}
