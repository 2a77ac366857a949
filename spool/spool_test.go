package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// manual is a clock that a test moves.
type manual struct {
	mu sync.Mutex
	t  time.Time
}

func newManual() *manual {
	return &manual{t: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
}

func (m *manual) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.t
}

func (m *manual) move(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.t = m.t.Add(d)
}

func plenty(string) (int64, error) { return 1 << 40, nil }

func openTest(t *testing.T, o Options) *Spool {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.History == 0 {
		o.History = 30 * 24 * time.Hour
	}
	if o.Free == nil {
		o.Free = plenty
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func arrival(id string, recipients ...string) Arrival {
	return Arrival{
		Message:    Message{ID: id, Source: "webhook", Kind: "ses_s3", Bucket: "mail", Key: "in/" + id, Receipt: true, Sender: "s@example.org"},
		Recipients: recipients,
	}
}

func accept(t *testing.T, s *Spool, a Arrival) Taken {
	t.Helper()
	taken, err := s.Accept(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return taken[0]
}

func due(t *testing.T, s *Spool) []*Item {
	t.Helper()
	items, err := s.Due(t.Context(), All, 100, 100)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func dueOne(t *testing.T, s *Spool) *Item {
	t.Helper()
	items := due(t, s)
	if len(items) != 1 {
		t.Fatalf("%d items are due, want 1", len(items))
	}
	return items[0]
}

func find(t *testing.T, s *Spool, name string) *Item {
	t.Helper()
	item, err := s.Find(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// finish records that every recipient of the item has the message.
func finish(t *testing.T, s *Spool, item *Item) {
	t.Helper()
	o := &Outcome{Item: item, State: Done}
	for _, r := range item.Recipients {
		o.Settled = append(o.Settled, r.Address)
		o.Deliveries = append(o.Deliveries, Delivery{Mailbox: r.Address, State: Delivered, Attempts: 1})
	}
	record(t, s, o)
}

func record(t *testing.T, s *Spool, o *Outcome) {
	t.Helper()
	if err := s.Record(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s.Release(o.Item.Number)
}

func TestAcceptKnowsRepetitionsAndAddedRecipients(t *testing.T) {
	s := openTest(t, Options{})
	if got := accept(t, s, arrival("m1", "a@example.org")); got != Accepted {
		t.Errorf("the first notice: %s", got)
	}
	if got := accept(t, s, arrival("m1", "a@example.org")); got != Repeated {
		t.Errorf("the same again: %s", got)
	}
	finish(t, s, dueOne(t, s))
	if got := accept(t, s, arrival("m1", "a@example.org")); got != Repeated || len(due(t, s)) != 0 {
		t.Errorf("a repetition of a finished message: %s, and it is due again", got)
	}
	// A second receipt rule names another recipient.
	if got := accept(t, s, arrival("m1", "a@example.org", "b@example.org")); got != Added {
		t.Errorf("a further recipient: %s", got)
	}
	item := dueOne(t, s)
	want := []Recipient{{"a@example.org", true}, {"b@example.org", false}}
	if diff := cmp.Diff(want, item.Recipients); diff != "" {
		t.Error(diff)
	}
	if line, ok := item.Delivery("a@example.org"); !ok || line.State != Delivered {
		t.Errorf("the ledger says %+v of the first delivery", line)
	}
}

func TestReceiptCompletesAnEvent(t *testing.T) {
	s := openTest(t, Options{})
	event := arrival("m1")
	event.Receipt, event.Sender, event.Kind = false, "", "s3_event"
	accept(t, s, event)
	record(t, s, &Outcome{Item: dueOne(t, s), State: Held, Reason: "no recipient"})
	receipt := arrival("m1", "a@example.org")
	receipt.Verdicts, receipt.Received = "spam=PASS", time.UnixMilli(1_700_000_000_000)
	if got := accept(t, s, receipt); got != Added {
		t.Errorf("the receipt was %s", got)
	}
	item := dueOne(t, s)
	if !item.Receipt || item.Sender != "s@example.org" || item.Verdicts != "spam=PASS" || !item.Received.Equal(receipt.Received) {
		t.Errorf("the receipt's envelope is missing: %+v", item.Message)
	}
}

func TestRecordLosesNothingThatCameMeanwhile(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@example.org"))
	item := dueOne(t, s)
	accept(t, s, arrival("m1", "b@example.org"))
	if len(due(t, s)) != 0 {
		t.Fatal("an item was handed out twice")
	}
	finish(t, s, item)
	again := dueOne(t, s)
	if line, _ := again.Delivery("a@example.org"); line.State != Delivered || len(again.Recipients) != 2 {
		t.Errorf("after the late recipient: %+v", again)
	}
}

func TestDeliveredIsNeverTakenBack(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@example.org"))
	item := dueOne(t, s)
	if err := s.RecordDelivery(t.Context(), item.Number, Delivery{Mailbox: "a@example.org", State: Delivered}); err != nil {
		t.Fatal(err)
	}
	record(t, s, &Outcome{Item: item, State: Pending, Deliveries: []Delivery{{Mailbox: "a@example.org", State: Waiting, Reply: "late"}}})
	if line, _ := dueOne(t, s).Delivery("a@example.org"); line.State != Delivered {
		t.Errorf("the ledger forgot a delivery: %+v", line)
	}
	if took, err := s.Took(t.Context(), "a@example.org"); err != nil || !took {
		t.Errorf("Took = %v, %v", took, err)
	}
	if took, err := s.Took(t.Context(), "b@example.org"); err != nil || took {
		t.Errorf("Took of a stranger = %v, %v", took, err)
	}
}

func TestInlineContentLivesUntilDone(t *testing.T) {
	s := openTest(t, Options{})
	a := arrival("m1", "a@example.org")
	a.Bucket, a.Key, a.Content = "", "", []byte("Subject: x\r\n\r\nhello\x00\xff")
	accept(t, s, a)
	item := dueOne(t, s)
	got, err := s.Content(t.Context(), item.Number)
	if err != nil || string(got) != string(a.Content) || !item.Inline {
		t.Fatalf("content %q, inline %v, %v", got, item.Inline, err)
	}
	finish(t, s, item)
	if find(t, s, "m1").Inline {
		t.Error("the content of a finished item is still there")
	}
	// A later notice of it for another recipient brings the content back.
	a.Recipients = []string{"b@example.org"}
	accept(t, s, a)
	if item := dueOne(t, s); !item.Inline {
		t.Error("the content did not come back")
	}
}

func TestLanesShareTheRoom(t *testing.T) {
	s := openTest(t, Options{})
	for i := range 50 {
		accept(t, s, arrival(fmt.Sprintf("busy%d", i), "Busy+x@example.org"))
	}
	accept(t, s, arrival("other", "other@example.org"))
	items, err := s.Due(t.Context(), All, 100, 4)
	if err != nil {
		t.Fatal(err)
	}
	lanes := map[string]int{}
	for _, it := range items {
		lanes[it.Lane]++
	}
	if diff := cmp.Diff(map[string]int{"busy@example.org": 4, "other@example.org": 1}, lanes); diff != "" {
		t.Error(diff)
	}
	s.Release(items[0].Number)
	if more, err := s.Due(t.Context(), All, 100, 4); err != nil || len(more) != 1 {
		t.Errorf("after one was given back: %d, %v", len(more), err)
	}
}

func TestManyLanesAreAllReached(t *testing.T) {
	s := openTest(t, Options{})
	arrivals := make([]Arrival, 3*lanesAtOnce)
	for i := range arrivals {
		arrivals[i] = arrival(fmt.Sprintf("m%d", i), fmt.Sprintf("user%d@example.org", i))
	}
	if _, err := s.Accept(t.Context(), arrivals...); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(seen) < len(arrivals) {
		items, err := s.Due(t.Context(), All, 100, 1)
		if err != nil || len(items) == 0 {
			t.Fatalf("after %d of %d lanes: %d items, %v", len(seen), len(arrivals), len(items), err)
		}
		for _, it := range items {
			seen[it.ID] = true
			finish(t, s, it)
		}
	}
}

func TestWaitsAndNext(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now})
	if _, some, err := s.Next(t.Context()); some || err != nil {
		t.Errorf("an empty spool waits for something: %v", err)
	}
	accept(t, s, arrival("m1", "a@example.org"))
	record(t, s, &Outcome{Item: dueOne(t, s), State: Pending, Wait: time.Minute, Reason: "451 later", Attempts: 1})
	wait, some, err := s.Next(t.Context())
	if err != nil || !some || wait != time.Minute {
		t.Errorf("Next = %v %v %v", wait, some, err)
	}
	clock.move(59 * time.Second)
	if n := len(due(t, s)); n != 0 {
		t.Errorf("%d items came early", n)
	}
	clock.move(time.Second)
	if it := dueOne(t, s); it.Attempts != 1 || it.Reason != "451 later" {
		t.Errorf("got %+v", it)
	}
}

func TestForgetsOnlyFinishedItemsAfterTheHistory(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now, History: time.Hour})
	for _, id := range []string{"done", "held", "pending"} {
		accept(t, s, arrival(id, id+"@example.org"))
	}
	for _, item := range due(t, s) {
		switch item.ID {
		case "done":
			finish(t, s, item)
		case "held":
			record(t, s, &Outcome{Item: item, State: Held, Reason: "550"})
		default:
			s.Release(item.Number)
		}
	}
	clock.move(50 * time.Minute)
	accept(t, s, arrival("done", "done@example.org")) // noticed again: the hour begins anew
	clock.move(50 * time.Minute)
	if err := s.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	find(t, s, "done")
	clock.move(11 * time.Minute)
	if err := s.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), "done"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the finished item is still there: %v", err)
	}
	find(t, s, "held")
	find(t, s, "pending")
	for _, table := range []string{"recipient", "delivery"} {
		var n int
		if err := s.db.QueryRow("SELECT count(*) FROM " + table + " WHERE item NOT IN (SELECT id FROM item)").Scan(&n); err != nil || n != 0 {
			t.Errorf("%d orphans in %s, %v", n, table, err)
		}
	}
}

func TestSettlingWaitsAfterTheLastNotice(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now})
	accept(t, s, arrival("m1", "a@example.org"))
	record(t, s, &Outcome{Item: dueOne(t, s), State: Settling, Wait: time.Hour, Settled: []string{"a@example.org"},
		Deliveries: []Delivery{{Mailbox: "a@example.org", State: Delivered}}})
	clock.move(40 * time.Minute)
	accept(t, s, arrival("m1", "a@example.org"))
	clock.move(40 * time.Minute)
	if len(due(t, s)) != 0 {
		t.Error("settled 40 minutes after the last notice, wanted an hour")
	}
	clock.move(20 * time.Minute)
	if it := dueOne(t, s); it.State != Settling {
		t.Errorf("state %s", it.State)
	}
}

