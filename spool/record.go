package spool

import (
	"context"
	"time"
)

// Outcome is what came of working an item.
type Outcome struct {
	Item   *Item // as it was handed out
	State  State // where it goes now, unless somebody changed it meanwhile
	Wait   time.Duration
	Reason string // why it waits or is held; empty: nothing failed

	Attempts   int  // of the item itself
	Missing    bool // the object is gone
	Deliveries []Delivery
	Settled    []string // addresses of which every mailbox has the message
	Found      []string // recipients that were found in the message itself
	Sender     string   // the sender found there; only with Found
	Version    string   // of the object that was read; empty: not read, or it has none
	ETag       string   // likewise
	Size       int64    // of the message, bytes; 0: not read
	Key        string   // not empty: where the object has been moved
}

// Record commits what came of an item. If new recipients were named meanwhile,
// or a person changed it, what was delivered is recorded and the item stays as
// they left it. It is still the caller's until [Spool.Release].
func (s *Spool) Record(ctx context.Context, o *Outcome) error {
	err := s.writer.do(ctx, func(tx *tx) error {
		if err := s.recordDeliveries(tx, o.Item.Number, o.Deliveries); err != nil {
			return err
		}
		if err := recordRecipients(tx, o); err != nil {
			return err
		}
		return s.recordItem(tx, o)
	})
	if err != nil {
		return err
	}
	if o.Item.State == Pending && (o.State == Settling || o.State == Done) {
		s.open.Add(-1) // exact again at the next count
	}
	s.signal()
	return nil
}

// RecordDelivery commits one delivery at once, while others of the item go on:
// the less lies between Dovecot's reply and the ledger, the rarer a repetition.
func (s *Spool) RecordDelivery(ctx context.Context, number int64, d Delivery) error {
	return s.writer.do(ctx, func(tx *tx) error { return s.recordDeliveries(tx, number, []Delivery{d}) })
}

func (s *Spool) recordDeliveries(tx *tx, number int64, deliveries []Delivery) error {
	now := s.clock.now()
	for _, d := range deliveries {
		// A line that says delivered is never taken back.
		err := tx.exec(`INSERT INTO delivery (item, mailbox, state, attempts, refusals, next, reply) SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM item WHERE id = ?1
			ON CONFLICT DO UPDATE SET state = excluded.state, attempts = excluded.attempts, refusals = excluded.refusals,
			next = excluded.next, reply = excluded.reply WHERE state <> 'delivered'`, number, d.Mailbox, string(d.State), d.Attempts, d.Refusals, now+d.Wait.Milliseconds(), d.Reply)
		if err == nil && d.State == Delivered {
			// An hour's precision is enough, and spares the write.
			err = tx.exec("INSERT INTO mailbox VALUES (?, ?) ON CONFLICT DO UPDATE SET took = excluded.took WHERE excluded.took > took + 3600000", d.Mailbox, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func recordRecipients(tx *tx, o *Outcome) error {
	if _, err := addRecipients(tx, o.Item.Number, o.Found); err != nil {
		return err
	}
	for _, address := range o.Settled {
		if err := tx.exec("UPDATE recipient SET settled = 1 WHERE item = ? AND address = ?", o.Item.Number, address); err != nil {
			return err
		}
	}
	if len(o.Found) == 0 {
		return nil
	}
	return tx.exec("UPDATE item SET sender = ? WHERE id = ? AND receipt = 0", o.Sender, o.Item.Number)
}

func (s *Spool) recordItem(tx *tx, o *Outcome) error {
	now := s.clock.now()
	next := now
	if o.State == Pending || o.State == Settling {
		next += o.Wait.Milliseconds()
	}
	changed, err := tx.count(`UPDATE item SET state = ?3, next = ?4, attempts = ?5, reason = ?6,
		missing = CASE WHEN ?7 = 0 THEN 0 WHEN missing = 0 THEN ?8 ELSE missing END,
		object = CASE ?9 WHEN '' THEN object ELSE ?9 END,
		version = CASE WHEN ?9 <> '' THEN '' WHEN ?10 <> '' THEN ?10 ELSE version END,
		etag = CASE WHEN ?9 <> '' THEN '' WHEN ?11 <> '' THEN ?11 ELSE etag END,
		size = CASE ?12 WHEN 0 THEN size ELSE ?12 END
		WHERE id = ?1 AND generation = ?2`,
		o.Item.Number, o.Item.Generation, string(o.State), next, o.Attempts, o.Reason, o.Missing, now, o.Key, o.Version, o.ETag, o.Size)
	if err != nil || changed == 0 || o.State != Done || !o.Item.Inline {
		return err
	}
	return tx.exec("DELETE FROM content WHERE item = ?", o.Item.Number)
}
