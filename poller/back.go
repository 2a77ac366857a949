package poller

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// maxDelay is the longest that SQS lets a new message wait.
const maxDelay = 15 * time.Minute

// putBack has a message wait in the queue: itself, or a new one in its place
// where that has to say less, or the old one has been there for too long.
func (q *Queue) putBack(ctx context.Context, m *message, n *news, f fate) {
	if n != nil && (f.pending != nil || q.limits.nears(m)) {
		if err := q.send(ctx, n.part.only(f.pending), f.wait); err == nil {
			q.forget(m)
			return
		} else {
			q.complain("send", err)
		}
	}
	q.show(ctx, m, f.wait)
}

// send puts a part into the queue. It is carried through even when homing stops:
// half of it would only make work.
func (q *Queue) send(ctx context.Context, p part, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), brisk)
	defer cancel()
	body, err := p.body()
	if err != nil {
		return err
	}
	delay := int32(min(max(wait, 0), maxDelay) / time.Second)
	_, err = q.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body, DelaySeconds: delay})
	return err
}

// limits are how long and how often a queue bears with a message.
type limits struct {
	retention atomic.Int64 // nanoseconds
	receives  atomic.Int64 // then it goes to a dead-letter queue; 0: never, or not known
}

const (
	// usualRetention is what a queue has that nobody gave another.
	usualRetention = 4 * 24 * time.Hour
	// fewReceives are too few to wait in the queue with.
	fewReceives = 5
)

// nears reports whether the queue would soon drop the message, or move it to a
// dead-letter queue: mail may wait for longer than that. A new message in its
// place begins anew.
func (l *limits) nears(m *message) bool {
	retention := time.Duration(l.retention.Load())
	if retention == 0 {
		retention = usualRetention
	}
	most := int(l.receives.Load())
	return time.Since(m.sent) > retention/2 || most > 0 && m.receives >= most-1
}

// learn asks for the limits of the queue. Without the permission to, the usual
// ones are supposed.
func (q *Queue) learn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, brisk)
	defer cancel()
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameMessageRetentionPeriod, types.QueueAttributeNameRedrivePolicy}})
	if err != nil {
		if ctx.Err() == nil {
			q.observer.QueueError("attributes")
			q.log.Warn("the queue's retention and redrive policy are not known; 4 days and none are supposed", "queue", q.url, "error", explain(err))
		}
		return
	}
	if seconds, err := strconv.ParseInt(out.Attributes["MessageRetentionPeriod"], 10, 32); err == nil {
		q.limits.retention.Store(seconds * int64(time.Second))
	}
	most := maxReceives(out.Attributes["RedrivePolicy"])
	q.limits.receives.Store(most)
	if 0 < most && most < fewReceives {
		q.log.Warn("the queue's redrive policy takes a message after few receives; set maxReceiveCount to 20 or more, or a crash may send mail there",
			"queue", q.url, "maxReceiveCount", most)
	}
}

// discard is a message to be deleted.
type discard struct {
	m    *message
	done chan struct{}
}

const (
	// gather is how long the first of a batch of deletions waits for others.
	gather = 20 * time.Millisecond
	// tries is how often a deletion is tried; then the message comes again, and
	// the ledger recognises it.
	tries = 3
)

// forget deletes a message, together with others, and returns when that is done
// or given up.
func (q *Queue) forget(m *message) {
	d := &discard{m, make(chan struct{})}
	q.bin <- d
	<-d.done
}

// empties deletes what is thrown into the bin until ctx ends, which must be
// after the last forget.
func (q *Queue) empties(ctx context.Context, running *sync.WaitGroup) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-q.bin:
			some := q.gather(first)
			running.Go(func() { q.discard(ctx, some) })
		}
	}
}

func (q *Queue) gather(first *discard) []*discard {
	some := []*discard{first}
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for len(some) < batch {
		select {
		case d := <-q.bin:
			some = append(some, d)
		case <-timer.C:
			return some
		}
	}
	return some
}

func (q *Queue) discard(ctx context.Context, some []*discard) {
	messages := make([]*message, len(some))
	for i, d := range some {
		messages[i] = d.m
	}
	for try := range tries {
		var err error
		if messages, err = q.remove(ctx, messages); len(messages) == 0 {
			break
		}
		q.complain("delete", err)
		pause(ctx, time.Duration(try)*time.Second)
	}
	for _, d := range some {
		close(d.done)
	}
}
