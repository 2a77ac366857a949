package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// recipientsMark is the first line of a file that mailcow-aliases wrote.
const recipientsMark = "# Written by homing mailcow-aliases"

// recipientsFile is a file of recipient rules that a program writes. A homing
// may read it at any moment.
type recipientsFile struct {
	path  string
	force bool // write over what looks as if it were still wanted
}

// replace puts text in the place of what is there, durably and at once, and says
// what came of it. With an error the file is as it was.
func (f recipientsFile) replace(text string) (done string, err error) {
	old, err := readWhole(f.path)
	if err != nil {
		return "", fmt.Errorf("%s: %w; nothing was written", f.path, err)
	}
	if old == text {
		return fmt.Sprintf("unchanged, %d rules", len(ruleLines(text))), nil
	}
	if err := f.dare(old, text); err != nil {
		return "", fmt.Errorf("%s: %w; nothing was written", f.path, err)
	}
	if err := writeWhole(f.path, text); err != nil {
		return "", fmt.Errorf("writing %s: %w", f.path, err)
	}
	added, gone := compare(ruleLines(old), ruleLines(text))
	return fmt.Sprintf("%d rules, %d of them new; %d gone", len(ruleLines(text)), added, gone), nil
}

// dare refuses to write over a person's work, and to take away most of the rules:
// mailcow may have lost its database and not the mail that is on its way.
func (f recipientsFile) dare(old, text string) error {
	before, after := len(ruleLines(old)), len(ruleLines(text))
	switch {
	case f.force || old == "":
		return nil
	case !strings.HasPrefix(old, recipientsMark+"\n"):
		return errors.New("it was not written by this command; give another file, or --force")
	case after*2 < before:
		return fmt.Errorf("it has %d rules and mailcow would leave %d of them; if that is right, run this once with --force", before, after)
	}
	return nil
}

// ruleLines are the lines that are neither empty nor comments.
func ruleLines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// compare counts the lines that only the one has, and those only the other has.
func compare(before, after []string) (added, gone int) {
	had := map[string]bool{}
	for _, line := range before {
		had[line] = true
	}
	for _, line := range after {
		if !had[line] {
			added++
		}
		delete(had, line)
	}
	return added, len(had)
}

// readWhole is readValue that takes a missing file for an empty one and keeps
// the last line end.
func readWhole(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", withoutPath(err)
	case !info.Mode().IsRegular() || info.Size() > maxValueFile:
		return "", errors.New("it is no file of recipient rules")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", withoutPath(err)
	}
	return string(text), nil
}

// writeWhole replaces a file by renaming another onto it: who reads it sees the
// old text or the new one, also after a power cut. Links to it stay, and it keeps
// its owner and mode; a new one is readable by all, as homing and this command
// may run as different users.
func writeWhole(path, text string) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".homing-recipients-*")
	if err != nil {
		return withoutPath(err)
	}
	err = errors.Join(fill(file, path, text), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// fill writes text into a file that is to replace the one at path.
func fill(file *os.File, path, text string) error {
	if err := likeOld(path, file); err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Sync()
}

// likeOld gives a file the owner and mode of the one it is to replace.
func likeOld(path string, file *os.File) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file.Chmod(0o644)
	}
	if err != nil {
		return err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if known && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("it belongs to user %d, and cannot be made anew for that user: %w", owner.Uid, withoutPath(err))
		}
	}
	return file.Chmod(info.Mode().Perm())
}

// syncDir makes the names in a directory durable, where the file system can
// (EINVAL in fsync(2)).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
