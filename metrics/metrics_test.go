package metrics

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/homing-mail/homing/internal/neighbour"
)

// samples are the values of homing's own series, a histogram's by _count and
// _sum.
func samples(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "homing_") {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, l := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			name := family.GetName()
			series := "{" + strings.Join(labels, ",") + "}"
			switch {
			case metric.GetHistogram() != nil:
				values[name+"_count"+series] = float64(metric.GetHistogram().GetSampleCount())
				values[name+"_sum"+series] = metric.GetHistogram().GetSampleSum()
			case metric.GetCounter() != nil:
				values[name+series] = metric.GetCounter().GetValue()
			default:
				values[name+series] = metric.GetGauge().GetValue()
			}
		}
	}
	return values
}

// changed are the series whose value is not what it was.
func changed(before, after map[string]float64) map[string]float64 {
	difference := map[string]float64{}
	for series, value := range after {
		if old, known := before[series]; !known || old != value {
			difference[series] = value - old
		}
	}
	return difference
}

// expected spells out the series that the table promises.
func expected(m *Metrics) map[string]float64 {
	series := map[string]float64{}
	for _, row := range m.Table() {
		combinations := [][]string{nil}
		for _, l := range row.Labels {
			var longer [][]string
			for _, c := range combinations {
				for _, value := range l.Values {
					longer = append(longer, append(slices.Clone(c), fmt.Sprintf("%s=%q", l.Name, value)))
				}
			}
			combinations = longer
		}
		for _, c := range combinations {
			slices.Sort(c)
			labels := "{" + strings.Join(c, ",") + "}"
			if row.Type == "histogram" {
				series[row.Name+"_count"+labels] = 0
				series[row.Name+"_sum"+labels] = 0
			} else {
				series[row.Name+labels] = 0
			}
		}
	}
	return series
}

func TestEverySeriesIsThereFromTheStart(t *testing.T) {
	m := New("v1.2.3")
	got := samples(t, m)
	for series, value := range got {
		if strings.HasPrefix(series, "homing_build_info{") {
			if value != 1 || !strings.Contains(series, `version="v1.2.3"`) || !strings.Contains(series, `goversion="go1.`) {
				t.Errorf("%s %v", series, value)
			}
			delete(got, series)
		}
	}
	if diff := cmp.Diff(expected(m), got); diff != "" {
		t.Errorf("the table (-) and what is shown (+) differ:\n%s", diff)
	}
}

func TestTypesAndHelpAreThoseOfTheTable(t *testing.T) {
	m := New("test")
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got, want, seen := map[string]string{}, map[string]string{}, map[string]bool{}
	for _, family := range families {
		name := family.GetName()
		seen[name] = true
		switch {
		case strings.HasPrefix(name, "homing_"):
			got[name] = strings.ToLower(family.GetType().String()) + ": " + family.GetHelp()
		case !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_"):
			t.Errorf("%s is neither homing's nor the runtime's nor the process's", name)
		}
	}
	for _, row := range m.Table() {
		want[row.Name] = row.Type + ": " + row.Help
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table (-) and what is shown (+) differ:\n%s", diff)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestNothingIsRegisteredElsewhere(t *testing.T) {
	New("one")
	New("two")
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "homing_") {
			t.Errorf("the default registry shows %s", family.GetName())
		}
	}
}

func TestTableIsACopy(t *testing.T) {
	m := New("test")
	m.Table()[0].Name = "changed"
	if m.Table()[0].Name == "changed" {
		t.Error("a caller can change the table")
	}
}

