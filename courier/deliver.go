package courier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/homing-mail/homing/spool"
)

// deliver hands the message to every stop whose time has come, and notes in
// each what came of it. It reports whether there is anything to record.
func (c *Courier) deliver(ctx context.Context, r *route, header *header) bool {
	due := slices.DeleteFunc(slices.Clone(r.stops), func(s *stop) bool {
		return s.line.State != spool.Waiting || s.line.Wait > slack
	})
	if len(due) == 1 {
		return c.visit(ctx, r, due[0], header)
	}
	var wg sync.WaitGroup
	var counted atomic.Int64
	for _, s := range due {
		wg.Go(func() {
			if c.visit(ctx, r, s, header) {
				counted.Add(1)
			}
		})
	}
	wg.Wait()
	return counted.Load() > 0 || len(due) == 0
}

// slack is how early a delivery may be tried: its item is due.
const slack = time.Second

// visit makes one delivery. It reports false when nothing came of it that
// counts: the destination is away, or homing is stopping.
func (c *Courier) visit(ctx context.Context, r *route, s *stop, header *header) bool {
	began := time.Now()
	err := c.insist(ctx, r, s, header)
	took := time.Since(began)
	switch {
	case err == nil:
		c.delivered(ctx, r, s, took)
		return true
	case ctx.Err() != nil:
		return false
	case isAway(err):
		c.way(r.item).report(err)
		return false
	}
	c.refused(ctx, r.item, s, err)
	c.Observer.Delivery(result(s.line.State), took, 0)
	return true
}

// insist offers the message until the mailbox is no longer occupied by another
// delivery, for a while: the message is at hand.
func (c *Courier) insist(ctx context.Context, r *route, s *stop, header *header) error {
	began := time.Now()
	err := c.offer(ctx, r, s, header)
	for isBusy(err) && ctx.Err() == nil && time.Since(began) < busyFor {
		pause(ctx, busyWait)
		err = c.offer(ctx, r, s, header)
	}
	return err
}

// offer delivers the message as this mailbox is to see it: our header lines,
// then the octets as they are.
func (c *Courier) offer(ctx context.Context, r *route, s *stop, header *header) error {
	if err := checkMailbox(s.mailbox); err != nil {
		return err
	}
	if err := checkAddress(r.sender); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	preamble := header.preamble(deliveryID(r.item.ID, s.mailbox), s.originals, r.item.Verdicts)
	return c.way(r.item).Deliver(ctx, r.sender, s.mailbox, [][]byte{preamble, header.message})
}

func (c *Courier) delivered(ctx context.Context, r *route, s *stop, took time.Duration) {
	s.line = spool.Delivery{Mailbox: s.mailbox, State: spool.Delivered, Attempts: s.line.Attempts + 1}
	var latency time.Duration
	if !r.item.Received.IsZero() {
		latency = max(time.Since(r.item.Received), time.Nanosecond)
	}
	c.Observer.Delivery(result(spool.Delivered), took, latency)
	if len(r.stops) == 1 {
		return // its outcome follows at once
	}
	if err := c.Spool.RecordDelivery(context.WithoutCancel(ctx), r.item.Number, s.line); err != nil {
		c.Log.Warn("a delivery is recorded with the others of its item", "id", r.item.ID, "mailbox", s.mailbox, "error", err)
	}
}

// refused decides what an error of the destination means for the stop.
func (c *Courier) refused(ctx context.Context, item *spool.Item, s *stop, err error) {
	s.line.Reply, s.line.State = err.Error(), spool.Waiting
	if isBusy(err) {
		s.line.Wait = busyWait
		return
	}
	s.line.Attempts++
	s.line.Wait = retryWait(s.line.Attempts)
	code := replyCode(err)
	refusal := code/100 == 5 && code != overQuota
	if refusal {
		s.line.Refusals++
	}
	switch {
	case errors.Is(err, errUnspeakable), isPermanent(err):
		s.line.State = spool.HeldBack
	case refusal && !c.took(ctx, s.mailbox):
		c.doubt(item, s)
	case item.Tried > c.RetryFor:
		s.line.State = c.giveUp(item, s.mailbox, refusal)
	}
}

// doubt asks a mailbox that nobody knows yet a few times more.
func (c *Courier) doubt(item *spool.Item, s *stop) {
	if s.line.Refusals > len(refusedAfter) {
		s.line.State = c.giveUp(item, s.mailbox, true)
		return
	}
	s.line.Wait = jitter(refusedAfter[s.line.Refusals-1])
}

// overQuota is what Dovecot answers when a mailbox is full, which passes
// (RFC 3463 5.2.2); 452 says the same.
const overQuota = 552

// giveUp sends what a mailbox refuses for good to the fallback mailbox; what
// the fallback refuses, or what may yet be taken, is held.
func (c *Courier) giveUp(item *spool.Item, mailbox string, refusal bool) spool.DeliveryState {
	if fallback := c.way(item).fallback; refusal && fallback != "" && mailbox != fallback {
		return spool.FellBack
	}
	return spool.HeldBack
}

// took reports whether the mailbox has taken mail lately, so that a refusal is
// likely to pass. If that cannot be read, patience does no harm.
func (c *Courier) took(ctx context.Context, mailbox string) bool {
	took, err := c.Spool.Took(ctx, mailbox)
	return took || err != nil
}

// result is what the metrics call a delivery's new state.
func result(state spool.DeliveryState) string {
	switch state {
	case spool.Delivered:
		return "delivered"
	case spool.FellBack:
		return "fallback"
	case spool.HeldBack:
		return "held"
	}
	return "retry"
}

func isAway(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Away() bool
	}](err)
	return ok && e.Away()
}

func isBusy(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Busy() bool
	}](err)
	return ok && e.Busy()
}

func replyCode(err error) int {
	if e, ok := errors.AsType[interface {
		error
		ReplyCode() int
	}](err); ok {
		return e.ReplyCode()
	}
	return 0
}
