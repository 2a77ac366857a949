package main

import "regexp"

// section is one benchmark, and one table of the page.
type section struct {
	title     string // in the plot
	benchmark string
	directory string // of its package, from the module's root
	unit      string // of the figure that counts; its quartiles have -q1 and -q3 behind it
	goals     []goal
}

// goal is what the median is to be, for the sub-benchmarks that match.
type goal struct {
	name  *regexp.Regexp
	least bool // or at most
	value float64
}

func atLeast(value float64, name string) goal { return goal{regexp.MustCompile(name), true, value} }
func atMost(value float64, name string) goal  { return goal{regexp.MustCompile(name), false, value} }

// sections are the page's, in its order.
var sections = []section{
	{"LMTP alone: rate by that of smtp-source", "BenchmarkDovecot", "internal/lmtpbench", "ratio", []goal{
		atLeast(1, `/(4|50)KB/connections=4$`),
		atLeast(1.5, `/unix/1MB/connections=4$`),
		atLeast(1.15, `/tcp/1MB/connections=4$`),
	}},
	{"A listing of a million keys", "BenchmarkListMillion", "fetcher", "grown-MiB", nil},
}

// goalOf finds the goal of a result; there may be none.
func (s section) goalOf(r result) (goal, bool) {
	for _, g := range s.goals {
		if g.name.MatchString(r.name) {
			return g, true
		}
	}
	return goal{}, false
}

// met reports whether a median reaches the goal.
func (g goal) met(median float64) bool {
	if g.least {
		return median >= g.value
	}
	return median <= g.value
}
