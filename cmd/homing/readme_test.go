package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/metrics"
)

const (
	readmePath  = "../../README.md"
	metricsPath = "../../docs/metrics.md"
	readmeLines = 200
)

// update rewrites the tables of the documentation: go test ./cmd/homing -run Readme -update
var update = flag.Bool("update", false, "write the tables of variables and metrics as they should be")

// paths say which file has which table, between <!-- name --> and <!-- end -->.
var paths = map[string]string{"variables": readmePath, "metrics": metricsPath}

// tables are what the tables say.
func tables() map[string][][]string {
	variable := [][]string{{"variable", "default", "meaning"}}
	for _, v := range variables() {
		standard := ""
		if v.Default != "" {
			standard = "`" + v.Default + "`"
		}
		variable = append(variable, []string{"`" + v.Name + "`", standard, v.Meaning})
	}
	metric := [][]string{{"metric", "type", "labels", "meaning"}}
	for _, row := range metrics.New("").Table() {
		labels := make([]string, len(row.Labels))
		for i, label := range row.Labels {
			labels[i] = "`" + label.String() + "`"
		}
		metric = append(metric, []string{"`" + row.Name + "`", row.Type, strings.Join(labels, ", "), row.Help})
	}
	return map[string][][]string{"variables": variable, "metrics": metric}
}

// markdown writes a table; a | inside a cell is escaped, in code too
// (https://github.github.com/gfm/#example-200).
func markdown(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		for _, cell := range row {
			b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.Repeat("| --- ", len(row)) + "|\n")
		}
	}
	return strings.ReplaceAll(b.String(), "|  |", "| |")
}

// cells reads a table back, without the line below its head.
func cells(text string) (rows [][]string, err error) {
	const bar = "\x00"
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		inner, ok := strings.CutPrefix(line, "|")
		inner, ok2 := strings.CutSuffix(strings.ReplaceAll(inner, `\|`, bar), "|")
		switch {
		case line == "":
			continue
		case !ok || !ok2:
			return nil, fmt.Errorf("%q is no row of a table", line)
		}
		row := strings.Split(inner, "|")
		for i, cell := range row {
			row[i] = strings.TrimSpace(strings.ReplaceAll(cell, bar, "|"))
		}
		rows = append(rows, row)
	}
	if len(rows) < 2 || strings.Trim(strings.Join(rows[1], ""), "-: ") != "" {
		return nil, fmt.Errorf("there is no table")
	}
	return slices.Delete(rows, 1, 2), nil
}

// section finds what stands between the markers of a table.
func section(text, name string) (from, to int, err error) {
	begin := "<!-- " + name + " -->\n"
	from = strings.Index(text, begin)
	if from < 0 {
		return 0, 0, fmt.Errorf("there is no line %q", strings.TrimSpace(begin))
	}
	from += len(begin)
	length := strings.Index(text[from:], "<!-- end -->\n")
	if length < 0 {
		return 0, 0, fmt.Errorf("no line <!-- end --> follows %q", strings.TrimSpace(begin))
	}
	return from, from + length, nil
}

// compareTable returns how the table of a text differs from what it should say.
func compareTable(text, name string, want [][]string) error {
	from, to, err := section(text, name)
	if err != nil {
		return err
	}
	got, err := cells(text[from:to])
	if err != nil {
		return err
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("(-the code +the table):\n%s", diff)
	}
	return nil
}

func replaceTable(text, name string, want [][]string) (string, error) {
	from, to, err := section(text, name)
	if err != nil {
		return "", err
	}
	return text[:from] + markdown(want) + text[to:], nil
}

