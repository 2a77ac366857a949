package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readTimeout is how long a scrape waits for the spool: well below the 10 s that
// Prometheus waits for a scrape.
const readTimeout = 2 * time.Second

// queueReader reads how many messages are in each state and the age of the
// oldest that is not settled, 0 when there is none. It ends when its context
// does. After an error the values shown before stay.
type queueReader func(ctx context.Context) (states map[string]int64, oldest time.Duration, err error)

// Queue gives the function that each scrape reads the spool with, one scrape at
// a time and for at most two seconds. It must end when its context does. When it
// fails the last values stay and homing_messages_read_errors_total counts it.
func (m *Metrics) Queue(read func(ctx context.Context) (states map[string]int64, oldest time.Duration, err error)) {
	reader := queueReader(read)
	m.queueReader.Store(&reader)
}

// Memory gives the function that each scrape asks for the number of message
// bytes in memory.
func (m *Metrics) Memory(read func() int64) { m.memoryReader.Store(&read) }

// Handler shows the metrics: as text, as OpenMetrics, or as protobuf (native
// histograms) to a client that asks for it.
func (m *Metrics) Handler() http.Handler {
	show := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		// A /proc that cannot be read must not hide the state of the mail.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 8,
		EnableOpenMetrics:   true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.refresh(r.Context())
		show.ServeHTTP(w, r)
	})
}

// refresh reads what is known only by asking. It is done here and not by a
// collector because only here is there a context: that of the request.
func (m *Metrics) refresh(ctx context.Context) {
	if read := m.memoryReader.Load(); read != nil {
		m.memory.Set(float64((*read)()))
	}
	m.readCertificate()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	select {
	case m.reading <- struct{}{}:
		defer func() { <-m.reading }()
		disk, queue := m.readDisk(ctx), m.readQueue(ctx)
		if !disk || !queue {
			m.readErrors.Inc()
		}
	case <-ctx.Done():
		m.readErrors.Inc()
	}
}

// readQueue reports whether it could be read.
func (m *Metrics) readQueue(ctx context.Context) bool {
	read := m.queueReader.Load()
	if read == nil {
		return true
	}
	states, oldest, err := (*read)(ctx)
	if err != nil {
		return false
	}
	counts := make([]int64, len(m.messages.all))
	for state, n := range states {
		counts[m.messages.place(state)] += n
	}
	for i, n := range counts {
		m.messages.all[i].Set(float64(n))
	}
	m.oldest.Set(max(oldest, 0).Seconds())
	return true
}
