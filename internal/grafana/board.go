package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/homing-mail/homing/metrics"
)

// columns is how wide a dashboard is.
const columns = 24

// board lays panels out from left to right and from top to bottom, and collects
// what is wrong with them.
type board struct {
	table  map[string]metrics.Row
	panels []panel
	wrong  []error

	x, y, tall int // where the next panel goes, and how tall those of its line are
}

func newBoard(table []metrics.Row) *board {
	b := &board{table: map[string]metrics.Row{}}
	for _, row := range table {
		b.table[row.Name] = row
	}
	return b
}

// section begins a new row of the dashboard.
func (b *board) section(title string) {
	b.y += b.tall
	b.x, b.tall = 0, 0
	b.add(columns, 1, panel{Type: "row", Title: title, Collapsed: new(bool), Panels: []panel{}})
}

// add places a panel, on a new line where it does not fit beside the last.
func (b *board) add(width, height int, p panel) {
	if b.x+width > columns {
		b.y += b.tall
		b.x, b.tall = 0, 0
	}
	p.ID = len(b.panels) + 1
	p.GridPos = place{X: b.x, Y: b.y, W: width, H: height}
	b.x, b.tall = b.x+width, max(b.tall, height)
	b.panels = append(b.panels, p)
}

// row finds a metric that the dashboard asks for.
func (b *board) row(metric, kind string, labels ...string) metrics.Row {
	row, known := b.table[metric]
	switch {
	case !known:
		b.wrong = append(b.wrong, fmt.Errorf("there is no metric %s", metric))
	case row.Type != kind:
		b.wrong = append(b.wrong, fmt.Errorf("%s is a %s, and the dashboard takes it for a %s", metric, row.Type, kind))
	}
	for _, label := range labels {
		if known && !slices.ContainsFunc(row.Labels, func(l metrics.Label) bool { return l.Name == label }) {
			b.wrong = append(b.wrong, fmt.Errorf("%s has no label %s", metric, label))
		}
	}
	return row
}

// events shows how many events of each kind there were: a bar is that many in
// its time. Each value of the labels is a series, so that none can be forgotten.
func (b *board) events(width int, title, metric string, labels ...string) {
	row := b.row(metric, "counter", labels...)
	expr, legend := "sum("+increase(metric)+")", title
	if len(labels) > 0 {
		expr = fmt.Sprintf("sum by (%s) (%s)", strings.Join(labels, ", "), increase(metric))
		legend = "{{" + strings.Join(labels, "}} {{") + "}}"
	}
	p := bars(title, row.Help, query(expr, legend))
	for _, label := range row.Labels {
		if len(labels) == 1 && label.Name == labels[0] && (label.Name == "result" || label.Name == "code") {
			p.FieldConfig.Overrides = colours(label.Values)
		}
	}
	b.add(width, 8, p)
}

// times shows how long something took: the median, and what one in twenty and
// one in a hundred took longer than.
func (b *board) times(width int, title, metric string) {
	p := lines(title, b.row(metric, "histogram").Help, "s")
	for _, part := range []struct{ share, name string }{{"0.5", "half within"}, {"0.95", "95 % within"}, {"0.99", "99 % within"}} {
		p.query(fmt.Sprintf("histogram_quantile(%s, sum by (le) (rate(%s_bucket{%s}[$__rate_interval])))", part.share, metric, here), part.name)
	}
	// Where little mail comes most intervals have no quantile.
	p.FieldConfig.Defaults.Custom["showPoints"] = "always"
	b.add(width, 8, p)
}

// heat shows how many took how long, over time.
func (b *board) heat(width int, title, metric string) {
	p := heatmap(title, b.row(metric, "histogram").Help)
	p.query(fmt.Sprintf("sum by (le) (increase(%s_bucket{%s}[$__interval]))", metric, here), "{{le}}")
	p.Targets[0].Format = "heatmap"
	b.add(width, 8, p)
}

// level shows a gauge; legend tells its series apart.
func (b *board) level(width int, title, metric, unit, expr, legend string) {
	p := lines(title, b.row(metric, "gauge").Help, unit)
	p.query(expr, legend)
	b.add(width, 8, p)
}

// here chooses the homings that the reader has chosen.
const here = `instance=~"$instance"`

// increase counts the events of one interval of the panel.
func increase(metric string) string { return "increase(" + metric + "{" + here + "}[$__interval])" }
