package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Took reports whether mailbox took mail within the history.
func (s *Spool) Took(ctx context.Context, mailbox string) (bool, error) {
	var took int64
	err := s.db.QueryRowContext(ctx, "SELECT took FROM mailbox WHERE name = ?", mailbox).Scan(&took)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil && took > s.horizon(), err
}

// horizon is the time before which nothing need be remembered.
func (s *Spool) horizon() int64 { return s.clock.now() - s.opts.History.Milliseconds() }

// forgetAtOnce bounds one commit of forget, so that accepting goes on between.
const forgetAtOnce = 500

// forget deletes finished items, and mailboxes, last heard of before the history.
func (s *Spool) forget(ctx context.Context) error {
	for {
		var deleted int64
		err := s.writer.do(ctx, func(tx *tx) (err error) {
			deleted, err = forgetSome(tx, s.horizon())
			return err
		})
		if err != nil || deleted < forgetAtOnce {
			return err
		}
	}
}

func forgetSome(tx *tx, before int64) (deleted int64, err error) {
	// One statement per state, so that each walks the index from its oldest.
	for _, state := range []State{Done, Dropped, Queued} {
		const old = "(SELECT id FROM item WHERE state = ?1 AND next < ?2 ORDER BY next LIMIT ?3)"
		for _, table := range []string{"recipient", "delivery", "content"} {
			if err := tx.exec("DELETE FROM "+table+" WHERE item IN "+old, string(state), before, forgetAtOnce); err != nil {
				return 0, err
			}
		}
		n, err := tx.count("DELETE FROM item WHERE id IN "+old, string(state), before, forgetAtOnce)
		if err != nil {
			return 0, err
		}
		deleted = max(deleted, n)
	}
	if err := tx.exec("DELETE FROM recovery WHERE found < ?", before); err != nil {
		return 0, err
	}
	return deleted, tx.exec("DELETE FROM mailbox WHERE took < ?", before)
}

// Counts is how many items stand where.
type Counts struct {
	Due, Waiting, Active, Held int64
	Oldest                     time.Duration // age of the oldest item that is not finished; 0: there is none
}

// Counts counts the unfinished items.
func (s *Spool) Counts(ctx context.Context) (Counts, error) {
	var c Counts
	var oldest sql.NullInt64
	now := s.clock.now()
	err := s.db.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM item WHERE state = 'pending' AND next <= ?1),
		(SELECT count(*) FROM item WHERE state = 'pending' AND next > ?1),
		(SELECT count(*) FROM item WHERE state = 'held'),
		(SELECT min(created) FROM item WHERE state = 'pending')`, now).Scan(&c.Due, &c.Waiting, &c.Held, &oldest)
	if err != nil {
		return c, fmt.Errorf("spool: count: %w", err)
	}
	c.Active = int64(s.Active())
	c.Due = max(c.Due-c.Active, 0)
	if oldest.Valid {
		c.Oldest = span(now - oldest.Int64)
	}
	return c, nil
}

// count counts the items that MaxItems bounds.
func (s *Spool) count(ctx context.Context) error {
	var n int64
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM item WHERE state IN ('pending', 'held')").Scan(&n); err != nil {
		return err
	}
	s.open.Store(n)
	return nil
}
