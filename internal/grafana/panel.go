package main

// The panels' part of Grafana's model.
type (
	panel struct {
		ID              int          `json:"id"`
		Type            string       `json:"type"`
		Title           string       `json:"title"`
		Description     string       `json:"description,omitempty"`
		GridPos         place        `json:"gridPos"`
		Datasource      *source      `json:"datasource,omitempty"`
		Interval        string       `json:"interval,omitempty"` // the least
		MaxDataPoints   int          `json:"maxDataPoints,omitempty"`
		Targets         []target     `json:"targets,omitempty"`
		FieldConfig     *fieldConfig `json:"fieldConfig,omitempty"`
		Options         options      `json:"options,omitempty"`
		Links           []link       `json:"links,omitempty"`
		Transformations []options    `json:"transformations,omitempty"`
		Collapsed       *bool        `json:"collapsed,omitempty"` // of a row
		Panels          []panel      `json:"panels,omitzero"`     // of a row
	}
	place struct {
		X int `json:"x"`
		Y int `json:"y"`
		W int `json:"w"`
		H int `json:"h"`
	}
	target struct {
		RefID        string  `json:"refId"`
		Datasource   *source `json:"datasource"`
		Expr         string  `json:"expr"`
		LegendFormat string  `json:"legendFormat"`
		Format       string  `json:"format,omitempty"`
		EditorMode   string  `json:"editorMode"`
		Range        bool    `json:"range"`
		Instant      bool    `json:"instant"`
	}
	fieldConfig struct {
		Defaults  field      `json:"defaults"`
		Overrides []override `json:"overrides"`
	}
	field struct {
		Unit       string      `json:"unit,omitempty"`
		Decimals   *int        `json:"decimals,omitempty"`
		Min        *int        `json:"min,omitempty"`
		NoValue    string      `json:"noValue,omitempty"`
		Color      options     `json:"color,omitempty"`
		Mappings   []options   `json:"mappings,omitempty"`
		Thresholds *thresholds `json:"thresholds,omitempty"`
		Custom     options     `json:"custom,omitempty"`
	}
	override struct {
		Matcher    options   `json:"matcher"`
		Properties []options `json:"properties"`
	}
	thresholds struct {
		Mode  string `json:"mode"`
		Steps []step `json:"steps"`
	}
	step struct {
		Color string   `json:"color"`
		Value *float64 `json:"value"` // nil: from the beginning
	}
	options map[string]any
)

// query adds what a panel asks for, over its time.
func (p *panel) query(expr, legend string) {
	t := query(expr, legend)
	t.RefID = string(rune('A' + len(p.Targets)))
	p.Targets = append(p.Targets, t)
}

func query(expr, legend string) target {
	return target{RefID: "A", Datasource: chosen(), Expr: expr, LegendFormat: legend, EditorMode: "code", Range: true}
}

// stat shows one number: what is asked for last counts.
func stat(title, description, unit, expr string, steps ...step) panel {
	now := query(expr, "")
	now.Range, now.Instant = false, true
	return panel{
		Type: "stat", Title: title, Description: description, Datasource: chosen(), Targets: []target{now},
		FieldConfig: &fieldConfig{Overrides: []override{}, Defaults: field{
			Unit: unit, Thresholds: &thresholds{"absolute", steps}, Color: options{"mode": "thresholds"}}},
		Options: options{"colorMode": "background", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "value",
			"reduceOptions": options{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}},
	}
}

// calm is where the thresholds begin; worse follow it.
func calm() step { return step{Color: "green"} }

func from(value float64, color string) step { return step{color, &value} }

// bars shows numbers of events, one above the other.
func bars(title, description string, ask target) panel {
	p := lines(title, description, "short")
	p.Targets = []target{ask}
	// One bar is the events of an interval: as many as can be told apart, and none
	// shorter than a few scrapes.
	p.Interval, p.MaxDataPoints = "1m", 100
	p.FieldConfig.Defaults.Decimals = new(int)
	custom := p.FieldConfig.Defaults.Custom
	custom["drawStyle"], custom["fillOpacity"], custom["lineWidth"] = "bars", 80, 0
	custom["stacking"] = options{"mode": "normal", "group": "A"}
	p.Options["legend"] = options{"displayMode": "table", "placement": "right", "showLegend": true,
		"calcs": []string{"sum"}, "sortBy": "Total", "sortDesc": true}
	return p
}

func lines(title, description, unit string) panel {
	return panel{
		Type: "timeseries", Title: title, Description: description, Datasource: chosen(),
		FieldConfig: &fieldConfig{Overrides: []override{}, Defaults: field{
			Unit: unit, Min: new(int), Color: options{"mode": "palette-classic"},
			Custom: options{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": false}}},
		Options: options{"tooltip": options{"mode": "multi", "sort": "desc"},
			"legend": options{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}}},
	}
}

func heatmap(title, description string) panel {
	return panel{
		Type: "heatmap", Title: title, Description: description, Datasource: chosen(), Interval: "1m", MaxDataPoints: 100,
		FieldConfig: &fieldConfig{Overrides: []override{}, Defaults: field{}},
		Options: options{
			"calculate": false, "cellGap": 1, "showValue": "never",
			"color":        options{"mode": "scheme", "scheme": "Turbo", "steps": 64, "exponent": 0.5, "reverse": false, "fill": "dark-orange", "scale": "exponential"},
			"yAxis":        options{"unit": "s", "axisPlacement": "left", "reverse": false},
			"cellValues":   options{"unit": "short", "decimals": 0},
			"filterValues": options{"le": 1e-9}, // empty cells stay empty
			"rowsFrame":    options{"layout": "auto"},
			"legend":       options{"show": true},
			"tooltip":      options{"mode": "single", "yHistogram": true, "showColorScale": true},
			"exemplars":    options{"color": "rgba(255,0,255,0.7)"},
		},
	}
}

// switches shows when something was 1 and when 0.
func switches(title, description, on, off string) panel {
	p := lines(title, description, "")
	p.Type = "state-timeline"
	p.FieldConfig.Defaults.Custom = options{"fillOpacity": 70, "lineWidth": 0}
	p.FieldConfig.Defaults.Min = nil
	p.FieldConfig.Defaults.Mappings = words(on, off)
	p.FieldConfig.Defaults.Color = options{"mode": "thresholds"}
	p.FieldConfig.Defaults.Thresholds = &thresholds{"absolute", []step{{Color: "red"}, from(1, "green")}}
	p.Options["mergeValues"], p.Options["showValue"], p.Options["rowHeight"] = true, "auto", 0.9
	return p
}

// words shows 1 and 0 in words.
func words(on, off string) []options {
	return []options{{"type": "value", "options": options{"1": options{"text": on, "index": 0}, "0": options{"text": off, "index": 1}}}}
}
