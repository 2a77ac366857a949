package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrRunning is wrapped by Open's error when another homing works the spool.
var ErrRunning = errors.New("another homing is running on it; give each its own HOMING_STATE_DIR")

// lockDir makes sure that one daemon at a time works a spool: claims on items
// are kept in memory, so a second one would deliver everything twice. While the
// daemon runs the file is not empty, which tells the next whether it was killed.
func lockDir(dir string) (_ *os.File, killed bool, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "homing.lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("state directory: %w (make it writable for this user or set HOMING_STATE_DIR)", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrRunning
	}
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("state directory %s: %w", dir, err), f.Close())
	}
	st, err := f.Stat()
	if err == nil {
		// A full disk is no reason not to start; it is only not told next time.
		_, _ = f.WriteAt([]byte("in use\n"), 0)
		killed = st.Size() > 0
	}
	return f, killed, nil
}

// unlock empties the file: all was closed in order.
func unlock(f *os.File) error { return errors.Join(f.Truncate(0), f.Close()) }
