// Package lmtpbench measures package lmtp against smtp-source, the load
// generator of Postfix, on a real Dovecot 2.3:
//
//	go test -run '^$' -bench . -benchtime 15x -timeout 1h ./internal/lmtpbench [-args -scale 0.5]
//
// Each iteration is a pair of runs into fresh Maildirs, one tool after the
// other, which goes first alternating; -benchtime 15x makes fifteen pairs. The
// ratio of a pair is homing's rate by smtp-source's: "ratio" is the median over
// the pairs and "ratio-q1" the lower quartile. Rates are medians too. The
// machine's own noise cancels in the ratio only: do not compare rates.
//
// smtp-source spreads its messages over ten mailboxes with four connections,
// whatever homing does: it is the yardstick, for one busy mailbox too.
package lmtpbench

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/lmtp"
)

var scale = flag.Float64("scale", 1, "multiplies the number of messages in each run")

const (
	connections = 4
	queued      = 16 // deliveries waiting per mailbox, as the courier would have
)

// homes gives every address a mailbox by the last digit of its number: "17u" and
// "7u" share one.
const homes = `
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = home=@DIR@/mail/%d/h%-2.1n allow_all_users=yes
}
service lmtp {
  process_min_avail = 4
}
`

// sizes are payloads, with enough messages for a second or two of work.
var sizes = []struct {
	name     string
	octets   int
	messages int
}{
	{"4KB", 4 << 10, 1000},
	{"50KB", 50 << 10, 800},
	{"1MB", 1 << 20, 160},
	{"25MB", 25 << 20, 12},
}

func BenchmarkDovecot(b *testing.B) {
	source := neighbour.Program(b, "smtp-source")
	server := dovecot.Start(b, dovecot.Options{Version: dovecot.V23, Config: homes})
	for _, network := range []string{"unix", "tcp"} {
		for _, size := range sizes {
			for _, mailboxes := range []int{4, 1} {
				b.Run(fmt.Sprintf("%s/%s/mailboxes=%d", network, size.name, mailboxes), func(b *testing.B) {
					r := rig{
						server: server, source: source, network: network, address: server.UnixSocket,
						mailboxes: mailboxes, messages: max(int(float64(size.messages)**scale), 2*connections), octets: size.octets,
					}
					if network == "tcp" {
						r.address = server.TCPAddr
					}
					r.compare(b)
				})
			}
		}
	}
}

// rig is one comparison.
type rig struct {
	server           *dovecot.Server
	source           string
	network, address string
	mailboxes        int
	messages, octets int
	domain           string // of the run, for fresh Maildirs
}

// figures are those of one run.
type figures struct {
	rate float64 // messages a second
	cpu  float64 // the client's own, in milliseconds a message
}

// runs of all comparisons, so that no two share a domain.
var runs atomic.Int64

func (r *rig) compare(b *testing.B) {
	body := payload(r.octets)
	var ours, theirs []figures
	var ratios []float64
	one := func() { ours = append(ours, r.run(b, func() time.Duration { return r.homing(b, body) })) }
	other := func() { theirs = append(theirs, r.run(b, func() time.Duration { return r.smtpSource(b) })) }
	for b.Loop() {
		order := []func(){one, other}
		if len(ratios)%2 == 1 {
			slices.Reverse(order)
		}
		for _, f := range order {
			f()
		}
		ratios = append(ratios, ours[len(ours)-1].rate/theirs[len(theirs)-1].rate)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quantile(ratios, 0.5), "ratio")
	b.ReportMetric(quantile(ratios, 0.25), "ratio-q1")
	for name, fs := range map[string][]figures{"homing": ours, "source": theirs} {
		b.ReportMetric(quantile(rates(fs), 0.5), name+"-msg/s")
		b.ReportMetric(quantile(cpus(fs), 0.5), name+"-cpu-ms")
	}
}

// run gives f a domain of its own, and removes its Maildirs.
func (r *rig) run(b *testing.B, f func() time.Duration) figures {
	r.domain = fmt.Sprintf("run%d.test", runs.Add(1))
	begun := time.Now()
	cpu := f()
	took := time.Since(begun)
	home := filepath.Join(r.server.MailRoot, r.domain)
	if stored := count(home); stored != r.messages {
		b.Fatalf("%d messages sent, %d in %s\n%s", r.messages, stored, home, r.server.Log())
	}
	if err := os.RemoveAll(home); err != nil {
		b.Fatal(err)
	}
	syscall.Sync() // the other run is not to pay for it
	n := float64(r.messages)
	return figures{rate: n / took.Seconds(), cpu: cpu.Seconds() * 1000 / n}
}

// homing delivers with package lmtp and returns the processor time it took.
func (r *rig) homing(b *testing.B, body [][]byte) time.Duration {
	before := processorTime(b)
	client := lmtp.New(lmtp.Config{Network: r.network, Address: r.address, Connections: connections, Name: "bench"})
	defer client.Close()
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	work := make(chan int, r.messages)
	for i := range r.messages {
		work <- i
	}
	close(work)
	var workers sync.WaitGroup
	for w := range r.mailboxes * queued {
		workers.Go(func() {
			mailbox := strconv.Itoa(w%r.mailboxes) + "u@" + r.domain
			for range work {
				if err := client.Deliver(ctx, "a@x.test", mailbox, body); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		b.Fatalf("%v\n%s", err, r.server.Log())
	}
	return processorTime(b) - before
}

// smtpSource runs the yardstick and returns the processor time it took.
func (r *rig) smtpSource(b *testing.B) time.Duration {
	target := "unix:" + r.address
	if r.network == "tcp" {
		target = "inet:" + r.address
	}
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.source, "-L", "-d", "-s", strconv.Itoa(connections),
		"-m", strconv.Itoa(r.messages), "-l", strconv.Itoa(r.octets),
		"-f", "a@x.test", "-N", "-t", "u@"+r.domain, target)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// payload is a message of about this size, head and body apart as the courier
// has them.
func payload(octets int) [][]byte {
	head := []byte("X-Homing-Id: 0123456789abcdef0123456789abcdef\r\nX-Original-To: u@example.com\r\n")
	const top = "From: a@x.test\r\nTo: u@example.com\r\nSubject: a benchmark\r\n\r\n"
	line := []byte("The quick brown fox jumps over the lazy dog, again and again and again.\r\n")
	body := append([]byte(top), bytes.Repeat(line, octets/len(line)+1)...)
	return [][]byte{head, body[:octets-len(line)], []byte("-- the end.\r\n")}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// count returns the number of messages below home.
func count(home string) int {
	found, _ := filepath.Glob(filepath.Join(home, "h*", "Maildir", "new", "*"))
	return len(found)
}

func rates(fs []figures) (out []float64) {
	for _, f := range fs {
		out = append(out, f.rate)
	}
	return out
}

func cpus(fs []figures) (out []float64) {
	for _, f := range fs {
		out = append(out, f.cpu)
	}
	return out
}

// quantile of values, by linear interpolation.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}
