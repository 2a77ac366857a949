// Package maildir delivers into Maildirs on the disk, for a Dovecot that shares
// nothing else with us, and for the demo: https://cr.yp.to/proto/maildir.html
//
// A message that Deliver has answered for is on the disk, and so is its name. The
// files are not written by go-maildir: it opens them by a path, which a link can
// lead astray, and hides them, so that nobody can sync them before they are moved
// into new. What is written here is what go-maildir reads.
package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
)

// Maildir delivers to the Maildirs that a pattern names. Its methods may be
// called concurrently.
type Maildir struct {
	base  string // exists, and no delivery leaves it
	parts pattern
	host  string
	sync  func(*os.File) error // (*os.File).Sync, except in tests

	mu    sync.Mutex
	ready map[string]struct{} // Maildirs that need no second look
}

// maxReady bounds that set: whoever can write to any address can fill it.
const maxReady = 10000

// New returns the Maildirs of a pattern such as /srv/mail/%d/%n: an absolute path
// in which %u stands for the address, %n for its local part, both without their
// +detail, %d for the domain and %% for a percent sign.
//
// The directory before the first of them has to exist (see Prepare), so that a
// disk that has gone away is not taken for an empty one; the rest is made when it
// is needed. Nothing is touched yet.
func New(pattern string) (*Maildir, error) {
	base, parts, err := parse(pattern)
	if err != nil {
		return nil, fmt.Errorf("maildir pattern %q: %w", pattern, err)
	}
	return &Maildir{
		base:  base,
		parts: parts,
		host:  hostPart(),
		sync:  (*os.File).Sync,
		ready: make(map[string]struct{}),
	}, nil
}

// Prepare makes the directory before the first variable where it is missing.
// Once homing runs it is not made again: a disk that has gone away is waited for.
func (m *Maildir) Prepare() error { return os.MkdirAll(m.base, 0o700) }

// Deliver writes a message, its parts one after another, to the Maildir of a
// mailbox. It puts Return-Path and Delivered-To before it (RFC 5321 section 4.4),
// with the line end that the message's first line has, and changes nothing else.
//
// Without an error the message is there for good. With an error it is not,
// unless what failed is the last step, syncing the directory: then a repetition
// makes a second copy. An error with Permanent() true says that the mailbox
// can have no Maildir, or the message no such header; one with Away() true that
// the disk is missing. Any other may pass.
func (m *Maildir) Deliver(ctx context.Context, sender, mailbox string, octets [][]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.deliver(sender, mailbox, octets); err != nil {
		return fmt.Errorf("deliver to the Maildir of %q: %w", mailbox, err)
	}
	return nil
}

func (m *Maildir) deliver(sender, mailbox string, octets [][]byte) error {
	header, err := envelope(sender, mailbox, lineEnd(octets))
	if err != nil {
		return err
	}
	dir, err := m.parts.expand(mailbox)
	if err != nil {
		return err
	}
	base, err := m.open()
	if err != nil {
		return err
	}
	defer base.Close()
	box, err := m.box(base, dir)
	if err != nil {
		return err
	}
	defer box.Close()
	if err := m.write(box, append([][]byte{header}, octets...)); err != nil {
		m.forget(dir) // something in it may have been removed
		return err
	}
	return nil
}

// Probe reports whether deliveries can be expected to succeed: the directory
// before the first variable exists, and can be written to.
func (m *Maildir) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	base, err := m.open()
	if err != nil {
		return err
	}
	defer base.Close()
	name := ".homing-probe-" + m.name(0)
	file, err := base.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write to %s: %w", m.base, err)
	}
	return errors.Join(file.Close(), base.Remove(name))
}

// Close does nothing: no file is kept open between deliveries.
func (m *Maildir) Close() error { return nil }

// open opens the base for each delivery anew, for a disk may come and go.
func (m *Maildir) open() (*os.Root, error) {
	base, err := os.OpenRoot(m.base)
	for _, missing := range []error{fs.ErrNotExist, syscall.ESTALE, syscall.ENOTCONN} {
		if errors.Is(err, missing) {
			return nil, away{err}
		}
	}
	return base, err
}

// box opens a Maildir and makes it at first, with everything above it.
func (m *Maildir) box(base *os.Root, dir string) (*os.Root, error) {
	if m.isReady(dir) {
		box, err := base.OpenRoot(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return box, err
		}
	}
	if err := base.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"tmp", "new", "cur"} {
		err := base.Mkdir(path.Join(dir, name), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	// That a directory is found proves nothing: the process that made it may
	// have been killed before this.
	for above := dir; above != "."; above = path.Dir(above) {
		if err := m.syncDir(base, above); err != nil {
			return nil, err
		}
	}
	if err := m.syncDir(base, "."); err != nil {
		return nil, err
	}
	m.remember(dir)
	return base.OpenRoot(dir)
}

func (m *Maildir) isReady(dir string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ready := m.ready[dir]
	return ready
}

func (m *Maildir) remember(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.ready) >= maxReady {
		clear(m.ready)
	}
	m.ready[dir] = struct{}{}
}

func (m *Maildir) forget(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.ready, dir)
}

// away is the error of a disk that is missing.
type away struct{ error }

func (a away) Error() string {
	return a.error.Error() + " (it is not made here: mount the disk, or make the directory once)"
}

func (a away) Unwrap() error { return a.error }

// Away reports that the destination is missing as a whole.
func (a away) Away() bool { return true }

// impossible is the error of what can never be delivered.
type impossible string

func (i impossible) Error() string { return string(i) }

// Permanent reports that a repetition cannot succeed.
func (i impossible) Permanent() bool { return true }
