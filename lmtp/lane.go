package lmtp

import (
	"cmp"
	"slices"
	"time"
)

const (
	// maxInFlight and maxBytes bound what is in flight on a connection. Two
	// would do on the same machine; eight cover a millisecond of network.
	maxInFlight = 8
	maxBytes    = 1 << 20
	// refill is how far the connection runs down before it takes more, so that
	// several transactions share a write.
	refill = maxInFlight / 2
	// turn is how many transactions a lane may have while others wait.
	turn = 64
)

// lane is the queue of one mailbox. Client.mu guards it.
type lane struct {
	key   string
	queue []*transaction // by number
	conn  *conn          // nil: nobody works it
	rest  *time.Timer    // not nil: nobody may work it until the timer fires
	tries int            // how often in a row another client's delivery was in the way
}

// remove takes out a transaction that nobody wants any more.
func (l *lane) remove(t *transaction) {
	l.queue = slices.DeleteFunc(l.queue, func(other *transaction) bool { return other == t })
}

// putBack queues transactions where they were, in the order in which they came.
func (l *lane) putBack(ts ...*transaction) {
	for _, t := range ts {
		t.rewind()
		at, _ := slices.BinarySearchFunc(l.queue, t, func(a, b *transaction) int { return cmp.Compare(a.number, b.number) })
		l.queue = slices.Insert(l.queue, at, t)
	}
}

// fail ends everything queued.
func (l *lane) fail(err error) {
	for _, t := range l.queue {
		t.finish(err)
	}
	l.queue = nil
}

// fill moves to k what it may write next.
func (l *lane) fill(k *conn) []*transaction {
	if len(k.inFlight) > refill {
		return nil
	}
	group := k.group[:0]
	for _, t := range l.queue {
		if !k.fits(t) {
			break
		}
		k.add(t)
		if group = append(group, t); t.waits {
			break
		}
	}
	l.queue = slices.Delete(l.queue, 0, len(group))
	k.group = group
	return group
}
