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
	{"LMTP alone: homing's rate ÷ smtp-source's", "BenchmarkDovecot", "internal/lmtpbench", "ratio", []goal{
		atLeast(1, `/(4|50)KB/connections=4$`),
		atLeast(1.5, `/unix/1MB/connections=4$`),
		atLeast(1.15, `/tcp/1MB/connections=4$`),
	}},
	{"End to end: homing's rate ÷ theirs", "BenchmarkRivals", "internal/system", "ratio", []goal{
		atLeast(0.75, `/smtp-source/`),
		atLeast(1.5, `/postfix/`),
	}},
	{"Processor time for a message: homing's ÷ Dovecot's", "BenchmarkCPU", "internal/system", "ratio", []goal{atMost(0.4, ``)}},
	{"Latency at 20 a second, 99th percentile: homing's ÷ bare LMTP's", "BenchmarkPace", "internal/system", "ratio", []goal{atMost(3, ``)}},
	{"Latency at saturation", "BenchmarkSaturation", "internal/system", "p99-ms", nil},
	{"Rate with 30 ms more latency in S3 ÷ without", "BenchmarkLatency", "internal/system", "ratio", []goal{atLeast(0.95, ``)}},
	{"Rate with the Sieve rule ÷ without", "BenchmarkOnce", "internal/system", "ratio", nil},
	{"Rate through a queue ÷ through the webhook", "BenchmarkPull", "internal/system", "ratio", []goal{atLeast(0.9, ``)}},
	{"Three replicas' rate ÷ one's, on one machine", "BenchmarkReplicas", "internal/system", "ratio", nil},
	{"Rate with HOMING_LMTP_EXCLUSIVE ÷ without", "BenchmarkExclusive", "internal/system", "ratio", nil},
	{"Memory", "BenchmarkMemory", "internal/system", "rss-MiB", []goal{atMost(60, `/4KB$`), atMost(336, `/16x40MB$`)}},
	{"Start", "BenchmarkStart", "internal/system", "p50-ms", []goal{atMost(300, ``)}},
	{"The spool's processor time for a message: 1,000,000 in the ledger ÷ none", "BenchmarkGrowth", "spool", "ratio", []goal{atMost(1.1, ``)}},
	{"homing's processor time for a message: 1,000,000 in bucket and ledger ÷ none", "BenchmarkBucket", "internal/system", "ratio", []goal{atMost(1.1, `/message$`)}},
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
