package fetcher

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Budget is a number of bytes that messages may occupy in memory at a time. Its
// methods may be called concurrently.
//
// Whoever waits is served in the order of asking, so small messages do not pass
// a large one by for ever. A lane, usually a mailbox, is given at most half, so
// that one slow mailbox does not keep the rest waiting. What is larger than the
// whole still goes, when nothing else is held.
type Budget struct {
	limit int64
	whole *semaphore.Weighted
	inUse atomic.Int64
	freed atomic.Int64 // released since the last collection that was asked for

	mu    sync.Mutex
	lanes map[string]*lane
}

// lane exists as long as somebody holds or waits for a part of it.
type lane struct {
	name  string
	room  *semaphore.Weighted
	users int
}

// NewBudget returns a budget of this many bytes, at least one.
func NewBudget(bytes int64) *Budget {
	limit := max(bytes, 1)
	return &Budget{limit: limit, whole: semaphore.NewWeighted(limit), lanes: make(map[string]*lane)}
}

// InUse is the number of bytes held now. It is above the budget while a message
// larger than the budget is in memory.
func (b *Budget) InUse() int64 { return b.inUse.Load() }

// Acquire waits until n bytes are free in the budget and in the lane; the empty
// lane has no limit of its own. The caller releases them when they are out of
// memory. The error is the context's. A caller that holds bytes must not ask for
// more in this way: two such callers would wait for each other.
func (b *Budget) Acquire(ctx context.Context, lane string, n int64) (*Room, error) {
	l := b.enter(lane)
	if err := l.room.Acquire(ctx, b.laneShare(n)); err != nil {
		b.leave(l)
		return nil, err
	}
	// Holding the lane's share while waiting here delays nobody but the lane.
	if err := b.whole.Acquire(ctx, b.share(n)); err != nil {
		l.room.Release(b.laneShare(n))
		b.leave(l)
		return nil, err
	}
	return b.hold(l, n), nil
}

// tryAcquire is Acquire where there is room at once and nobody waits for it.
func (b *Budget) tryAcquire(lane string, n int64) (r *Room, ok bool) {
	l := b.enter(lane)
	if !b.take(l, b.laneShare(n), b.share(n)) {
		b.leave(l)
		return nil, false
	}
	return b.hold(l, n), true
}

// take takes shares that are free at once.
func (b *Budget) take(l *lane, ofLane, ofWhole int64) bool {
	if !l.room.TryAcquire(ofLane) {
		return false
	}
	if !b.whole.TryAcquire(ofWhole) {
		l.room.Release(ofLane)
		return false
	}
	return true
}

// share is what n bytes count for in the whole: at most all of it.
func (b *Budget) share(n int64) int64 { return min(n, b.limit) }

// laneShare is what n bytes count for in a lane: at most all of it.
func (b *Budget) laneShare(n int64) int64 { return min(n, b.half()) }

func (b *Budget) half() int64 { return (b.limit + 1) / 2 }

func (b *Budget) hold(l *lane, n int64) *Room {
	b.inUse.Add(n)
	b.collect(n)
	return &Room{budget: b, lane: l, size: n}
}

// large is from what size on, in bytes, a message waits for the collector.
const large = 4 << 20

// collect has the memory of released messages collected before a large one is
// read. The collector learns of that one only when it is there, and would be late
// by its whole size; small ones it keeps up with.
func (b *Budget) collect(n int64) {
	if n < large || b.freed.Load() < n {
		return
	}
	b.freed.Store(0)
	runtime.GC()
}

func (b *Budget) enter(name string) *lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[name]
	if l == nil {
		size := b.half()
		if name == "" {
			size = math.MaxInt64
		}
		l = &lane{name: name, room: semaphore.NewWeighted(size)}
		b.lanes[name] = l
	}
	l.users++
	return l
}

func (b *Budget) leave(l *lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(b.lanes, l.name)
	}
}
