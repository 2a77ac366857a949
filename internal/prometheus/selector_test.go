package prometheus

import (
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/metrics"
)

func TestMistakes(t *testing.T) {
	table := []metrics.Row{
		{Name: "homing_fetch_total", Type: "counter", Labels: []metrics.Label{{Name: "result", Values: []string{"ok", "gone"}}}},
		{Name: "homing_fetch_seconds", Type: "histogram"},
		{Name: "homing_build_info", Type: "gauge", Labels: []metrics.Label{{Name: "version"}}},
	}
	for _, test := range []struct {
		text    string
		mistake string // empty: there is none
		names   string
	}{
		{`sum by (result) (rate(homing_fetch_total{instance=~"$instance"}[5m]))`, "", "homing_fetch_total"},
		{`homing_fetch_total{result=~"ok|gone"} + homing_fetch_total{result!="ok"}`, "", "homing_fetch_total"},
		{`histogram_quantile(0.9, sum by (le, job) (homing_fetch_seconds_bucket)) + homing_fetch_seconds_sum`, "", "homing_fetch_seconds"},
		{`homing_build_info{version="v9"} or up`, "", "homing_build_info"},
		{`job:homing_mail:increase6h`, "", ""},
		{`homing_fetches_total`, "there is no metric homing_fetches_total", "homing_fetches_total"},
		{`homing_fetch_total_count`, "there is no metric homing_fetch_total_count", "homing_fetch_total_count"},
		{`homing_fetch_seconds_buckets`, "there is no metric", "homing_fetch_seconds_buckets"},
		{`homing_fetch_total{results="ok"}`, "homing_fetch_total has no label results", "homing_fetch_total"},
		{`homing_fetch_total{result=~"ok|lost"}`, `homing_fetch_total has no result="lost"`, "homing_fetch_total"},
		{`homing_fetch_total{result="ok|gone"}`, `homing_fetch_total has no result="ok|gone"`, "homing_fetch_total"},
		{`sum by (results) (homing_fetch_total)`, "has a label results", "homing_fetch_total"},
		{`a and on (result) homing_fetch_seconds_sum`, "has a label result", "homing_fetch_seconds"},
	} {
		found := Mistakes(test.text, table)
		if (test.mistake == "") != (len(found) == 0) || !strings.Contains(strings.Join(found, "\n"), test.mistake) {
			t.Errorf("%s: %q, want %q", test.text, found, test.mistake)
		}
		if got := Named(test.text, table); !slices.Equal(got, strings.Fields(test.names)) {
			t.Errorf("%s names %q, want %q", test.text, got, test.names)
		}
	}
}