func TestReadmeTables(t *testing.T) {
	for name, want := range tables() {
		path := paths[name]
		text := read(t, path)
		if *update {
			updated, err := replaceTable(text, name, want)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			text = updated
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := compareTable(text, name, want); err != nil {
			t.Errorf("%s: the table of %s is not what the code says: %v\nIt should be\n\n%s\n"+
				"which is written there by\n  go test ./cmd/homing -run Readme -update", path, name, err, markdown(want))
		}
	}
}

// TestReadmeTablesBite: the comparison finds every kind of difference.
func TestReadmeTablesBite(t *testing.T) {
	for name, want := range tables() {
		right, err := replaceTable("# homing\n<!-- "+name+" -->\nold\n<!-- end -->\nmore\n", name, want)
		if err != nil {
			t.Fatal(err)
		}
		if err := compareTable(right, name, want); err != nil || !strings.HasSuffix(right, "|\n<!-- end -->\nmore\n") {
			t.Errorf("%s, as it is written by -update: %v", name, err)
		}
		last := want[len(want)-1]
		for _, wrong := range []string{
			strings.Replace(right, want[1][0], "`HOMING_OTHER`", 1),
			strings.Replace(right, last[len(last)-1], "something else", 1),
			strings.Replace(right, "| --- |\n", "| --- |\n| `homing_more` | | |\n", 1),
			strings.Replace(right, markdown(want[len(want)-2:])[:20], "", 1),
			strings.Replace(right, markdown(want), markdown(want[:len(want)-1]), 1),
			strings.Replace(right, markdown(want), "", 1),
			strings.Replace(right, "<!-- end -->", "", 1),
			strings.Replace(right, "<!-- "+name, "<!-- "+name+"s", 1),
		} {
			if wrong == right {
				t.Fatal("this case changes nothing")
			}
			if compareTable(wrong, name, want) == nil {
				t.Errorf("not found in\n%s", wrong)
			}
		}
	}
}

// TestReadmeMetrics: the README names every metric, without its prefix.
func TestReadmeMetrics(t *testing.T) {
	text := read(t, readmePath)
	for _, row := range metrics.New("").Table() {
		if name := strings.TrimPrefix(row.Name, "homing_"); !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the README does not name %s", row.Name)
		}
	}
}

func TestReadmeIsShort(t *testing.T) {
	if lines := strings.Count(read(t, readmePath), "\n"); lines >= readmeLines {
		t.Errorf("the README has %d lines, want fewer than %d", lines, readmeLines)
	}
}

// TestReadmeCommands: each command that the README names is one, and it names
// each that there is.
func TestReadmeCommands(t *testing.T) {
	text := read(t, readmePath)
	named := map[string]bool{}
	command := regexp.MustCompile("(?:`|\\./cmd/|\\s)homing((?: [a-z][a-z-]*)+)")
	for _, line := range append(regexp.MustCompile("`[^`\n]+`").FindAllString(text, -1), regexp.MustCompile(`(?m)^ {4}.*$`).FindAllString(text, -1)...) {
		for _, match := range command.FindAllStringSubmatch(line, -1) {
			named[strings.TrimSpace(match[1])] = true
		}
	}
	// The row of a command that has others below it lists them.
	for _, row := range regexp.MustCompile("(?m)^\\| `homing ([a-z]+)` \\| (.*)$").FindAllStringSubmatch(text, -1) {
		for _, word := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(row[2], -1) {
			named[row[1]+" "+word[1]] = true
		}
	}
	root := newRootCommand(nil, streams{})
	for name := range named {
		found, rest, err := root.Find(strings.Fields(name))
		if err != nil || found == root || len(rest) > 0 {
			t.Errorf("the README names `homing %s`, which is no command: %v", name, err)
		}
	}
	for _, c := range root.Commands() {
		if !c.Hidden && c.Name() != "help" && c.Name() != "completion" && !named[c.Name()] {
			t.Errorf("the README does not name `homing %s`", c.Name())
		}
		for _, below := range c.Commands() {
			if name := c.Name() + " " + below.Name(); c.Name() != "completion" && !named[name] {
				t.Errorf("the README does not name `homing %s`", name)
			}
		}
	}
}
