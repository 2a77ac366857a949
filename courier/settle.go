package courier

import (
	"context"
	"fmt"
	"time"

	"github.com/homing-mail/homing/spool"
)

// After says what becomes of an object once every delivery of it was answered
// 2xx.
type After struct {
	Action Action
	Prefix string        // where Move and Encrypt put it; empty: Encrypt leaves it in its place
	Delay  time.Duration // after the message was last announced
}

// Action is what is done with a delivered object.
type Action string

// The actions.
const (
	Keep    Action = "keep"
	Delete  Action = "delete"
	Tag     Action = "tag"
	Move    Action = "move"
	Encrypt Action = "encrypt"
)

// conclude sums up what came of an item's stops.
func (c *Courier) conclude(item *spool.Item, r *route) *spool.Outcome {
	o := &spool.Outcome{Item: item, Settled: r.settled(), Found: r.found, Sender: r.sender}
	if r.object != nil {
		o.Version, o.Size = r.object.Version, r.object.Size
		if !r.object.Own { // a later notice does not know where that lies
			o.ETag = r.object.ETag
		}
	}
	if r.unroutable != "" {
		o.State, o.Reason = spool.Held, r.unroutable
		return o
	}
	if len(r.stops) == 0 && len(item.Deliveries) == 0 {
		o.State, o.Reason = spool.Held, "it led to no mailbox" // never done without a delivery
		return o
	}
	o.State = c.finished(item)
	if r.object != nil && r.object.Own {
		o.State = spool.Done // what was to be done with it has been done
	}
	if o.State == spool.Settling {
		o.Wait = max(c.After.Delay-item.Noticed, 0)
	}
	for _, s := range r.stops {
		o.Deliveries = append(o.Deliveries, s.line)
		weigh(o, s)
	}
	return o
}

// weigh lets one stop decide about the item: one that waits keeps it pending,
// else one that is held holds it.
func weigh(o *spool.Outcome, s *stop) {
	wait, state := s.line.Wait, spool.Pending
	switch s.line.State {
	case spool.Delivered:
		return
	case spool.FellBack:
		wait = 0 // the fallback mailbox is next
	case spool.HeldBack:
		wait, state = 0, spool.Held
	}
	switch {
	case o.State != spool.Pending && state == spool.Pending:
		o.State, o.Wait, o.Reason = state, wait, s.line.Reply
	case o.State == spool.Pending && state == spool.Pending:
		if wait < o.Wait {
			o.Wait, o.Reason = wait, s.line.Reply
		}
	case o.State != spool.Pending:
		o.State, o.Wait, o.Reason = state, 0, s.line.Reply
	}
}

// finished is the state of an item that every mailbox has.
func (c *Courier) finished(item *spool.Item) spool.State {
	if c.After.Action == Keep || c.After.Action == "" || item.Inline || item.Bucket == "" {
		return spool.Done
	}
	return spool.Settling
}

// settle does with a delivered object what the configuration asks for.
func (c *Courier) settle(ctx context.Context, item *spool.Item) *spool.Outcome {
	o := &spool.Outcome{Item: item, State: c.finished(item)}
	if o.State == spool.Done {
		return o // the configuration has changed to keep
	}
	if wait := c.After.Delay - item.Noticed; wait > 0 && item.Attempts == 0 {
		o.Wait = wait // it was announced again, or the delay has grown
		return o
	}
	key, err := c.dispose(ctx, item)
	switch {
	case err == nil || isGone(err):
		c.Observer.AfterDelivery(string(c.After.Action), "ok")
		o.State, o.Key = spool.Done, key
		return o
	case ctx.Err() != nil:
		return nil
	}
	c.Observer.AfterDelivery(string(c.After.Action), "failed")
	o.Attempts = item.Attempts + 1
	o.Wait, o.Reason = retryWait(o.Attempts), fmt.Sprintf("delivered, but to %s the object failed: %v", c.After.Action, err)
	if isPermanent(err) || item.Noticed > c.After.Delay+c.RetryFor {
		o.State = spool.Held
	}
	return o
}

func (c *Courier) dispose(ctx context.Context, item *spool.Item) (key string, err error) {
	switch c.After.Action {
	case Delete:
		return "", c.Source.Delete(ctx, item.Message)
	case Tag:
		return "", c.Source.Tag(ctx, item.Message)
	case Move:
		return c.Source.Move(ctx, item.Message, c.After.Prefix, deliveryID(item.ID, ""))
	case Encrypt:
		return c.Source.Encrypt(ctx, item.Message, envelope(item), c.After.Prefix, deliveryID(item.ID, ""))
	}
	return "", permanent("unknown action " + string(c.After.Action))
}

// envelope is what an item's receipts said; nil where there was none, and the
// message itself tells what is known of it.
func envelope(item *spool.Item) *Envelope {
	if !item.Receipt || item.Direct {
		return nil
	}
	e := &Envelope{Sender: item.Sender}
	for _, recipient := range item.Recipients {
		e.Recipients = append(e.Recipients, recipient.Address)
	}
	return e
}
