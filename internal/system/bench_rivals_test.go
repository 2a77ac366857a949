package system

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/sample"
	"github.com/homing-mail/homing/internal/usage"
)

// trip is one mailing that was brought home.
type trip struct {
	rate    float64 // messages a second, to the last file in a mailbox
	cpu     float64 // milliseconds a message
	dovecot float64 // the same of the Dovecot that it is delivered to
	memory  float64 // the most that was resident, in MiB
}

// contest has all rivals bring the same mail home.
type contest struct {
	server *dovecot.Server
	names  []string
	rivals map[string]rival
	size   int
	trips  map[string][]trip
	rounds int
}

// BenchmarkRivals compares homing with what one might have instead, before one
// Dovecot. Each repetition has each of them once, into fresh mailboxes, in an
// order that rotates. The goals are ratios of 0.75 with smtp-source, which has
// nothing to do but to speak LMTP, and of 1.5 with Postfix.
//
// The first of the sub-benchmarks that is run measures all of them; each reports
// one, and how many times as many messages a second homing carries ("ratio").
func BenchmarkRivals(b *testing.B) {
	server := destination(b)
	names, all := rivals(b, server)
	for _, size := range []int{4, 50} {
		c := &contest{server: server, names: names, rivals: all, size: size << 10, trips: map[string][]trip{}}
		for _, name := range names {
			b.Run(fmt.Sprintf("%s/%dKB", name, size), func(b *testing.B) {
				first := len(c.trips) == 0
				if first {
					c.warm(b)
				}
				for b.Loop() {
					if first {
						c.round(b)
					}
				}
				c.report(b, name)
			})
		}
	}
}

// warm has everybody open connections and fill caches.
func (c *contest) warm(b *testing.B) {
	for _, name := range c.names {
		c.trip(b, name, 40)
	}
}

// round has all rivals bring mail home; the next time another is first.
func (c *contest) round(b *testing.B) {
	first := c.rounds % len(c.names)
	for _, name := range slices.Concat(c.names[first:], c.names[:first]) {
		c.trips[name] = append(c.trips[name], c.trip(b, name, *messages))
	}
	c.rounds++
}

func (c *contest) trip(b *testing.B, name string, n int) trip {
	b.Helper()
	r := c.rivals[name]
	m := &mailing{domain: fmt.Sprintf("%s-%dk-%d-%d.%s", name, c.size>>10, n, c.rounds, domain), message: sized(c.size), n: n}
	r.prepare(m)
	syscall.Sync() // what was prepared is not to be written while it is carried
	ours, theirs := r.used(), c.server.CPUTime(b)
	began := time.Now()
	most := watch(b, r, func() {
		r.carry(m)
		awaitFiles(b, c.server, m.domain, n)
	})
	took := time.Since(began)
	ours, theirs = r.used()-ours, c.server.CPUTime(b)-theirs
	discard(b, c.server, m.domain)
	return trip{float64(n) / took.Seconds(), perMessage(ours, n), perMessage(theirs, n), float64(most) / (1 << 20)}
}

// watch returns the most octets that a rival has resident while f runs.
func watch(b *testing.B, r rival, f func()) (most int64) {
	b.Helper()
	ended, watched := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			pids, err := r.processes()
			if err == nil {
				var now int64
				now, err = usage.Memory(pids...)
				most = max(most, now)
			}
			if err != nil {
				watched <- err
				return
			}
			select {
			case <-tick.C:
			case <-ended:
				watched <- nil
				return
			}
		}
	}()
	f()
	close(ended)
	if err := <-watched; err != nil {
		b.Fatal(err)
	}
	return most
}

// report tells of one rival, and of homing's rate in proportion to its.
func (c *contest) report(b *testing.B, name string) {
	trips := c.trips[name]
	if name == "homing" {
		b.ReportMetric(0, "ns/op")
	} else {
		var ratios []float64
		for i, t := range trips {
			ratios = append(ratios, c.trips["homing"][i].rate/t.rate)
		}
		sample.ReportRatios(b, ratios)
	}
	for unit, of := range map[string]func(trip) float64{
		"msgs/s":             func(t trip) float64 { return t.rate },
		"cpu-ms/msg":         func(t trip) float64 { return t.cpu },
		"dovecot-cpu-ms/msg": func(t trip) float64 { return t.dovecot },
		"rss-MiB":            func(t trip) float64 { return t.memory },
	} {
		var values []float64
		for _, t := range trips {
			values = append(values, of(t))
		}
		b.ReportMetric(sample.Median(values), unit)
	}
}
