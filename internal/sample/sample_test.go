package sample_test

import (
	"testing"

	"github.com/homing-mail/homing/internal/sample"
)

func TestQuantile(t *testing.T) {
	values := []float64{9, 1, 5, 3} // in no order, in which they are to stay
	for q, want := range map[float64]float64{0: 1, 0.25: 2.5, 0.5: 4, 0.75: 6, 1: 9} {
		if got := sample.Quantile(values, q); got != want {
			t.Errorf("the quantile %g of %g is %g, want %g", q, values, got, want)
		}
	}
	if got := sample.Median([]float64{7}); got != 7 {
		t.Errorf("the median of 7 alone is %g", got)
	}
	if values[0] != 9 || values[3] != 3 {
		t.Errorf("the values were sorted: %g", values)
	}
}

func TestReportRatios(t *testing.T) {
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
		}
		sample.ReportRatios(b, []float64{1, 2, 3, 4, 5})
	})
	for unit, want := range map[string]float64{"ratio": 3, "ratio-q1": 2, "ratio-q3": 4, "ns/op": 0} {
		if got := result.Extra[unit]; got != want {
			t.Errorf("%s is %g, want %g", unit, got, want)
		}
	}
}
