package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// decryptMetrics are those of messages that were stored encrypted.
type decryptMetrics struct {
	messages series[prometheus.Counter]
	seconds  prometheus.Histogram
}

func (m *decryptMetrics) register(r *registrar) {
	m.messages = r.counters("homing_decrypt_total",
		"Attempts to decrypt a message that was stored encrypted, by how it is and by result (no_key, passphrase: HOMING_PGP_KEY and HOMING_PGP_PASSPHRASE do not open it; password: it is encrypted to none; broken: the integrity check failed; no_integrity: there is none; misplaced: another message than its name says; wrong_key, denied, disabled: KMS refuses; canceled: homing was stopped).",
		label("scheme", "pgp", "kms"),
		label("result", "ok", "no_key", "passphrase", "password", "broken", "no_integrity", "too_large", "malformed", "unsupported",
			"misplaced", "wrong_key", "denied", "disabled", "throttled", "network", "server", "configuration", "canceled"))
	m.seconds = r.histogram("homing_decrypt_seconds", "Time to decrypt one message, KMS's answer included.",
		.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
}

// Decrypted counts one attempt to decrypt a message. Its time counts when the
// result is "ok".
func (m *Metrics) Decrypted(scheme, result string, elapsed time.Duration) {
	m.decrypt.messages.of(scheme, result).Inc()
	if result == "ok" {
		observe(m.decrypt.seconds, elapsed)
	}
}
