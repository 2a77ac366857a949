package system

import (
	"fmt"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/lmtp"
)

const (
	pace        = 20  // messages a second
	pacedAtOnce = 100 // messages in each half of an alternation
)

// BenchmarkPace compares how long one message takes at 20 a second, from the
// first octet of its notification to Dovecot's 250, with how long the bare
// delivery over LMTP takes. The goal is three times, at the 99th percentile.
func BenchmarkPace(b *testing.B) {
	h := forBench(b, dovecot.V23)
	client := lmtp.New(lmtp.Config{Network: "unix", Address: h.dovecot.UnixSocket, Connections: 4, Name: "bench"})
	defer client.Close()
	octets := [][]byte{sized(4 << 10)}
	for b.Loop() {
		var whole, bare []float64
		for round := range *rounds {
			batch := h.prepare(fmt.Sprintf("paced%d", round), pacedAtOnce, 4<<10)
			whole = append(whole, h.paced(batch)...)
			name := fmt.Sprintf("bare%d", round)
			tick := time.NewTicker(time.Second / pace)
			for i := range pacedAtOnce {
				<-tick.C
				began := time.Now()
				if err := client.Deliver(b.Context(), "ann@far.test", fmt.Sprintf("%s-%d@%s", name, i%batchUsers, domain), octets); err != nil {
					b.Fatal(err)
				}
				bare = append(bare, time.Since(began).Seconds()*1e3)
			}
			tick.Stop()
		}
		p99, bareP99 := quantile(whole, 0.99), quantile(bare, 0.99)
		b.Logf("from POST to 250 at %d a second: p50 %.1f ms, p99 %.1f ms; bare LMTP: p50 %.1f ms, p99 %.1f ms", pace, median(whole), p99, median(bare), bareP99)
		b.ReportMetric(p99/bareP99, "p99/bare")
		b.ReportMetric(median(whole)/median(bare), "p50/bare")
	}
}

// BenchmarkSaturation shows how long messages take while as many come as homing
// answers.
func BenchmarkSaturation(b *testing.B) {
	h := forBench(b, dovecot.V23)
	for b.Loop() {
		batch := h.prepare("saturated", 5**messages, 4<<10)
		took := h.deliver(batch, 16)
		lasted := h.lasted(batch)
		b.Logf("%.0f messages a second; from POST to 250: p50 %.0f ms, p99 %.0f ms", float64(len(lasted))/took.Seconds(), median(lasted), quantile(lasted, 0.99))
		b.ReportMetric(quantile(lasted, 0.99), "ms-p99")
	}
}

// paced posts a batch at its pace, and returns how many milliseconds each
// message took.
func (h *home) paced(batch *batch) []float64 {
	h.tb.Helper()
	tick := time.NewTicker(time.Second / pace)
	defer tick.Stop()
	for i, notification := range batch.notifications {
		<-tick.C
		batch.posted[i] = time.Now()
		if status, answer, err := snstest.Post(h.tb.Context(), site.poster, "http://"+h.webhook+"/sns", notification); status != 200 {
			h.tb.Fatalf("answered %d %q, %v", status, answer, err)
		}
	}
	return h.lasted(batch)
}

// lasted is how many milliseconds each message took until homing said that it
// was delivered, which it does when that is in the ledger: a little too long.
func (h *home) lasted(batch *batch) (ms []float64) {
	h.tb.Helper()
	posted := make(map[string]time.Time, len(batch.ids))
	for i, id := range batch.ids {
		posted[id] = batch.posted[i]
	}
	await(h.tb, "all to be delivered", func() error {
		ms = ms[:0]
		for _, line := range h.log.lines("delivered") {
			id, _ := line["id"].(string)
			at, known := posted[id]
			if !known {
				continue
			}
			text, _ := line["time"].(string)
			delivered, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return final{err}
			}
			ms = append(ms, delivered.Sub(at).Seconds()*1e3)
		}
		if len(ms) < len(batch.ids) {
			return fmt.Errorf("%d of %d are", len(ms), len(batch.ids))
		}
		return nil
	})
	return ms
}