func TestFull(t *testing.T) {
	free := int64(1 << 40)
	s := openTest(t, Options{MaxItems: 2, Free: func(string) (int64, error) { return free, nil }})
	accept(t, s, arrival("m1", "a@example.org"))
	accept(t, s, arrival("m2", "a@example.org"))
	if _, err := s.Accept(t.Context(), arrival("m3", "a@example.org")); !errors.Is(err, ErrFull) {
		t.Errorf("a third of two: %v", err)
	}
	for _, item := range due(t, s) {
		finish(t, s, item)
	}
	accept(t, s, arrival("m3", "a@example.org"))
	free = 1 << 20
	if _, err := s.Accept(t.Context(), arrival("m4", "a@example.org")); !errors.Is(err, ErrFull) || s.Ready(t.Context()) == nil {
		t.Errorf("with a full disk: %v", err)
	}
}

func TestHeldAtOnceUpToALimitOfItsKind(t *testing.T) {
	s := openTest(t, Options{})
	unknown := func(i int) Arrival {
		return Arrival{Message: Message{ID: fmt.Sprintf("sns:%d", i), Kind: "unknown"}, Hold: "what is it", MaxOfKind: 2, Content: []byte("{}")}
	}
	for i := range 2 {
		accept(t, s, unknown(i))
	}
	if _, err := s.Accept(t.Context(), unknown(2)); !errors.Is(err, ErrFull) {
		t.Errorf("the third: %v", err)
	}
	if got := accept(t, s, unknown(1)); got != Repeated {
		t.Errorf("a repetition: %s", got)
	}
	if c, err := s.Counts(t.Context()); err != nil || c.Held != 2 || c.Due != 0 {
		t.Errorf("counts %+v, %v", c, err)
	}
}

