package seeing

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type board struct {
	UID    string   `json:"uid"`
	Title  string   `json:"title"`
	Tags   []string `json:"tags"`
	Panels []struct {
		ID         int    `json:"id"`
		Type       string `json:"type"`
		Title      string `json:"title"`
		Datasource source `json:"datasource"`
		Grid       struct {
			H, W, X, Y int
		} `json:"gridPos"`
		FieldConfig struct {
			Defaults struct {
				Unit string `json:"unit"`
			} `json:"defaults"`
		} `json:"fieldConfig"`
		Targets []struct {
			RefID      string `json:"refId"`
			Expr       string `json:"expr"`
			Exemplar   bool   `json:"exemplar"`
			Datasource source `json:"datasource"`
		} `json:"targets"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Query string `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

type source struct {
	UID string `json:"uid"`
}

func readBoards(t *testing.T) map[string]board {
	t.Helper()
	files, err := filepath.Glob(deploy("grafana", "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	all := map[string]board{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = b
	}
	return all
}

func provisioned(t *testing.T) []string {
	t.Helper()
	var file struct {
		Datasources []struct {
			UID      string `yaml:"uid"`
			JSONData struct {
				Exemplars []struct {
					Name string `yaml:"name"`
					UID  string `yaml:"datasourceUid"`
				} `yaml:"exemplarTraceIdDestinations"`
			} `yaml:"jsonData"`
		} `yaml:"datasources"`
	}
	readYAML(t, deploy("grafana", "provisioning", "datasources", "datasources.yaml"), &file)
	var uids []string
	for _, d := range file.Datasources {
		uids = append(uids, d.UID)
	}
	for _, d := range file.Datasources {
		for _, e := range d.JSONData.Exemplars {
			if e.Name != "trace_id" || !slices.Contains(uids, e.UID) {
				t.Errorf("exemplars of %s lead by %s to %s", d.UID, e.Name, e.UID)
			}
		}
	}
	return uids
}

func TestDashboardsShowWhatExists(t *testing.T) {
	t.Parallel()
	sources, c := provisioned(t), newChecker(t)
	boards := readBoards(t)
	for _, want := range []string{"taps", "ledger", "fabric", "device-registry", "auth", "payments", "notify"} {
		if _, ok := boards[want]; !ok {
			t.Errorf("there is no dashboard %s", want)
		}
	}
	uids := map[string]string{}
	for name, b := range boards {
		if other, twice := uids[b.UID]; twice || b.UID == "" || b.Title == "" || !slices.Contains(b.Tags, "armlet") {
			t.Errorf("%s: uid %q (also of %q), title %q, tags %v", name, b.UID, other, b.Title, b.Tags)
		}
		uids[b.UID] = name
		b.check(t, name, sources, c)
	}
	for _, e := range readEntries(t) {
		if !slices.ContainsFunc(e.series(), func(s string) bool { return c.used[s] }) {
			t.Errorf("no dashboard shows %s", e.Name)
		}
	}
}

func (b board) check(t *testing.T, name string, sources []string, c *checker) {
	t.Helper()
	ids := map[int]bool{}
	for i, p := range b.Panels {
		if ids[p.ID] || p.Title == "" || p.Grid.X+p.Grid.W > 24 || p.Grid.W == 0 || p.Grid.H == 0 {
			t.Errorf("%s: panel %d %q stands twice or badly", name, p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range b.Panels[:i] {
			if p.Grid.X < q.Grid.X+q.Grid.W && q.Grid.X < p.Grid.X+p.Grid.W && p.Grid.Y < q.Grid.Y+q.Grid.H && q.Grid.Y < p.Grid.Y+p.Grid.H {
				t.Errorf("%s: %q lies over %q", name, p.Title, q.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || !slices.Contains(sources, p.Datasource.UID) {
			t.Errorf("%s: %q has no unit, no query or no datasource", name, p.Title)
		}
		for _, target := range p.Targets {
			if !slices.Contains(sources, target.Datasource.UID) || (p.Type == "timeseries") != target.Exemplar {
				t.Errorf("%s: %q %s asks %q with exemplars %t", name, p.Title, target.RefID, target.Datasource.UID, target.Exemplar)
			}
			if err := c.check(target.Expr); err != nil {
				t.Errorf("%s: %q: %v", name, p.Title, err)
			}
		}
	}
	for _, v := range b.Templating.List {
		if inner := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Query); len(inner) != 3 || c.check("sum by ("+inner[2]+") ("+inner[1]+")") != nil {
			t.Errorf("%s: the variable %s asks %s", name, v.Name, v.Query)
		}
	}
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readRules(t *testing.T) map[string]rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	readYAML(t, deploy("prometheus", "rules.yml"), &file)
	all := map[string]rule{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if _, twice := all[r.Alert]; twice {
				t.Errorf("%s stands twice", r.Alert)
			}
			all[r.Alert] = r
		}
	}
	return all
}

// sections are those of the runbook, by their titles.
func sections(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, s := range strings.Split(string(text), "\n## ")[1:] {
		title, body, _ := strings.Cut(s, "\n")
		all[title] = body
	}
	return all
}

func TestEveryAlertHasItsPageInTheRunbook(t *testing.T) {
	t.Parallel()
	rules, pages, c := readRules(t), sections(t), newChecker(t)
	if got, want := slices.Sorted(maps.Keys(pages)), slices.Sorted(maps.Keys(rules)); !slices.Equal(got, want) {
		t.Errorf("the runbook has\n%v, the rules\n%v", got, want)
	}
	for name, r := range rules {
		if err := c.check(r.Expr); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", name, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["runbook_url"] != "docs/runbook.md#"+strings.ToLower(name) {
			t.Errorf("%s says %v", name, r.Annotations)
		}
		for label := range strings.FieldsSeq(strings.NewReplacer("{{", " ", "}}", " ").Replace(r.Annotations["summary"])) {
			if l, ok := strings.CutPrefix(label, "$labels."); ok && !strings.Contains(r.Expr, l) {
				t.Errorf("%s names the label %s, which it does not keep", name, l)
			}
		}
		for _, part := range []string{"**What it means.**", "**How to look.**", "**What to do.**", "**It is over when**"} {
			if !strings.Contains(pages[name], part) {
				t.Errorf("the runbook does not say of %s: %s", name, part)
			}
		}
	}
}

func TestTheRunbookAsksForWhatExists(t *testing.T) {
	t.Parallel()
	c, asked := newChecker(t), 0
	for title, body := range sections(t) {
		for _, block := range regexp.MustCompile("(?s)```promql\n(.*?)\n```").FindAllStringSubmatch(body, -1) {
			for expr := range strings.SplitSeq(block[1], "\n") {
				asked++
				if err := c.check(expr); err != nil {
					t.Errorf("%s: %v", title, err)
				}
			}
		}
	}
	if asked == 0 {
		t.Error("it asks for nothing")
	}
}

// collectorFile is what of the collector's configuration the services rely on.
type collectorFile struct {
	Exporters map[string]struct {
		Endpoint    string `yaml:"endpoint"`
		OpenMetrics bool   `yaml:"enable_open_metrics"`
	} `yaml:"exporters"`
	Receivers  map[string]any `yaml:"receivers"`
	Processors map[string]any `yaml:"processors"`
	Extensions map[string]any `yaml:"extensions"`
	Service    struct {
		Extensions []string `yaml:"extensions"`
		Pipelines  map[string]struct {
			Receivers  []string `yaml:"receivers"`
			Processors []string `yaml:"processors"`
			Exporters  []string `yaml:"exporters"`
		} `yaml:"pipelines"`
	} `yaml:"service"`
}

func TestTheCollectorPassesOnWhatPrometheusScrapes(t *testing.T) {
	t.Parallel()
	var c collectorFile
	readYAML(t, deploy("otel", "collector.yaml"), &c)
	if e := c.Exporters["prometheus"]; !e.OpenMetrics || !strings.HasSuffix(e.Endpoint, ":8889") {
		t.Errorf("exemplars travel in OpenMetrics alone, scraped at 8889: %+v", e)
	}
	for _, pipeline := range []string{"traces", "metrics"} {
		p, ok := c.Service.Pipelines[pipeline]
		if !ok || len(p.Processors) == 0 || p.Processors[0] != "memory_limiter" || !slices.Contains(p.Processors, "batch") {
			t.Errorf("%s pass %v", pipeline, p.Processors)
		}
		for kind, use := range map[string]struct {
			names []string
			made  []string
		}{
			"receiver": {p.Receivers, slices.Collect(maps.Keys(c.Receivers))}, "processor": {p.Processors, slices.Collect(maps.Keys(c.Processors))},
			"exporter": {p.Exporters, slices.Collect(maps.Keys(c.Exporters))}, "extension": {c.Service.Extensions, slices.Collect(maps.Keys(c.Extensions))},
		} {
			for _, name := range use.names {
				if !slices.Contains(use.made, name) {
					t.Errorf("%s use the %s %s, which is not configured", pipeline, kind, name)
				}
			}
		}
	}
	var p struct {
		Rules  []string `yaml:"rule_files"`
		Scrape []struct {
			Job    string `yaml:"job_name"`
			Honor  bool   `yaml:"honor_labels"`
			Static []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, deploy("prometheus", "prometheus.yml"), &p)
	if !slices.Equal(p.Rules, []string{"rules.yml"}) || len(p.Scrape) != 1 || p.Scrape[0].Job != "collector" || !p.Scrape[0].Honor ||
		!slices.Equal(p.Scrape[0].Static[0].Targets, []string{"otel-collector:8889"}) {
		t.Errorf("Prometheus reads %v and scrapes %+v", p.Rules, p.Scrape)
	}
}
