package courier

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/homing-mail/homing/spool"
)

// way is a destination, and whether it answers. While it is away nothing that
// goes there is taken from the spool, and no attempts are counted.
type way struct {
	Destination
	what  string        // in the log
	up    func(up bool) // tells the observer
	probe time.Duration // how often it is looked for when it is away
	// fallback is the mailbox there for what others refuse for good; empty: hold it.
	fallback string

	lost chan error    // capacity 1: a delivery found it away
	back chan struct{} // capacity 1, shared by all ways: it answers again

	mu     sync.Mutex
	absent chan struct{} // nil: it answers; else closed when it does again
}

// gone notes that the destination is away.
func (w *way) gone() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.absent == nil {
		w.absent = make(chan struct{})
	}
}

// report has the watch look for the destination, which a delivery found away.
func (w *way) report(err error) {
	w.gone()
	select {
	case w.lost <- err:
	default:
	}
}

// returned notes that the destination answers, and whether it did not before.
func (w *way) returned() (before bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.absent == nil {
		return false
	}
	close(w.absent)
	w.absent = nil
	return true
}

// away returns what is closed when the destination answers again, nil when it
// does.
func (w *way) away() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.absent
}

// way returns how an item leaves.
func (c *Courier) way(item *spool.Item) *way {
	if c.form != nil && item.Source == spool.SourceForm {
		return c.form
	}
	return c.main
}

// reachable says what may be taken from the spool now, if anything.
func (c *Courier) reachable() (part spool.Part, some bool) {
	main := c.main.away() == nil
	form := main
	if c.form != nil {
		form = c.form.away() == nil
	}
	switch {
	case main && form:
		return spool.All, true
	case main:
		return spool.NoForms, true
	case form:
		return spool.OnlyForms, true
	}
	return 0, false
}

// Present waits until the destination answers, or ctx ends. It is not about the
// one that only messages of the contact form go to.
func (c *Courier) Present(ctx context.Context) error {
	absent := c.main.away()
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
func (c *Courier) watch(ctx context.Context, w *way) {
	c.seek(ctx, w, w.Probe(ctx))
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-w.lost:
			c.seek(ctx, w, err)
		}
	}
}

// seek probes until the destination answers; err is why it is thought away.
func (c *Courier) seek(ctx context.Context, w *way, err error) {
	absent := err != nil
	if err != nil && ctx.Err() == nil {
		w.gone()
		w.up(false)
		c.Log.Warn(w.what+" does not answer; mail is taken and kept meanwhile", "probed_every", w.patience(err), "error", err)
	}
	for err != nil {
		pause(ctx, w.patience(err))
		if ctx.Err() != nil {
			return
		}
		err = w.Probe(ctx)
	}
	// What was reported up to now is answered by the probe. A report after this
	// line is heard by watch.
	select {
	case <-w.lost: //nolint:errcheck // the error has been answered
	default:
	}
	if w.returned() && absent {
		c.Log.Info(w.what + " answers again")
	}
	w.up(true)
	notify(w.back)
}

// patience is how long to wait before the destination is looked for again.
func (w *way) patience(err error) time.Duration {
	if e, ok := errors.AsType[interface {
		error
		ProbeAfter() time.Duration
	}](err); ok {
		return max(w.probe, e.ProbeAfter())
	}
	return w.probe
}
