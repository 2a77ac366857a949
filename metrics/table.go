package metrics

import (
	"slices"
	"strings"
)

// Row describes one metric of homing.
type Row struct {
	Name   string  // with the prefix homing_
	Type   string  // counter, gauge or histogram
	Labels []Label // nil where there are none
	Help   string  // one sentence, as /metrics shows it
}

// Label is a label of a metric.
type Label struct {
	Name   string
	Values []string // all it can have; nil where it has one that only the build knows
}

// String shows the label as the documentation does, such as
// action="delete|tag|move|other", or its name alone where it has no list.
func (l Label) String() string {
	if l.Values == nil {
		return l.Name
	}
	return l.Name + `="` + strings.Join(l.Values, "|") + `"`
}

// Table lists the metrics in the order in which the documentation shows them; those of
// the Go runtime and of the process are not in it.
func (m *Metrics) Table() []Row { return slices.Clone(m.table) }

// label makes a label that takes these values, and "other" for any that is not
// among them.
func label(name string, values ...string) Label {
	return Label{Name: name, Values: append(values, other)}
}

func names(labels []Label) []string {
	all := make([]string, len(labels))
	for i, l := range labels {
		all[i] = l.Name
	}
	return all
}
