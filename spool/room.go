package spool

import (
	"context"
	"fmt"
)

// mostLog is to how many bytes SQLite's log of writes is cut when it has grown.
const mostLog = 64 << 20

// room returns an ErrFull when nothing more may be taken.
func (s *Spool) room(ctx context.Context) error {
	if n := s.open.Load(); n >= s.opts.MaxItems {
		return fmt.Errorf("%w: %d messages wait to be delivered", ErrFull, n)
	}
	free, err := s.opts.Free(s.opts.Dir)
	if err != nil {
		return err
	}
	if free >= s.opts.MinFree {
		return nil
	}
	unused, err := s.unused(ctx)
	if err != nil {
		return err
	}
	// The log of writes cannot use what is free inside the file.
	if free < min(mostLog, s.opts.MinFree) || free+unused < s.opts.MinFree {
		return fmt.Errorf("%w: %d MiB are free on the disk of %s, %d MiB are wanted", ErrFull, free>>20, s.opts.Dir, s.opts.MinFree>>20)
	}
	return nil
}

// unused is how many bytes of the file will be written to before it grows: those
// of messages that have been delivered. The file never shrinks, so a spool that
// once filled its disk would else never take mail again.
func (s *Spool) unused(ctx context.Context) (n int64, err error) {
	const query = "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"
	if err := s.db.QueryRowContext(ctx, query).Scan(&n); err != nil {
		return 0, fmt.Errorf("spool: unused bytes: %w", err)
	}
	return n, nil
}
