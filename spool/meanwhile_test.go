package spool

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Five mailboxes wait, the courier has room for fewer than they would take.
func TestEveryLaneGetsItsTurn(t *testing.T) {
	s := openTest(t, Options{})
	var arrivals []Arrival
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		for i := range 300 {
			arrivals = append(arrivals, arrival(fmt.Sprintf("%s%d", name, i), name+"@x"))
		}
	}
	if _, err := s.Accept(t.Context(), arrivals...); err != nil {
		t.Fatal(err)
	}
	items, err := s.Due(t.Context(), All, 128, 32)
	if err != nil {
		t.Fatal(err)
	}
	lanes := map[string]int{}
	for _, it := range items {
		lanes[it.Lane]++
	}
	if len(items) != 128 || len(lanes) != 5 {
		t.Errorf("%d items of %v", len(items), lanes)
	}
}

// A row told of inline content gets the object that a later notice names, and
// so does one whose place turned out wrong.
func TestLaterNoticeSaysWhereTheMessageLies(t *testing.T) {
	s := openTest(t, Options{})
	inline := arrival("m1", "a@x")
	inline.Bucket, inline.Key, inline.Content = "", "", []byte("x")
	accept(t, s, inline)
	finish(t, s, dueOne(t, s))
	accept(t, s, arrival("m1", "b@x"))
	if it := dueOne(t, s); it.Bucket != "mail" || it.Key != "in/m1" || it.Inline {
		t.Errorf("%+v", it)
	}

	accept(t, s, arrival("m2", "a@x"))
	for _, it := range due(t, s) {
		record(t, s, &Outcome{Item: it, State: Held, Reason: "bucket not allowed"})
	}
	good := arrival("m2", "a@x")
	good.Bucket = "other"
	if got := accept(t, s, good); got != Added {
		t.Errorf("a better place was %s", got)
	}
	if it := dueOne(t, s); it.Bucket != "other" {
		t.Errorf("%+v", it)
	}
	// A good place is not given up for another.
	accept(t, s, arrival("m3", "a@x"))
	good.ID = "m3"
	accept(t, s, good)
	if it := find(t, s, "m3"); it.Bucket != "mail" {
		t.Errorf("%+v", it.Message)
	}
	// One that was done with may be empty by now, and is.
	record(t, s, &Outcome{Item: dueOne(t, s), State: Done, Settled: []string{"a@x"}, ETag: "e"})
	good.Recipients = []string{"b@x"}
	accept(t, s, good)
	if it := dueOne(t, s); it.Bucket != "other" || it.ETag != "" {
		t.Errorf("%+v", it.Message)
	}
}

// What was read and then held is a person's, though the notices of it do not know
// the version that was read; one of another version is news.
func TestRepeatedNoticeLeavesWhatIsHeld(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@x"))
	record(t, s, &Outcome{Item: dueOne(t, s), State: Held, Reason: "550", Version: "v1", ETag: "e"})
	if got := accept(t, s, arrival("m1", "a@x")); got != Repeated || find(t, s, "m1").State != Held {
		t.Errorf("a repetition was %s and left %+v", got, find(t, s, "m1"))
	}
	item, _, err := s.Lease(t.Context(), arrival("m1", "a@x"))
	if it := find(t, s, "m1"); item != nil || err != nil || it.State != Held || it.Version != "v1" {
		t.Errorf("a queue's repetition was leased as %+v, %v, and left %+v", item, err, it)
	}
	restored := arrival("m1", "a@x")
	restored.Version = "v2"
	if got := accept(t, s, restored); got != Added || dueOne(t, s).Version != "v2" {
		t.Errorf("another version was %s", got)
	}
}

// Whoever looks at an item sees one moment of it: what was recorded together.
func TestItemIsOfOneMoment(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@x"))
	item := dueOne(t, s)
	line := func(attempts int) []Delivery {
		return []Delivery{{Mailbox: "a@x", State: Waiting, Attempts: attempts}}
	}
	record(t, s, &Outcome{Item: item, State: Pending, Deliveries: line(0)})
	guest := openTest(t, Options{Dir: s.opts.Dir, Guest: true})
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 1; n <= 500 && err == nil; n++ {
			err = s.Record(t.Context(), &Outcome{Item: item, State: Pending, Attempts: n, Deliveries: line(n)})
		}
		done <- err
	}()
	for {
		if it := find(t, guest, "m1"); it.Attempts != it.Deliveries[0].Attempts {
			t.Errorf("after %d attempts it has a mailbox after %d", it.Attempts, it.Deliveries[0].Attempts)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

func TestMoveIsKeptWhenRecipientsComeMeanwhile(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@x"))
	record(t, s, &Outcome{Item: dueOne(t, s), State: Settling, Settled: []string{"a@x"}, Version: "v1", ETag: "e",
		Deliveries: []Delivery{{Mailbox: "a@x", State: Delivered}}})
	item := dueOne(t, s)
	accept(t, s, arrival("m1", "b@x"))
	record(t, s, &Outcome{Item: item, State: Done, Key: "done/m1"})
	if it := dueOne(t, s); it.Key != "done/m1" || it.Version != "" || it.ETag != "" {
		t.Errorf("%+v", it.Message)
	}
}

func TestRetryDuringAnAttemptStands(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@x", "b@x"))
	item := dueOne(t, s)
	guest := openTest(t, Options{Dir: s.opts.Dir, Guest: true})
	if _, err := guest.Retry(t.Context(), item.Number); err != nil {
		t.Fatal(err)
	}
	record(t, s, &Outcome{Item: item, State: Held, Reason: "550", Settled: []string{"b@x"}, Deliveries: []Delivery{
		{Mailbox: "a@x", State: HeldBack, Attempts: 4, Refusals: 4, Reply: "550"}, {Mailbox: "b@x", State: Delivered}}})
	it := dueOne(t, s)
	if _, held := it.Delivery("a@x"); held {
		t.Errorf("the refusal from before came back: %+v", it.Deliveries)
	}
	if line, _ := it.Delivery("b@x"); line.State != Delivered {
		t.Errorf("a delivery was forgotten: %+v", it.Deliveries)
	}
}

func TestReleasedLeaseWakesTheCourier(t *testing.T) {
	s := openTest(t, Options{})
	item, _, err := s.Lease(t.Context(), arrival("m1", "a@x"))
	if err != nil || item == nil {
		t.Fatal(item, err)
	}
	if s.Active() != 0 {
		t.Error("a lease takes the courier's room")
	}
	accept(t, s, arrival("m1", "a@x")) // the webhook makes it the spool's own
	<-s.Changed()
	if n := len(due(t, s)); n != 0 {
		t.Fatalf("%d items handed out during the lease", n)
	}
	s.Release(item.Number)
	select {
	case <-s.Changed():
	default:
		t.Error("nobody was told that it is due")
	}
	dueOne(t, s)
}

func TestForeignDatabaseStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE x (a); INSERT INTO x VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	before, _ := os.ReadFile(path)
	if s, err := Open(t.Context(), Options{Dir: dir, Free: plenty}); err == nil {
		s.Close()
		t.Fatal("another program's database was opened")
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("it was changed")
	}
}

func TestRelativeDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	openTest(t, Options{Dir: "state"})
	if _, err := os.Stat(filepath.Join("state", FileName)); err != nil {
		t.Error(err)
	}
}

// Many who are the first to read do not keep the connections from one another.
func TestManyReadAtFirst(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@x"))
	begin := make(chan struct{})
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			<-begin
			if _, err := s.Find(t.Context(), "m1"); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	all.Wait()
}
