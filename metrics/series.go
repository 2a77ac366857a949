package metrics

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// other is the value of a label that was given one which is not in its list.
const other = "other"

// series are all the children of one metric, made at the start: one for every
// combination of its labels' values. Finding one costs a map look-up per label
// and allocates nothing.
type series[M any] struct {
	places []map[string]int // for each label, the place of each of its values; "other" has the last one
	all    []M              // the last label's values follow one another
}

// of finds the child for these values, as many as there are labels.
func (s series[M]) of(values ...string) M { return s.all[s.place(values...)] }

func (s series[M]) place(values ...string) int {
	at := 0
	for i, places := range s.places {
		place, known := places[values[i]]
		if !known {
			place = len(places) - 1
		}
		at = at*len(places) + place
	}
	return at
}

func newSeries[M any](labels []Label, child func(...string) M) series[M] {
	var s series[M]
	combinations := [][]string{nil}
	for _, l := range labels {
		places := make(map[string]int, len(l.Values))
		longer := make([][]string, 0, len(combinations)*len(l.Values))
		for i, value := range l.Values {
			places[value] = i
		}
		for _, before := range combinations {
			for _, value := range l.Values {
				longer = append(longer, append(slices.Clip(before), value))
			}
		}
		s.places = append(s.places, places)
		combinations = longer
	}
	for _, values := range combinations {
		s.all = append(s.all, child(values...))
	}
	return s
}

// registrar registers metrics and keeps the table of them, so that nothing is
// shown that the table does not have.
type registrar struct {
	registry *prometheus.Registry
	table    []Row
}

func (r *registrar) add(c prometheus.Collector, row Row) {
	r.registry.MustRegister(c)
	r.table = append(r.table, row)
}

func (r *registrar) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	r.add(c, Row{Name: name, Type: "counter", Help: help})
	return c
}

func (r *registrar) counters(name, help string, labels ...Label) series[prometheus.Counter] {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names(labels))
	r.add(vec, Row{Name: name, Type: "counter", Labels: labels, Help: help})
	return newSeries(labels, vec.WithLabelValues)
}

func (r *registrar) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	r.add(g, Row{Name: name, Type: "gauge", Help: help})
	return g
}

func (r *registrar) gauges(name, help string, labels ...Label) series[prometheus.Gauge] {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, names(labels))
	r.add(vec, Row{Name: name, Type: "gauge", Labels: labels, Help: help})
	return newSeries(labels, vec.WithLabelValues)
}

// histogram makes a classic histogram with these buckets, in seconds, that is a
// native one too for a Prometheus which asks for it: each native bucket is at
// most 10 % wider than the one before, at most 160 are kept, and when that is
// not enough they are begun anew, at most once an hour
// (https://prometheus.io/docs/specs/native_histograms/).
func (r *registrar) histogram(name, help string, buckets ...float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:                            name,
		Help:                            help,
		Buckets:                         buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	})
	r.add(h, Row{Name: name, Type: "histogram", Help: help})
	return h
}

// info makes a gauge that is always 1 and says something in its labels.
func (r *registrar) info(name, help string, labels map[string]string) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	g.Set(1)
	row := Row{Name: name, Type: "gauge", Help: help}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		row.Labels = append(row.Labels, Label{Name: name})
	}
	r.add(g, row)
}
