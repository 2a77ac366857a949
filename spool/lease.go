package spool

import (
	"context"
	"errors"
)

// ErrBusy says that the message is being worked already.
var ErrBusy = errors.New("the message is being worked at this moment")

// Lease is Accept for a message that somebody else keeps until it is delivered,
// an SQS queue: the row is only the ledger's, and this process or another will
// be handed the message again. The item returned is the caller's until
// [Spool.Release]. It is nil when there is nothing to do: the message has been
// delivered, or the spool itself is responsible for it. The error wraps ErrBusy
// while another lease of the message lasts.
func (s *Spool) Lease(ctx context.Context, a Arrival) (*Item, Taken, error) {
	if err := s.room(ctx); err != nil {
		return nil, "", err
	}
	var taken Taken
	var id int64
	var state State
	err := s.writer.do(ctx, func(tx *tx) (err error) {
		if taken, err = s.accept(tx, &a, Queued); err != nil {
			return err
		}
		return tx.row("SELECT id, state FROM item WHERE message = ?", a.ID).Scan(&id, &state)
	})
	if err != nil { // where ctx ended, the writer may be at work on the others yet
		return nil, "", err
	}
	if state != Queued {
		if state == Pending {
			s.signal() // a held or finished one that this made due is the courier's to find
		}
		return nil, taken, nil
	}
	item, err := s.claimOne(ctx, id)
	return item, taken, err
}

func (s *Spool) claimOne(ctx context.Context, id int64) (*Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, active := s.active[id]; active {
		return nil, ErrBusy
	}
	items, err := s.load(ctx, []int64{id})
	if err != nil || len(items) == 0 || items[0].State != Queued {
		return nil, err
	}
	s.active[id] = leasedLane
	s.lanes[leasedLane]++
	return items[0], nil
}

// leasedLane is the lane of leased items. It cannot be an address.
const leasedLane = "\x01"