func TestLabelString(t *testing.T) {
	for _, test := range []struct {
		label Label
		want  string
	}{
		{label("action", "delete", "tag"), `action="delete|tag|other"`},
		{Label{Name: "version"}, "version"},
	} {
		if got := test.label.String(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestMethods(t *testing.T) {
	for _, test := range []struct {
		name string
		call func(*Metrics)
		want map[string]float64
	}{
		{"notification", func(m *Metrics) { m.Notification("webhook", "ses_s3", "accepted") },
			map[string]float64{`homing_notifications_total{kind="ses_s3",result="accepted",source="webhook"}`: 1}},
		{"notification of no known kind", func(m *Metrics) { m.Notification("webhook", "fax", "held") },
			map[string]float64{`homing_notifications_total{kind="other",result="held",source="webhook"}`: 1}},
		{"notification, nothing known", func(m *Metrics) { m.Notification("", "", "") },
			map[string]float64{`homing_notifications_total{kind="other",result="other",source="other"}`: 1}},
		{"request", func(m *Metrics) { m.WebhookRequest(503) },
			map[string]float64{`homing_webhook_requests_total{code="503"}`: 1}},
		{"request, no known status", func(m *Metrics) { m.WebhookRequest(418) },
			map[string]float64{`homing_webhook_requests_total{code="other"}`: 1}},
		{"signature failure", func(m *Metrics) { m.SignatureFailure("topic") },
			map[string]float64{`homing_signature_failures_total{reason="topic"}`: 1}},
		{"fetched", func(m *Metrics) { m.Fetched("ok", 4096, 250*time.Millisecond) },
			map[string]float64{`homing_fetch_total{result="ok"}`: 1, `homing_fetch_bytes_total{}`: 4096,
				`homing_fetch_seconds_count{}`: 1, `homing_fetch_seconds_sum{}`: .25}},
		{"fetch broken off", func(m *Metrics) { m.Fetched("network", 100, time.Second) },
			map[string]float64{`homing_fetch_total{result="network"}`: 1, `homing_fetch_bytes_total{}`: 100}},
		{"fetch of less than nothing", func(m *Metrics) { m.Fetched("server", -1, -time.Second) },
			map[string]float64{`homing_fetch_total{result="server"}`: 1}},
		{"decrypted", func(m *Metrics) { m.Decrypted("pgp", "ok", 20*time.Millisecond) },
			map[string]float64{`homing_decrypt_total{result="ok",scheme="pgp"}`: 1, `homing_decrypt_seconds_count{}`: 1, `homing_decrypt_seconds_sum{}`: .02}},
		{"not decrypted", func(m *Metrics) { m.Decrypted("kms", "denied", time.Second) },
			map[string]float64{`homing_decrypt_total{result="denied",scheme="kms"}`: 1}},
		{"delivered", func(m *Metrics) { m.Delivered("fallback") },
			map[string]float64{`homing_deliveries_total{result="fallback"}`: 1}},
		{"delivery time", func(m *Metrics) { m.DeliveryTime(2 * time.Second) },
			map[string]float64{`homing_delivery_seconds_count{}`: 1, `homing_delivery_seconds_sum{}`: 2}},
		{"latency", func(m *Metrics) { m.Latency(time.Minute) },
			map[string]float64{`homing_latency_seconds_count{}`: 1, `homing_latency_seconds_sum{}`: 60}},
		{"latency when the clock jumped back", func(m *Metrics) { m.Latency(-time.Hour) },
			map[string]float64{`homing_latency_seconds_count{}`: 1}},
		{"last delivery", func(m *Metrics) { m.LastDelivery(time.UnixMilli(1_700_000_000_250)) },
			map[string]float64{`homing_last_delivery_timestamp_seconds{}`: 1_700_000_000.25}},
		{"connections", func(m *Metrics) { m.LMTPConnections("busy", 3) },
			map[string]float64{`homing_lmtp_connections{state="busy"}`: 3}},
		{"up", func(m *Metrics) { m.DestinationUp(true) },
			map[string]float64{`homing_destination_up{}`: 1}},
		{"down again", func(m *Metrics) { m.DestinationUp(true); m.DestinationUp(false) },
			map[string]float64{}},
		{"after delivery", func(m *Metrics) { m.AfterDelivery("move", "failed") },
			map[string]float64{`homing_after_delivery_total{action="move",result="failed"}`: 1}},
		{"sweep that failed", func(m *Metrics) { m.Swept("failed", 2*time.Second) },
			map[string]float64{`homing_sweeps_total{result="failed"}`: 1, `homing_sweep_seconds_count{}`: 1, `homing_sweep_seconds_sum{}`: 2}},
		{"request of a sweep", func(m *Metrics) { m.SweepRequest("list") },
			map[string]float64{`homing_sweep_requests_total{op="list"}`: 1}},
		{"objects of a sweep", func(m *Metrics) { m.SweptObjects("known", 1000) },
			map[string]float64{`homing_sweep_objects_total{result="known"}`: 1000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := New("test")
			before := samples(t, m)
			test.call(m)
			if diff := cmp.Diff(test.want, changed(before, samples(t, m))); diff != "" {
				t.Errorf("change (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryLabelValueIsItsOwn calls each method with each value of its labels:
// were one not recognised, its series would stay at 0 and "other" would grow.
func TestEveryLabelValueIsItsOwn(t *testing.T) {
	m := New("test")
	calls := map[string]func(values []string){
		"homing_notifications_total":      func(v []string) { m.Notification(v[0], v[1], v[2]) },
		"homing_webhook_requests_total":   func(v []string) { m.WebhookRequest(number(v[0])) },
		"homing_signature_failures_total": func(v []string) { m.SignatureFailure(v[0]) },
		"homing_fetch_total":              func(v []string) { m.Fetched(v[0], 0, 0) },
		"homing_decrypt_total":            func(v []string) { m.Decrypted(v[0], v[1], 0) },
		"homing_deliveries_total":         func(v []string) { m.Delivered(v[0]) },
		"homing_lmtp_connections":         func(v []string) { m.LMTPConnections(v[0], 1) },
		"homing_after_delivery_total":     func(v []string) { m.AfterDelivery(v[0], v[1]) },
		"homing_sweeps_total":             func(v []string) { m.Swept(v[0], 0) },
		"homing_sweep_requests_total":     func(v []string) { m.SweepRequest(v[0]) },
		"homing_sweep_objects_total":      func(v []string) { m.SweptObjects(v[0], 1) },
	}
	for _, row := range m.Table() {
		if call, labelled := calls[row.Name]; labelled {
			everyCombination(row.Labels, nil, call)
		}
	}
	for series, value := range samples(t, m) {
		name, _, _ := strings.Cut(series, "{")
		if calls[name] != nil && value != 1 {
			t.Errorf("%s %v, want 1", series, value)
		}
	}
}

func everyCombination(labels []Label, before []string, call func([]string)) {
	if len(labels) == 0 {
		call(before)
		return
	}
	for _, value := range labels[0].Values {
		everyCombination(labels[1:], append(slices.Clone(before), value), call)
	}
}

func number(s string) (n int) {
	fmt.Sscan(s, &n) // "other" stays 0, which is no status
	return n
}

func TestNoNewSeries(t *testing.T) {
	m := New("test")
	want := slices.Sorted(maps.Keys(samples(t, m)))
	const calls = 5000
	for i := range calls {
		word := fmt.Sprintf("%d-%d\xff", i, rand.Uint64())
		m.Notification(word, word, word)
		m.WebhookRequest(1000 + i)
		m.SignatureFailure(word)
		m.Fetched(word, 1, 1)
		m.Decrypted(word, word, 1)
		m.Delivered(word)
		m.LMTPConnections(word, 1)
		m.AfterDelivery(word, word)
		m.Swept(word, 1)
		m.SweepRequest(word)
		m.SweptObjects(word, 1)
	}
	after := samples(t, m)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(after))); diff != "" {
		t.Errorf("unexpected label values made series:\n%s", diff)
	}
	for _, series := range []string{
		`homing_notifications_total{kind="other",result="other",source="other"}`,
		`homing_webhook_requests_total{code="other"}`,
		`homing_signature_failures_total{reason="other"}`,
		`homing_fetch_total{result="other"}`,
		`homing_decrypt_total{result="other",scheme="other"}`,
		`homing_deliveries_total{result="other"}`,
		`homing_after_delivery_total{action="other",result="other"}`,
		`homing_sweeps_total{result="other"}`,
		`homing_sweep_requests_total{op="other"}`,
		`homing_sweep_objects_total{result="other"}`,
	} {
		if after[series] != calls {
			t.Errorf("%s %v, want %d", series, after[series], calls)
		}
	}
}

// TestLastSweep: only a sweep that looked at everything counts, and it does so
// by the time of its end.
func TestLastSweep(t *testing.T) {
	m := New("test")
	m.Swept("failed", time.Second)
	if got := samples(t, m)["homing_sweep_last_timestamp_seconds{}"]; got != 0 {
		t.Errorf("%v after a sweep that failed, want 0", got)
	}
	before := time.Now().Truncate(time.Millisecond)
	m.Swept("ok", time.Second)
	last := samples(t, m)["homing_sweep_last_timestamp_seconds{}"]
	if got := time.UnixMilli(int64(last * 1000)); got.Before(before.Add(-time.Millisecond)) || got.After(time.Now()) {
		t.Errorf("%v is not the time of the sweep", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	m := New("test")
	m.Memory(func() int64 { return 1 })
	const workers, rounds = 8, 200
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range rounds {
				m.Notification("webhook", "ses_s3", "accepted")
				m.Fetched("ok", 10, time.Millisecond)
				m.Delivered("delivered")
				m.DeliveryTime(time.Duration(i) * time.Millisecond)
				m.Latency(time.Second)
				m.LastDelivery(time.Unix(1, 0))
				m.LMTPConnections("busy", i)
				m.DestinationUp(i%2 == 0)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			scrape(t, m, "")
		}
	})
	wg.Wait()
	got := samples(t, m)
	for series, want := range map[string]float64{
		`homing_notifications_total{kind="ses_s3",result="accepted",source="webhook"}`: workers * rounds,
		`homing_fetch_bytes_total{}`:                                             workers * rounds * 10,
		`homing_deliveries_total{result="delivered"}`:                            workers * rounds,
		`homing_delivery_seconds_count{}`:                                        workers * rounds,
		`homing_latency_seconds_sum{}`:                                           workers * rounds,
		`homing_last_delivery_timestamp_seconds{}`:                               1,
		`homing_memory_bytes{}`:                                                  1,
		`homing_notifications_total{kind="other",result="other",source="other"}`: 0,
	} {
		if got[series] != want {
			t.Errorf("%s %v, want %v", series, got[series], want)
		}
	}
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(New("test").registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "homing_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestPromtool(t *testing.T) {
	promtool := neighbour.Program(t, "promtool")
	m := New("test")
	m.Fetched("ok", 1, time.Second)
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(scrape(t, m, "").Body.String())
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	m := New("test")
	allocated := testing.AllocsPerRun(100, func() {
		m.Notification("webhook", "ses_s3", "accepted")
		m.Notification("webhook", "never heard of", "accepted")
		m.WebhookRequest(200)
		m.Delivered("delivered")
		m.LMTPConnections("busy", 4)
		m.AfterDelivery("delete", "ok")
	})
	if allocated != 0 {
		t.Errorf("%v allocations, want none", allocated)
	}
}

func BenchmarkNotification(b *testing.B) {
	m := New("test")
	b.ReportAllocs()
	for b.Loop() {
		m.Notification("webhook", "ses_s3", "accepted")
	}
}

// BenchmarkMessage is all that one delivered message costs.
func BenchmarkMessage(b *testing.B) {
	m := New("test")
	b.ReportAllocs()
	for b.Loop() {
		m.WebhookRequest(200)
		m.Notification("webhook", "ses_s3", "accepted")
		m.Fetched("ok", 4096, 3*time.Millisecond)
		m.LMTPConnections("busy", 1)
		m.Delivered("delivered")
		m.DeliveryTime(2 * time.Millisecond)
		m.Latency(time.Second)
		m.LastDelivery(time.Unix(1_700_000_000, 0))
	}
}
