// Package lmtpbench measures package lmtp against smtp-source, the load
// generator of Postfix, on a real Dovecot 2.3:
//
//	go test -run '^$' -bench . -benchtime 15x -timeout 1h ./internal/lmtpbench [-args -scale 0.5]
//
// Each iteration is a pair of runs into fresh Maildirs, one tool after the
// other, which goes first alternating; -benchtime 15x makes fifteen pairs. The
// ratio of a pair is homing's rate by smtp-source's: "ratio" is the median over
// the pairs, "ratio-q1" and "ratio-q3" are the quartiles. Rates are medians too.
// The machine's own noise cancels in the ratio only: do not compare rates.
//
// Both tools use as many connections as the name says, and spread their messages
// over ten mailboxes, which are there before the clock starts. With "mailboxes=1"
// homing has one busy mailbox, and so one connection, and smtp-source its four
// connections and ten mailboxes: what a single user gets of what Dovecot can do.
// With "delay=1ms" both go through the same delay line, a process of its own,
// that makes round trips 1 ms longer.
package lmtpbench

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/sample"
)

var scale = flag.Float64("scale", 1, "multiplies the number of messages in each run")

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

// mailboxes is how many homes there are.
const mailboxes = 10

// sizes are payloads, with enough messages for some tenths of a second on four
// connections: the whole matrix fifteen times takes some eleven minutes.
var sizes = []struct {
	name     string
	octets   int
	messages int
}{
	{"4KB", 4 << 10, 400},
	{"50KB", 50 << 10, 350},
	{"1MB", 1 << 20, 80},
	{"25MB", 25 << 20, 5},
}

func BenchmarkDovecot(b *testing.B) {
	source := neighbour.Program(b, "smtp-source")
	server := dovecot.Start(b, dovecot.Options{Version: dovecot.V23, Config: homes})
	for _, network := range []string{"unix", "tcp"} {
		direct := server.UnixSocket
		if network == "tcp" {
			direct = server.TCPAddr
		}
		delayed := delayLine(b, network, direct)
		base := rig{server: server, source: source, network: network, address: direct, connections: 4, mailboxes: mailboxes, rivals: 4}
		warm := base
		warm.octets, warm.messages = 4<<10, 200
		warm.pair(b, payload(warm.octets), false)
		for _, size := range sizes {
			r := base
			r.octets, r.messages = size.octets, max(int(float64(size.messages)**scale), 4)
			one := r
			one.connections, one.rivals, one.messages = 1, 1, max(r.messages/3, 4)
			busy := r
			busy.mailboxes = 1
			run := func(name string, r rig) { b.Run(network+"/"+size.name+"/"+name, r.compare) }
			run("connections=4", r)
			run("connections=1", one)
			run("mailboxes=1", busy)
			r.address, one.address = delayed, delayed
			run("connections=4/delay=1ms", r)
			run("connections=1/delay=1ms", one)
		}
	}
}

// figures are those of one run.
type figures struct {
	rate float64 // messages a second
	cpu  float64 // the client's own, in milliseconds a message
}

func (r rig) compare(b *testing.B) {
	body := payload(r.octets)
	var homing, source []figures
	var ratios []float64
	for reverse := false; b.Loop(); reverse = !reverse {
		ours, theirs := r.pair(b, body, reverse)
		homing, source = append(homing, ours), append(source, theirs)
		ratios = append(ratios, ours.rate/theirs.rate)
	}
	sample.ReportRatios(b, ratios)
	for name, fs := range map[string][]figures{"homing": homing, "smtp-source": source} {
		b.ReportMetric(median(fs, func(f figures) float64 { return f.rate }), name+"-msgs/s")
		b.ReportMetric(median(fs, func(f figures) float64 { return f.cpu }), name+"-cpu-ms/msg")
	}
}

// pair runs both, homing first unless reverse.
func (r rig) pair(b *testing.B, body [][]byte, reverse bool) (homing, source figures) {
	order := []func(){
		func() { homing = r.run(b, func(r rig) time.Duration { return r.homing(b, body) }) },
		func() { source = r.run(b, func(r rig) time.Duration { return r.smtpSource(b) }) },
	}
	if reverse {
		slices.Reverse(order)
	}
	for _, f := range order {
		f()
	}
	return homing, source
}

func median(fs []figures, of func(figures) float64) float64 {
	var values []float64
	for _, f := range fs {
		values = append(values, of(f))
	}
	return sample.Median(values)
}
