package lmtp

import (
	"context"
	"slices"
	"time"
)

// redialAfter is how long a failed dial keeps further connections from being
// tried while others are ready: beyond its process_limit Dovecot accepts, and
// says nothing.
const redialAfter = 10 * time.Second

// dial is an attempt to connect.
type dial struct {
	cancel context.CancelFunc
}

// enqueue gives t to its lane.
func (c *Client) enqueue(t *transaction) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	key := laneKey(t.mailbox)
	l := c.lanes[key]
	if l == nil {
		l = &lane{key: key}
		c.lanes[key] = l
	}
	c.count++
	t.lane, t.number = l, c.count
	l.queue = append(l.queue, t)
	switch {
	case l.conn == nil && l.rest == nil && len(l.queue) == 1:
		c.waiting = append(c.waiting, l)
		c.schedule()
	case l.conn != nil && len(l.conn.inFlight) <= refill:
		signal(l.conn.wake)
	}
	return nil
}

// cancel gives t up after its context has ended. In flight, that costs the
// connection: nothing else takes back what was begun.
func (c *Client) cancel(t *transaction) error {
	c.mu.Lock()
	switch {
	case t.done:
	case t.conn != nil:
		t.conn.sever(t.ctx.Err())
	default:
		t.lane.remove(t)
		c.dropIfEmpty(t.lane)
		t.finish(t.ctx.Err())
	}
	c.mu.Unlock()
	return <-t.verdict
}

// dropIfEmpty forgets a lane that nobody works and nobody waits in.
func (c *Client) dropIfEmpty(l *lane) {
	if l.conn != nil || l.rest != nil || len(l.queue) > 0 {
		return
	}
	delete(c.lanes, l.key)
	c.waiting = slices.DeleteFunc(c.waiting, func(other *lane) bool { return other == l })
}

// schedule brings waiting lanes and ready connections together, and dials where
// there are not enough of these; c.mu is held.
func (c *Client) schedule() {
	for len(c.idle) > 0 && len(c.waiting) > 0 {
		k := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		k.idle = false
		c.assign(k)
		signal(k.wake)
	}
	for c.mayDial() {
		c.startDial()
	}
	c.observe()
}

// assign gives the lane that has waited longest to k; c.mu is held.
func (c *Client) assign(k *conn) {
	l := c.waiting[0]
	c.waiting = slices.Delete(c.waiting, 0, 1)
	l.conn, k.lane, k.taken = k, l, 0
}

// release takes the lane from k, to the end of the line if it has more to do.
func (c *Client) release(k *conn) {
	l := k.lane
	l.conn, k.lane = nil, nil
	c.lineUp(l)
}

// lineUp has a lane that nobody works wait for a connection, if it has anything
// to do and may do it.
func (c *Client) lineUp(l *lane) {
	switch {
	case l.rest != nil:
	case len(l.queue) > 0:
		c.waiting = append(c.waiting, l)
	default:
		delete(c.lanes, l.key)
	}
}

// restLane keeps a lane from being worked for a while; c.mu is held.
func (c *Client) restLane(l *lane, wait time.Duration) {
	if l.rest != nil {
		l.rest.Stop()
	}
	var rest *time.Timer
	rest = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if l.rest != rest {
			return // stopped too late
		}
		if l.rest = nil; l.conn != nil {
			signal(l.conn.wake) // its connection has not even let go of it
			return
		}
		c.lineUp(l)
		c.schedule()
	})
	l.rest = rest
}

// take gives k what it is to write next: nothing while it must wait for
// replies or has become idle. over means that it is to end.
func (c *Client) take(k *conn) (group []*transaction, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.schedule()
	for !k.over && k.lost == nil && !k.idle {
		if k.lane != nil {
			if k.lane.rest == nil && !c.turnIsOver(k) {
				group = k.lane.fill(k)
			}
			if len(k.inFlight) > 0 {
				return group, false
			}
			c.release(k)
		}
		if len(c.waiting) > 0 {
			c.assign(k)
		} else {
			k.idle, k.kept = true, true
			c.idle = append(c.idle, k)
		}
	}
	return nil, !k.idle
}

// turnIsOver tells whether k is to turn to the next lane once it is drained.
func (c *Client) turnIsOver(k *conn) bool {
	drained := len(k.inFlight) == 0 && k.taken > 0
	return len(c.waiting) > 0 && (drained || k.taken >= turn)
}

// mayDial: a lane waits for each dial, there is room, and no dial has failed
// lately, unless there is nothing to fall back on.
func (c *Client) mayDial() bool {
	switch {
	case c.closed || len(c.waiting) <= len(c.dials):
		return false
	case len(c.conns)+len(c.dials) >= c.config.Connections:
		return false
	case c.ready() == 0 && len(c.dials) == 0:
		return true
	}
	return !time.Now().Before(c.backoff)
}

// ready counts the connections that take deliveries.
func (c *Client) ready() int {
	n := 0
	for k := range c.conns {
		if !k.over && k.lost == nil {
			n++
		}
	}
	return n
}

// startDial connects for the lane that has waited longest, though not on the
// terms of its context: others wait too.
func (c *Client) startDial() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.waiting[0].queue[0].ctx))
	d := &dial{cancel: cancel}
	c.dials[d] = struct{}{}
	c.wg.Go(func() {
		defer cancel()
		k, err := c.connect(ctx)
		if c.dialled(d, k, err) {
			k.run()
		}
	})
}

// dialled takes up the outcome of a dial and reports whether k is to run.
func (c *Client) dialled(d *dial, k *conn, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.dials, d)
	defer c.observe()
	switch {
	case err != nil && c.ready() == 0 && len(c.dials) == 0:
		c.failWaiting(err)
	case err != nil:
		c.holdOff()
	case c.closed:
		k.wire.cut()
	default:
		c.conns[k] = struct{}{}
		return true
	}
	return false
}

// failWaiting ends all that wait: there is nobody to deliver to.
func (c *Client) failWaiting(err error) {
	for _, l := range c.waiting {
		l.fail(err)
		delete(c.lanes, l.key)
	}
	c.waiting = nil
}

// holdOff puts further connections off for a while.
func (c *Client) holdOff() {
	if c.closed {
		return
	}
	c.backoff = time.Now().Add(redialAfter)
	if c.retry == nil {
		c.retry = time.AfterFunc(redialAfter, c.redial)
	} else {
		c.retry.Reset(redialAfter)
	}
}

func (c *Client) redial() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schedule()
}

// census is the number of connections by state.
type census struct {
	idle, busy, dialing int
}

// observe tells the observer what has changed; c.mu is held.
func (c *Client) observe() {
	now := census{idle: len(c.idle), busy: len(c.conns) - len(c.idle), dialing: len(c.dials)}
	before := c.reported
	if c.reported = now; c.config.Observer == nil {
		return
	}
	tell := func(state string, before, now int) {
		if now != before {
			c.config.Observer.Connections(state, now)
		}
	}
	tell("idle", before.idle, now.idle)
	tell("busy", before.busy, now.busy)
	tell("dialing", before.dialing, now.dialing)
}
