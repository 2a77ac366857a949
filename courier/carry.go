package courier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/homing-mail/homing/spool"
)

// maxReceived is how often a message may have been handed on before it is
// taken for a loop (RFC 5321 6.3).
const maxReceived = 50

// carry takes one item as far as it goes today, and gives it back.
func (c *Courier) carry(ctx context.Context, item *spool.Item) {
	began := time.Now()
	defer c.Spool.Release(item.Number)
	var outcome *spool.Outcome
	if item.State == spool.Settling {
		outcome = c.settle(ctx, item)
	} else {
		outcome = c.bring(ctx, item)
	}
	if outcome == nil {
		return
	}
	if c.record(ctx, outcome) {
		c.tell(ctx, outcome, item.Age+time.Since(began))
	}
}

// record commits what has happened, and while the disk is full or broken tries
// again rather than let the item be delivered once more. It does so once even
// when homing is stopping.
func (c *Courier) record(ctx context.Context, outcome *spool.Outcome) bool {
	for {
		err := c.Spool.Record(context.WithoutCancel(ctx), outcome)
		if err == nil {
			return true
		}
		c.Log.Error("an outcome cannot be recorded; it is tried again", "id", outcome.Item.ID, "error", err)
		if pause(ctx, time.Second); ctx.Err() != nil {
			return false
		}
	}
}

// Bring works a leased item once: one that an SQS queue keeps. What waits goes
// on waiting there, so its state is recorded as queued, and the outcome's Wait
// says for how long. It returns nil when nothing came of it: the destination is
// away, homing is stopping, or the ledger cannot be written. The caller releases
// the item.
func (c *Courier) Bring(ctx context.Context, item *spool.Item) *spool.Outcome {
	began := time.Now()
	outcome := c.bring(ctx, item)
	if outcome == nil {
		return nil
	}
	if outcome.State == spool.Pending {
		outcome.State = spool.Queued
	}
	if !c.record(ctx, outcome) {
		return nil
	}
	c.tell(ctx, outcome, item.Age+time.Since(began))
	return outcome
}

// bring fetches an item, decrypts it, and delivers it to every mailbox that still
// waits for it. It returns nil when there is nothing to record.
func (c *Courier) bring(ctx context.Context, item *spool.Item) *spool.Outcome {
	route := c.route(item)
	if len(item.Recipients) > 0 && len(route.stops) == 0 {
		return c.conclude(item, route)
	}
	object, err := Read(ctx, c.Source, c.Spool, item)
	if err != nil {
		return c.unfetched(ctx, item, err)
	}
	defer object.Release()
	header := readHeader(object.Octets)
	if held := c.unfit(item, object, &header); held != nil {
		return held
	}
	route.object = object
	c.address(route, &header)
	if !c.deliver(ctx, route, &header) {
		return nil
	}
	return c.conclude(item, route)
}

// unfetched decides what a failed fetch means.
func (c *Courier) unfetched(ctx context.Context, item *spool.Item, err error) *spool.Outcome {
	if ctx.Err() != nil {
		return nil
	}
	o := &spool.Outcome{Item: item, State: spool.Pending, Attempts: item.Attempts + 1, Reason: err.Error(), Missing: isGone(err)}
	o.Wait = retryWait(o.Attempts)
	switch {
	case isPermanent(err), item.Tried > c.RetryFor, o.Missing && item.Missing > missingFor:
		o.State = spool.Held
	}
	return o
}

// unfit returns an outcome for what must not be delivered, else nil.
func (c *Courier) unfit(item *spool.Item, object *Object, header *header) *spool.Outcome {
	switch {
	case isCopy(item, object):
		return &spool.Outcome{Item: item, State: spool.Done, Reason: "an object that homing wrote itself"}
	case header.received > maxReceived:
		reason := fmt.Sprintf("a mail loop: %d Received lines, %d are allowed", header.received, maxReceived)
		return &spool.Outcome{Item: item, State: spool.Held, Reason: reason}
	}
	return nil
}

// address completes the route of a message of which no notice named a
// recipient, from the envelope that was encrypted with it, or from what SES wrote
// into it.
func (c *Courier) address(r *route, header *header) {
	r.sender = r.item.Sender
	var recipients []string
	if !r.item.Receipt {
		r.sender, recipients = found(r.object, header)
	}
	if len(r.item.Recipients) > 0 {
		return
	}
	for _, recipient := range recipients {
		r.found = append(r.found, recipient)
		r.add(recipient)
	}
	if len(recipients) > 0 {
		return
	}
	if c.Fallback != "" {
		r.addMailbox(c.Fallback, "")
		return
	}
	r.unroutable = "nobody says whom it is for: no recipient in a receipt, no Received line of SES; set HOMING_FALLBACK_MAILBOX and retry"
}

// found is what a message without a receipt says of its envelope.
func found(object *Object, header *header) (sender string, recipients []string) {
	if e := object.Envelope; e != nil {
		return e.Sender, e.Recipients
	}
	if recipient, ok := header.recipient(); ok {
		recipients = []string{recipient}
	}
	return header.sender(), recipients
}

// deliveryID names one delivery: the same on every repetition, on every
// replica, and different for each mailbox.
func deliveryID(message, mailbox string) string {
	sum := sha256.Sum256([]byte(message + "\x00" + mailbox))
	return hex.EncodeToString(sum[:16])
}

func isPermanent(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && e.Permanent()
}

func isGone(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Gone() bool
	}](err)
	return ok && e.Gone()
}
