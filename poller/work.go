package poller

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
)

const (
	// soon is when a message comes back of which nothing came: the destination
	// went away, or homing stops.
	soon = 10 * time.Second
	// busyWait is when a message comes back that another copy of it kept waiting.
	busyWait = 5 * time.Second
	// brief is up to how long a wait is spent with the message in hand: the
	// fallback mailbox comes next without any, and only this replica knows so.
	brief = 2 * time.Second
	// rounds bounds how often that is done before others get their turn.
	rounds = 5
	// unverified is when a message comes back that could not be verified the
	// first time; it doubles with every time, up to 15 minutes.
	unverified    = 30 * time.Second
	maxUnverified = 15 * time.Minute
)

// fate is what becomes of a message.
type fate struct {
	finished bool // it may be deleted
	left     bool // nothing is done to it
	wait     time.Duration
	pending  []string // only these recipients still wait; nil: all do
}

func again(after time.Duration) fate { return fate{wait: after} }

// work does one message, and gives its room back.
func (q *Queue) work(ctx context.Context, m *message) {
	defer q.room.Release(1)
	defer q.hands.drop(m)
	n, f := q.judge(ctx, m)
	switch {
	case f.finished:
		q.forget(m)
	case f.left:
	case ctx.Err() != nil:
		q.show(ctx, m, 0) // at once, for others
	default:
		q.putBack(ctx, m, n, f)
	}
}

// judge decides about a message, having done for it what can be done now.
func (q *Queue) judge(ctx context.Context, m *message) (*news, fate) {
	n, err := q.read(ctx, m)
	if why, ok := errors.AsType[*refusal](err); ok {
		q.leave(source, m, why)
		return nil, fate{left: true}
	}
	if err != nil {
		return nil, q.unverified(ctx, m, err) // and nothing is sent in its place
	}
	switch n.envelope.Type {
	case notice.TypeNotification:
		return n, q.bring(ctx, n)
	case notice.TypeSubscriptionConfirmation:
		return n, q.confirm(ctx, m, n.envelope)
	}
	q.observer.Notification(source, "unsubscribe", "ignored")
	q.log.Warn("a subscription was removed; mail no longer arrives by it until it is made again", "queue", q.url, "topic", n.envelope.TopicARN)
	return n, fate{finished: true}
}

// unverified leaves a message for later.
func (q *Queue) unverified(ctx context.Context, m *message, err error) fate {
	if ctx.Err() == nil {
		q.observer.SignatureFailure("unavailable")
		q.quiet.Do(func() {
			q.log.Error("a message cannot be verified just now; it is looked at again", "queue", q.url, "message", m.id, "error", err)
		})
	}
	return again(min(unverified<<min(max(m.receives-1, 0), 8), maxUnverified))
}

func (q *Queue) confirm(ctx context.Context, m *message, e *notice.Envelope) fate {
	if !q.Confirm {
		q.observer.Notification(source, "confirmation", "ignored")
		q.log.Warn("a subscription waits to be confirmed: open its URL, or set HOMING_SNS_CONFIRM=true and subscribe the queue again",
			"queue", q.url, "topic", e.TopicARN, "url", e.SubscribeURL)
		return fate{finished: true}
	}
	err := q.Verifier.Confirm(ctx, e)
	if forged, ok := errors.AsType[*notice.SignatureError](err); ok {
		q.leave(source, m, &refusal{forged.Reason, forged.Error()})
		return fate{left: true}
	}
	if err != nil {
		return q.unverified(ctx, m, err)
	}
	q.observer.Notification(source, "confirmation", "accepted")
	q.log.Info("subscription confirmed", "queue", q.url, "topic", e.TopicARN)
	return fate{finished: true}
}

// bring delivers what a notification announces, as far as it goes now.
func (q *Queue) bring(ctx context.Context, n *news) fate {
	switch {
	case len(n.arrivals) == 0:
		q.observer.Notification(source, string(n.kind), "ignored")
		return fate{finished: true}
	case n.kind == notice.KindUnknown:
		if err := q.intake.Take(ctx, source, n.envelope); err != nil {
			return q.troubled(ctx, err)
		}
		return fate{finished: true}
	}
	whole := fate{finished: true}
	for i := range n.arrivals {
		f := q.one(ctx, n, n.arrivals[i])
		if !f.finished && (whole.finished || f.wait < whole.wait) {
			whole = f
		}
	}
	if len(n.arrivals) > 1 {
		whole.pending = nil
	}
	return whole
}

// one delivers one message of a notification. What is brief is waited for.
func (q *Queue) one(ctx context.Context, n *news, a spool.Arrival) fate {
	f := again(soon)
	for round := range rounds {
		item, taken, err := q.config.Ledger.Lease(ctx, a)
		if errors.Is(err, spool.ErrBusy) {
			return again(busyWait)
		}
		if err != nil {
			q.observer.Notification(source, string(n.kind), "failed")
			return q.troubled(ctx, err)
		}
		if round == 0 {
			q.observer.Notification(source, string(n.kind), taken.Result())
		}
		if item == nil {
			return fate{finished: true}
		}
		item.Tried = max(time.Since(n.since()), 0)
		outcome := q.config.Courier.Bring(ctx, item)
		q.config.Ledger.Release(item.Number)
		var next bool
		if f, next = decide(a, outcome); !next {
			return f
		}
		pause(ctx, f.wait)
	}
	return f
}

// decide says what an outcome means for the message, and whether to go on with
// it at once after the fate's wait.
func decide(a spool.Arrival, o *spool.Outcome) (f fate, next bool) {
	if o == nil {
		return again(soon), false
	}
	switch o.State {
	case spool.Done, spool.Settling:
		return fate{finished: true}, false
	case spool.Held:
		// Unless a second notification named more recipients meanwhile: the next
		// lease tells, for it has nothing for us once the spool is responsible.
		return again(0), true
	}
	pending := waiting(a, o)
	switch {
	case len(a.Recipients) > 0 && len(pending) == 0:
		return fate{finished: true}, false // those who still wait have a message of their own
	case len(pending) < len(a.Recipients):
		return fate{wait: o.Wait, pending: pending}, o.Wait <= brief
	}
	return again(o.Wait), o.Wait <= brief
}

// waiting returns those of the arrival's recipients who have not got the mail.
func waiting(a spool.Arrival, o *spool.Outcome) (addresses []string) {
	for _, address := range a.Recipients {
		had := slices.ContainsFunc(o.Item.Recipients, func(r spool.Recipient) bool { return r.Address == address && r.Settled })
		if !had && !slices.Contains(o.Settled, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// troubled gives a message back when the spool cannot take part, and takes no
// more for a while: another replica may.
func (q *Queue) troubled(ctx context.Context, err error) fate {
	if ctx.Err() == nil {
		q.slacken()
		q.loud.Do(func() {
			q.log.Error("the spool cannot be written to; messages stay in their queue", "queue", q.url, "error", err)
		})
	}
	return again(time.Second)
}
