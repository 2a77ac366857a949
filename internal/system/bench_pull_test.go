package system

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/sample"
	"github.com/homing-mail/homing/internal/sqstest"
)

// queue is an SQS queue, and the replicas of homing that share it.
type queue struct {
	home   *home // whose Dovecot they deliver to
	server *sqstest.Server
}

// share starts so many replicas that are told so, and delivers some mail.
func (h *home) share(b *testing.B, replicas int, told ...string) *queue {
	b.Helper()
	server, err := sqstest.New("mail")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Close(); err != nil {
			b.Error(err)
		}
	})
	q := &queue{home: h, server: server}
	for range replicas {
		serve(b, puller(b, "lmtp:"+h.dovecot.UnixSocket, h.s3.URL(), server.URL("mail"), told...))
	}
	q.deliver("warm", batchUsers)
	return q
}

// deliver queues messages of 4 KB for so many fresh mailboxes, and returns at
// which rate they arrived, in messages a second.
func (q *queue) deliver(name string, mailboxes int) float64 {
	h := q.home
	h.tb.Helper()
	batch := h.prepareFor(name+"."+domain, mailboxes, slices.Repeat([][]byte{sized(4 << 10)}, *messages))
	defer h.discard(batch)
	began := time.Now()
	for _, notification := range batch.notifications {
		q.server.Send("mail", string(notification), nil, time.Time{})
	}
	awaitFiles(h.tb, h.dovecot, batch.domain, *messages)
	return float64(*messages) / time.Since(began).Seconds()
}

// compare has two sides deliver, another one first each time, and reports the
// ratio of the first's rate to the second's.
func compare(b *testing.B, one, other func(name string) float64) {
	b.Helper()
	var rates, ratios []float64
	for b.Loop() {
		name := fmt.Sprint("side", len(ratios))
		var rate, against float64
		if len(ratios)%2 == 0 {
			rate, against = one(name+"-one"), other(name+"-other")
		} else {
			against, rate = other(name+"-other"), one(name+"-one")
		}
		rates, ratios = append(rates, rate), append(ratios, rate/against)
	}
	sample.ReportRatios(b, ratios)
	b.ReportMetric(sample.Median(rates), "msgs/s")
}

// BenchmarkPull compares the rate at which mail comes home through a queue with
// that through the webhook, between the same neighbours. The goal is 0.9.
func BenchmarkPull(b *testing.B) {
	h := forBench(b, dovecot.V23)
	q := h.share(b, 1)
	compare(b, func(name string) float64 { return q.deliver(name, batchUsers) }, h.direct)
}

// direct delivers messages of 4 KB by the webhook, and returns at which rate they
// arrived, in messages a second.
func (h *home) direct(name string) float64 {
	h.tb.Helper()
	batch := h.prepare(name, *messages, 4<<10)
	defer h.discard(batch)
	return float64(*messages) / h.deliver(batch, 16).Seconds()
}

// careful is a Dovecot as contrib/dovecot sets it up, for whom there is mail or not.
func careful(b *testing.B) dovecot.Options {
	b.Helper()
	options := shipped(b, dovecot.V23, nil)
	options.AnyUser = true
	return options
}

// BenchmarkReplicas compares the rate of three replicas on a queue with that of one.
// All run on the same machine, as does Dovecot, whose time is what it takes: it
// shows what sharing costs, not what more machines bring.
func BenchmarkReplicas(b *testing.B) {
	for _, mailboxes := range []int{100, 4} {
		b.Run(fmt.Sprintf("mailboxes=%d", mailboxes), func(b *testing.B) {
			h := settle(b, careful(b))
			several, one := h.share(b, 3), h.share(b, 1)
			compare(b, func(name string) float64 { return several.deliver(name, mailboxes) },
				func(name string) float64 { return one.deliver(name, mailboxes) })
		})
	}
}

// BenchmarkExclusive compares the rate with HOMING_LMTP_EXCLUSIVE with that without,
// of one homing and of three, each with the Dovecot that contrib/dovecot makes for it.
func BenchmarkExclusive(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) {
			plain := settle(b, careful(b)).share(b, replicas)
			exclusive := settle(b, forReplicas(b, careful(b))).share(b, replicas, "HOMING_LMTP_EXCLUSIVE", "true")
			compare(b, func(name string) float64 { return exclusive.deliver(name, 4) },
				func(name string) float64 { return plain.deliver(name, 4) })
		})
	}
}
