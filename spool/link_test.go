package spool

import (
	"os"
	"path/filepath"
	"testing"
)

// Who may put a link into the state directory must not have homing write to
// another file, or read one as its spool.
func TestLinksAreNotFollowed(t *testing.T) {
	for _, test := range []struct{ name, content string }{
		{FileName, "untouched"}, {FileName, ""}, // SQLite takes an empty file for a new database
		{FileName + "-wal", "untouched"}, {FileName + "-shm", "untouched"}, {"homing.lock", "untouched"},
	} {
		name := test.name
		t.Run(name, func(t *testing.T) {
			dir, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
			if err := os.WriteFile(target, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), Options{Dir: dir, Free: plenty})
			if err == nil {
				_, err = s.Accept(t.Context(), arrival("m1", "a@example.com"))
				if closed := s.Close(); closed != nil {
					t.Error(closed)
				}
			}
			// SQLite puts a log of its own in the place of one that is none.
			if err == nil && name != FileName+"-wal" {
				t.Error("the spool works through a link")
			}
			if text, err := os.ReadFile(target); err != nil || string(text) != test.content {
				t.Errorf("the target holds %.60q, %v", text, err)
			}
		})
	}
}