func TestPeopleRetryAndDropWhileTheDaemonWorks(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@example.org"))
	accept(t, s, arrival("m2", "b@example.org"))
	items := due(t, s)
	for _, item := range items {
		record(t, s, &Outcome{Item: item, State: Held, Reason: "550 no such user",
			Deliveries: []Delivery{{Mailbox: item.Recipients[0].Address, State: HeldBack, Attempts: 3, Reply: "550 no such user"}}})
	}
	if foreign, err := s.writer.foreign(t.Context()); err != nil || foreign {
		t.Errorf("our own commits count as another's: %v %v", foreign, err)
	}
	guest := openTest(t, Options{Dir: s.opts.Dir, Guest: true})
	held, err := guest.List(t.Context(), Filter{States: []State{Held}, Reason: "NO SUCH"})
	if err != nil || len(held) != 2 {
		t.Fatalf("listed %d, %v", len(held), err)
	}
	if n, err := guest.Retry(t.Context(), held[0].Number); err != nil || n != 1 {
		t.Fatalf("Retry = %d, %v", n, err)
	}
	if n, err := guest.Drop(t.Context(), held[1].Number); err != nil || n != 1 {
		t.Fatalf("Drop = %d, %v", n, err)
	}
	if foreign, err := s.writer.foreign(t.Context()); err != nil || !foreign {
		t.Errorf("another process's commit was not noticed: %v", err)
	}
	item := dueOne(t, s)
	if item.ID != held[0].ID || len(item.Deliveries) != 0 || item.Attempts != 0 {
		t.Errorf("due: %+v", item)
	}
	if got := accept(t, s, arrival(held[1].ID, "b@example.org")); got != Repeated {
		t.Errorf("a dropped message came back: %s", got)
	}
	if n, err := guest.Retry(t.Context(), held[1].Number); err != nil || n != 0 {
		t.Errorf("a dropped item was tried again: %d, %v", n, err)
	}
	// Somebody says retry while the item is being worked: the word stands.
	if _, err := guest.Retry(t.Context(), item.Number); err != nil {
		t.Fatal(err)
	}
	record(t, s, &Outcome{Item: item, State: Held, Reason: "550 again"})
	if again := dueOne(t, s); again.ID != item.ID {
		t.Errorf("due: %+v", again)
	}
}

