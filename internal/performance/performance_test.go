package main

import (
	"encoding/xml"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParse(t *testing.T) {
	all, err := parse(read(t, "testdata/bench.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := all.facts["cpu"], "AMD EPYC"; got != want || all.facts["load"] != "0.15" {
		t.Errorf("%q", all.facts)
	}
	var names []string
	for _, r := range all.results {
		names = append(names, r.directory+"."+r.name)
	}
	if diff := cmp.Diff([]string{"internal/lmtpbench.BenchmarkDovecot/unix/4KB/connections=4", "internal/lmtpbench.BenchmarkDovecot/tcp/1MB/connections=4/delay=1ms",
		"fetcher.BenchmarkListMillion"}, names); diff != "" {
		t.Error(diff)
	}
	first := result{"internal/lmtpbench", "BenchmarkDovecot/unix/4KB/connections=4", 15, []figure{
		{"homing-cpu-ms/msg", 0.071}, {"homing-msgs/s", 1548}, {"ratio", 1.301}, {"ratio-q1", 1.202}, {"ratio-q3", 1.678}, {"smtp-source-msgs/s", 903.7}}}
	if diff := cmp.Diff(first, all.results[0], cmp.AllowUnexported(result{}, figure{})); diff != "" {
		t.Errorf("the benchmark that was run twice (-want +got):\n%s", diff)
	}
}

func TestParseWrong(t *testing.T) {
	for _, line := range []string{"", "PASS", "BenchmarkX-2", "BenchmarkX 15 ns/op", "BenchmarkX many 1 ns/op", "--- BENCH: BenchmarkX-2 1 2 3"} {
		if _, ok, err := parseResult(line); ok || err != nil {
			t.Errorf("%q: %v, %v", line, ok, err)
		}
	}
	if _, err := parse("BenchmarkX-2 15 fast ratio\n"); err == nil || !strings.Contains(err.Error(), `"fast"`) {
		t.Errorf("no number: %v", err)
	}
}

// sample are two sections and results for them.
func sample() ([]section, raw) {
	of := []section{
		{"LMTP <alone>", "BenchmarkA", "a", "ratio", []goal{atLeast(1, `/x$`), atMost(0.4, `/y$`)}},
		{"Memory", "BenchmarkB", "b", "MiB", []goal{atMost(60, `B$`)}},
	}
	return of, raw{facts: map[string]string{"cpu": "a processor"}, results: []result{
		{"a", "BenchmarkA/x", 15, []figure{{"homing-cpu-ms/msg", 0.0712}, {"homing-msgs/s", 640.2}, {"p99-ms", 12.34}, {"smtp-source-msgs/s", 320}, {"ratio", 0.9996}, {"ratio-q1", 0.9}, {"ratio-q3", 1.1}}},
		{"a", "BenchmarkA/y", 15, []figure{{"ratio", 0.4123}, {"ratio-q1", 0.38}, {"ratio-q3", 0.45}}},
		{"a", "BenchmarkA/z", 15, []figure{{"ratio", 17.26}}},
		{"a", "BenchmarkA/itself", 15, []figure{{"msgs/s", 700}}},
		{"b", "BenchmarkB", 1, []figure{{"MiB", 57.04}, {"ns/op", 1e9}}},
		{"c", "BenchmarkA/x", 15, []figure{{"ratio", 9}}}, // another package's
	}}
}

const sampleTables = "| benchmark | ratio | goal | met | figures |\n| --- | --- | --- | --- | --- |\n" +
	"| `A/x` | 1.00 [0.900, 1.10] | at least 1 | yes | homing 0.0712 cpu-ms/msg, 640 msgs/s; 12.3 p99-ms; smtp-source 320 msgs/s |\n" +
	"| `A/y` | 0.412 [0.380, 0.450] | at most 0.4 | no | |\n" +
	"| `A/z` | 17.3 | - | - | |\n" +
	"| `A/itself` | - | - | - | 700 msgs/s |\n" +
	"| benchmark | MiB | goal | met | figures |\n| --- | --- | --- | --- | --- |\n" +
	"| `B` | 57.0 | at most 60 | yes | |\n"

func TestArrange(t *testing.T) {
	of, all := sample()
	tables, err := arrange(of, all)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, table := range tables {
		got.WriteString(table.markdown())
	}
	if diff := cmp.Diff(sampleTables, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	all.results = all.results[1:5]
	all.results[3].figures = nil
	_, err = arrange(of, all)
	for _, want := range []string{"the goal for /x$", `BenchmarkB tells no "MiB"`, "BenchmarkB in b has no results"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said: %v", want, err)
		}
	}
}

func TestFill(t *testing.T) {
	of, all := sample()
	tables, err := arrange(of, all)
	if err != nil {
		t.Fatal(err)
	}
	page := "before\n<!-- machine -->\nold\n<!-- end -->\n<!-- BenchmarkA -->\n<!-- end -->\n<!-- BenchmarkB -->\nold\n<!-- end -->\nafter\n"
	once, err := fill(page, all, tables)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "\nafter\n", "a processor", "at least 1 repetitions", "2 of 3 goals are met", "- `A/y`: 0.412, at most 0.4\n", "| `B` | 57.0 |"} {
		if !strings.Contains(once, want) {
			t.Errorf("%q is missing in:\n%s", want, once)
		}
	}
	if twice, err := fill(once, all, tables); err != nil || twice != once || strings.Contains(once, "old") {
		t.Errorf("filled again, %v:\n%s", err, cmp.Diff(once, twice))
	}
	for _, cut := range []string{"<!-- BenchmarkB -->\n", "<!-- end -->\nafter"} {
		if _, err := fill(strings.Replace(page, cut, "", 1), all, tables); err == nil {
			t.Errorf("without %q nothing is said", cut)
		}
	}
}

// The plot is XML, has a dot for each ratio, and keeps to its room.
func TestPlot(t *testing.T) {
	of, all := sample()
	tables, err := arrange(of, all)
	if err != nil {
		t.Fatal(err)
	}
	drawn := plot(tables)
	decoder := xml.NewDecoder(strings.NewReader(drawn))
	seen := map[string]int{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, drawn)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range element.Attr {
			if at, err := strconv.ParseFloat(a.Value, 64); slices.Contains([]string{"x", "x1", "x2", "cx"}, a.Name.Local) && (err != nil || at < 0 || at > plotWidth) {
				t.Errorf("%s=%q", a.Name.Local, a.Value)
			}
			if a.Name.Local == "class" {
				seen[element.Name.Local+" "+a.Value]++
			}
		}
	}
	want := map[string]int{"circle met dot": 1, "circle missed dot": 1, "circle free dot": 1, "path goal": 2, "line met spread": 1, "line missed spread": 1}
	for what, n := range want {
		if seen[what] != n {
			t.Errorf("%d of %q, want %d", seen[what], what, n)
		}
	}
	if at := (scale{0.25, 32}); at.x(0.25) != labelWidth || at.x(32) != plotWidth-rightEdge {
		t.Errorf("the axis goes from %v to %v", at.x(0.25), at.x(32))
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0: "0.00", 0.00123: "0.0012", 0.0712: "0.0712", 0.9994: "0.999", 1: "1.00", 57.04: "57.0", 300.4: "300", 15487: "15487"} {
		if got := number(value); got != want {
			t.Errorf("%v: %q, want %q", value, got, want)
		}
	}
}

