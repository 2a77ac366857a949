// Package metrics holds every metric of homing: its name, its labels and the
// values these may take.
//
// All series exist from the start, at 0, so that rate() sees the first event and
// an alert never waits for one. Labels are bounded: a value that is not in the
// lists below counts under "other" and never makes a new series, so nothing that
// arrives from outside can fill Prometheus. A method takes plain words; the
// packages that call it declare the part they need as an interface of their own.
// Everything is safe for concurrent use.
package metrics

import (
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics counts what homing does, on a registry of its own. Make it with New.
type Metrics struct {
	registry *prometheus.Registry
	table    []Row

	notifications series[prometheus.Counter]
	requests      map[int]prometheus.Counter // by status; 0 is "other"
	signatures    series[prometheus.Counter]

	fetches      series[prometheus.Counter]
	fetchSeconds prometheus.Histogram
	fetchBytes   prometheus.Counter
	decrypt      decryptMetrics

	deliveries      series[prometheus.Counter]
	deliverySeconds prometheus.Histogram
	latencySeconds  prometheus.Histogram
	lastDelivery    prometheus.Gauge
	connections     series[prometheus.Gauge]
	destinationUp   prometheus.Gauge
	settlements     series[prometheus.Counter]

	form    formMetrics
	pull    pullMetrics
	sweep   sweepMetrics
	machine machineMetrics

	messages   series[prometheus.Gauge]
	oldest     prometheus.Gauge
	readErrors prometheus.Counter
	memory     prometheus.Gauge

	queueReader  atomic.Pointer[queueReader]
	memoryReader atomic.Pointer[func() int64]
	reading      chan struct{} // holds a token while a scrape asks the queue
}

// New makes all metrics at 0, with the Go runtime's and the process's own beside
// them. The version is shown in homing_build_info.
func New(version string) *Metrics {
	r := &registrar{registry: prometheus.NewRegistry()}
	r.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m := &Metrics{registry: r.registry, reading: make(chan struct{}, 1)}
	m.registerWebhook(r)
	m.registerFetch(r)
	m.decrypt.register(r)
	m.registerDelivery(r)
	m.form.register(r)
	m.pull.register(r)
	m.sweep.register(r)
	m.registerQueue(r)
	m.machine.register(r)
	r.info("homing_build_info", "Always 1; the labels say which build runs.",
		map[string]string{"version": version, "goversion": runtime.Version()})
	m.table = r.table
	return m
}

func (m *Metrics) registerWebhook(r *registrar) {
	m.notifications = r.counters("homing_notifications_total",
		"Notifications, by where they came from, what they were (none: not read that far; object: found in a bucket; form: of the contact form), and what became of them.",
		label("source", "webhook", "sqs", "dlq", "sweep", "backfill", "form"),
		label("kind", "ses_s3", "ses_sns", "s3_event", "eventbridge", "ses_event", "s3_test", "ses_setup", "text",
			"s3_other", "unknown", "confirmation", "unsubscribe", "object", "form", "none"),
		label("result", "accepted", "repeated", "ignored", "held", "refused", "failed"))

	statuses := []int{200, 400, 403, 404, 405, 413, 503}
	words := make([]string, len(statuses))
	for i, status := range statuses {
		words[i] = strconv.Itoa(status)
	}
	requests := r.counters("homing_webhook_requests_total",
		"Requests to the webhook, by the status they were answered with.", label("code", words...))
	m.requests = map[int]prometheus.Counter{0: requests.of(other)}
	for i, status := range statuses {
		m.requests[status] = requests.of(words[i])
	}

	m.signatures = r.counters("homing_signature_failures_total",
		"Notifications that could not be authenticated, by what was wrong (unavailable: the certificate could not be fetched).",
		label("reason", "signature", "certificate", "host", "version", "timestamp", "type", "topic", "header", "unavailable"))
}

func (m *Metrics) registerFetch(r *registrar) {
	m.fetches = r.counters("homing_fetch_total",
		"Attempts to fetch a message from S3, by result (outside: not in HOMING_BUCKETS; canceled: homing was stopped).",
		label("result", "ok", "outside", "too_large", "gone", "denied", "throttled", "checksum", "network", "server",
			"configuration", "canceled"))
	m.fetchSeconds = r.histogram("homing_fetch_seconds", "Time to fetch one whole message from S3.",
		.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60)
	m.fetchBytes = r.counter("homing_fetch_bytes_total", "Bytes read from S3, those of failed attempts too.")
}

func (m *Metrics) registerDelivery(r *registrar) {
	m.deliveries = r.counters("homing_deliveries_total",
		"Attempts to deliver one message to one mailbox, by result.",
		label("result", "delivered", "fallback", "retry", "held"))
	m.deliverySeconds = r.histogram("homing_delivery_seconds", "Time of one transaction with the destination.",
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60)
	m.latencySeconds = r.histogram("homing_latency_seconds",
		"Time from SES's receipt of a message to the destination's acceptance of it.",
		.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6*3600, 24*3600, 5*24*3600)
	m.lastDelivery = r.gauge("homing_last_delivery_timestamp_seconds",
		"When the destination last accepted a message, in seconds since 1970; 0 before the first.")
	m.connections = r.gauges("homing_lmtp_connections", "Connections to the LMTP server, by state.",
		label("state", "idle", "busy", "dialing"))
	m.destinationUp = r.gauge("homing_destination_up", "1 while the destination can be reached, else 0.")
	m.settlements = r.counters("homing_after_delivery_total",
		"Objects deleted, tagged, moved or encrypted after their delivery (HOMING_AFTER_DELIVERY), by result.",
		label("action", "delete", "tag", "move", "encrypt"), label("result", "ok", "failed"))
}

func (m *Metrics) registerQueue(r *registrar) {
	m.messages = r.gauges("homing_messages", "Messages in the spool, by state.",
		label("state", "due", "waiting", "active", "held"))
	m.oldest = r.gauge("homing_oldest_message_seconds",
		"Age of the oldest message that is neither delivered nor held; 0 when there is none.")
	m.readErrors = r.counter("homing_messages_read_errors_total",
		"Scrapes that could not read the spool or its disk; homing_messages, homing_oldest_message_seconds and homing_disk_free_bytes then show the last values read.")
	m.memory = r.gauge("homing_memory_bytes", "Message bytes in memory, of the HOMING_MEMORY that may be.")
}

// Notification counts one notification: the source it came from, what kind it
// was ("none" where it was not read that far), and what became of it.
func (m *Metrics) Notification(source, kind, result string) {
	m.notifications.of(source, kind, result).Inc()
}

// WebhookRequest counts one request by the HTTP status it was answered with.
func (m *Metrics) WebhookRequest(code int) {
	requests, known := m.requests[code]
	if !known {
		requests = m.requests[0]
	}
	requests.Inc()
}

// SignatureFailure counts one notification that could not be authenticated.
func (m *Metrics) SignatureFailure(reason string) { m.signatures.of(reason).Inc() }

// Fetched counts one attempt to fetch a message. Its bytes count whatever the
// result; its time only when the result is "ok", for a refusal of a millisecond
// says nothing about how fast mail comes.
func (m *Metrics) Fetched(result string, bytes int, elapsed time.Duration) {
	m.fetches.of(result).Inc()
	m.fetchBytes.Add(float64(max(bytes, 0)))
	if result == "ok" {
		observe(m.fetchSeconds, elapsed)
	}
}

// Delivered counts one attempt to deliver a message to one mailbox.
func (m *Metrics) Delivered(result string) { m.deliveries.of(result).Inc() }

// DeliveryTime records how long one transaction with the destination took, as
// the courier sees it.
func (m *Metrics) DeliveryTime(elapsed time.Duration) { observe(m.deliverySeconds, elapsed) }

// Latency records the time from SES's receipt of a message to the destination's
// 250.
func (m *Metrics) Latency(elapsed time.Duration) { observe(m.latencySeconds, elapsed) }

// LastDelivery records when the destination last accepted a message.
func (m *Metrics) LastDelivery(t time.Time) {
	m.lastDelivery.Set(float64(t.UnixMilli()) / 1000)
}

// LMTPConnections sets how many connections are in one state.
func (m *Metrics) LMTPConnections(state string, n int) { m.connections.of(state).Set(float64(n)) }

// DestinationUp says whether the destination can be reached.
func (m *Metrics) DestinationUp(up bool) { set(m.destinationUp, up) }

// AfterDelivery counts one object dealt with after its delivery.
func (m *Metrics) AfterDelivery(action, result string) { m.settlements.of(action, result).Inc() }

func set(gauge prometheus.Gauge, on bool) {
	if on {
		gauge.Set(1)
	} else {
		gauge.Set(0)
	}
}

// observe takes a time before the clock jumped back as 0: a negative one would
// make the histogram's sum fall, which Prometheus reads as a restart.
func observe(histogram prometheus.Histogram, elapsed time.Duration) {
	histogram.Observe(max(elapsed, 0).Seconds())
}