func TestGuestMigratesNothing(t *testing.T) {
	s := openTest(t, Options{})
	if _, err := s.db.Exec("PRAGMA user_version = 0"); err != nil {
		t.Fatal(err)
	}
	if g, err := Open(t.Context(), Options{Dir: s.opts.Dir, Guest: true}); err == nil || !strings.Contains(err.Error(), "older homing") {
		t.Errorf("a guest opened an older schema: %v, %v", g, err)
	}
	if _, err := s.db.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		t.Fatal(err)
	}
}

func TestFullDiskDoesNotPreventTheStart(t *testing.T) {
	s := openTest(t, Options{Free: func(string) (int64, error) { return 1, nil }})
	if err := s.Ready(t.Context()); !errors.Is(err, ErrFull) {
		t.Errorf("Ready on a full disk: %v", err)
	}
}

func TestDropDuringADelivery(t *testing.T) {
	s := openTest(t, Options{})
	accept(t, s, arrival("m1", "a@example.org"))
	item := dueOne(t, s)
	if _, err := s.Drop(t.Context(), item.Number); err != nil {
		t.Fatal(err)
	}
	finish(t, s, item)
	if it := find(t, s, "m1"); it.State != Dropped || len(it.Deliveries) != 1 {
		t.Errorf("got %s with %d deliveries", it.State, len(it.Deliveries))
	}
}

func TestOpenRefusesWhatIsNotItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, dir, path string)
		want string
	}{
		"garbage": {func(t *testing.T, _, path string) { write(t, path, strings.Repeat("not a database ", 500)) }, "damaged"},
		"newer": {func(t *testing.T, dir, _ string) {
			s := openTest(t, Options{Dir: dir})
			if _, err := s.db.Exec("PRAGMA user_version = 99"); err != nil {
				t.Fatal(err)
			}
			_ = s.release()
			s.db, s.writer, s.lock = nil, nil, nil
		}, "newer homing"},
		"another's": {func(t *testing.T, dir, path string) {
			s := openTest(t, Options{Dir: dir})
			if _, err := s.db.Exec("PRAGMA application_id = 1"); err != nil {
				t.Fatal(err)
			}
			_ = s.release()
			s.db, s.writer, s.lock = nil, nil, nil
		}, "not a homing spool"},
		"a directory": {func(t *testing.T, _, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		"a page of noise": {func(t *testing.T, dir, path string) {
			s := openTest(t, Options{Dir: dir})
			for i := range 500 {
				accept(t, s, arrival(fmt.Sprintf("m%d", i), "a@example.org"))
			}
			_ = s.release()
			s.db, s.writer, s.lock = nil, nil, nil
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte(strings.Repeat("noise", 4096)), 4096); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
		// As it is for a user who may not write there.
		"a log that cannot be opened": {func(t *testing.T, dir, path string) {
			s := openTest(t, Options{Dir: dir})
			_ = s.release()
			s.db, s.writer, s.lock = nil, nil, nil
			if err := os.Mkdir(path+"-wal", 0o700); err != nil {
				t.Fatal(err)
			}
		}, "cannot be opened for writing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			c.make(t, dir, path)
			before, _ := os.ReadFile(path)
			s, err := Open(t.Context(), Options{Dir: dir, Free: plenty})
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not say %q and the path: %v", c.want, err)
			}
			if after, _ := os.ReadFile(path); string(before) != string(after) {
				t.Error("the file was changed")
			}
		})
	}
}

