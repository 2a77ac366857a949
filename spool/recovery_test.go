package spool

import (
	"fmt"
	"testing"
	"time"
)

func recovered(t *testing.T, s *Spool, id, cause string, published time.Time) {
	t.Helper()
	if _, err := s.Accept(t.Context(), Arrival{Message: Message{ID: id, Source: "dlq"}, Recipients: []string{"a@example.com"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Recovered(t.Context(), Recovery{Message: id, Published: published, Cause: cause}); err != nil {
		t.Fatal(err)
	}
}

func recoveries(t *testing.T, s *Spool, most int) *Digest {
	t.Helper()
	d, err := s.Recoveries(t.Context(), most)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRecoveries(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now})
	if d := recoveries(t, s, 10); d.Total != 0 {
		t.Fatalf("an empty spool has %+v", d)
	}
	first := clock.now().Add(-time.Hour)
	recovered(t, s, "m1", "500", first.Add(time.Minute))
	clock.move(time.Minute)
	recovered(t, s, "m2", "", first)
	recovered(t, s, "m2", "again", time.Time{}) // the first note counts
	recovered(t, s, "m3", "500", time.Time{})
	items, err := s.Due(t.Context(), All, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if item.ID != "m3" {
			if err := s.Record(t.Context(), &Outcome{Item: item, State: Done}); err != nil {
				t.Fatal(err)
			}
		}
		s.Release(item.Number)
	}
	clock.move(time.Minute)
	d := recoveries(t, s, 2)
	got := fmt.Sprintln(d.Total, d.Waiting, d.Oldest, d.Newest, d.Published.Equal(first), d.Causes, len(d.Items), d.Items[0].ID)
	if want := "3 1 2m0s 1m0s true map[:1 500:2] 2 m3\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A report takes with it what it is about, and nothing that came later.
func TestReport(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now, MaxItems: 3})
	recovered(t, s, "m1", "", time.Time{})
	recovered(t, s, "m2", "", time.Time{})
	d := recoveries(t, s, 10)
	recovered(t, s, "m3", "", time.Time{})
	if _, ever, err := s.Reported(t.Context(), "dlq"); ever || err != nil {
		t.Errorf("reported already: %v, %v", ever, err)
	}
	// The spool is full now; a report finds its place.
	report := Arrival{Message: Message{ID: "report", Source: "report"}, Recipients: []string{"me"}, Content: []byte("x")}
	if err := s.Report(t.Context(), "dlq", report, d); err != nil {
		t.Fatal(err)
	}
	clock.move(time.Hour)
	if ago, ever, err := s.Reported(t.Context(), "dlq"); !ever || ago != time.Hour || err != nil {
		t.Errorf("reported %v ago, %v, %v", ago, ever, err)
	}
	if _, ever, err := s.Reported(t.Context(), "held"); ever || err != nil {
		t.Errorf("another report counts too: %v, %v", ever, err)
	}
	left := recoveries(t, s, 10)
	if left.Total != 1 || left.Items[0].ID != "m3" {
		t.Errorf("left is %+v", left)
	}
	item, err := s.Find(t.Context(), "report")
	if err != nil || item.State != Pending || !item.Inline {
		t.Errorf("the report is %+v, %v", item, err)
	}
}

func TestHeldDigest(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now})
	for i, source := range []string{"webhook", "report", "sqs", "sqs"} {
		if _, err := s.Accept(t.Context(), Arrival{Message: Message{ID: fmt.Sprint("m", i), Source: source}, Hold: "why"}); err != nil {
			t.Fatal(err)
		}
		clock.move(time.Minute)
	}
	d, err := s.HeldDigest(t.Context(), "report", 2)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(d.Total, d.Oldest, d.Newest, len(d.Items), d.Items[0].ID, d.Items[1].ID)
	if want := "3 4m0s 1m0s 2 m0 m2\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Recoveries that nobody reports, because there is no postmaster any more, are
// forgotten in the end.
func TestRecoveriesAreForgotten(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now, History: 24 * time.Hour})
	recovered(t, s, "m1", "", time.Time{})
	clock.move(25 * time.Hour)
	if err := s.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := recoveries(t, s, 10); d.Total != 0 {
		t.Errorf("left is %+v", d)
	}
}

// A spool from before there were recoveries is brought up to date.
func TestRecoveriesMigrate(t *testing.T) {
	dir := t.TempDir()
	func() {
		s, err := Open(t.Context(), Options{Dir: dir, History: time.Hour, Free: plenty})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.db.Exec("DROP TABLE recovery; PRAGMA user_version = 1"); err != nil {
			t.Fatal(err)
		}
	}()
	recovered(t, openTest(t, Options{Dir: dir}), "m1", "", time.Time{})
}
