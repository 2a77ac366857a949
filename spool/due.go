package spool

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"
)

// lanesAtOnce bounds how many lanes one scan looks at; the next begins after them.
const lanesAtOnce = 256

// Due hands out items whose time has come, at most room of them and at most
// perLane that wait for the same mailbox, those handed out before included.
// Each must be given back by [Spool.Release]; until then it is not handed out
// again.
func (s *Spool) Due(ctx context.Context, room, perLane int) ([]*Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	ends := 1
	if s.cursor != "" {
		ends = 2 // the lanes before the cursor want their turn too
	}
	for ends > 0 && len(ids) < room {
		found, end, err := s.scan(ctx, perLane)
		if err != nil {
			s.unclaim(ids)
			return nil, err
		}
		if end {
			ends--
		}
		ids = append(ids, s.claim(found, room-len(ids), perLane)...)
	}
	items, err := s.load(ctx, ids)
	if err != nil {
		s.unclaim(ids)
		return nil, err
	}
	return s.stillDue(ids, items), nil
}

// stillDue leaves out, and gives back, what a person has dropped or held up
// between the scan and the reading.
func (s *Spool) stillDue(ids []int64, items []*Item) []*Item {
	var due []*Item
	left := slices.Clone(ids)
	for _, it := range items {
		if (it.State == Pending || it.State == Settling) && it.Wait <= 0 {
			due = append(due, it)
			left = slices.DeleteFunc(left, func(id int64) bool { return id == it.Number })
		}
	}
	s.unclaim(left)
	return due
}

type candidate struct {
	id   int64
	lane string
}

// scan finds due items of the next lanes in turn. end says that the last lane
// was among them; the scan after that begins with the first again.
func (s *Spool) scan(ctx context.Context, perLane int) (found []candidate, end bool, err error) {
	lanes, err := s.nextLanes(ctx)
	if err != nil {
		return nil, false, err
	}
	now := s.clock.now()
	// Those handed out already are still due and may come first: read past them.
	for _, lane := range lanes {
		found, err = s.candidates(ctx, found, lane,
			"SELECT id FROM item WHERE state = 'pending' AND lane = ? AND next <= ? ORDER BY next LIMIT ?", lane, now, 2*perLane)
		if err != nil {
			return nil, false, err
		}
	}
	if end = len(lanes) < lanesAtOnce; end {
		found, err = s.candidates(ctx, found, settlingLane,
			"SELECT id FROM item WHERE state = 'settling' AND next <= ? ORDER BY next LIMIT ?", now, 2*perLane)
		s.cursor = ""
	} else {
		s.cursor = lanes[len(lanes)-1]
	}
	return found, end, err
}

// settlingLane is the lane of items that wait for no mailbox any more. It
// cannot be an address.
const settlingLane = "\x00"

func (s *Spool) candidates(ctx context.Context, found []candidate, lane, query string, args ...any) ([]candidate, error) {
	err := s.each(ctx, func(rows *sql.Rows) error {
		c := candidate{lane: lane}
		err := rows.Scan(&c.id)
		found = append(found, c)
		return err
	}, query, args...)
	return found, err
}

// nextLanes jumps through the index from lane to lane, so that a long queue for
// one mailbox costs nothing.
func (s *Spool) nextLanes(ctx context.Context) (lanes []string, err error) {
	err = s.each(ctx, func(rows *sql.Rows) error {
		var lane string
		err := rows.Scan(&lane)
		lanes = append(lanes, lane)
		return err
	}, `WITH RECURSIVE l (lane) AS (
		SELECT min(lane) FROM item WHERE state = 'pending' AND (lane > ?1 OR ?1 = '')
		UNION ALL
		SELECT (SELECT min(lane) FROM item WHERE state = 'pending' AND lane > l.lane) FROM l WHERE l.lane IS NOT NULL
		) SELECT lane FROM l WHERE lane IS NOT NULL LIMIT ?2`, s.cursor, lanesAtOnce)
	return lanes, err
}

func (s *Spool) claim(found []candidate, room, perLane int) (ids []int64) {
	for _, c := range found {
		if len(ids) == room {
			break
		}
		if _, taken := s.active[c.id]; taken || s.lanes[c.lane] >= perLane {
			continue
		}
		s.active[c.id] = c.lane
		s.lanes[c.lane]++
		ids = append(ids, c.id)
	}
	return ids
}

// Release gives an item back.
func (s *Spool) Release(number int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unclaim([]int64{number})
}

func (s *Spool) unclaim(ids []int64) {
	for _, id := range ids {
		lane, ok := s.active[id]
		if !ok {
			continue
		}
		delete(s.active, id)
		if s.lanes[lane]--; s.lanes[lane] == 0 {
			delete(s.lanes, lane)
		}
	}
}

// Active is how many items are handed out.
func (s *Spool) Active() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active)
}

// Next is how long it takes until an item becomes due that is not yet, and
// false when none waits.
func (s *Spool) Next(ctx context.Context) (time.Duration, bool, error) {
	now := s.clock.now()
	var next int64
	err := s.db.QueryRowContext(ctx, `SELECT min(next) FROM (
		SELECT min(next) AS next FROM item WHERE state = 'pending' AND next > ?1
		UNION ALL SELECT min(next) FROM item WHERE state = 'settling' AND next > ?1) HAVING min(next) NOT NULL`, now).Scan(&next)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return time.Duration(next-now) * time.Millisecond, err == nil, err
}