// TestGuestFindsNoSpool: where there is none it says so, and where that cannot be
// told it does not.
func TestGuestFindsNoSpool(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	for name, want := range map[string]string{"": "no spool here", "nowhere": "no spool here", "file": "the spool cannot be looked at"} {
		_, err := Open(t.Context(), Options{Dir: filepath.Join(dir, name), Guest: true, Free: plenty})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOneDaemonAtATime(t *testing.T) {
	s := openTest(t, Options{})
	_, err := Open(t.Context(), Options{Dir: s.opts.Dir, Free: plenty})
	if err == nil || !strings.Contains(err.Error(), "another homing") {
		t.Errorf("a second daemon: %v", err)
	}
}

func TestKilledIsNoticed(t *testing.T) {
	s := openTest(t, Options{})
	dir := s.opts.Dir
	if s.Killed() {
		t.Error("a new spool was never killed")
	}
	// What a kill does: the lock goes, the file stays as it is.
	text, err := os.ReadFile(filepath.Join(dir, "homing.lock"))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.release()
	s.db, s.writer, s.lock = nil, nil, nil
	again := openTest(t, Options{Dir: dir})
	if again.Killed() {
		t.Error("it was closed in order")
	}
	_ = again.release()
	again.db, again.writer, again.lock = nil, nil, nil
	write(t, filepath.Join(dir, "homing.lock"), string(text))
	if !openTest(t, Options{Dir: dir}).Killed() {
		t.Error("a kill was not noticed")
	}
}

func TestGuestNeedsASpool(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(t.Context(), Options{Dir: dir, Guest: true}); err == nil || !strings.Contains(err.Error(), "HOMING_STATE_DIR") {
		t.Errorf("a guest without a host: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("a guest made %v", entries)
	}
}

func TestClockNeitherLeapsNorGoesBack(t *testing.T) {
	clock := newManual()
	dir := t.TempDir()
	restart := func() (s *Spool, close func()) {
		s, err := Open(context.Background(), Options{Dir: dir, Now: clock.now, Free: plenty, History: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return s, func() {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, done := restart()
	begin := s.clock.now()
	clock.move(10 * time.Minute)
	if err := s.keepClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	done()
	for _, step := range []struct {
		wall, moves time.Duration
	}{
		{5 * time.Minute, 15 * time.Minute},                       // an ordinary pause
		{-365 * 24 * time.Hour, 15 * time.Minute},                 // the wall clock fell back a year
		{2 * 365 * 24 * time.Hour, 15*time.Minute + 24*time.Hour}, // and leapt ahead
	} {
		clock.move(step.wall)
		s, done := restart()
		if got := time.Duration(s.clock.now()-begin) * time.Millisecond; got != step.moves {
			t.Errorf("after the wall clock moved by %v the spool's stands at %v, want %v", step.wall, got, step.moves)
		}
		done()
	}
}

func TestMaintainSignalsAndStops(t *testing.T) {
	s := openTest(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Maintain(ctx); err != nil {
			t.Error(err)
		}
	})
	accept(t, s, arrival("m1", "a@example.org"))
	<-s.Changed()
	guest := openTest(t, Options{Dir: s.opts.Dir, Guest: true})
	deadline := time.After(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for noticed := false; !noticed; {
		if _, err := guest.Retry(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.Changed():
			noticed = true
		case <-tick.C:
		case <-deadline:
			t.Fatal("another process's change was never noticed")
		}
	}
	cancel()
	wg.Wait()
}

// A caller that has left and the writer that goes on do not get in each other's
// way: for the race detector.
func TestCallersThatLeave(t *testing.T) {
	var armed atomic.Pointer[context.CancelFunc]
	s := openTest(t, Options{Now: func() time.Time {
		if leave := armed.Swap(nil); leave != nil {
			(*leave)() // the writer is at work on what is asked for below
		}
		return time.Now()
	}})
	accept(t, s, arrival("m0", "a@example.org"))
	calls := map[string]func(context.Context) error{
		"lease": func(ctx context.Context) error {
			item, _, err := s.Lease(ctx, arrival("m1", "a@example.org"))
			if item != nil {
				s.Release(item.Number)
			}
			return err
		},
		"retry": func(ctx context.Context) error {
			_, err := s.Retry(ctx, 1)
			return err
		},
	}
	for name, call := range calls {
		for range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			armed.Store(&cancel)
			if err := call(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestLease(t *testing.T) {
	clock := newManual()
	s := openTest(t, Options{Now: clock.now, History: time.Hour})
	lease := func(a Arrival) (*Item, Taken) {
		t.Helper()
		item, taken, err := s.Lease(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return item, taken
	}
	item, taken := lease(arrival("m1", "a@example.org", "b@example.org"))
	if item == nil || taken != Accepted || item.State != Queued {
		t.Fatalf("%+v %s", item, taken)
	}
	if _, _, err := s.Lease(t.Context(), arrival("m1", "a@example.org")); !errors.Is(err, ErrBusy) {
		t.Errorf("a second lease: %v", err)
	}
	// One mailbox has it, the queue keeps the other.
	record(t, s, &Outcome{Item: item, State: Queued, Settled: []string{"a@example.org"}, Deliveries: []Delivery{
		{Mailbox: "a@example.org", State: Delivered}, {Mailbox: "b@example.org", State: Waiting, Attempts: 1}}})
	if n := len(due(t, s)); n != 0 {
		t.Errorf("the dispatcher was handed %d leased items", n)
	}
	item, taken = lease(arrival("m1", "b@example.org"))
	if item == nil || taken != Repeated || !item.Recipients[0].Settled || item.Recipients[1].Settled {
		t.Fatalf("%+v %s", item, taken)
	}
	finish(t, s, item)
	if item, taken := lease(arrival("m1", "b@example.org")); item != nil || taken != Repeated {
		t.Errorf("after the end: %+v %s", item, taken)
	}
	// What the spool is responsible for is no lease; what is leased becomes its own by Accept.
	accept(t, s, arrival("m2", "a@example.org"))
	if item, _ := lease(arrival("m2", "b@example.org")); item != nil {
		t.Errorf("leased what the spool has: %+v", item)
	}
	item, _ = lease(arrival("m3", "a@example.org"))
	s.Release(item.Number)
	if got := accept(t, s, arrival("m3", "a@example.org")); got != Repeated || len(due(t, s)) != 2 {
		t.Errorf("the webhook told of a leased message: %s", got)
	}
	// A leased row that nobody comes back for is forgotten.
	item, _ = lease(arrival("m4", "a@example.org"))
	s.Release(item.Number)
	clock.move(2 * time.Hour)
	if err := s.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(t.Context(), "m4"); !errors.Is(err, ErrNotFound) {
		t.Errorf("still there: %v", err)
	}
}

// A notification out of a queue that makes an item of the spool's own due wakes its
// courier, which otherwise looks again only after minutes.
func TestLeaseWakes(t *testing.T) {
	for _, state := range []State{Held, Settling} {
		s := openTest(t, Options{})
		item, _, err := s.Lease(t.Context(), arrival("m1", "a@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		record(t, s, &Outcome{Item: item, State: state, Wait: time.Hour})
		select {
		case <-s.Changed():
		default:
		}
		if item, taken, err := s.Lease(t.Context(), arrival("m1", "b@example.org")); item != nil || taken != Added || err != nil {
			t.Fatalf("%s: %+v %s, %v", state, item, taken, err)
		}
		select {
		case <-s.Changed():
		default:
			t.Errorf("%s: nobody was woken", state)
		}
		if n := len(due(t, s)); n != 1 {
			t.Errorf("%s: %d items are due, want 1", state, n)
		}
	}
}

// form is a message of the contact form.
func form(id string) Arrival {
	a := arrival(id, "me@example.org")
	a.Source, a.Kind, a.Bucket, a.Key, a.Content = SourceForm, "form", "", "", []byte("sealed")
	return a
}

// While one destination is away only what goes to the other is handed out, also
// where far more waits for the first than a look reads.
func TestPartsAreHandedOutAlone(t *testing.T) {
	s := openTest(t, Options{})
	var arrivals []Arrival
	for i := range page + lanesAtOnce + 10 {
		arrivals = append(arrivals, arrival(fmt.Sprintf("m%d", i), fmt.Sprintf("user%d@example.org", i)))
	}
	for i := range 2 * formsAtOnce {
		arrivals = append(arrivals, form(fmt.Sprintf("f%d", i)))
	}
	if _, err := s.Accept(t.Context(), arrivals...); err != nil {
		t.Fatal(err)
	}
	forms, err := s.Due(t.Context(), OnlyForms, 1000, 32)
	if err != nil || len(forms) != formsAtOnce {
		t.Errorf("%d messages of the form at once, want %d; %v", len(forms), formsAtOnce, err)
	}
	for _, it := range forms {
		if it.Source != SourceForm {
			t.Errorf("%s is none of the form's", it.ID)
		}
		s.Release(it.Number)
	}
	others, err := s.Due(t.Context(), NoForms, 1000, 32)
	if err != nil || len(others) < page {
		t.Errorf("%d others, want %d at least; %v", len(others), page, err)
	}
	for _, it := range others {
		if it.Source == SourceForm {
			t.Errorf("%s is one of the form's", it.ID)
		}
	}
}

// What may wait of a kind is bounded, and what is finished does not count.
func TestWaitingOfAKindIsBounded(t *testing.T) {
	s := openTest(t, Options{})
	limited := func(id string) Arrival {
		a := form(id)
		a.MaxOfKind = 2
		return a
	}
	accept(t, s, limited("f1"))
	accept(t, s, limited("f2"))
	if _, err := s.Accept(t.Context(), limited("f3")); !errors.Is(err, ErrFull) {
		t.Errorf("a third is answered %v", err)
	}
	if taken, err := s.Accept(t.Context(), limited("f2")); err != nil || taken[0] != Repeated {
		t.Errorf("a repetition is answered %v %v", taken, err)
	}
	finish(t, s, due(t, s)[0])
	accept(t, s, limited("f3"))
}
