package system

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
)

// The benchmarks take about five minutes. For a quick trial:
//
//	go test -run '^$' -bench . ./internal/system -rounds 2 -messages 200
var (
	rounds   = flag.Int("rounds", 15, "paired alternations in a benchmark")
	messages = flag.Int("messages", 1000, "messages in each half of an alternation")
)

// batch is mail that has been stored, and its notifications, signed beforehand.
type batch struct {
	name          string // of its ten mailboxes, which are fresh
	ids           []string
	notifications [][]byte
	posted        []time.Time // when each was last
}

const batchUsers = 10

// prepare stores n messages of this size for fresh mailboxes.
func (h *home) prepare(name string, n, size int) *batch {
	h.tb.Helper()
	b := &batch{name: name, ids: make([]string, n), notifications: make([][]byte, n), posted: make([]time.Time, n)}
	body := sized(size)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 4 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				id := newID()
				if err := h.s3.Put(bucket, id, body, nil); err != nil {
					h.tb.Error(err)
				}
				mailbox := fmt.Sprintf("%s-%d@%s", name, i%batchUsers, domain)
				b.ids[i], b.notifications[i] = id, sign(receipt(id, "ann@far.test", mailbox))
			}
		})
	}
	wg.Wait()
	return b
}

// sized is a message of about so many octets.
func sized(size int) []byte {
	body := letter("benchmark")
	return append(body, strings.Repeat(strings.Repeat("x", 76)+"\r\n", (size-len(body))/78)...)
}

// deliver posts a batch from so many connections, and returns how long it took
// until the last message lay in its mailbox.
func (h *home) deliver(b *batch, connections int) time.Duration {
	h.tb.Helper()
	ctx, cancel := context.WithTimeout(h.tb.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range connections {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(b.notifications)); i = next.Add(1) - 1 {
				b.posted[i] = time.Now()
				status, answer, err := snstest.Post(ctx, site.poster, "http://"+h.webhook+"/sns", b.notifications[i])
				if status != http.StatusOK {
					h.tb.Errorf("answered %d %q, %v", status, answer, err)
					return
				}
			}
		})
	}
	wg.Wait()
	h.awaitFiles(ctx, b)
	return time.Since(began)
}

// awaitFiles looks into the Maildirs: that costs neither homing nor Dovecot any
// time, as asking them would.
func (h *home) awaitFiles(ctx context.Context, b *batch) {
	h.tb.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for n := 0; n < len(b.notifications); {
		select {
		case <-ctx.Done():
			h.tb.Fatalf("%d of %d messages arrived\n%s", n, len(b.notifications), h.log.tail())
		case <-again.C:
		}
		n = 0
		for user := range batchUsers {
			dir := filepath.Join(h.dovecot.MailRoot, domain, fmt.Sprintf("%s-%d", b.name, user), "Maildir", "new")
			files, err := os.ReadDir(dir)
			if err != nil && !os.IsNotExist(err) {
				h.tb.Fatal(err)
			}
			n += len(files)
		}
	}
}

// forBench starts a homing before a Dovecot that knows everybody.
func forBench(b *testing.B, version dovecot.Version, pairs ...string) *home {
	b.Helper()
	h := settle(b, dovecot.Options{Version: version, AnyUser: true}, pairs...)
	h.deliver(h.prepare("warm", 200, 4<<10), 8)
	return h
}

// BenchmarkCPU compares the processor time of homing with that of Dovecot for
// the same messages of 4 KB. The goal is 0.4.
func BenchmarkCPU(b *testing.B) {
	for _, version := range dovecot.Versions() {
		b.Run("Dovecot"+string(version), func(b *testing.B) {
			h := forBench(b, version)
			for b.Loop() {
				var ours, theirs, ratios []float64
				for round := range *rounds {
					batch := h.prepare(fmt.Sprintf("cpu%d", round), *messages, 4<<10)
					homing, server := h.cpu(b), h.dovecot.CPUTime(b)
					h.deliver(batch, 16)
					homing, server = h.cpu(b)-homing, h.dovecot.CPUTime(b)-server
					each := float64(*messages)
					ours = append(ours, homing.Seconds()*1e3/each)
					theirs = append(theirs, server.Seconds()*1e3/each)
					ratios = append(ratios, homing.Seconds()/server.Seconds())
				}
				b.Logf("CPU per message: homing %s ms, Dovecot %s ms; ratio %s (goal: at most 0.4)", quartiles(ours), quartiles(theirs), quartiles(ratios))
				b.ReportMetric(median(ratios), "homing/Dovecot")
				b.ReportMetric(median(ours), "ms-CPU/msg")
			}
		})
	}
}

