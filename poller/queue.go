package poller

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/homing-mail/homing/spool"
)

// QueueLedger is the spool as a queue needs it. The methods are *spool.Spool's.
type QueueLedger interface {
	Lease(ctx context.Context, a spool.Arrival) (*spool.Item, spool.Taken, error)
	Release(number int64)
}

// Courier delivers. The methods are *courier.Courier's.
type Courier interface {
	// Bring works an item once; nil: nothing came of it.
	Bring(ctx context.Context, item *spool.Item) *spool.Outcome
	// Present returns nil once the destination answers, an error when ctx ends.
	Present(ctx context.Context) error
}

// QueueConfig says what a queue works with.
type QueueConfig struct {
	Client   SQS
	URL      string
	Trust    Trust
	Intake   Intake
	Ledger   QueueLedger
	Courier  Courier
	Observer Observer
	Log      *slog.Logger
	Grace    time.Duration // how long what is in hand may go on when Run is told to stop
}

const (
	// source is the name of this way in, for metrics and the queue command.
	source = "sqs"

	// window is how many messages are in hand at once: enough to hide the
	// latencies of S3 and SQS at the rate at which Dovecot takes mail.
	window = 96
	// receivers ask for messages at the same time, while there are any.
	receivers = 4
	// longPoll is how long an empty queue is listened to, the most that SQS allows.
	longPoll = 20 * time.Second
	// hidden is how long a message is kept from others; while it is in hand this
	// begins again at every look of the keeper.
	hidden = 60 * time.Second
)

// Queue works one SQS queue. Make it with [NewQueue].
type Queue struct {
	access
	reader
	config QueueConfig
	room   *semaphore.Weighted // of the window
	hands  hands
	bin    chan *discard // finished messages
	limits limits

	mu    sync.Mutex
	heard chan struct{} // closed, and replaced, when the queue has no news
	stale int           // answers without any since the last
	rest  time.Time     // until then nothing is received: the spool is in trouble
}

// NewQueue returns a queue; [Queue.Run] starts it.
func NewQueue(c QueueConfig) *Queue {
	q := &Queue{
		access: access{client: c.Client, url: c.URL, observer: c.Observer, log: c.Log},
		reader: reader{Trust: c.Trust, intake: c.Intake, source: source},
		config: c,
		room:   semaphore.NewWeighted(window),
		bin:    make(chan *discard),
		heard:  make(chan struct{}),
	}
	q.prepare()
	q.hands.messages = map[*message]time.Time{}
	return q
}

// Run works the queue until ctx ends. Then it receives no more, lets what is in
// hand go on for the grace, and gives the rest back to the queue. It always
// returns nil: a queue that does not answer is tried again.
func (q *Queue) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	tend, idle := context.WithCancel(context.WithoutCancel(ctx))
	var tending, receiving, working sync.WaitGroup
	tending.Go(func() { q.keep(tend) })
	tending.Go(func() { q.empties(tend, &tending) })
	receiving.Go(func() { q.learn(ctx) })

	more := make(chan struct{}, 1)
	begin := func(m *message) { working.Go(func() { q.work(work, m) }) }
	for i := range receivers {
		receiving.Go(func() { q.listen(ctx, more, i == 0, begin) })
	}
	receiving.Wait()
	grace := time.AfterFunc(q.config.Grace, stop)
	defer grace.Stop()
	working.Wait()
	idle()
	tending.Wait()
	return nil
}

// listen receives until ctx ends. Only the first listens to an idle queue; the
// others join while there are messages, and leave when there are none, so that
// an idle queue costs one request in 20 s.
func (q *Queue) listen(ctx context.Context, more chan struct{}, first bool, begin func(*message)) {
	for failures := 0; ctx.Err() == nil; {
		if !first {
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
		for received := 1; received > 0; {
			began := time.Now()
			var err error
			if received, err = q.poll(ctx, begin); received > 0 {
				notify(more)
			}
			switch {
			case !first: // the first hears of a failure too
			case err != nil:
				failures++
				pause(ctx, q.failed(ctx, failures, err))
			default:
				failures = q.answered(ctx, failures)
				if received == 0 {
					pause(ctx, leastPoll-time.Since(began))
				}
			}
		}
	}
}

// leastPoll is the least time between two empty answers, for servers that do not
// wait for messages.
const leastPoll = time.Second

// poll waits until there is room and somewhere to deliver to, receives, and has
// what came worked.
func (q *Queue) poll(ctx context.Context, begin func(*message)) (received int, err error) {
	if q.room.Acquire(ctx, batch) != nil {
		return 0, nil
	}
	defer func() { q.room.Release(int64(batch - received)) }()
	if q.config.Courier.Present(ctx) != nil {
		return 0, nil
	}
	if pause(ctx, time.Until(q.resting())); ctx.Err() != nil {
		return 0, nil
	}
	messages, err := q.receive(ctx, longPoll, hidden)
	if err == nil {
		q.weigh(messages)
	}
	for _, m := range messages {
		q.hands.take(m)
		begin(m)
	}
	return len(messages), err
}

// isNews reports whether an answer of the queue has something that nobody has
// received yet, or may have left it behind for want of room. Mail that waits there
// for a full mailbox, or that is refused, comes again and again: it must not keep
// the sweep waiting.
func isNews(messages []*message) bool {
	return len(messages) == batch || slices.ContainsFunc(messages, func(m *message) bool {
		return m.receives <= 1 && !strings.HasPrefix(m.body, partMark)
	})
}

// nothingNew is how many answers in a row without news make a queue quiet. An empty
// one does so alone, for it comes when all servers of SQS were asked and had
// nothing for a long poll; one with a few old messages may have come from some.
const nothingNew = 3

// weigh tells who waits for it when the queue is quiet.
func (q *Queue) weigh(messages []*message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if isNews(messages) {
		q.stale = 0
		return
	}
	if q.stale++; len(messages) == 0 || q.stale >= nothingNew {
		close(q.heard)
		q.heard = make(chan struct{})
	}
}

// failed logs a failure to receive and returns how long to wait.
func (q *Queue) failed(ctx context.Context, failures int, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	wait := backoff(failures)
	q.observer.QueueError("receive")
	q.log.Error("nothing can be received from the queue; it is tried again",
		"queue", q.url, "in", wait.Round(time.Second), "error", explain(err))
	return wait
}

func (q *Queue) answered(ctx context.Context, failures int) int {
	if failures > 0 && ctx.Err() == nil {
		q.log.Info("the queue answers again", "queue", q.url)
	}
	return 0
}

// Quiet returns nil when the queue has answered that it has no more messages, or
// several times none that had not been received before, or an error when ctx ends
// before.
func (q *Queue) Quiet(ctx context.Context) error {
	q.mu.Lock()
	heard := q.heard
	q.mu.Unlock()
	select {
	case <-heard:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// restAfter is how long nothing is received after trouble with the spool; other
// replicas may go on meanwhile.
const restAfter = 30 * time.Second

// slacken has nothing received for a while.
func (q *Queue) slacken() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rest = time.Now().Add(restAfter)
}

func (q *Queue) resting() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rest
}
