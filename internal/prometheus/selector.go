package prometheus

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/homing-mail/homing/metrics"
)

var (
	selector = regexp.MustCompile(`(?:^|[^a-zA-Z0-9_:])(homing_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-zA-Z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
)

// scrapeLabels are those that Prometheus adds, and those of alerts and buckets.
var scrapeLabels = []string{"instance", "job", "le", "alertname", "alertstate"}

// Named returns the metrics of homing that text, PromQL or a file that contains
// it, names: each once, a histogram without _bucket, _sum and _count.
func Named(text string, table []metrics.Row) (names []string) {
	for _, found := range selector.FindAllStringSubmatch(text, -1) {
		name := found[1]
		if row, known := lookup(name, table); known {
			name = row.Name
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Mistakes returns what text asks of homing's metrics that there is not: a
// metric, a label, a value. Prometheus itself would find nothing wrong with it,
// and nothing at all.
func Mistakes(text string, table []metrics.Row) (mistakes []string) {
	labels := slices.Clone(scrapeLabels)
	for _, found := range selector.FindAllStringSubmatch(text, -1) {
		row, known := lookup(found[1], table)
		if !known {
			mistakes = append(mistakes, fmt.Sprintf("there is no metric %s", found[1]))
			continue
		}
		for _, label := range row.Labels {
			labels = append(labels, label.Name)
		}
		mistakes = append(mistakes, wrongMatchers(found[2], row)...)
	}
	for _, found := range grouping.FindAllStringSubmatch(text, -1) {
		for name := range strings.FieldsFuncSeq(found[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			if !slices.Contains(labels, name) {
				mistakes = append(mistakes, fmt.Sprintf("nothing in %q has a label %s", text, name))
			}
		}
	}
	return mistakes
}

func wrongMatchers(text string, row metrics.Row) (mistakes []string) {
	for _, found := range matcher.FindAllStringSubmatch(text, -1) {
		name, values := found[1], []string{found[3]}
		if slices.Contains(scrapeLabels, name) {
			continue
		}
		at := slices.IndexFunc(row.Labels, func(l metrics.Label) bool { return l.Name == name })
		if at < 0 {
			mistakes = append(mistakes, fmt.Sprintf("%s has no label %s", row.Name, name))
			continue
		}
		if strings.HasSuffix(found[2], "~") {
			values = strings.Split(found[3], "|")
		}
		for _, value := range values {
			if row.Labels[at].Values != nil && !slices.Contains(row.Labels[at].Values, value) {
				mistakes = append(mistakes, fmt.Sprintf("%s has no %s=%q", row.Name, name, value))
			}
		}
	}
	return mistakes
}

func lookup(name string, table []metrics.Row) (metrics.Row, bool) {
	for _, row := range table {
		part, isPart := strings.CutPrefix(name, row.Name)
		if part == "" && isPart || row.Type == "histogram" && isPart && slices.Contains([]string{"_bucket", "_sum", "_count"}, part) {
			return row, true
		}
	}
	return metrics.Row{}, false
}
