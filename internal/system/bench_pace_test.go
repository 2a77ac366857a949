package system

import (
	"fmt"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/sample"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/lmtp"
)

const (
	pace        = 20  // messages a second
	pacedAtOnce = 100 // messages in each side of a repetition
)

// BenchmarkPace compares how long one message takes at 20 a second, from the
// first octet of its notification to Dovecot's 250, with how long the bare
// delivery over LMTP takes. The goal is three times, at the 99th percentile: of
// each repetition in the ratio, of all messages in milliseconds.
func BenchmarkPace(b *testing.B) {
	h := forBench(b, dovecot.V23)
	client := lmtp.New(lmtp.Config{Network: "unix", Address: h.dovecot.UnixSocket, Connections: 4, Name: "bench"})
	defer client.Close()
	var whole, bare, ratios []float64
	for b.Loop() {
		batch := h.prepare(fmt.Sprintf("paced%d", len(ratios)), pacedAtOnce, 4<<10)
		ours := h.paced(batch)
		h.discard(batch)
		direct := "bare" + batch.domain
		theirs := pacedDirectly(b, client, direct)
		discard(b, h.dovecot, direct)
		whole, bare = append(whole, ours...), append(bare, theirs...)
		ratios = append(ratios, sample.Quantile(ours, 0.99)/sample.Quantile(theirs, 0.99))
	}
	sample.ReportRatios(b, ratios)
	b.ReportMetric(sample.Median(whole), "p50-ms")
	b.ReportMetric(sample.Quantile(whole, 0.99), "p99-ms")
	b.ReportMetric(sample.Median(bare), "lmtp-p50-ms")
	b.ReportMetric(sample.Quantile(bare, 0.99), "lmtp-p99-ms")
}

// pacedDirectly delivers as many messages at the same pace to the mailboxes of a
// domain, and returns how many milliseconds each took.
func pacedDirectly(b *testing.B, client *lmtp.Client, domain string) (ms []float64) {
	octets := [][]byte{sized(4 << 10)}
	tick := time.NewTicker(time.Second / pace)
	defer tick.Stop()
	for i := range pacedAtOnce {
		<-tick.C
		began := time.Now()
		if err := client.Deliver(b.Context(), "ann@far.test", mailboxOf(i, batchUsers, domain), octets); err != nil {
			b.Fatal(err)
		}
		ms = append(ms, time.Since(began).Seconds()*1e3)
	}
	return ms
}

// BenchmarkSaturation shows how long messages take while as many come as homing
// answers: it takes them faster than Dovecot does, so that most wait.
func BenchmarkSaturation(b *testing.B) {
	h := forBench(b, dovecot.V23)
	var lasted, rates []float64
	for b.Loop() {
		batch := h.prepare(fmt.Sprintf("saturated%d", len(rates)), 4**messages, 4<<10)
		took := h.deliver(batch, 16)
		rates = append(rates, float64(len(batch.ids))/took.Seconds())
		lasted = append(lasted, h.lasted(batch)...)
		h.discard(batch)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(sample.Median(rates), "msgs/s")
	b.ReportMetric(sample.Median(lasted), "p50-ms")
	b.ReportMetric(sample.Quantile(lasted, 0.99), "p99-ms")
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
	awaitFiles(h.tb, h.dovecot, batch.domain, len(batch.ids)) // looking into the log all the time would make the last ones slow
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
		for _, line := range h.log.after(batch.logged, "delivered") {
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
