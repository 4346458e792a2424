package main

import "fmt"

// The parts of Grafana's format that the dashboards use.
type (
	dashboard struct {
		UID           string     `json:"uid"`
		Title         string     `json:"title"`
		Description   string     `json:"description"`
		Tags          []string   `json:"tags"`
		Editable      bool       `json:"editable"`
		GraphTooltip  int        `json:"graphTooltip"` // 1: one crosshair over all panels
		Refresh       string     `json:"refresh"`
		SchemaVersion int        `json:"schemaVersion"`
		Time          span       `json:"time"`
		Timezone      string     `json:"timezone"`
		Links         []link     `json:"links"`
		Templating    templating `json:"templating"`
		Panels        []panel    `json:"panels"`
	}
	span struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	link struct {
		Title       string   `json:"title"`
		Type        string   `json:"type"`
		URL         string   `json:"url,omitempty"`
		Tags        []string `json:"tags"`
		AsDropdown  bool     `json:"asDropdown"`
		IncludeVars bool     `json:"includeVars"`
		KeepTime    bool     `json:"keepTime"`
		TargetBlank bool     `json:"targetBlank"`
	}
	templating struct {
		List []variable `json:"list"`
	}
	variable struct {
		Name       string     `json:"name"`
		Label      string     `json:"label"`
		Type       string     `json:"type"`
		Datasource datasource `json:"datasource"`
		Query      string     `json:"query"`
		Refresh    int        `json:"refresh"` // 2: when the time range changes
		IncludeAll bool       `json:"includeAll"`
		AllValue   string     `json:"allValue"`
		Multi      bool       `json:"multi"`
		Current    any        `json:"current"`
	}
	datasource struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	panel struct {
		ID          int         `json:"id"`
		Type        string      `json:"type"`
		Title       string      `json:"title"`
		Description string      `json:"description,omitempty"`
		GridPos     place       `json:"gridPos"`
		Collapsed   *bool       `json:"collapsed,omitempty"`
		Datasource  *datasource `json:"datasource,omitempty"`
		FieldConfig *fields     `json:"fieldConfig,omitempty"`
		Options     any         `json:"options,omitempty"`
		Targets     []target    `json:"targets,omitempty"`
	}
	place struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	}
	fields struct {
		Defaults  defaults `json:"defaults"`
		Overrides []any    `json:"overrides"`
	}
	defaults struct {
		Unit       string         `json:"unit"`
		Min        *int           `json:"min,omitempty"`
		Max        *int           `json:"max,omitempty"`
		NoValue    string         `json:"noValue,omitempty"`
		Custom     map[string]any `json:"custom,omitempty"`
		Thresholds *thresholds    `json:"thresholds,omitempty"`
		Links      []link         `json:"links,omitempty"`
	}
	thresholds struct {
		Mode  string `json:"mode"`
		Steps []step `json:"steps"`
	}
	step struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"`
	}
	target struct {
		RefID        string     `json:"refId"`
		Datasource   datasource `json:"datasource"`
		Expr         string     `json:"expr"`
		LegendFormat string     `json:"legendFormat"`
		Exemplar     bool       `json:"exemplar"`
		Instant      bool       `json:"instant"`
		Range        bool       `json:"range"`
	}
)

var prometheus = datasource{"prometheus", "prometheus"}

// tracesURL opens Grafana's search for traces of a service.
func tracesURL(service string) string {
	return fmt.Sprintf(`/explore?schemaVersion=1&panes=%%7B"t":%%7B"datasource":"jaeger","queries":%%5B%%7B"refId":"A","queryType":"search","service":"%s"%%7D%%5D,`+
		`"range":%%7B"from":"now-1h","to":"now"%%7D%%7D%%7D`, service)
}

// graph is what is said of a panel; build lays it out.
type graph struct {
	title, what, unit string
	queries           []query
	stat              bool
	bad               float64 // a stat from this value on is red; 0: never
	low               bool    // bad is the value below which it is red
	width             int     // of 24; 0: 8, or 4 of a stat
	stacked           bool
	share             bool // from 0 to 1
}

// query is one line, or one for each value of the labels in legend.
type query struct{ expr, legend string }

// section is a row of graphs with a title.
type section struct {
	title  string
	graphs []graph
}

// build places the sections' graphs from left to right and from top to bottom.
func build(uid, title, what, service string, sections []section) dashboard {
	d := dashboard{
		UID: "armlet-" + uid, Title: "Armlet / " + title, Description: what, Tags: []string{"armlet"}, GraphTooltip: 1, Refresh: "30s", SchemaVersion: 39,
		Time: span{"now-1h", "now"}, Timezone: "browser", Templating: templating{List: []variable{}},
		Links: []link{
			{Title: "Dashboards", Type: "dashboards", Tags: []string{"armlet"}, AsDropdown: true, KeepTime: true},
			{Title: "Traces", Type: "link", URL: tracesURL(service), Tags: []string{}, TargetBlank: true},
		},
	}
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, s := range sections {
		open := false
		d.Panels = append(d.Panels, panel{ID: next(), Type: "row", Title: s.title, GridPos: place{1, 24, 0, y}, Collapsed: &open})
		y++
		x, tallest := 0, 0
		for _, g := range s.graphs {
			w, h := g.size()
			if x+w > 24 {
				x, y, tallest = 0, y+tallest, 0
			}
			d.Panels = append(d.Panels, g.panel(next(), place{h, w, x, y}, service))
			x, tallest = x+w, max(tallest, h)
		}
		y += tallest
	}
	return d
}

func (g graph) size() (w, h int) {
	w, h = 8, 8
	if g.stat {
		w, h = 4, 4
	}
	if g.width > 0 {
		w = g.width
	}
	return w, h
}

func (g graph) panel(id int, at place, service string) panel {
	zero, one := 0, 1
	p := panel{
		ID: id, Type: "timeseries", Title: g.title, Description: g.what, GridPos: at, Datasource: &prometheus,
		FieldConfig: &fields{Defaults: defaults{Unit: g.unit, Min: &zero}, Overrides: []any{}},
		Options: map[string]any{
			"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "calcs": []string{}},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
		},
	}
	f := &p.FieldConfig.Defaults
	f.Custom = map[string]any{"fillOpacity": 8, "lineWidth": 1, "showPoints": "never"}
	f.Links = []link{{Title: "Traces of this service", URL: tracesURL(service), Tags: []string{}, TargetBlank: true}}
	if g.stacked {
		f.Custom["stacking"], f.Custom["fillOpacity"] = map[string]any{"mode": "normal"}, 30
	}
	if g.share {
		f.Max = &one
	}
	if g.stat {
		p.Type, f.Custom, f.Min, f.NoValue, f.Thresholds = "stat", nil, nil, "no data", g.thresholds()
		p.Options = map[string]any{"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}}, "colorMode": "value", "graphMode": "area"}
	}
	for i, q := range g.queries {
		p.Targets = append(p.Targets, target{
			RefID: string(rune('A' + i)), Datasource: prometheus, Expr: q.expr, LegendFormat: q.legend, Exemplar: !g.stat, Range: true,
		})
	}
	return p
}

func (g graph) thresholds() *thresholds {
	if g.bad == 0 {
		return &thresholds{"absolute", []step{{"green", nil}}}
	}
	if g.low {
		return &thresholds{"absolute", []step{{"red", nil}, {"green", &g.bad}}}
	}
	return &thresholds{"absolute", []step{{"green", nil}, {"red", &g.bad}}}
}
