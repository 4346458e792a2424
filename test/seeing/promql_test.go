package seeing

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
)

// grafana are the variables that Grafana replaces before it asks.
var grafana = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$instance", ".*")

// checker finds what an expression names that does not exist.
type checker struct {
	known  known
	values map[string][]string
	used   map[string]bool // series that some expression reads
}

func newChecker(t *testing.T) *checker {
	return &checker{known: knownSeries(t), values: values(), used: map[string]bool{}}
}

func (c *checker) check(expr string) error {
	parsed, err := metricsql.Parse(grafana.Replace(expr))
	if err != nil {
		return fmt.Errorf("%s: %w", expr, err)
	}
	var labels []string // what the expression may name: the labels of all the series in it
	var faults []string
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		m, ok := e.(*metricsql.MetricExpr)
		if !ok {
			return
		}
		own, fault := c.metric(m)
		labels = append(labels, own...)
		if fault != "" {
			faults = append(faults, fault)
		}
	})
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		var named []string
		switch e := e.(type) {
		case *metricsql.AggrFuncExpr:
			named = e.Modifier.Args
		case *metricsql.BinaryOpExpr:
			named = append(slices.Clone(e.GroupModifier.Args), e.JoinModifier.Args...)
		}
		for _, l := range named {
			if !slices.Contains(labels, l) {
				faults = append(faults, "there is no label "+l)
			}
		}
	})
	if len(faults) > 0 {
		return fmt.Errorf("%s: %s", expr, strings.Join(faults, "; "))
	}
	return nil
}

// metric is the labels of what a selector selects.
func (c *checker) metric(m *metricsql.MetricExpr) (labels []string, fault string) {
	for _, filters := range m.LabelFilterss {
		if len(filters) == 0 || filters[0].Label != "__name__" || filters[0].IsRegexp {
			return nil, "a selector without a name"
		}
		name := filters[0].Value
		own, ok := c.known[name]
		if !ok {
			return nil, "there is no metric " + name
		}
		c.used[name] = true
		labels = append(labels, own...)
		for _, f := range filters[1:] {
			if !slices.Contains(own, f.Label) {
				return labels, fmt.Sprintf("%s has no label %s", name, f.Label)
			}
			if fault := c.value(f); fault != "" {
				return labels, fault
			}
		}
	}
	return labels, ""
}

// value says that nothing can have what a filter wants. Each alternative of a pattern is looked at, as far as it can be told apart.
func (c *checker) value(f metricsql.LabelFilter) string {
	possible, ok := c.values[f.Label]
	if !ok || f.Value == "" {
		return ""
	}
	wanted := []string{f.Value}
	if f.IsRegexp {
		wanted = alternatives(f.Value)
	}
	for _, w := range wanted {
		match := func(v string) bool { return v == w }
		if f.IsRegexp {
			pattern, err := regexp.Compile("^(?:" + w + ")$")
			if err != nil {
				return err.Error()
			}
			match = pattern.MatchString
		}
		if !slices.ContainsFunc(possible, match) {
			return fmt.Sprintf("no %s is %s", f.Label, w)
		}
	}
	return ""
}

// alternatives takes a pattern such as a.(b|c).* apart into a.b.* and a.c.*, and a|b into a and b.
func alternatives(pattern string) []string {
	before, rest, ok := strings.Cut(pattern, "(")
	if !ok {
		return strings.Split(pattern, "|")
	}
	inside, after, _ := strings.Cut(rest, ")")
	var all []string
	for w := range strings.SplitSeq(inside, "|") {
		all = append(all, before+w+after)
	}
	return all
}

func TestWhatDoesNotExistIsFound(t *testing.T) {
	t.Parallel()
	c := newChecker(t)
	for expr, want := range map[string]string{
		`sum by (job) (rate(rpc_server_call_duration_seconds_count[5m]))`: "",
		`up{job="collector"} == 0`:                                        "",
		`sum(rate(rpc_server_duration_count[5m]))`:                        "no metric rpc_server_duration_count",
		`sum by (devise) (armlet_outbox_pending)`:                         "no label devise",
		`armlet_outbox_pending{rpc_method="x"}`:                           "no label rpc_method",
		`armlet_outbox_pending{job="ledger"}`:                             "no job is ledger",
		`armlet_events_committed_total{armlet_event_type=~"armlet.payments.v1.(PaymentCaptured|PaymentPaid)"}`: "no armlet_event_type is armlet.payments.v1.PaymentPaid",
		`{job="auth"}`:              "without a name",
		`sum(armlet_outbox_pending`: "sum(",
	} {
		err := c.check(expr)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, not %q", expr, err, want)
		}
	}
}