// BenchmarkLatency compares the rate with 30 ms of latency in S3 with the rate
// without. The goal is 0.95.
func BenchmarkLatency(b *testing.B) {
	h := forBench(b, dovecot.V23)
	slow := func(*http.Request) *s3test.Fault { return &s3test.Fault{Delay: 30 * time.Millisecond} }
	for b.Loop() {
		var with, without, ratios []float64
		for round := range *rounds {
			rate := map[bool]float64{}
			for _, delayed := range []bool{round%2 == 0, round%2 != 0} {
				batch := h.prepare(fmt.Sprintf("latency%d-%t", round, delayed), *messages, 4<<10)
				h.s3.Inject(nil)
				if delayed {
					h.s3.Inject(slow)
				}
				rate[delayed] = float64(*messages) / h.deliver(batch, 16).Seconds()
			}
			with, without = append(with, rate[true]), append(without, rate[false])
			ratios = append(ratios, rate[true]/rate[false])
		}
		b.Logf("messages a second: %s with 30 ms, %s without; ratio %s (goal: at least 0.95)", quartiles(with), quartiles(without), quartiles(ratios))
		b.ReportMetric(median(ratios), "with/without")
		b.ReportMetric(median(without), "msg/s")
	}
}

// BenchmarkMemory shows the most memory that homing ever has resident.
func BenchmarkMemory(b *testing.B) {
	b.Run("10000x4KB", func(b *testing.B) {
		for b.Loop() {
			h := forBench(b, dovecot.V23)
			h.deliver(h.prepare("small", 10_000, 4<<10), 32)
			b.Logf("most resident: %.1f MiB (goal: under 60)", h.peak(b))
			b.ReportMetric(h.peak(b), "MiB")
		}
	})
	b.Run("16x40MB", func(b *testing.B) {
		for b.Loop() {
			h := forBench(b, dovecot.V23, "HOMING_MEMORY", "256MiB")
			h.deliver(h.prepare("large", 16, 40_000_000), 16)
			b.Logf("most resident: %.1f MiB (goal: under 336)", h.peak(b))
			b.ReportMetric(h.peak(b), "MiB")
		}
	})
}

// BenchmarkStart shows how long it takes from the start of the program, with an
// empty spool, until it is ready. The goal is 300 ms.
func BenchmarkStart(b *testing.B) {
	var took []float64
	env := bare(b, "maildir:"+b.TempDir()+"/%n").with("AWS_REGION", "us-east-1")
	for b.Loop() {
		took = took[:0]
		for range *rounds {
			fresh := env.with("HOMING_STATE_DIR", filepath.Join(b.TempDir(), "state"))
			began := time.Now()
			d := serve(b, fresh)
			if status, body, err := d.get("/readyz"); status != http.StatusOK {
				b.Fatalf("/readyz answers %d %q, %v", status, body, err)
			}
			took = append(took, time.Since(began).Seconds()*1e3)
			d.kill()
		}
	}
	b.Logf("ready after %s ms (goal: under 300)", quartiles(took))
	b.ReportMetric(median(took), "ms-to-ready")
}

// cpu is the processor time that homing has used, from proc_pid_stat(5).
func (d *daemon) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	line := d.proc(tb, "stat")
	// The second field, the program's name, is in parentheses.
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	const utime, stime = 14 - 3, 15 - 3
	var ticks int64
	for _, field := range fields[utime : stime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// peak is the most that homing has had resident, in MiB.
func (d *daemon) peak(tb testing.TB) float64 {
	tb.Helper()
	for line := range strings.Lines(d.proc(tb, "status")) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err != nil {
				tb.Fatal(err)
			}
			return kib / 1024
		}
	}
	tb.Fatal("the system does not tell VmHWM")
	return 0
}

func (d *daemon) proc(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", d.cmd.Process.Pid, name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile interpolates between the values next to it.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// quartiles shows the median, and the lower and the upper quartile.
func quartiles(values []float64) string {
	return fmt.Sprintf("%.3g [%.3g, %.3g]", median(values), quantile(values, 0.25), quantile(values, 0.75))
}
