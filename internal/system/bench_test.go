package system

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/sample"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/usage"
)

// Each iteration of a benchmark is one repetition. The whole set, fifteen times,
// takes a quarter of an hour:
//
//	go test -run '^$' -bench . -benchtime 15x -timeout 1h ./internal/system
//
// "ratio" is the median over the repetitions of what its two sides, measured one
// after the other, have to one another, "ratio-q1" and "ratio-q3" the quartiles.
// The machine's own noise cancels in these only: do not compare other figures of
// different runs.
var messages = flag.Int("messages", 400, "messages in each side of a repetition")

// batch is mail that has been stored, and its notifications, signed beforehand.
type batch struct {
	domain        string // of its mailboxes, which are fresh
	ids           []string
	notifications [][]byte
	posted        []time.Time // when each was last
	logged        int         // how much homing had logged before
}

// prepare stores n messages of this size for fresh mailboxes.
func (h *home) prepare(name string, n, size int) *batch {
	h.tb.Helper()
	return h.prepareThese(name+"."+domain, slices.Repeat([][]byte{sized(size)}, n))
}

// prepareThese stores messages for the mailboxes of a domain.
func (h *home) prepareThese(domain string, messages [][]byte) *batch {
	h.tb.Helper()
	return h.prepareFor(domain, batchUsers, messages)
}

// prepareFor stores messages for so many mailboxes of a domain.
func (h *home) prepareFor(domain string, users int, messages [][]byte) *batch {
	h.tb.Helper()
	n := len(messages)
	b := &batch{domain: domain, ids: make([]string, n), notifications: make([][]byte, n), posted: make([]time.Time, n), logged: len(h.log.all())}
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 4 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				id := newID()
				if err := h.s3.Put(bucket, id, messages[i], nil); err != nil {
					h.tb.Error(err)
				}
				b.ids[i], b.notifications[i] = id, sign(receipt(id, "ann@far.test", mailboxOf(int(i), users, domain)))
			}
		})
	}
	wg.Wait()
	return b
}

// batchUsers is how many mailboxes a batch is for, if nothing else is said.
const batchUsers = 10

// mailboxOf is who the message of this number is for, of so many.
func mailboxOf(i, users int, domain string) string { return fmt.Sprintf("%du@%s", i%users, domain) }

// sized is a message of about so many octets.
func sized(size int) []byte {
	body := letter("benchmark")
	return append(body, strings.Repeat(strings.Repeat("x", 76)+"\r\n", (size-len(body))/78)...)
}

// deliver posts a batch from so many connections, and returns how long it took
// until the last message lay in its mailbox.
func (h *home) deliver(b *batch, connections int) time.Duration {
	h.tb.Helper()
	began := time.Now()
	h.announce(b, connections)
	awaitFiles(h.tb, h.dovecot, b.domain, len(b.ids))
	return time.Since(began)
}

