package system

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// One mailbox whose deliveries do not end keeps nobody else's mail waiting.
func TestSoakSlowMailbox(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	slow := func(ctx context.Context, recipient string) error {
		if recipient != address("slow") {
			return nil
		}
		return until(end)(ctx, recipient)
	}
	l := newTill(t, slow, nil)
	h := l.home(t)
	before := h.rate(l, much(300, 5000))
	queued := h.begin(much(300, 5000), "slow")
	queued.wait()
	beside := h.rate(l, much(300, 5000))
	for id := range l.all() {
		if _, blocked := queued.acked[id]; blocked {
			t.Errorf("message %s for the slow mailbox was taken before its time", id)
		}
	}
	close(end)
	l.awaitAll(queued)
	h.awaitIdle()
	t.Logf("%.0f messages a second, %.0f beside %d for a mailbox that takes none", before, beside, len(queued.acked))
	// It keeps one connection of four. A few messages on a busy machine prove no rate.
	if *soak && beside < before/2 {
		t.Errorf("beside the slow mailbox %.0f messages a second were taken, %.0f without it", beside, before)
	}
}

// rate sends messages to several mailboxes, and returns how many a second the
// till takes.
func (h *home) rate(l *till, n int) float64 {
	h.tb.Helper()
	began := time.Now()
	load := h.begin(n, "ann", "bob", "carol", "dave", "eve", "frank", "grace", "heidi")
	load.wait()
	l.awaitAll(load)
	return float64(n) / time.Since(began).Seconds()
}

// poison ends each connection on which a message with a certain word arrives, as
// a Dovecot does that crashes on it.
type poison struct {
	net.Listener
	word  string
	cured atomic.Bool
	cuts  atomic.Int64
}

// Accept implements net.Listener.
func (p *poison) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &poisoned{Conn: conn, poison: p}, nil
}

type poisoned struct {
	net.Conn
	poison *poison
	tail   []byte // of what was read, shorter than the word
}

// Read implements net.Conn.
func (c *poisoned) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.tail = append(c.tail, b[:n]...)
	if bytes.Contains(c.tail, []byte(c.poison.word)) && !c.poison.cured.Load() {
		c.poison.cuts.Add(1)
		return 0, errors.Join(io.EOF, c.Close())
	}
	c.tail = c.tail[max(0, len(c.tail)-len(c.poison.word)+1):]
	return n, err
}

// A message at which the connection always ends, in the middle of a long queue,
// is alone in not arriving: the others do, the ones for its own mailbox too, and
// Dovecot is not thought away.
func TestSoakPoison(t *testing.T) {
	t.Parallel()
	p := &poison{word: "the-poison"}
	opened := make(chan struct{})
	l := newTill(t, until(opened), func(listener net.Listener) net.Listener { p.Listener = listener; return p })
	h := l.home(t)
	users, half := []string{"alice", "bob", "carol", "dave"}, much(150, 5000)
	first := h.begin(half, users...)
	first.wait()
	id := h.send([]byte("From: ann@far.test\r\nSubject: the-poison\r\n\r\nHello.\r\n"), "ann@far.test", address("alice"))
	second := h.begin(half, users...)
	second.wait()

	began := time.Now()
	close(opened)
	l.awaitAll(first)
	l.awaitAll(second)
	took := time.Since(began)
	tried := p.cuts.Load()
	it := h.awaitItem(id, "waiting", func(it item) bool {
		return it.State == "pending" && len(it.Deliveries) == 1 && it.Deliveries[0].Attempts > 0
	})
	t.Logf("%d messages beside the poisoned one took %v; it was tried %d times: %s", 2*half, took.Round(time.Millisecond), tried, it.Reason)
	if n := len(h.log.lines("the destination does not answer; mail is taken and kept meanwhile")); n > 0 {
		t.Errorf("the destination was thought away %d times", n)
	}
	p.cured.Store(true)
	h.run("queue", "retry", id)
	h.awaitIdle()
	if n := l.all()["the-poison"]; n != 1 {
		t.Errorf("when it is no poison any more, it arrives %d times", n)
	}
}

// until returns what waits for a till until a channel is closed.
func until(opened <-chan struct{}) func(context.Context, string) error {
	return func(ctx context.Context, _ string) error {
		select {
		case <-opened:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
