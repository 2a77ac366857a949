package ledger

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/homing-mail/homing/spool"
)

// A spool takes what it was filled with for its own.
func TestFill(t *testing.T) {
	const rows = 100
	dir := t.TempDir()
	open := func() *spool.Spool {
		s, err := spool.Open(t.Context(), spool.Options{Dir: dir, History: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := open().Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "homing.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Fill(t.Context(), db, rows); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open()
	defer s.Close()
	standings, err := s.Standings(t.Context(), []string{ID(0), ID(1), ID(rows - 1), ID(rows)})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]bool{0: true, 1: true, rows - 1: true, rows: false} {
		standing, known := standings[ID(n)]
		if known != want || known && (standing.State != spool.Done || standing.Noticed > time.Minute) {
			t.Errorf("message %d: %+v, %v", n, standing, known)
		}
	}
}