// announce posts a batch.
func (h *home) announce(b *batch, connections int) {
	h.tb.Helper()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range connections {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(b.notifications)); i = next.Add(1) - 1 {
				b.posted[i] = time.Now()
				status, answer, err := snstest.Post(h.tb.Context(), site.poster, "http://"+h.webhook+"/sns", b.notifications[i])
				if status != http.StatusOK {
					h.tb.Errorf("answered %d %q, %v", status, answer, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if h.tb.Failed() {
		h.tb.FailNow()
	}
}

// awaitFiles waits until a domain's mailboxes have n messages together. It looks
// into the Maildirs: that costs Dovecot no time, as asking it would.
func awaitFiles(tb testing.TB, server *dovecot.Server, domain string, n int) {
	tb.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	end := time.After(10 * time.Minute)
	for found := 0; found < n; {
		select {
		case <-end:
			tb.Fatalf("%d of %d messages arrived\n%s", found, n, server.Log())
		case <-again.C:
		}
		found = files(tb, server, domain)
	}
}

// files counts the messages in a domain's mailboxes.
func files(tb testing.TB, server *dovecot.Server, domain string) (n int) {
	tb.Helper()
	news, err := filepath.Glob(filepath.Join(server.MailRoot, domain, "*", "Maildir", "new"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, dir := range news {
		entries, err := os.ReadDir(dir)
		if err != nil {
			tb.Fatal(err)
		}
		n += len(entries)
	}
	return n
}

// discard removes a domain's mailboxes, so that what comes next does not pay for them.
func discard(tb testing.TB, server *dovecot.Server, domain string) {
	tb.Helper()
	if err := os.RemoveAll(filepath.Join(server.MailRoot, domain)); err != nil {
		tb.Fatal(err)
	}
	syscall.Sync()
}

// discard removes a batch's objects, too.
func (h *home) discard(b *batch) {
	h.tb.Helper()
	h.forget(b)
	discard(h.tb, h.dovecot, b.domain)
}

func (h *home) forget(b *batch) {
	h.tb.Helper()
	for _, id := range b.ids {
		if err := h.s3.Remove(bucket, id); err != nil {
			h.tb.Fatal(err)
		}
	}
}

// forBench starts a homing before a Dovecot that knows everybody.
func forBench(b *testing.B, version dovecot.Version, pairs ...string) *home {
	b.Helper()
	h := settle(b, dovecot.Options{Version: version, AnyUser: true}, pairs...)
	h.warm()
	return h
}

// warm delivers some mail, so that all connections are open and all caches filled.
func (h *home) warm() {
	h.tb.Helper()
	batch := h.prepare("warm", 200, 4<<10)
	h.deliver(batch, 8)
	h.discard(batch)
}

// BenchmarkCPU compares the processor time of homing with that of Dovecot for
// the same messages of 4 KB. The goal is 0.4.
func BenchmarkCPU(b *testing.B) {
	for _, version := range dovecot.Versions() {
		b.Run("Dovecot"+string(version), func(b *testing.B) {
			h := forBench(b, version)
			var ours, theirs, ratios []float64
			for b.Loop() {
				batch := h.prepare(fmt.Sprintf("cpu%d", len(ratios)), *messages, 4<<10)
				homing, server := h.cpu(b), h.dovecot.CPUTime(b)
				h.deliver(batch, 16)
				homing, server = h.cpu(b)-homing, h.dovecot.CPUTime(b)-server
				h.discard(batch)
				ours = append(ours, perMessage(homing, *messages))
				theirs = append(theirs, perMessage(server, *messages))
				ratios = append(ratios, homing.Seconds()/server.Seconds())
			}
			sample.ReportRatios(b, ratios)
			b.ReportMetric(sample.Median(ours), "cpu-ms/msg")
			b.ReportMetric(sample.Median(theirs), "dovecot-cpu-ms/msg")
		})
	}
}

// perMessage is what each of so many messages took, in milliseconds.
func perMessage(took time.Duration, messages int) float64 {
	return took.Seconds() * 1e3 / float64(messages)
}

// BenchmarkLatency compares the rate with 30 ms of latency in S3 with the rate
// without. The goal is 0.95.
func BenchmarkLatency(b *testing.B) {
	h := forBench(b, dovecot.V23)
	slow := func(*http.Request) *s3test.Fault { return &s3test.Fault{Delay: 30 * time.Millisecond} }
	var with, without, ratios []float64
	for b.Loop() {
		rate := map[bool]float64{}
		first := len(ratios)%2 == 0
		for _, delayed := range []bool{first, !first} {
			batch := h.prepare(fmt.Sprintf("latency%d-%t", len(ratios), delayed), *messages, 4<<10)
			h.s3.Inject(nil)
			if delayed {
				h.s3.Inject(slow)
			}
			rate[delayed] = float64(*messages) / h.deliver(batch, 16).Seconds()
			h.discard(batch)
		}
		with, without = append(with, rate[true]), append(without, rate[false])
		ratios = append(ratios, rate[true]/rate[false])
	}
	sample.ReportRatios(b, ratios)
	b.ReportMetric(sample.Median(with), "msgs/s")
	b.ReportMetric(sample.Median(without), "without-msgs/s")
}

// BenchmarkOnce compares the rate into a Dovecot as contrib/dovecot sets it up,
// which looks up and writes down each message's X-Homing-Id, with the rate into
// one without Sieve scripts.
func BenchmarkOnce(b *testing.B) {
	once, plain := settle(b, careful(b)), forBench(b, dovecot.V23)
	once.warm()
	compare(b, once.direct, plain.direct)
}

// BenchmarkMemory shows the most memory that homing ever has resident. The goals
// are 60 and 336 MiB.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name           string
		messages, size int
	}{{"4KB", 1000, 4 << 10}, {"16x40MB", 16, 40_000_000}} {
		b.Run(c.name, func(b *testing.B) {
			h := forBench(b, dovecot.V23, "HOMING_MEMORY", "256MiB")
			for n := 0; b.Loop(); n++ {
				batch := h.prepare(fmt.Sprint("memory", n), c.messages, c.size)
				h.deliver(batch, 32)
				h.discard(batch)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(h.peak(b), "rss-MiB")
		})
	}
}

// BenchmarkStart shows how long it takes from the start of the program, with an
// empty spool, until it is ready. The goal is 300 ms.
func BenchmarkStart(b *testing.B) {
	var took []float64
	env := bare(b, "maildir:"+b.TempDir()+"/%n").with("AWS_REGION", "us-east-1")
	for b.Loop() {
		fresh := env.with("HOMING_STATE_DIR", filepath.Join(b.TempDir(), "state"))
		began := time.Now()
		d := serve(b, fresh)
		if status, body, err := d.get("/readyz"); status != http.StatusOK {
			b.Fatalf("/readyz answers %d %q, %v", status, body, err)
		}
		took = append(took, time.Since(began).Seconds()*1e3)
		d.kill()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(sample.Median(took), "p50-ms")
	b.ReportMetric(sample.Quantile(took, 0.99), "p99-ms")
}

// cpu is the processor time that homing has used.
func (d *daemon) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	used, err := usage.Processor(d.cmd.Process.Pid)
	if err != nil {
		tb.Fatal(err)
	}
	return used
}

// peak is the most that homing has had resident, in MiB.
func (d *daemon) peak(tb testing.TB) float64 {
	tb.Helper()
	octets, err := usage.Peak(d.cmd.Process.Pid)
	if err != nil || octets == 0 {
		tb.Fatalf("how much memory homing has used cannot be told: %v", err)
	}
	return float64(octets) / (1 << 20)
}
