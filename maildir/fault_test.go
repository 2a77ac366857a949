package maildir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestAway(t *testing.T) {
	m, base := open(t, "disk/mail/%d/%n")
	disk := filepath.Join(base, "disk")
	for range 2 { // not mounted, mounted, and gone again
		for _, err := range []error{deliver(t, m, "alice@example.com", "octets"), m.Probe(t.Context())} {
			if !isAway(err) || permanent(err) || !strings.Contains(err.Error(), "mount") {
				t.Errorf("error %v", err)
			}
		}
		if names := entries(t, base); len(names) != 0 {
			t.Errorf("made: %q", names)
		}
		if err := os.MkdirAll(filepath.Join(disk, "mail"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{m.Probe(t.Context()), deliver(t, m, "alice@example.com", "octets")} {
			if err != nil {
				t.Error(err)
			}
		}
		if names := entries(t, filepath.Join(disk, "mail")); !slices.Equal(names, []string{"example.com"}) {
			t.Errorf("the probe left something behind: %q", names)
		}
		if err := os.RemoveAll(disk); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemovedMeanwhile(t *testing.T) {
	m, base := open(t, "%d/%n")
	dir := filepath.Join(base, "example.com", "alice")
	for _, remove := range []string{dir, filepath.Join(dir, "tmp"), filepath.Join(dir, "new")} {
		if err := deliver(t, m, "alice@example.com", "before"); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(remove); err != nil {
			t.Fatal(err)
		}
		err := deliver(t, m, "alice@example.com", "after")
		if err != nil { // the first notices, at the latest the second mends it
			err = deliver(t, m, "alice@example.com", "after")
		}
		if err != nil {
			t.Errorf("%s removed: %v", remove, err)
		}
		if got := messages(t, dir); !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, "after") }) {
			t.Errorf("%s removed: %q", remove, got)
		}
	}
}

func TestCanceled(t *testing.T) {
	m, base := open(t, "%n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{m.Deliver(ctx, "", "alice@example.com", nil), m.Probe(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	if names := entries(t, base); len(names) != 0 {
		t.Errorf("made: %q", names)
	}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name     string
		fails    string // the file or directory that cannot be synced
		happened bool
	}{
		{"disk full", "/tmp/", false},
		{"failed, but it happened", "/new", true},
		{"no Maildir yet", "/alice", false},
		{"no domain yet", "/example.com", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, base := open(t, "%d/%n")
			if err := os.MkdirAll(filepath.Join(base, "example.com", "alice", "new"), 0o700); err != nil {
				t.Fatal(err)
			}
			m.sync = func(f *os.File) error {
				below := strings.TrimPrefix(f.Name(), base)
				if strings.HasSuffix(below, test.fails) || test.fails == "/tmp/" && strings.Contains(below, test.fails) {
					return syscall.ENOSPC
				}
				return f.Sync()
			}
			err := deliver(t, m, "alice@example.com", "octets")
			if !errors.Is(err, syscall.ENOSPC) || permanent(err) || isAway(err) {
				t.Errorf("error %v", err)
			}
			dir := filepath.Join(base, "example.com", "alice")
			before := len(messages(t, dir))
			if (before == 1) != test.happened {
				t.Errorf("%d messages after the failure", before)
			}
			if names := entries(t, filepath.Join(dir, "tmp")); len(names) != 0 {
				t.Errorf("left in tmp: %q", names)
			}
			m.sync = (*os.File).Sync
			if err := deliver(t, m, "alice@example.com", "octets"); err != nil {
				t.Error(err)
			}
			if got := messages(t, dir); len(got) != 1 {
				t.Errorf("%d new messages after the repetition", len(got))
			}
		})
	}
}

// Where directories cannot be synced mail is delivered nevertheless, but not where
// files cannot.
func TestDirectoriesThatCannotBeSynced(t *testing.T) {
	for _, fails := range []struct{ directories, files bool }{{true, false}, {false, true}} {
		m, base := open(t, "%d/%n")
		m.sync = func(f *os.File) error {
			info, err := f.Stat()
			if err == nil && (info.IsDir() && fails.directories || !info.IsDir() && fails.files) {
				err = syscall.EINVAL
			}
			return err
		}
		err := deliver(t, m, "alice@example.com", "octets")
		delivered := len(messages(t, filepath.Join(base, "example.com", "alice")))
		if errors.Is(err, syscall.EINVAL) != fails.files || (delivered == 1) == fails.files {
			t.Errorf("%+v: %d messages, %v", fails, delivered, err)
		}
	}
}

func TestRenameFails(t *testing.T) {
	m, base := open(t, "%n")
	dir := filepath.Join(base, "alice")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil { // no directory
		t.Fatal(err)
	}
	err := deliver(t, m, "alice@example.com", "octets")
	if err == nil || permanent(err) || isAway(err) {
		t.Errorf("error %v", err)
	}
	if names := entries(t, filepath.Join(dir, "tmp")); len(names) != 0 {
		t.Errorf("left in tmp: %q", names)
	}
	if err := os.Remove(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	if err := deliver(t, m, "alice@example.com", "octets"); err != nil {
		t.Error(err)
	}
}

// TestOrder writes down what is synced when: the file before its name, and every
// directory that got a name, up to the base, before any file.
func TestOrder(t *testing.T) {
	m, base := open(t, "%d/%n")
	var order []string
	var delivered int
	m.sync = func(f *os.File) error {
		name := strings.TrimPrefix(f.Name(), base)
		if strings.Contains(name, "/tmp/") {
			if names := entries(t, filepath.Join(base, "example.com/alice/new")); len(names) != delivered {
				t.Errorf("already in new: %q", names)
			}
			name = "file"
		}
		order = append(order, name)
		return f.Sync()
	}
	for delivered < 2 {
		if err := deliver(t, m, "alice@example.com", "octets"); err != nil {
			t.Fatal(err)
		}
		delivered++
	}
	want := []string{"/example.com/alice", "/example.com", "/.", "file", "/example.com/alice/new",
		"file", "/example.com/alice/new"}
	if !slices.Equal(order, want) {
		t.Errorf("synced %q, want %q", order, want)
	}
}
