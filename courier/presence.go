package courier

import (
	"context"
	"sync"
	"time"
)

// presence knows whether the destination answers. While it is away nothing is
// taken from the spool and no attempts are counted.
type presence struct {
	lost chan error    // capacity 1: a delivery found it away
	back chan struct{} // capacity 1: it answers again

	mu     sync.Mutex
	absent chan struct{} // nil: it answers; else closed when it does again
}

// gone notes that the destination is away.
func (p *presence) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.absent == nil {
		p.absent = make(chan struct{})
	}
}

// report has the watch look for the destination, which a delivery found away.
func (p *presence) report(err error) {
	p.gone()
	select {
	case p.lost <- err:
	default:
	}
}

// returned notes that the destination answers, and whether it did not before.
func (p *presence) returned() (before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.absent == nil {
		return false
	}
	close(p.absent)
	p.absent = nil
	return true
}

// away returns what is closed when the destination answers again, nil when it
// does.
func (p *presence) away() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.absent
}

// Present waits until the destination answers, or ctx ends.
func (c *Courier) Present(ctx context.Context) error {
	absent := c.presence.away()
	if absent == nil {
		return context.Cause(ctx)
	}
	select {
	case <-absent:
		return context.Cause(ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch looks for the destination at the start, and whenever a delivery has
// found it away, until it answers.
func (c *Courier) watch(ctx context.Context) {
	pause(ctx, c.Pause)
	c.seek(ctx, c.Destination.Probe(ctx))
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-c.presence.lost:
			c.seek(ctx, err)
		}
	}
}

// seek probes until the destination answers; err is why it is thought away.
func (c *Courier) seek(ctx context.Context, err error) {
	absent := err != nil
	if err != nil && ctx.Err() == nil {
		c.presence.gone()
		c.Observer.DestinationUp(false)
		c.Log.Warn("the destination does not answer; mail is taken and kept meanwhile", "probed_every", c.Probe, "error", err)
	}
	ticker := time.NewTicker(c.Probe)
	defer ticker.Stop()
	for err != nil {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			err = c.Destination.Probe(ctx)
		}
	}
	// What was reported up to now is answered by the probe. A report after this
	// line is heard by watch.
	select {
	case <-c.presence.lost: //nolint:errcheck // the error has been answered
	default:
	}
	if c.presence.returned() && absent {
		c.Log.Info("the destination answers again")
	}
	c.Observer.DestinationUp(true)
	notify(c.presence.back)
}
