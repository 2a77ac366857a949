package main

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// table is a section with its results.
type table struct {
	section
	rows []row
}

// row is one result as the page shows it: rounded, so that nobody can doubt
// whether the figure that is shown reaches the goal.
type row struct {
	name        string
	repetitions int
	median      float64
	measured    bool // there is a median
	q1, q3      float64
	spread      bool // there are quartiles
	goal        goal
	judged      bool // there is a goal
	others      []figure
}

// arrange sorts results into the page's tables. A table without results is an
// error, and a goal that is nobody's.
func arrange(of []section, all raw) (tables []table, err error) {
	var wrong []error
	for _, s := range of {
		t := table{section: s}
		used := map[*regexp.Regexp]bool{}
		for _, r := range all.results {
			function, _, _ := strings.Cut(r.name, "/")
			if function != s.benchmark || r.directory != s.directory {
				continue
			}
			one, err := s.row(r)
			if err != nil {
				wrong = append(wrong, err)
				continue
			}
			used[one.goal.name] = true
			t.rows = append(t.rows, one)
		}
		if len(t.rows) == 0 {
			wrong = append(wrong, fmt.Errorf("%s in %s has no results", s.benchmark, s.directory))
		}
		for _, g := range s.goals {
			if !used[g.name] {
				wrong = append(wrong, fmt.Errorf("no result of %s matches the goal for %s", s.benchmark, g.name))
			}
		}
		tables = append(tables, t)
	}
	return tables, errors.Join(wrong...)
}

func (s section) row(r result) (row, error) {
	median, ok := r.value(s.unit)
	one := row{name: strings.TrimPrefix(r.name, "Benchmark"), repetitions: r.repetitions, median: rounded(median), measured: ok}
	q1, ok1 := r.value(s.unit + "-q1")
	q3, ok3 := r.value(s.unit + "-q3")
	if ok1 && ok3 {
		one.q1, one.q3, one.spread = rounded(q1), rounded(q3), true
	}
	if one.goal, one.judged = s.goalOf(r); one.judged && !ok {
		return row{}, fmt.Errorf("%s tells no %q, for which it has a goal", r.name, s.unit)
	}
	shown := []string{s.unit, s.unit + "-q1", s.unit + "-q3", "ns/op"}
	for _, f := range r.figures {
		if !slices.Contains(shown, f.unit) {
			one.others = append(one.others, f)
		}
	}
	return one, nil
}

// markdown writes the table.
func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| benchmark | %s | goal | met | figures |\n| --- | --- | --- | --- | --- |\n", t.unit)
	for _, r := range t.rows {
		measured := "-"
		if r.measured {
			measured = number(r.median)
		}
		if r.spread {
			measured += fmt.Sprintf(" [%s, %s]", number(r.q1), number(r.q3))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.name, measured, r.wanted(), r.verdict(), bySide(r.others))
	}
	return strings.ReplaceAll(b.String(), "|  |", "| |")
}

// wanted is the goal in words.
func (r row) wanted() string {
	switch {
	case !r.judged:
		return "-"
	case r.goal.least:
		return "at least " + strconv.FormatFloat(r.goal.value, 'g', -1, 64)
	default:
		return "at most " + strconv.FormatFloat(r.goal.value, 'g', -1, 64)
	}
}

func (r row) verdict() string {
	switch {
	case !r.judged:
		return "-"
	case r.goal.met(r.median):
		return "yes"
	default:
		return "no"
	}
}

// sides are who may be measured: "homing-msg/s" and "homing-cpu-ms" are homing's
// msg/s and cpu-ms.
var sides = []string{"homing", "smtp-source", "dovecot", "lmtp", "without", "full", "empty"}

// bySide writes figures one side after another.
func bySide(figures []figure) string {
	var names []string
	of := map[string][]string{}
	for _, f := range figures {
		name, unit := "", f.unit
		for _, side := range sides {
			if own, ok := strings.CutPrefix(f.unit, side+"-"); ok {
				name, unit = side, own
			}
		}
		if of[name] == nil {
			names = append(names, name)
		}
		of[name] = append(of[name], number(f.value)+" "+unit)
	}
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = strings.TrimSpace(name + " " + strings.Join(of[name], ", "))
	}
	return strings.Join(parts, "; ")
}

// number writes three digits, and all of those before the point.
func number(value float64) string {
	decimals := 2
	if value != 0 {
		decimals = min(max(0, 2-int(math.Floor(math.Log10(math.Abs(value))))), 4)
	}
	return strconv.FormatFloat(value, 'f', decimals, 64)
}

// rounded is the value that [number] shows.
func rounded(value float64) float64 {
	shown, err := strconv.ParseFloat(number(value), 64)
	if err != nil { // not a number, or infinite
		return value
	}
	return shown
}
