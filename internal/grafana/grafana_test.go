package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/prometheus"
	"github.com/homing-mail/homing/metrics"
)

const shipped = "../../contrib/grafana/homing.json"

// panels are those of the file that is shipped, without the rows' titles.
func panels(t *testing.T) (all []panel) {
	t.Helper()
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(d.Panels, func(p panel) bool { return p.Type == "row" })
}

func TestShippedFileIsWhatIsGenerated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "homing.json")
	if err := run([]string{path}); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is stale: run go generate ./internal/grafana", shipped)
	}
	if err := run(nil); err == nil {
		t.Error("without a path it did not say so")
	}
}

// Each metric is in a panel, and each of its labels tells series of one apart.
func TestNothingIsLeftOut(t *testing.T) {
	table := metrics.New("").Table()
	var all strings.Builder
	for _, p := range panels(t) {
		for _, ask := range p.Targets {
			all.WriteString(ask.Expr + " " + ask.LegendFormat + "\n")
		}
	}
	named := prometheus.Named(all.String(), table)
	for _, row := range table {
		if !slices.Contains(named, row.Name) {
			t.Errorf("%s is in no panel", row.Name)
		}
		for _, label := range row.Labels {
			if !shows(all.String(), row.Name, label.Name) {
				t.Errorf("no panel shows %s by %s", row.Name, label.Name)
			}
		}
	}
}

// shows reports whether a panel has a series for each value of a metric's label.
func shows(all, metric, label string) bool {
	for line := range strings.Lines(all) {
		if strings.Contains(line, metric+"{") && strings.Contains(line, "{{"+label+"}}") {
			return true
		}
	}
	return false
}

func TestNothingIsAskedForThatIsNotThere(t *testing.T) {
	table := metrics.New("").Table()
	for _, p := range panels(t) {
		for _, ask := range p.Targets {
			for _, mistake := range prometheus.Mistakes(ask.Expr, table) {
				t.Errorf("%s: %s", p.Title, mistake)
			}
			if regexp.MustCompile(`(homing|process|go)_[a-z_]+\{`).MatchString(ask.Expr) && !strings.Contains(ask.Expr, here) {
				t.Errorf("%s does not ask for the chosen homings: %s", p.Title, ask.Expr)
			}
		}
	}
}

// What a panel asks for that the table does not have is an error where the
// dashboard is made.
func TestGenerateFindsDrift(t *testing.T) {
	for _, test := range []struct {
		what   string
		change func([]metrics.Row) []metrics.Row
		want   string
	}{
		{"a metric gone", func(rows []metrics.Row) []metrics.Row { return remove(rows, "homing_fetch_total") }, "there is no metric homing_fetch_total"},
		{"of another type", func(rows []metrics.Row) []metrics.Row {
			rows[slices.IndexFunc(rows, named("homing_fetch_seconds"))].Type = "gauge"
			return rows
		}, "homing_fetch_seconds is a gauge, and the dashboard takes it for a histogram"},
		{"a label gone", func(rows []metrics.Row) []metrics.Row {
			rows[slices.IndexFunc(rows, named("homing_fetch_total"))].Labels = nil
			return rows
		}, "homing_fetch_total has no label result"},
	} {
		if _, err := generate(test.change(metrics.New("").Table())); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.what, err, test.want)
		}
	}
}

func named(name string) func(metrics.Row) bool {
	return func(row metrics.Row) bool { return row.Name == name }
}

func remove(rows []metrics.Row, name string) []metrics.Row {
	return slices.DeleteFunc(rows, named(name))
}

// Good manners: everything has a title, a description, a unit and the chosen
// data source, nothing lies upon anything else, and links lead somewhere.
func TestPanels(t *testing.T) {
	manual, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	ids, taken := map[int]bool{}, map[place]string{}
	for _, p := range panels(t) {
		if ids[p.ID] || p.Title == "" || p.Description == "" || p.Datasource == nil || len(p.Targets) == 0 {
			t.Errorf("panel %d, %q: a title, a description, a data source and a question are wanted, and an id of its own", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.FieldConfig.Defaults.Unit == "" && p.Type != "heatmap" && p.FieldConfig.Defaults.Mappings == nil {
			t.Errorf("%s has no unit", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := place{X: p.GridPos.X + x, Y: p.GridPos.Y + y}
				if other := taken[at]; other != "" || at.X >= columns {
					t.Fatalf("%s lies upon %q at %v", p.Title, other, at)
				}
				taken[at] = p.Title
			}
		}
		for _, l := range p.Links {
			if _, anchor, ok := strings.Cut(l.URL, "#"); ok && !strings.Contains(strings.ToLower(string(manual)), "\n## "+anchor+"\n") {
				t.Errorf("%s links to %s, which is not there", p.Title, l.URL)
			}
		}
	}
	if len(ids) < 30 {
		t.Errorf("only %d panels", len(ids))
	}
}

// A result that nobody has thought of gets a colour that warns, and no two the
// same.
func TestColours(t *testing.T) {
	for value := range slices.Values(slices.Concat(wellResults, neutralResults)) {
		if !slices.ContainsFunc(metrics.New("").Table(), func(row metrics.Row) bool {
			return slices.ContainsFunc(row.Labels, func(l metrics.Label) bool { return slices.Contains(l.Values, value) })
		}) {
			t.Errorf("no metric has the result %s", value)
		}
	}
	seen := map[any]string{}
	for _, row := range metrics.New("").Table() {
		for _, label := range row.Labels {
			if label.Name != "result" && label.Name != "code" {
				continue
			}
			clear(seen)
			for i, o := range colours(label.Values) {
				colour := o.Properties[0]["value"].(options)["fixedColor"]
				if other := seen[colour]; other != "" {
					t.Errorf("%s: %s and %s are both %v", row.Name, other, label.Values[i], colour)
				}
				seen[colour] = label.Values[i]
			}
		}
	}
	if got := colours([]string{"ok", "unheard of"})[1].Properties[0]["value"].(options)["fixedColor"]; got != "red" {
		t.Errorf("what is unheard of is %v", got)
	}
}
