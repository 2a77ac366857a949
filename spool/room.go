package spool

import (
	"context"
	"fmt"
	"syscall"
)

const (
	// EnoughFree is how many bytes of room there must be: with less the spool takes
	// no mail. See [Spool.Room].
	EnoughFree = 256 << 20
	// mostLog is to how many bytes SQLite's log of writes is cut when it has grown.
	mostLog = 64 << 20
)

// room returns an ErrFull when nothing more may be taken.
func (s *Spool) room(ctx context.Context) error {
	if n := s.open.Load(); n >= s.opts.MaxItems {
		return fmt.Errorf("%w: %d messages wait to be delivered", ErrFull, n)
	}
	free, err := s.opts.Free(s.opts.Dir)
	if err != nil || free >= EnoughFree {
		return err
	}
	if free, err = s.withUnused(ctx, free); err != nil || free >= EnoughFree {
		return err
	}
	return fmt.Errorf("%w: %d MiB are free on the disk of %s and inside %s, %d MiB are wanted", ErrFull, free>>20, s.opts.Dir, FileName, EnoughFree>>20)
}

// Room is how many bytes the spool may still write. What decides is [EnoughFree].
func (s *Spool) Room(ctx context.Context) (int64, error) {
	free, err := s.opts.Free(s.opts.Dir)
	if err != nil {
		return 0, err
	}
	return s.withUnused(ctx, free)
}

// withUnused adds to what is free on the disk the bytes of the file that will be
// written to before it grows: those of messages that have been delivered. The
// file never shrinks, so a spool that once filled its disk would else never take
// mail again. Without room for the log of writes, which cannot use what is inside
// the file, they are of no use.
func (s *Spool) withUnused(ctx context.Context, free int64) (int64, error) {
	if free < mostLog {
		return free, nil
	}
	const query = "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"
	var unused int64
	if err := s.db.QueryRowContext(ctx, query).Scan(&unused); err != nil {
		return 0, fmt.Errorf("spool: unused bytes: %w", err)
	}
	return free + unused, nil
}

// Free returns how many bytes an unprivileged user may still write to the disk
// that holds a directory.
func Free(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
