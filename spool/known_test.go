package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/ledger"
)

func TestStandings(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now})
	for _, id := range []string{"done", "waiting"} {
		accept(t, s, arrival(id, "a@example.com"))
	}
	finish(t, s, due(t, s)[0])
	held := arrival("held")
	held.Hold = "nobody can tell"
	accept(t, s, held)
	item, _, err := s.Lease(t.Context(), arrival("queued", "a@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	s.Release(item.Number)
	clock.move(time.Hour)
	accept(t, s, arrival("waiting", "a@example.com"))
	clock.move(time.Minute)
	got, err := s.Standings(t.Context(), []string{"done", "waiting", "held", "queued", "unknown", "a\x00b", "\xff", "done"})
	want := map[string]Standing{
		"done":    {State: Done, Noticed: time.Hour + time.Minute},
		"waiting": {State: Pending, Noticed: time.Minute},
		"held":    {State: Held, Noticed: time.Hour + time.Minute, Reason: "nobody can tell"},
		"queued":  {State: Queued, Noticed: time.Hour + time.Minute},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := s.Standings(t.Context(), nil); len(got) != 0 || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
}

// More than one query can hold are looked up all the same.
func TestStandingsOfMany(t *testing.T) {
	s := openTest(t, Options{})
	const many = 2*askedAtOnce + 1
	arrivals, ids := make([]Arrival, many), make([]string, many+1)
	for i := range many {
		ids[i] = fmt.Sprintf("bucket/a \"quoted\" ? \u00e4 key %d", i)
		arrivals[i] = arrival(ids[i])
	}
	if _, err := s.Accept(t.Context(), arrivals...); err != nil {
		t.Fatal(err)
	}
	ids[many] = "unknown"
	got, err := s.Standings(t.Context(), ids)
	if len(got) != many || err != nil {
		t.Errorf("%d of %d, %v", len(got), many, err)
	}
}

func TestStandingsUseTheIndex(t *testing.T) {
	s := openTest(t, Options{})
	rows, err := s.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+standingsQuery, "[]")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(detail + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan.String(), "SEARCH item USING INDEX") || strings.Contains(plan.String(), "SCAN item") {
		t.Errorf("the plan is\n%s", plan.String())
	}
}

// TestMade: it stays over starts, and an earlier start corrects it.
func TestMade(t *testing.T) {
	dir, clock := t.TempDir(), newManual()
	first := clock.now()
	for _, step := range []struct {
		move time.Duration
		want time.Time
	}{
		{0, first},
		{40 * 24 * time.Hour, first},
		{-50 * 24 * time.Hour, first.Add(-10 * 24 * time.Hour)}, // the clock was ahead before
		{time.Hour, first.Add(-10 * 24 * time.Hour)},
	} {
		clock.move(step.move)
		s, err := Open(t.Context(), Options{Dir: dir, Now: clock.now, Free: plenty, History: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if !s.Made().Equal(step.want) {
			t.Errorf("after %v it was made %v, want %v", step.move, s.Made(), step.want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	guest := openTest(t, Options{Dir: dir, Guest: true})
	if !guest.Made().IsZero() {
		t.Errorf("a guest says %v", guest.Made())
	}
}

func TestRunningIsTold(t *testing.T) {
	s := openTest(t, Options{})
	if _, err := Open(t.Context(), Options{Dir: s.opts.Dir, Free: plenty}); !errors.Is(err, ErrRunning) {
		t.Errorf("a second daemon: %v", err)
	}
}

// TestDirectIsKept: until a receipt names addresses.
func TestDirectIsKept(t *testing.T) {
	s := openTest(t, Options{})
	a := arrival("m1", "archive")
	a.Receipt, a.Direct = false, true
	accept(t, s, a)
	if item := find(t, s, "m1"); !item.Direct {
		t.Errorf("%+v", item)
	}
	accept(t, s, arrival("m1", "a@example.com"))
	if item := find(t, s, "m1"); item.Direct || !item.Receipt {
		t.Errorf("%+v", item)
	}
}

// BenchmarkStandings looks 1,000 messages up in a ledger of 1,000,000.
func BenchmarkStandings(b *testing.B) {
	s, err := Open(b.Context(), Options{Dir: b.TempDir(), Free: plenty, History: 30 * 24 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const rows = 1_000_000
	remember(b, s, rows)
	ids := make([]string, askedAtOnce)
	for b.Loop() {
		for i := range ids {
			ids[i] = ledger.ID(rand.IntN(2 * rows)) // half of them are unknown
		}
		if _, err := s.Standings(b.Context(), ids); err != nil {
			b.Fatal(err)
		}
	}
}
