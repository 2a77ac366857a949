package fetcher

import "context"

// Room is a part of a budget that somebody holds. Its methods must not be called
// concurrently.
type Room struct {
	budget *Budget
	lane   *lane // nil once it is released
	size   int64
}

// Release gives the bytes back. It may be called more than once.
func (r *Room) Release() {
	if r.lane == nil {
		return
	}
	b, l := r.budget, r.lane
	r.lane = nil
	b.inUse.Add(-r.size)
	b.freed.Add(r.size)
	b.whole.Release(b.share(r.size))
	l.room.Release(b.laneShare(r.size))
	b.leave(l)
}

// Resize holds n bytes from now on and reports true: always where that is less,
// and where it is more if that is free at once and nobody waits for it. Else
// nothing changes.
func (r *Room) Resize(n int64) bool {
	if r.lane == nil {
		return false
	}
	b := r.budget
	ofLane, ofWhole := b.laneShare(n)-b.laneShare(r.size), b.share(n)-b.share(r.size)
	if n > r.size && !b.take(r.lane, ofLane, ofWhole) {
		return false
	}
	if n < r.size {
		b.whole.Release(-ofWhole)
		r.lane.room.Release(-ofLane)
	}
	b.inUse.Add(n - r.size)
	r.size = n
	return true
}

// claim is the room that one fetch has. While it waits it has none: two fetches
// that held some and waited for more would wait for each other.
type claim struct {
	budget *Budget
	lane   string
	room   *Room // nil while nothing is held
}

// take reports whether n bytes are held, or could be had without waiting.
func (c *claim) take(n int64) bool {
	if c.room != nil && c.room.size >= n {
		return true
	}
	c.leave()
	room, ok := c.budget.tryAcquire(c.lane, n)
	if ok {
		c.room = room
	}
	return ok
}

// wait holds n bytes when it returns without an error.
func (c *claim) wait(ctx context.Context, n int64) (err error) {
	c.leave()
	c.room, err = c.budget.Acquire(ctx, c.lane, n)
	return err
}

// leave holds nothing any more.
func (c *claim) leave() {
	if c.room != nil {
		c.room.Release()
		c.room = nil
	}
}
