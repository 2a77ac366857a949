package system

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
)

// announcer is SES and SNS of the torture: it stores messages and announces
// them in another order than they came in, some repeatedly, each notification
// until it is acknowledged.
type announcer struct {
	tb   testing.TB
	seed uint64
	s3   *weather
	// post reports whether the notification was taken. It is called concurrently.
	post func(ctx context.Context, notification []byte) bool

	done sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	rng      *rand.Rand
	waiting  [][]byte // notifications
	sent     int      // messages
	acked    int      // notifications, each repetition counted
	repeated int
	stopping bool // nothing more is to be made
	over     bool // nothing more is made
}

const (
	// outOfOrder is how many notifications wait for each that is drawn.
	outOfOrder = 24
	posters    = 6
)

// newAnnouncer sends so many messages a second until stop.
func newAnnouncer(tb testing.TB, seed uint64, s3 *weather, rate int, post func(context.Context, []byte) bool) *announcer {
	a := &announcer{tb: tb, seed: seed, s3: s3, post: post, rng: rand.New(rand.NewPCG(seed, 3<<40))}
	a.changed = sync.NewCond(&a.mu)
	a.done.Go(func() { a.produce(rate) })
	for range posters {
		a.done.Go(a.work)
	}
	return a
}

func (a *announcer) produce(rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	defer func() {
		a.mu.Lock()
		a.over = true
		a.mu.Unlock()
		a.changed.Broadcast()
	}()
	for n := 0; !a.isStopping(); n++ {
		<-tick.C
		p := newParcel(a.seed, n)
		if p.stored != nil {
			if err := a.s3.put(a.tb.Context(), p.key, p.stored); err != nil {
				a.tb.Errorf("storing message %d: %v", n, err)
				return
			}
		}
		var signed [][]byte
		for _, payload := range p.payloads {
			signed = append(signed, sign(payload))
		}
		a.mu.Lock()
		a.sent = n + 1
		a.waiting = append(a.waiting, signed...)
		a.mu.Unlock()
		a.changed.Broadcast()
	}
}

// work announces until nothing is left.
func (a *announcer) work() {
	for {
		notification := a.draw()
		if notification == nil {
			return
		}
		ctx, cancel := context.WithTimeout(a.tb.Context(), 2*patience)
		taken := a.insist(ctx, notification)
		cancel()
		if !taken {
			a.tb.Error("a notification was not acknowledged in the end")
			a.stop()
			return
		}
		a.mu.Lock()
		a.acked++
		if a.rng.IntN(6) == 0 { // SNS says it again
			a.repeated++
			a.waiting = append(a.waiting, notification)
		}
		a.mu.Unlock()
	}
}

// draw takes any of the waiting notifications; nil: there will be none.
func (a *announcer) draw() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.waiting) < outOfOrder && !a.over {
		a.changed.Wait()
	}
	if len(a.waiting) == 0 {
		return nil
	}
	i, last := a.rng.IntN(len(a.waiting)), len(a.waiting)-1
	drawn := a.waiting[i]
	a.waiting[i] = a.waiting[last]
	a.waiting = a.waiting[:last]
	return drawn
}

// insist posts a notification until it is acknowledged, or the test has failed.
func (a *announcer) insist(ctx context.Context, notification []byte) bool {
	again := time.NewTicker(25 * time.Millisecond)
	defer again.Stop()
	for !a.post(ctx, notification) {
		if a.tb.Failed() {
			return false
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// stop ends the load, and goes on with what is announced already.
func (a *announcer) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopping = true
}

func (a *announcer) isStopping() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopping
}

// hooks are where webhooks listen, empty while one is away.
type hooks struct {
	mu    sync.Mutex
	rng   *rand.Rand
	where []string
}

func newHooks(seed uint64, replicas int) *hooks {
	return &hooks{rng: rand.New(rand.NewPCG(seed, 4<<40)), where: make([]string, replicas)}
}

// moved tells where one listens now.
func (h *hooks) moved(i int, where string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.where[i] = where
}

// choose names one at random, and now and then a second that is told as well.
func (h *hooks) choose() (where, also string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.rng.IntN(len(h.where))
	if h.rng.IntN(5) == 0 {
		also = h.where[(i+1)%len(h.where)]
	}
	return h.where[i], also
}

// post posts as SNS does. What the second says is nobody's business.
func (h *hooks) post(ctx context.Context, notification []byte) bool {
	where, also := h.choose()
	if also != "" && also != where {
		postTo(ctx, also, notification)
	}
	return where != "" && postTo(ctx, where, notification)
}

func postTo(ctx context.Context, where string, notification []byte) bool {
	status, _, err := snstest.Post(ctx, site.poster, "http://"+where+"/sns", notification)
	return err == nil && status == http.StatusOK
}
