package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pullMetrics are those of the SQS queues, the dead-letter queue among them.
type pullMetrics struct {
	errors  series[prometheus.Counter]
	letters series[prometheus.Counter]
	read    prometheus.Gauge
	reports series[prometheus.Counter]
}

func (m *pullMetrics) register(r *registrar) {
	m.errors = r.counters("homing_sqs_errors_total",
		"Requests to SQS that failed, by what they were to do.",
		label("operation", "receive", "delete", "visibility", "send", "attributes"))
	m.letters = r.counters("homing_dlq_messages_total",
		"Messages read from the dead-letter queue (HOMING_DLQ), by what became of them (left: forged, not understood, or not to be verified just now; failed: the spool did not take them).",
		label("result", "recovered", "left", "failed"))
	m.read = r.gauge("homing_dlq_last_read_timestamp_seconds",
		"When the dead-letter queue was last read to its end, in seconds since 1970; 0 before the first time.")
	m.reports = r.counters("homing_reports_total",
		"Reports made to HOMING_POSTMASTER, by what they are about.", label("kind", "dlq", "held"))
}

// QueueError counts one request to SQS that failed.
func (m *Metrics) QueueError(operation string) { m.pull.errors.of(operation).Inc() }

// DeadLetter counts one message of the dead-letter queue.
func (m *Metrics) DeadLetter(result string) { m.pull.letters.of(result).Inc() }

// DeadLettersRead records when the dead-letter queue was read to its end.
func (m *Metrics) DeadLettersRead(at time.Time) { m.pull.read.Set(float64(at.UnixMilli()) / 1000) }

// Reported counts one report to the postmaster.
func (m *Metrics) Reported(kind string) { m.pull.reports.of(kind).Inc() }
