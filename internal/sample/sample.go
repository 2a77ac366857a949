// Package sample describes what benchmarks measured several times: by medians and
// quartiles, because other work on the machine disturbs some of few values much.
package sample

import (
	"slices"
	"testing"
)

// Median returns the value in the middle, or what lies halfway between two.
func Median(values []float64) float64 { return Quantile(values, 0.5) }

// Quantile returns the value below which the share q (0 to 1) of values lies,
// interpolating between those next to it. There must be a value.
func Quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// ReportRatios reports how two sides of a benchmark compared: each ratio is that
// of what both did one after the other, on the machine as it was then. The time of
// an iteration says nothing then and is not reported.
func ReportRatios(b *testing.B, ratios []float64) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(Median(ratios), "ratio")
	b.ReportMetric(Quantile(ratios, 0.25), "ratio-q1")
	b.ReportMetric(Quantile(ratios, 0.75), "ratio-q3")
}
