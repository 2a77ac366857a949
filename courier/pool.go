package courier

import (
	"sync"

	"github.com/homing-mail/homing/spool"
)

// pool is goroutines that work items, about as many as were ever needed at once. They
// stay, because the S3 client's depth makes their stacks large, and growing one for
// each item took a twentieth of all time.
//
// Who was busy last is given the next item: the collector shrinks the stacks of
// those who rest, so the fewer take turns the fewer have to grow again.
type pool struct {
	work func(*spool.Item)

	wg     sync.WaitGroup
	mu     sync.Mutex
	idle   []chan *spool.Item // each of capacity 1; who was busy last is the last
	closed bool
}

// start has an item worked, and does not wait.
func (p *pool) start(item *spool.Item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.idle) - 1; last >= 0 {
		p.idle[last] <- item
		p.idle = p.idle[:last]
		return
	}
	items := make(chan *spool.Item, 1)
	items <- item
	p.wg.Go(func() {
		for item := range items {
			p.work(item)
			p.rest(items)
		}
	})
}

// rest notes who waits for an item, or ends the waiting where no more will come.
func (p *pool) rest(items chan *spool.Item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		close(items)
		return
	}
	p.idle = append(p.idle, items)
}

// close says that nothing will be started any more, and waits for what was.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, items := range p.idle {
		close(items)
	}
	p.mu.Unlock()
	p.wg.Wait()
}
