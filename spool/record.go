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
		changed, err := s.recordItem(tx, o)
		if err != nil {
			return err
		}
		if err := s.recordDeliveries(tx, o.Item.Number, o.Deliveries, changed); err != nil {
			return err
		}
		if err := s.recordRecipients(tx, o); err != nil {
			return err
		}
		return recordMove(tx, o)
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
	return s.writer.do(ctx, func(tx *tx) error { return s.recordDeliveries(tx, number, []Delivery{d}, false) })
}

// recordDeliveries writes the ledger's lines. Where somebody has changed the
// item meanwhile only what was delivered counts: a person's word to try again
// is not undone by a refusal from before.
func (s *Spool) recordDeliveries(tx *tx, number int64, deliveries []Delivery, changed bool) error {
	now := s.clock.now()
	for _, d := range deliveries {
		if changed && d.State != Delivered {
			continue
		}
		// A line that says delivered is never taken back.
		err := tx.exec(`INSERT INTO delivery (item, mailbox, state, attempts, refusals, next, reply) SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM item WHERE id = ?1
			ON CONFLICT DO UPDATE SET state = excluded.state, attempts = excluded.attempts, refusals = excluded.refusals,
			next = excluded.next, reply = excluded.reply WHERE state <> 'delivered'`, number, d.Mailbox, string(d.State), d.Attempts, d.Refusals, now+d.Wait.Milliseconds(), d.Reply)
		if err == nil && d.State == Delivered {
			err = s.recordMailbox(tx, d.Mailbox, now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recordMailbox notes that a mailbox took mail. An hour's precision is enough,
// and spares most writes.
func (s *Spool) recordMailbox(tx *tx, mailbox string, now int64) error {
	const hour, most = 3_600_000, 10_000
	if last, known := s.took[mailbox]; known && now-last < hour {
		return nil
	}
	if len(s.took) >= most {
		clear(s.took)
	}
	s.took[mailbox] = now
	return tx.exec("INSERT INTO mailbox VALUES (?, ?) ON CONFLICT DO UPDATE SET took = max(took, excluded.took)", mailbox, now)
}

func (s *Spool) recordRecipients(tx *tx, o *Outcome) error {
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
	return tx.exec("UPDATE item SET sender = ?, lane = ? WHERE id = ? AND receipt = 0", o.Sender, s.lane(o.Item.Source, o.Found), o.Item.Number)
}

// recordMove notes where the object lies now, whatever else has changed.
func recordMove(tx *tx, o *Outcome) error {
	if o.Key == "" {
		return nil
	}
	return tx.exec("UPDATE item SET object = ?, version = '', etag = '' WHERE id = ?", o.Key, o.Item.Number)
}

// recordItem reports whether the item was changed since it was handed out; then
// it stays as it is.
func (s *Spool) recordItem(tx *tx, o *Outcome) (changed bool, err error) {
	now := s.clock.now()
	next := now
	if o.State == Pending || o.State == Settling {
		next += o.Wait.Milliseconds()
	}
	n, err := tx.count(`UPDATE item SET state = ?2, next = ?3, attempts = ?4, reason = ?5,
		missing = CASE WHEN ?6 = 0 THEN 0 WHEN missing = 0 THEN ?7 ELSE missing END,
		version = CASE ?8 WHEN '' THEN version ELSE ?8 END,
		etag = CASE ?9 WHEN '' THEN etag ELSE ?9 END,
		size = CASE ?10 WHEN 0 THEN size ELSE ?10 END
		WHERE id = ?1 AND generation = ?11`,
		o.Item.Number, string(o.State), next, o.Attempts, o.Reason, o.Missing, now, o.Version, o.ETag, o.Size, o.Item.Generation)
	if err != nil || n == 0 || o.State != Done || !o.Item.Inline {
		return n == 0, err
	}
	return false, tx.exec("DELETE FROM content WHERE item = ?", o.Item.Number)
}
