package system

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
)

const (
	floodRate = 200 // notifications a second
	tillRate  = 50  // messages a second, while the till is slow
)

// flood is SNS at a steady rate, whatever it is answered. Each message is inside
// its notification, so that the spool's disk is full soon.
type flood struct {
	*load
	poured  int
	refused []int // numbers of messages that were answered 503
	again   int   // how many were taken after the first refusal
	slowest time.Duration
}

// pour posts so many more notifications at the rate, and waits for the answers.
func (f *flood) pour(n int) {
	f.home.tb.Helper()
	began, numbers := time.Now(), make(chan int)
	var posters sync.WaitGroup
	for range 64 {
		posters.Go(func() {
			for n := range numbers {
				f.post(n)
			}
		})
	}
	for n := range n {
		<-time.After(time.Until(began.Add(time.Duration(n) * time.Second / floodRate)))
		numbers <- f.poured + n
	}
	close(numbers)
	posters.Wait()
	f.poured += n
	if took, meant := time.Since(began), time.Duration(n)*time.Second/floodRate; took > meant*11/10+time.Second {
		f.home.tb.Errorf("%d notifications took %v to post, want %v", n, took, meant)
	}
}

// repeat posts what was refused until it is taken.
func (f *flood) repeat() {
	f.home.tb.Helper()
	await(f.home.tb, "the refused to be taken", func() error {
		refused := f.refused
		f.refused = nil
		var posters sync.WaitGroup
		for worker := range 8 {
			posters.Go(func() {
				for i := worker; i < len(refused); i += 8 {
					f.post(refused[i])
				}
			})
		}
		posters.Wait()
		if n := len(f.refused); n > 0 {
			return fmt.Errorf("%d of %d are refused again", n, len(refused))
		}
		return nil
	})
}

func (f *flood) post(n int) {
	id := fmt.Sprintf("%040d", n)
	content := fmt.Appendf(nil, "From: ann@far.test\r\nSubject: %s\r\n\r\n%s", id, strings.Repeat("Nothing else to say in this line of text.\r\n", 190))
	mailbox := address(fmt.Sprintf("user%d", n%batchUsers))
	notification := sign(snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "ann@far.test", Recipients: []string{mailbox}, Content: content}))
	began := time.Now()
	status, answer, err := f.home.postSigned(notification)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slowest = max(f.slowest, time.Since(began))
	switch {
	case err == nil && status == http.StatusOK:
		f.acked[id] = mailbox
		if len(f.refused) > 0 {
			f.again++
		}
	case err == nil && status == http.StatusServiceUnavailable:
		f.refused = append(f.refused, n)
	default:
		f.home.tb.Errorf("message %d is answered %d %q, %v; want 200 or 503", n, status, answer, err)
	}
}

// slowly lets messages pass one after another, until a channel is closed.
func slowly(tb testing.TB, opened <-chan struct{}) func(context.Context, string) error {
	tb.Helper()
	tick := time.NewTicker(time.Second / tillRate)
	tb.Cleanup(tick.Stop)
	return func(ctx context.Context, _ string) error {
		select {
		case <-tick.C:
		case <-opened:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
}

// More comes for long than can be delivered: homing takes what it has room for
// and no more, needs no more memory for it, and delivers all that it took. What
// it sends away it takes when SNS comes again.
func TestSoakOverload(t *testing.T) {
	t.Parallel()
	const most = 100 // MiB
	opened := make(chan struct{})
	l := newTill(t, slowly(t, opened), nil)
	room := much(12, 200) // MiB beyond what must stay free
	h := l.home(t, "HOMING_STATE_DIR", disk(t, fmt.Sprintf("%dm", 256+room)))
	f := &flood{load: &load{home: h, acked: map[string]string{}}}
	f.pour(floodRate * much(10, 600))
	for range 20 { // a slow machine does not fill the spool as soon
		if len(f.refused) == 0 {
			f.pour(floodRate)
		}
	}
	taken, refused, passed := len(f.acked), len(f.refused), len(l.all())
	if refused == 0 {
		t.Error("nothing was refused: the spool was not full")
	}
	close(opened)
	l.awaitAll(f.load)
	f.repeat()
	l.awaitAll(f.load)
	h.awaitIdle()
	t.Logf("%d taken, %d of them after the first of %d refusals, the slowest answer after %v; %d delivered meanwhile; at most %.1f MiB resident",
		taken, f.again, refused, f.slowest.Round(time.Millisecond), passed, h.peak(t))
	if peak := h.peak(t); peak > most {
		t.Errorf("homing had %.1f MiB resident, want at most %d", peak, most)
	}
	for id, copies := range l.all() {
		if copies != 1 {
			t.Errorf("message %s arrived %d times", id, copies)
		}
	}
}