// TestChosen: a part may be measured again.
func TestChosen(t *testing.T) {
	names, packages, err := chosen("Dovecot$")
	if err != nil || !slices.Equal(names, []string{"BenchmarkDovecot"}) || !slices.Equal(packages, []string{"./internal/lmtpbench"}) {
		t.Errorf("%q, %q, %v", names, packages, err)
	}
	if names, _, err := chosen(""); err != nil || len(names) != len(sections) {
		t.Errorf("%q, %v", names, err)
	}
	for _, wrong := range []string{"nosuch", "("} {
		if _, _, err := chosen(wrong); err == nil {
			t.Errorf("nothing is said of %q", wrong)
		}
	}
}

// TestSections: every benchmark of the page is there.
func TestSections(t *testing.T) {
	for _, s := range sections {
		files, err := filepath.Glob(filepath.Join(root, s.directory, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			found = found || slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
				function, ok := d.(*ast.FuncDecl)
				return ok && function.Name.Name == s.benchmark
			})
		}
		if !found {
			t.Errorf("%s has no %s", s.directory, s.benchmark)
		}
	}
}

// line is a row of the page's tables.
var line = regexp.MustCompile("^\\| `([A-Z][^`]*)` \\| (-|[0-9.]+)(?: \\[([0-9.]+), ([0-9.]+)\\])? \\| (-|at (?:least|most) ([0-9.]+)) \\| (-|yes|no) \\| [^|]*\\|\n$")

// TestPage: the page has a table for every section and no other, and what it says
// of a goal is the section's goal, and true.
func TestPage(t *testing.T) {
	page := read(t, filepath.Join(root, pagePath))
	marks := regexp.MustCompile(`(?m)^<!-- (\w+) -->$`).FindAllStringSubmatch(page, -1)
	var want []string
	for _, s := range sections {
		want = append(want, s.benchmark)
	}
	var got []string
	for _, mark := range marks {
		if mark[1] != "machine" && mark[1] != "end" {
			got = append(got, mark[1])
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the page's tables (-want +got):\n%s", diff)
	}
	for _, s := range sections {
		_, rest, _ := strings.Cut(page, "<!-- "+s.benchmark+" -->\n")
		text, _, _ := strings.Cut(rest, "<!-- end -->")
		judge(t, s, text)
	}
}

// judge reads a table back.
func judge(t *testing.T, s section, text string) {
	t.Helper()
	lines := slices.Collect(strings.Lines(text))
	if len(lines) < 3 || !strings.HasPrefix(lines[0], "| benchmark | "+s.unit+" |") {
		t.Errorf("%s has no table", s.benchmark)
		return
	}
	for _, text := range lines[2:] {
		found := line.FindStringSubmatch(text)
		if found == nil || !strings.HasPrefix("Benchmark"+found[1], s.benchmark) {
			t.Errorf("%s: no row of its table: %q", s.benchmark, text)
			continue
		}
		r := row{}
		if found[2] != "-" {
			var err error
			if r.median, err = strconv.ParseFloat(found[2], 64); err != nil {
				t.Error(err)
			}
		}
		r.goal, r.judged = s.goalOf(result{name: "Benchmark" + found[1]})
		if r.judged && found[2] == "-" {
			t.Errorf("%s has a goal, and no figure", found[1])
		}
		if found[5] != r.wanted() || found[7] != r.verdict() {
			t.Errorf("%s: %q, %q; want %q, %q", found[1], found[5], found[7], r.wanted(), r.verdict())
		}
	}
}
