package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sweepMetrics are those of the sweep of the buckets.
type sweepMetrics struct {
	sweeps   series[prometheus.Counter]
	seconds  prometheus.Histogram
	last     prometheus.Gauge
	requests series[prometheus.Counter]
	objects  series[prometheus.Counter]
}

func (m *sweepMetrics) register(r *registrar) {
	m.sweeps = r.counters("homing_sweeps_total",
		"Sweeps of the buckets for mail that no notification announced (HOMING_SWEEP_INTERVAL), by result.",
		label("result", "ok", "failed"))
	m.seconds = r.histogram("homing_sweep_seconds", "Time of one sweep of all buckets.",
		.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
	m.last = r.gauge("homing_sweep_last_timestamp_seconds",
		"When the last sweep that looked at everything ended, in seconds since 1970; 0 before the first.")
	m.requests = r.counters("homing_sweep_requests_total",
		"Requests of the sweep to S3, by what they ask for (a list has at most 1,000 objects); repetitions of failed ones are not counted.",
		label("op", "list", "head", "tagging"))
	m.objects = r.counters("homing_sweep_objects_total",
		"Listed objects, by what they turned out to be (found: mail that is now delivered; known: in the ledger; marked: written by homing or delivered by another; young: left to its notification; old: stored before the spool was made or over 14 days ago; ignored: no mail, or gone; failed: S3 or the spool did not say).",
		label("result", "found", "known", "marked", "young", "old", "ignored", "failed"))
}

// Swept counts one sweep, ok or failed.
func (m *Metrics) Swept(result string, took time.Duration) {
	m.sweep.sweeps.of(result).Inc()
	observe(m.sweep.seconds, took)
	if result == "ok" {
		m.sweep.last.Set(float64(time.Now().UnixMilli()) / 1000)
	}
}

// SweepRequest counts one request of the sweep to S3.
func (m *Metrics) SweepRequest(op string) { m.sweep.requests.of(op).Inc() }

// SweptObjects counts n objects of a listing.
func (m *Metrics) SweptObjects(result string, n int) { m.sweep.objects.of(result).Add(float64(n)) }
