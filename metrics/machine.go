package metrics

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// machineMetrics are about what wears out round homing: the disk below the spool
// and the webhook's certificate. Each scrape asks for them.
type machineMetrics struct {
	free   prometheus.Gauge
	expiry prometheus.Gauge

	freeReader   atomic.Pointer[func(context.Context) (int64, error)]
	expiryReader atomic.Pointer[func() time.Time]
}

func (m *machineMetrics) register(r *registrar) {
	m.free = r.gauge("homing_disk_free_bytes",
		"Bytes that homing may still write: those free on the disk of HOMING_STATE_DIR and, where these are 64 MiB or more, those that delivered mail has left free inside homing.db; below 256 MiB it takes no mail.")
	m.expiry = r.gauge("homing_tls_certificate_expiry_timestamp_seconds",
		"When the certificate that homing serves (HOMING_TLS_CERT_PATH) expires, in seconds since 1970; 0 where it serves none.")
}

// Disk gives the function that each scrape asks for the bytes that the spool may
// still write, as it asks that of Queue. When it fails the last value stays and
// homing_messages_read_errors_total counts the scrape.
func (m *Metrics) Disk(read func(context.Context) (int64, error)) { m.machine.freeReader.Store(&read) }

// Certificate gives the function that each scrape asks when the certificate
// expires that is served now.
func (m *Metrics) Certificate(expiry func() time.Time) { m.machine.expiryReader.Store(&expiry) }

// readDisk reports whether it could be read.
func (m *Metrics) readDisk(ctx context.Context) bool {
	read := m.machine.freeReader.Load()
	if read == nil {
		return true
	}
	free, err := (*read)(ctx)
	if err == nil {
		m.machine.free.Set(float64(free))
	}
	return err == nil
}

func (m *Metrics) readCertificate() {
	if read := m.machine.expiryReader.Load(); read != nil {
		m.machine.expiry.Set(float64((*read)().Unix()))
	}
}
