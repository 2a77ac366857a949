// Package spool is homing's durable queue and its ledger of deliveries, one
// SQLite file. It knows messages, recipients and mailboxes; it knows nothing of
// S3, OpenPGP or LMTP.
//
// An item is one message that homing has taken responsibility for. Its row
// stays as the ledger after the work is done, so that a notification which SNS,
// a dead-letter queue or a sweep repeats is recognised.
//
// All writes go through one goroutine that commits them in groups: what a call
// has returned nil for is on disk (WAL, synchronous=FULL). A second process may
// read and change the same file meanwhile; see [Options.Guest].
//
// Depends on modernc.org/sqlite: pure Go, so that homing stays one static
// binary, and a file that anybody can inspect with the sqlite3 program.
package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// FileName is the spool's database inside the state directory.
const FileName = "homing.db"

// Options says where a spool lives and how far it may grow.
type Options struct {
	Dir      string        // state directory; made (0700) when missing
	History  time.Duration // how long finished items are remembered
	MaxItems int64         // unfinished items; beyond it Accept answers ErrFull; 0: 1,000,000
	Log      *slog.Logger

	// Guest opens the spool of a daemon that may be running, for a person's
	// commands: no lock is taken, nothing is made, the clock is not kept.
	Guest bool
	// Now may be nil: time.Now. Its monotonic reading drives the spool's clock.
	Now func() time.Time
	// Mailbox may be nil: the mailbox that an envelope address most likely leads
	// to, the address itself. It only decides whose turn an item waits for.
	Mailbox func(address string) string
	// Free may be nil: the free bytes of the disk that holds a directory.
	Free func(dir string) (int64, error)
}

func (o *Options) fill() {
	if o.MaxItems == 0 {
		o.MaxItems = 1_000_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Mailbox == nil {
		o.Mailbox = func(address string) string { return address }
	}
	if o.Free == nil {
		o.Free = Free
	}
}

// ErrFull is wrapped by Accept's error when the spool holds as many items as it
// may, or the disk is nearly full. The sender should come back later.
var ErrFull = errors.New("the spool is full")

// ErrNotFound is wrapped when no item has the id or message id asked for.
var ErrNotFound = errors.New("no such item")

// Spool is an open spool. Its methods may be called concurrently.
type Spool struct {
	opts   Options
	db     *sql.DB
	lock   *os.File // nil for a guest
	clock  *clock
	writer *writer
	made   time.Time // zero for a guest
	killed bool
	stmts  sync.Map         // query -> *sql.Stmt, for reading
	took   map[string]int64 // of the writer alone: when the table mailbox was last told

	changed chan struct{} // capacity 1: something may be due
	open    atomic.Int64  // unfinished items, as last counted plus accepted since

	mu     sync.Mutex // guards what the courier has claimed
	active map[int64]string
	lanes  map[string]int
	cursor string // the lane after which the next scan for due items begins
}

// Open opens the spool in o.Dir, making it when there is none, and brings an
// older schema up to date. A damaged file, another program's file and a newer
// homing's file are errors and stay as they are.
func Open(ctx context.Context, o Options) (*Spool, error) {
	o.fill()
	path := filepath.Join(o.Dir, FileName)
	s := &Spool{opts: o, changed: make(chan struct{}, 1), active: map[int64]string{}, lanes: map[string]int{}, took: map[string]int64{}}
	if err := s.prepare(path); err != nil {
		return nil, err
	}
	if err := s.connect(ctx, path); err != nil {
		return nil, errors.Join(fmt.Errorf("spool %s: %w", path, err), s.release())
	}
	return s, nil
}

// prepare makes the directory and takes the lock; a guest needs both to exist.
func (s *Spool) prepare(path string) error {
	if s.opts.Guest {
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("no spool here (is HOMING_STATE_DIR right?): %w", err)
		}
		if err != nil {
			return fmt.Errorf("the spool cannot be looked at (is this homing's user, and HOMING_STATE_DIR right?): %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("state directory: %w (make it writable for this user or set HOMING_STATE_DIR)", err)
	}
	var err error
	s.lock, s.killed, err = lockDir(s.opts.Dir)
	return err
}

func (s *Spool) connect(ctx context.Context, path string) error {
	db, err := openDatabase(ctx, path, s.opts.Guest)
	if err != nil {
		return err
	}
	s.db = db
	if s.clock, err = loadClock(ctx, db, s.opts.Now); err != nil {
		return err
	}
	if s.writer, err = newWriter(ctx, db, func() { clear(s.took) }); err != nil {
		return err
	}
	if s.opts.Guest {
		return nil
	}
	if err := s.count(ctx); err != nil {
		return err
	}
	if err := s.keepClock(ctx); err != nil { // what cannot be written to is found now
		return err
	}
	return s.keepMade(ctx)
}

// release closes what is open, for Close and for an Open that failed.
func (s *Spool) release() error {
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	s.stmts.Range(func(_, stmt any) bool {
		errs = append(errs, stmt.(*sql.Stmt).Close())
		return true
	})
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.lock != nil {
		errs = append(errs, unlock(s.lock))
	}
	return errors.Join(errs...)
}

// Close commits what is under way and closes the file.
func (s *Spool) Close() error { return s.release() }

// Ready commits a small write and returns nil when the spool can take mail:
// the disk has room and the database accepts it.
func (s *Spool) Ready(ctx context.Context) error {
	if err := s.room(ctx); err != nil {
		return err
	}
	return s.keepClock(ctx)
}

// Maintain keeps the spool in order until ctx ends: it forgets what is older
// than the history, keeps the clock, and notices what another process changed.
func (s *Spool) Maintain(ctx context.Context) error {
	look, tidy := time.NewTicker(500*time.Millisecond), time.NewTicker(time.Minute)
	defer look.Stop()
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.keepClock(context.WithoutCancel(ctx))
		case <-look.C:
			if foreign, err := s.writer.foreign(ctx); err == nil && foreign {
				s.signal()
			}
		case <-tidy.C:
			if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
				s.opts.Log.Error("the spool could not be tidied; it is tried again in a minute", "error", err)
			}
		}
	}
}

func (s *Spool) tidy(ctx context.Context) error {
	return errors.Join(s.keepClock(ctx), s.forget(ctx), s.count(ctx))
}

// Killed reports whether the daemon before this one did not close the spool.
func (s *Spool) Killed() bool { return s.killed }

// Changed receives whenever something may have become due.
func (s *Spool) Changed() <-chan struct{} { return s.changed }

func (s *Spool) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
