package spool

import (
	"context"
	"database/sql"
	"slices"
	"time"
)

const (
	// page is how many due items a look reads in the order of their time.
	page = 512
	// lanesAtOnce bounds how many lanes a look goes through beyond that page.
	lanesAtOnce = 256
	// settlers is how many of the items handed out may be ones that only settle.
	settlers = 8
	// formsAtOnce is how many of them may be messages of the contact form: each is
	// a connection to a provider.
	formsAtOnce = 4
)

// Part says which items are asked for: while a destination is away, those that
// go there are left where they are.
type Part int

// The parts.
const (
	All       Part = iota
	OnlyForms      // messages of the contact form
	NoForms        // all others
)

// formLane is the lane of messages of the contact form. It cannot be an address.
const formLane = "\x02"

// has reports whether a lane belongs to the part.
func (p Part) has(lane string) bool {
	return p == All || (lane == formLane) == (p == OnlyForms)
}

// pending is the query for due items of the part.
func (p Part) pending() string {
	lanes := ""
	switch p {
	case OnlyForms:
		lanes = "AND lane = char(2)"
	case NoForms:
		lanes = "AND lane <> char(2)"
	}
	return "SELECT id, lane FROM item WHERE state = 'pending' AND next <= ? " + lanes + " ORDER BY next LIMIT ?"
}

// Due hands out items of a part whose time has come, at most room of them and at
// most perLane that wait for the same mailbox, those handed out before included.
// Each must be given back by [Spool.Release]; until then it is not handed out
// again.
func (s *Spool) Due(ctx context.Context, part Part, room, perLane int) ([]*Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, err := s.choose(ctx, part, room, perLane)
	if err != nil {
		s.unclaim(ids)
		return nil, err
	}
	items, err := s.load(ctx, ids)
	if err != nil {
		s.unclaim(ids)
		return nil, err
	}
	return s.stillDue(ids, items), nil
}

// choose claims items: some to settle, then the oldest, and where more are due
// than a page holds, a quarter of the room goes to lanes in turn, so that a long
// queue for a few mailboxes does not hide the others.
func (s *Spool) choose(ctx context.Context, part Part, room, perLane int) (ids []int64, err error) {
	if part != OnlyForms { // there is nothing to settle about these
		found, err := s.candidates(ctx, nil, "SELECT id, ?1 FROM item WHERE state = 'settling' AND next <= ?2 ORDER BY next LIMIT ?3",
			settlingLane, s.clock.now(), 2*settlers)
		if err != nil {
			return nil, err
		}
		ids = s.claim(found, min(room, settlers), settlers)
	}
	found, err := s.candidates(ctx, nil, part.pending(), s.clock.now(), page)
	if err != nil {
		return ids, err
	}
	share := room - len(ids)
	if len(found) == page {
		share -= share / 4
	}
	ids = append(ids, s.claim(found, share, perLane)...)
	if len(found) < page || len(ids) == room {
		return ids, nil
	}
	found, err = s.hop(ctx, part, perLane)
	return append(ids, s.claim(found, room-len(ids), perLane)...), err
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

// settlingLane is the lane of items that wait for no mailbox any more. It
// cannot be an address.
const settlingLane = "\x00"

func (s *Spool) candidates(ctx context.Context, found []candidate, query string, args ...any) ([]candidate, error) {
	err := s.each(ctx, func(rows *sql.Rows) error {
		var c candidate
		err := rows.Scan(&c.id, &c.lane)
		found = append(found, c)
		return err
	}, query, args...)
	return found, err
}

// hop finds due items of the lanes after those of the last time.
func (s *Spool) hop(ctx context.Context, part Part, perLane int) (found []candidate, err error) {
	lanes, err := s.nextLanes(ctx)
	if err != nil {
		return nil, err
	}
	now := s.clock.now()
	for _, lane := range lanes {
		if !part.has(lane) {
			continue
		}
		// Those handed out already are still due and may come first: read past them.
		found, err = s.candidates(ctx, found, "SELECT id, lane FROM item WHERE state = 'pending' AND lane = ? AND next <= ? ORDER BY next LIMIT ?",
			lane, now, 2*perLane)
		if err != nil {
			return nil, err
		}
	}
	s.cursor = ""
	if len(lanes) == lanesAtOnce {
		s.cursor = lanes[len(lanes)-1]
	}
	return found, nil
}

// nextLanes jumps through the index from lane to lane, so that a long queue for
// one mailbox costs nothing.
func (s *Spool) nextLanes(ctx context.Context) (lanes []string, err error) {
	first := "lane > ?1"
	if s.cursor == "" {
		first = "lane >= ?1" // the lane without a name is one too
	}
	err = s.each(ctx, func(rows *sql.Rows) error {
		var lane string
		err := rows.Scan(&lane)
		lanes = append(lanes, lane)
		return err
	}, `WITH RECURSIVE l (lane) AS (
		SELECT min(lane) FROM item WHERE state = 'pending' AND `+first+`
		UNION ALL
		SELECT (SELECT min(lane) FROM item WHERE state = 'pending' AND lane > l.lane) FROM l WHERE l.lane IS NOT NULL
		) SELECT lane FROM l WHERE lane IS NOT NULL LIMIT ?2`, s.cursor, lanesAtOnce)
	return lanes, err
}

// claim takes candidates for the caller, from the lanes in turn.
func (s *Spool) claim(found []candidate, room, perLane int) (ids []int64) {
	seen := map[string]bool{}
	for len(found) > 0 && len(ids) < room {
		clear(seen)
		later := found[:0] // it never overtakes what is read
		for _, c := range found {
			_, taken := s.active[c.id]
			most := perLane
			if c.lane == formLane {
				most = min(most, formsAtOnce)
			}
			switch {
			case taken || s.lanes[c.lane] >= most:
			case seen[c.lane] || len(ids) == room:
				later = append(later, c)
			default:
				seen[c.lane] = true
				s.active[c.id] = c.lane
				s.lanes[c.lane]++
				ids = append(ids, c.id)
			}
		}
		found = later
	}
	return ids
}

// Release gives an item back.
func (s *Spool) Release(number int64) {
	s.mu.Lock()
	leased := s.active[number] == leasedLane
	s.unclaim([]int64{number})
	s.mu.Unlock()
	if leased {
		s.signal() // it may have become the spool's own meanwhile
	}
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

// Active is how many items Due has handed out.
func (s *Spool) Active() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active) - s.lanes[leasedLane]
}

// Next is how long it takes until an item becomes due that is not yet, and
// false when none waits. What becomes due meanwhile is missed unless Due is
// asked after it.
func (s *Spool) Next(ctx context.Context) (time.Duration, bool, error) {
	now := s.clock.now()
	var next int64
	some := false
	err := s.each(ctx, func(rows *sql.Rows) error {
		some = true
		return rows.Scan(&next)
	}, `SELECT min(next) FROM (
		SELECT min(next) AS next FROM item WHERE state = 'pending' AND next > ?1
		UNION ALL SELECT min(next) FROM item WHERE state = 'settling' AND next > ?1) HAVING min(next) NOT NULL`, now)
	return time.Duration(next-now) * time.Millisecond, some, err
}
