package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Recovery is a message that came out of a dead-letter queue, of which nobody
// has been told yet.
type Recovery struct {
	Message   string    // the item's
	Published time.Time // by AWS's clock; zero: not known
	Cause     string    // why its notification failed, as far as AWS says
}

// Recovered notes recoveries; the first note of a message counts.
func (s *Spool) Recovered(ctx context.Context, recoveries ...Recovery) error {
	return s.writer.do(ctx, func(tx *tx) error {
		for _, r := range recoveries {
			err := tx.exec("INSERT INTO recovery (message, found, published, cause) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
				r.Message, s.clock.now(), millis(r.Published), r.Cause)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Digest is a summary of items for a report.
type Digest struct {
	Total     int64
	Waiting   int64         // of them, not delivered yet
	Oldest    time.Duration // since the first of them came into this state, or was recovered
	Newest    time.Duration // likewise the last
	Published time.Time     // of the earliest; zero: not known, or it was not asked for
	Causes    map[string]int64
	Items     []*Item // some of them, those that wait first

	last int64 // the last recovery in it
}

// Recoveries sums up what has been recovered and not reported, with at most most
// items in it.
func (s *Spool) Recoveries(ctx context.Context, most int) (*Digest, error) {
	d := &Digest{Causes: map[string]int64{}}
	now := s.clock.now()
	var first, latest, published sql.NullInt64
	err := s.db.QueryRowContext(ctx, `SELECT count(*), count(*) FILTER (WHERE item.state IN ('pending', 'queued')),
		min(found), max(found), min(NULLIF(published, 0)), coalesce(max(recovery.id), 0)
		FROM recovery LEFT JOIN item USING (message)`).Scan(&d.Total, &d.Waiting, &first, &latest, &published, &d.last)
	if err != nil {
		return nil, fmt.Errorf("spool: recoveries: %w", err)
	}
	d.Oldest, d.Newest = span(now-first.Int64), span(now-latest.Int64)
	if published.Valid {
		d.Published = time.UnixMilli(published.Int64)
	}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var cause string
		var n int64
		err := rows.Scan(&cause, &n)
		d.Causes[cause] = n
		return err
	}, "SELECT cause, count(*) FROM recovery WHERE id <= ? GROUP BY cause ORDER BY count(*) DESC LIMIT ?", d.last, most)
	if err != nil {
		return nil, fmt.Errorf("spool: recoveries: %w", err)
	}
	d.Items, err = s.pick(ctx, `SELECT item.id FROM recovery JOIN item USING (message) WHERE recovery.id <= ?
		ORDER BY item.state NOT IN ('pending', 'queued'), item.state <> 'held', recovery.id LIMIT ?`, d.last, most)
	return d, err
}

// HeldDigest sums up the held items that did not come from a source, with at
// most most items in it, the oldest.
func (s *Spool) HeldDigest(ctx context.Context, except string, most int) (*Digest, error) {
	d := &Digest{}
	now := s.clock.now()
	var first, latest sql.NullInt64
	err := s.db.QueryRowContext(ctx, "SELECT count(*), min(next), max(next) FROM item WHERE state = 'held' AND source <> ?", except).Scan(&d.Total, &first, &latest)
	if err != nil {
		return nil, fmt.Errorf("spool: held items: %w", err)
	}
	d.Oldest, d.Newest = span(now-first.Int64), span(now-latest.Int64)
	d.Items, err = s.pick(ctx, "SELECT id FROM item WHERE state = 'held' AND source <> ? ORDER BY id LIMIT ?", except, most)
	return d, err
}

// pick loads the items that a query names.
func (s *Spool) pick(ctx context.Context, query string, args ...any) ([]*Item, error) {
	var ids []int64
	err := s.each(ctx, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("spool: choose items: %w", err)
	}
	return s.load(ctx, ids)
}

// Report takes responsibility for a report, and in the same commit notes that
// one of this name was made now and forgets the recoveries in the digest. It
// does so whatever room there is: a report is small, and about trouble.
func (s *Spool) Report(ctx context.Context, name string, report Arrival, of *Digest) error {
	err := s.writer.do(ctx, func(tx *tx) error {
		if _, err := s.accept(tx, &report, Pending); err != nil {
			return err
		}
		if err := tx.exec("DELETE FROM recovery WHERE id <= ?", of.last); err != nil {
			return err
		}
		return tx.exec("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", "report "+name, s.clock.now())
	})
	if err != nil {
		return err
	}
	s.open.Add(1)
	s.signal()
	return nil
}

// Reported is how long ago a report of this name was made, false when never.
func (s *Spool) Reported(ctx context.Context, name string) (ago time.Duration, ever bool, err error) {
	var at int64
	err = s.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", "report "+name).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("spool: last report: %w", err)
	}
	return span(s.clock.now() - at), true, nil
}
