package main

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/homing-mail/homing/metrics"
)

// schemaVersion is that of Grafana 12.2 to 13.2 (@grafana/schema 13.2.3). Older
// ones from 11 on show the dashboard as well.
const schemaVersion = 42

const repository = "https://github.com/homing-mail/homing"

// The parts of Grafana's dashboard model that are used, as @grafana/schema has
// them.
type (
	dashboard struct {
		UID           string         `json:"uid"`
		Title         string         `json:"title"`
		Description   string         `json:"description"`
		Tags          []string       `json:"tags"`
		SchemaVersion int            `json:"schemaVersion"`
		Editable      bool           `json:"editable"`
		GraphTooltip  int            `json:"graphTooltip"` // 1: a crosshair in all panels
		Refresh       string         `json:"refresh"`
		Timezone      string         `json:"timezone"`
		Time          span           `json:"time"`
		Links         []link         `json:"links"`
		Annotations   list[event]    `json:"annotations"`
		Templating    list[variable] `json:"templating"`
		Panels        []panel        `json:"panels"`
	}
	list[T any] struct {
		List []T `json:"list"`
	}
	span struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	link struct {
		Title       string   `json:"title"`
		Type        string   `json:"type"`
		URL         string   `json:"url"`
		Icon        string   `json:"icon"`
		Tooltip     string   `json:"tooltip"`
		Tags        []string `json:"tags"`
		TargetBlank bool     `json:"targetBlank"`
		AsDropdown  bool     `json:"asDropdown"`
		KeepTime    bool     `json:"keepTime"`
		IncludeVars bool     `json:"includeVars"`
	}
	event struct {
		Name        string `json:"name"`
		Enable      bool   `json:"enable"`
		IconColor   string `json:"iconColor"`
		Datasource  source `json:"datasource"`
		Target      target `json:"target"`
		TitleFormat string `json:"titleFormat"`
		TextFormat  string `json:"textFormat"`
	}
	variable struct {
		Name       string  `json:"name"`
		Label      string  `json:"label"`
		Type       string  `json:"type"`
		Query      string  `json:"query"`
		Datasource *source `json:"datasource,omitempty"`
		Refresh    int     `json:"refresh"` // 1: when the dashboard is opened, 2: with its time range
		IncludeAll bool    `json:"includeAll"`
		Multi      bool    `json:"multi"`
		AllValue   string  `json:"allValue,omitempty"`
		Sort       int     `json:"sort"` // 1: by the alphabet
		Current    any     `json:"current,omitempty"`
	}
	source struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
)

// chosen is the data source that the reader chooses.
func chosen() *source { return &source{Type: "prometheus", UID: "${datasource}"} }

// generate makes the dashboard for these metrics. The error names what it asks
// for that they do not have.
func generate(table []metrics.Row) ([]byte, error) {
	b := newBoard(table)
	for _, section := range []func(){
		b.glance, b.arrival, b.latency, b.fetch, b.delivery, b.queue, b.deadLetters, b.sweep, b.afterwards, b.process,
	} {
		section()
	}
	if err := errors.Join(b.wrong...); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // PromQL compares
	encoder.SetIndent("", "  ")
	err := encoder.Encode(b.dashboard())
	return text.Bytes(), err
}

func (b *board) dashboard() dashboard {
	all := map[string]any{"text": "All", "value": "$__all"}
	return dashboard{
		UID: "homing", Title: "homing", Tags: []string{"homing", "mail"},
		Description:   "Is mail arriving, how late, what is stuck, and why. Written by internal/grafana from the table of metrics.",
		SchemaVersion: schemaVersion, Editable: true, GraphTooltip: 1, Refresh: "1m", Timezone: "browser",
		Time: span{"now-24h", "now"},
		Links: []link{
			external("What each alert means and what to do", repository+"/blob/main/docs/alerts.md"),
			external("The metrics", repository+"/blob/main/docs/metrics.md"),
		},
		Annotations: list[event]{[]event{{
			Name: "Alerts", Enable: true, IconColor: "red", Datasource: *chosen(),
			Target: query(`ALERTS{alertname=~"Homing.+",alertstate="firing"}`, ""), TitleFormat: "{{alertname}}", TextFormat: "{{instance}}",
		}}},
		Templating: list[variable]{[]variable{
			{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1},
			{Name: "instance", Label: "homing", Type: "query", Query: "label_values(homing_build_info, instance)", Datasource: chosen(),
				Refresh: 2, IncludeAll: true, Multi: true, AllValue: ".+", Sort: 1, Current: all},
		}},
		Panels: b.panels,
	}
}

func external(title, url string) link {
	return link{Title: title, Type: "link", URL: url, Icon: "doc", Tags: []string{}, TargetBlank: true}
}

// remedy is the link to the section about an alert.
func remedy(anchor string) link {
	return external("What to do", repository+"/blob/main/docs/alerts.md#"+anchor)
}
