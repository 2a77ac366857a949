package spool

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// clock is the spool's own time, in milliseconds. It starts at the wall clock's
// time when the spool is made and from then on only moves forward with the
// monotonic clock; across a restart it moves by the wall clock's difference,
// never back and never more than a day. So a wall clock that jumps can neither
// put a retry out of reach nor make the history look old. After a longer pause
// the spool's time lags behind: things are merely remembered longer.
type clock struct {
	base  int64
	start time.Time
	wall  func() time.Time
}

const maxPause = 24 * time.Hour

func (c *clock) now() int64 { return c.base + c.wall().Sub(c.start).Milliseconds() }

// loadClock reads the clock last kept in db.
func loadClock(ctx context.Context, db *sql.DB, wall func() time.Time) (*clock, error) {
	now := wall()
	c := &clock{base: now.UnixMilli(), start: now, wall: wall}
	rows, err := db.QueryContext(ctx, "SELECT name, value FROM meta WHERE name IN ('clock', 'wall')")
	if err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	defer rows.Close()
	kept := map[string]int64{}
	for rows.Next() {
		var name string
		var value int64
		if err := rows.Scan(&name, &value); err != nil {
			return nil, fmt.Errorf("clock: %w", err)
		}
		kept[name] = value
	}
	if at, ok := kept["clock"]; ok {
		pause := now.UnixMilli() - kept["wall"]
		c.base = at + min(max(pause, 0), maxPause.Milliseconds())
	}
	return c, rows.Err()
}

// keepClock commits the present time, which also shows that the spool can commit.
func (s *Spool) keepClock(ctx context.Context) error {
	return s.writer.do(ctx, func(tx *tx) error {
		return tx.exec("INSERT INTO meta VALUES ('clock', ?), ('wall', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
			s.clock.now(), s.opts.Now().UnixMilli())
	})
}
