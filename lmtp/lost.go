package lmtp

import (
	"errors"
	"fmt"
	"slices"
)

// fail notes why the connection is of no use any more. A reply says more than
// the failed write that it explains.
func (k *conn) fail(err error) {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	_, isReply := errors.AsType[*ReplyError](err)
	if k.lost == nil || isReply {
		k.lost = err
	}
	if k.cutWitness != nil {
		k.cutWitness() // the writer may be waiting for it
	}
	signal(k.wake)
}

// sever cuts the connection, whatever it is doing; Client.mu is held.
func (k *conn) sever(err error) {
	if k.lost == nil {
		k.lost, k.severed = err, true
	}
	k.wire.cut()
	if k.cutWitness != nil {
		k.cutWitness()
	}
	signal(k.wake)
}

// stop ends the connection, with QUIT if nothing is in flight; Client.mu is held.
func (k *conn) stop() {
	if len(k.inFlight) > 0 {
		k.sever(errClosed)
		return
	}
	k.over, k.idle = true, false
	signal(k.wake)
}

// remove forgets a connection that has ended, and gives those who still wait on
// it their verdict or their place in the queue.
func (c *Client) remove(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, k)
	if l := k.lane; l != nil {
		if slices.ContainsFunc(k.inFlight, func(t *transaction) bool { return t.sent }) && !c.closed {
			c.restLane(l, c.config.Timeouts.Rest)
		}
		l.putBack(k.settle()...)
		if c.closed {
			l.fail(errClosed)
		}
		c.release(k)
	}
	c.schedule()
}

// settle decides about all that was in flight and returns what may be sent again
// at once. The server works in order, so only the first can be to blame. (A
// server that lives on may still work through some of the rest, after a cut of
// ours: that it then has them twice is what X-Homing-Id is for.)
func (k *conn) settle() (again []*transaction) {
	for i, t := range k.inFlight {
		switch gone := t.ctx.Err(); {
		case t.refusal != nil:
			t.finish(t.refusal)
		case gone != nil && t.sent:
			t.finish(&UnknownError{Err: gone})
		case gone != nil:
			t.finish(gone)
		case t.withdrawn != nil:
			t.finish(t.withdrawn)
		case k.client.closed, i == 0 && !k.blameless(t):
			t.finish(k.blame(t))
		default:
			again = append(again, t)
		}
	}
	k.inFlight, k.bytes = nil, 0
	return again
}

// blameless tells whether the first in flight may be sent again without a word:
// its envelope was not answered, and either we cut the connection ourselves, or
// it may have been dead since its last use. A message that kills a fresh
// connection, or a second one, is not sent a third time.
func (k *conn) blameless(t *transaction) bool {
	switch {
	case t.step > stepRcpt:
		return false
	case k.severed:
		return true
	case t.losses > 0, !k.kept && !k.closing():
		return false
	}
	t.losses++
	k.client.retireIdle() // a restart of the server took them too
	return true
}

// closing tells whether the server said that it closes the connection: Dovecot
// does when it stops or reloads.
func (k *conn) closing() bool {
	r, ok := errors.AsType[*ReplyError](k.lost)
	return ok && r.Code == codeClosing
}

// blame is the error of the transaction that a connection was lost with.
func (k *conn) blame(t *transaction) error {
	if t.sent {
		return &UnknownError{Err: k.lost}
	}
	return fmt.Errorf("lmtp: the connection was lost before the message was sent: %w", k.lost)
}

// retireIdle ends the connections without a lane; Client.mu is held.
func (c *Client) retireIdle() {
	for _, k := range c.idle {
		k.stop()
	}
	c.idle = nil
}

// expire ends a connection that has been idle long enough, unless it has just
// been given a lane.
func (c *Client) expire(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !k.idle {
		return
	}
	k.over, k.idle = true, false
	c.idle = slices.DeleteFunc(c.idle, func(other *conn) bool { return other == k })
	c.observe()
}
