package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// module is what the paths of packages begin with.
const module = "github.com/homing-mail/homing/"

// raw is what a file of results says, in the format of
// https://go.dev/design/14313-benchmark-format.
type raw struct {
	facts   map[string]string // of the machine, by key
	results []result
}

// result is one line: what one benchmark found.
type result struct {
	directory   string // of its package, from the module's root
	name        string // BenchmarkX/sub, without the number of processors
	repetitions int
	figures     []figure // in the order of the line
}

// figure is a value with its unit.
type figure struct {
	unit  string
	value float64
}

var (
	fact       = regexp.MustCompile(`^([a-z][a-z-]*): (.+)$`)
	processors = regexp.MustCompile(`-\d+$`)
)

// parse reads results. Of a benchmark that was run again the last result counts.
func parse(text string) (raw, error) {
	all := raw{facts: map[string]string{}}
	at := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if found := fact.FindStringSubmatch(line); found != nil {
			all.facts[found[1]] = found[2]
			continue
		}
		r, ok, err := parseResult(line)
		if err != nil {
			return raw{}, err
		}
		if !ok {
			continue
		}
		r.directory = strings.TrimPrefix(all.facts["pkg"], module)
		if before, again := at[r.directory+" "+r.name]; again {
			all.results[before] = r
			continue
		}
		at[r.directory+" "+r.name] = len(all.results)
		all.results = append(all.results, r)
	}
	return all, nil
}

// parseResult reads a line "BenchmarkX/sub-2 15 1.1 ratio 640 homing-msg/s"; what
// else benchmarks print is not ok.
func parseResult(line string) (r result, ok bool, err error) {
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields)%2 != 0 || !strings.HasPrefix(fields[0], "Benchmark") {
		return result{}, false, nil
	}
	r.name = processors.ReplaceAllString(fields[0], "")
	if r.repetitions, err = strconv.Atoi(fields[1]); err != nil {
		return result{}, false, nil //nolint:nilerr // what a benchmark logged may begin like one
	}
	for i := 2; i < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return result{}, false, fmt.Errorf("%s: %q is no number", r.name, fields[i])
		}
		r.figures = append(r.figures, figure{unit: fields[i+1], value: value})
	}
	return r, true, nil
}

// value finds a figure by its unit.
func (r result) value(unit string) (value float64, ok bool) {
	for _, f := range r.figures {
		if f.unit == unit {
			return f.value, true
		}
	}
	return 0, false
}
