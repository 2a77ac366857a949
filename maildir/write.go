package maildir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// write stores the octets in tmp, and moves the file into new once they are on
// the disk, so that no reader ever sees a part of a message. Then it syncs new,
// for the name has to survive as well. A file that is left in tmp because we
// were killed is removed by Dovecot after some time.
func (m *Maildir) write(box *os.Root, octets [][]byte) error {
	var size int
	for _, part := range octets {
		size += len(part)
	}
	name := m.name(size)
	tmp := path.Join("tmp", name)
	if err := m.store(box, tmp, octets); err != nil {
		return err
	}
	if err := box.Rename(tmp, path.Join("new", name)); err != nil {
		return errors.Join(err, box.Remove(tmp))
	}
	return m.syncDir(box, "new")
}

// store leaves a file whose octets are on the disk, or none.
func (m *Maildir) store(box *os.Root, name string, octets [][]byte) error {
	file, err := box.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = writeAll(file, octets)
	if err == nil {
		err = m.sync(file)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, box.Remove(name))
	}
	return nil
}

func writeAll(file *os.File, octets [][]byte) error {
	for _, part := range octets {
		if _, err := file.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in a directory durable, where the file system can: some
// of FUSE and of networks cannot, and say EINVAL (fsync(2)), which Dovecot takes
// for done, too.
func (m *Maildir) syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := m.sync(d); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("sync %s: %w", filepath.Join(root.Name(), dir), err)
	}
	return nil
}

// name is unique, on a disk that several machines share too. From S= in it
// Dovecot knows the size without asking the disk (its documentation of mailbox
// formats, Maildir, filename extensions).
func (m *Maildir) name(size int) string {
	now := time.Now()
	return fmt.Sprintf("%d.M%06dP%dR%s.%s,S=%d", now.Unix(), now.Nanosecond()/1000, os.Getpid(), rand.Text(), m.host, size)
}

// hostPart is the machine's name with the replacements that the Maildir format
// asks for. The random part of the names is enough where it is not known.
func hostPart() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return strings.NewReplacer("/", `\057`, ":", `\072`, ",", `\054`).Replace(host)
}
