package system

import (
	"context"
	"errors"
	"flag"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/lmtpsink"
)

var soak = flag.Bool("soak", false, "the long forms of what bears much mail, about a quarter of an hour")

// much is how many in this run: fewer where nobody asks for the long form.
func much(short, long int) int {
	if *soak {
		return long
	}
	return short
}

// till is an LMTP server that counts what it takes, and is as slow as a test
// wants it.
type till struct {
	url string
	// wait may be nil: it returns when the message for a recipient may be taken.
	wait func(ctx context.Context, recipient string) error

	mu    sync.Mutex
	taken map[string]int // copies by subject, which is the message's id
}

// newTill starts a till. The listener's connections may do what Dovecot's do on
// a bad day.
func newTill(tb testing.TB, wait func(ctx context.Context, recipient string) error, bad func(net.Listener) net.Listener) *till {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	l := &till{url: "lmtp://" + listener.Addr().String(), wait: wait, taken: map[string]int{}}
	if bad != nil {
		listener = bad(listener)
	}
	server, err := lmtpsink.New(tb.Context(), lmtpsink.Config{Listener: listener, Deliver: l.take})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

func (l *till) take(ctx context.Context, _, recipient string, octets []byte) error {
	found := subject.FindSubmatch(octets)
	if found == nil {
		return errors.New("a message without a subject")
	}
	if l.wait != nil {
		if err := l.wait(ctx, recipient); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken[string(found[1])]++
	return nil
}

func (l *till) all() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.taken)
}

// awaitAll waits until every acknowledged message of a load has been taken.
// While more come, it is patient.
func (l *till) awaitAll(load *load) {
	tb := load.home.tb
	tb.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	limit := time.NewTimer(patience)
	for least := len(load.acked) + 1; ; {
		missing, taken := 0, l.all()
		for id := range load.acked {
			if taken[id] == 0 {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		if missing < least {
			least = missing
			limit.Reset(patience)
		}
		select {
		case <-again.C:
		case <-limit.C:
			tb.Fatalf("%d of %d messages do not arrive\n%s", missing, len(load.acked), load.home.log.tail())
		}
	}
}

// home starts a homing before the till.
func (l *till) home(tb testing.TB, pairs ...string) *home {
	tb.Helper()
	h := &home{tb: tb, s3: memoryS3(tb)}
	h.env = bare(tb, l.url).with("AWS_ENDPOINT_URL_S3", h.s3.URL()).with(pairs...)
	h.daemon = serve(tb, h.env)
	return h
}
