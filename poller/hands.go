package poller

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// hands knows which messages are being worked, and until when they are hidden
// from others.
type hands struct {
	mu       sync.Mutex
	messages map[*message]time.Time
}

func (h *hands) take(m *message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages[m] = time.Now().Add(hidden)
}

func (h *hands) drop(m *message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.messages, m)
}

// fading returns the messages that would be seen by others before long, and
// counts on their being hidden anew.
func (h *hands) fading() (messages []*message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for m, until := range h.messages {
		if until.Sub(now) < hidden-hidden/3 {
			messages = append(messages, m)
			h.messages[m] = now.Add(hidden)
		}
	}
	return messages
}

// keep hides messages in hand anew when a third of their time is over, and if
// that fails every few seconds.
func (q *Queue) keep(ctx context.Context) {
	ticker := time.NewTicker(hidden / 12)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for some := range slices.Chunk(q.hands.fading(), batch) {
			q.hide(ctx, some)
		}
	}
}

func (q *Queue) hide(ctx context.Context, messages []*message) {
	ctx, cancel := context.WithTimeout(ctx, brisk)
	defer cancel()
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
	for i, m := range messages {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.handle, VisibilityTimeout: int32(hidden.Seconds())}
	}
	left := messages
	out, err := q.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url, Entries: entries})
	if err == nil {
		// One that was finished a moment ago is refused too, and of no interest.
		if left, err = refused(messages, out.Failed); len(q.hands.missed(left)) == 0 {
			return
		}
	} else {
		q.hands.missed(left)
	}
	if err != nil && ctx.Err() == nil {
		q.complain("visibility", err)
	}
}

// missed notes that messages were not hidden anew, and returns those that are
// still in hand.
func (h *hands) missed(messages []*message) (held []*message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range messages {
		if until, ok := h.messages[m]; ok {
			h.messages[m] = until.Add(-hidden / 3)
			held = append(held, m)
		}
	}
	return held
}

// show makes a message visible after a time, at most the 12 hours that SQS
// allows. If that fails it is visible sooner, which does no harm: the ledger
// knows what is not due yet. It is done even when homing is stopping.
func (q *Queue) show(ctx context.Context, m *message, after time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), brisk)
	defer cancel()
	// Whole seconds, never early; and the 12 hours count from the receipt.
	after = min(max(after, 0), 12*time.Hour-5*time.Minute)
	seconds := int32((after + time.Second - 1) / time.Second)
	_, err := q.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &q.url, ReceiptHandle: &m.handle, VisibilityTimeout: seconds})
	if err != nil {
		q.complain("visibility", err)
	}
}
