package system

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// smallDisk is a state directory on a file system of its own.
type smallDisk struct{ dir string }

// newSmallDisk mounts one; nil where we may not.
func newSmallDisk(t *testing.T) *smallDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	return &smallDisk{disk(t, "300m")}
}

// fill takes the space until so many bytes are left, while homing writes too.
func (d *smallDisk) fill(leave int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		return err
	}
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer f.Close() // nothing was written, the space is only taken
	at := int64(0)
	for piece := int64(st.Bavail)*st.Bsize - leave; piece >= st.Bsize; {
		err := syscall.Fallocate(int(f.Fd()), 0, at, piece)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.ENOSPC): // homing was there first
			piece /= 2
		case err != nil:
			return err
		default:
			if at += piece; leave > 0 {
				return nil
			}
		}
	}
	return nil
}

// free gives the space back.
func (d *smallDisk) free() error { return os.Remove(d.ballast()) }

func (d *smallDisk) ballast() string { return filepath.Join(d.dir, "ballast") }
