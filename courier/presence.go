package courier

import (
	"context"
	"sync/atomic"
	"time"
)

// presence knows whether the destination answers. While it is away nothing is
// taken from the spool and no attempts are counted.
type presence struct {
	away atomic.Bool
	lost chan error    // capacity 1: a delivery found it away
	back chan struct{} // capacity 1: it answers again
}

// gone notes that a delivery found the destination away.
func (p *presence) gone(err error) {
	p.away.Store(true)
	select {
	case p.lost <- err:
	default:
	}
}

// watch looks for the destination at the start, and whenever a delivery has
// found it away, until it answers.
func (c *Courier) watch(ctx context.Context) {
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
	if err != nil && ctx.Err() == nil {
		c.presence.away.Store(true)
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
	if c.presence.away.Swap(false) {
		c.Log.Info("the destination answers again")
	}
	c.Observer.DestinationUp(true)
	notify(c.presence.back)
}
