package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Filter chooses items. Empty fields choose all.
type Filter struct {
	States  []State
	Mailbox string // of a delivery, or an envelope address
	Reason  string // part of what the last try failed with, any case
	Limit   int    // 0: no limit
}

// List returns the chosen items, the oldest first.
func (s *Spool) List(ctx context.Context, f Filter) ([]*Item, error) {
	where, args := f.where()
	if f.Limit > 0 {
		where += " ORDER BY id LIMIT " + strconv.Itoa(f.Limit)
	} else {
		where += " ORDER BY id"
	}
	var ids []int64
	err := eachOf(ctx, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, func(ctx context.Context, args ...any) (*sql.Rows, error) {
		return s.db.QueryContext(ctx, "SELECT id FROM item WHERE "+where, args...)
	}, args...)
	if err != nil {
		return nil, fmt.Errorf("spool: list: %w", err)
	}
	return s.load(ctx, ids)
}

func (f *Filter) where() (string, []any) {
	where, args := []string{"1 = 1"}, []any{}
	if len(f.States) > 0 {
		marks := make([]string, len(f.States))
		for i, state := range f.States {
			marks[i] = "?"
			args = append(args, string(state))
		}
		where = append(where, "state IN ("+strings.Join(marks, ", ")+")")
	}
	if f.Mailbox != "" {
		where = append(where, `(EXISTS (SELECT 1 FROM delivery WHERE item = item.id AND mailbox = lower(?))
			OR EXISTS (SELECT 1 FROM recipient WHERE item = item.id AND lower(address) = lower(?)))`)
		args = append(args, f.Mailbox, f.Mailbox)
	}
	if f.Reason != "" {
		where = append(where, `(instr(lower(reason), lower(?)) > 0
			OR EXISTS (SELECT 1 FROM delivery WHERE item = item.id AND instr(lower(reply), lower(?)) > 0))`)
		args = append(args, f.Reason, f.Reason)
	}
	return strings.Join(where, " AND "), args
}

// Find returns the item with this number or message id. The error wraps
// [ErrNotFound] when there is none.
func (s *Spool) Find(ctx context.Context, name string) (*Item, error) {
	number, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		number = 0
	}
	var id int64
	err = s.db.QueryRowContext(ctx, "SELECT id FROM item WHERE message = ? OR id = ?", name, number).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("spool: find %q: %w", name, err)
	}
	items, err := s.load(ctx, []int64{id})
	if err == nil && len(items) == 0 {
		err = fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// Retry makes items due at once, with fresh patience; mailboxes that have the
// message are left alone. It returns how many items it changed: finished ones
// are passed over.
func (s *Spool) Retry(ctx context.Context, numbers ...int64) (int64, error) {
	return s.change(ctx, numbers, func(tx *tx, id int64) (int64, error) {
		// since is left to the daemon's clock where it runs ahead of ours.
		n, err := tx.count(`UPDATE item SET state = 'pending', next = 0, since = max(since, ?), attempts = 0, missing = 0,
			generation = generation + 1 WHERE id = ? AND state IN ('pending', 'held')`, s.clock.now(), id)
		if err != nil || n == 0 {
			return n, err
		}
		return n, tx.exec("DELETE FROM delivery WHERE item = ? AND state IN ('pending', 'held')", id)
	})
}

// Drop gives items up: nothing more is delivered, and no repeated notice of the
// same recipients brings them back. The object in the bucket stays. It returns
// how many items it changed.
func (s *Spool) Drop(ctx context.Context, numbers ...int64) (int64, error) {
	return s.change(ctx, numbers, func(tx *tx, id int64) (int64, error) {
		n, err := tx.count(`UPDATE item SET state = 'dropped', next = ?, generation = generation + 1
			WHERE id = ? AND state IN ('pending', 'held')`, s.clock.now(), id)
		if err != nil || n == 0 {
			return n, err
		}
		if err := tx.exec("UPDATE recipient SET settled = 1 WHERE item = ?", id); err != nil {
			return 0, err
		}
		return n, tx.exec("DELETE FROM content WHERE item = ?", id)
	})
}

func (s *Spool) change(ctx context.Context, numbers []int64, one func(*tx, int64) (int64, error)) (int64, error) {
	var changed int64
	err := s.writer.do(ctx, func(tx *tx) error {
		changed = 0
		for _, id := range numbers {
			n, err := one(tx, id)
			if err != nil {
				return err
			}
			changed += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.signal()
	return changed, nil
}
