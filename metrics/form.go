package metrics

import "github.com/prometheus/client_golang/prometheus"

// formMetrics are those of the contact form.
type formMetrics struct {
	requests      series[prometheus.Counter]
	destinationUp prometheus.Gauge
}

func (m *formMetrics) register(r *registrar) {
	m.requests = r.counters("homing_form_requests_total",
		"Requests of the contact form's edge worker (HOMING_FORM_PATH), by result (repeated: the same message again, answered as the first time; others: the code of the error).",
		label("result", "accepted", "repeated", "bad_header", "not_openpgp", "wrong_key", "bad_signature", "stale", "method_not_allowed",
			"replay", "too_large", "rate_limited", "unavailable"))
	m.destinationUp = r.gauge("homing_form_destination_up",
		"1 while the server of HOMING_FORM_DELIVER_TO can be used, or is not set, else 0.")
}

// FormRequest counts one request of the contact form's edge worker.
func (m *Metrics) FormRequest(result string) { m.form.requests.of(result).Inc() }

// FormDestinationUp says whether the contact form's own destination can be used.
func (m *Metrics) FormDestinationUp(up bool) { set(m.form.destinationUp, up) }
