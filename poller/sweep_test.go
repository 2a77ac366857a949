package poller

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/spool"
)

// shelf is a Store in memory.
type shelf struct {
	mu      sync.Mutex
	time    time.Time
	objects map[Place][]Object
	marks   map[string]Marks // by key
	fail    map[string]error // of a look, by key; of a listing, by bucket
	looks   []string         // keys
	lists   int
}

type goneError struct{ error }

func (goneError) Gone() bool { return true }

// perPage is small, so that little is several pages.
const perPage = 3

func (s *shelf) List(_ context.Context, place Place) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		for some := range slices.Chunk(s.objects[place], perPage) {
			s.lists++
			if !yield(Page{Objects: some, Time: s.time}, nil) {
				return
			}
		}
		if err := s.fail[place.Bucket]; err != nil {
			yield(Page{}, err)
		}
	}
}

func (s *shelf) Look(_ context.Context, o Object) (Marks, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks = append(s.looks, o.Key)
	return s.marks[o.Key], s.fail[o.Key]
}

// sweepTally is a SweepObserver.
type sweepTally struct {
	mu                             sync.Mutex
	objects, sweeps, notifications map[string]int
}

func newSweepTally() *sweepTally {
	return &sweepTally{objects: map[string]int{}, sweeps: map[string]int{}, notifications: map[string]int{}}
}

func (s *sweepTally) SweptObjects(result string, n int) {
	if n > 0 {
		s.objects[result] += n
	}
}
func (s *sweepTally) Swept(result string, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweeps[result]++
}
func (s *sweepTally) Notification(source, kind, result string) {
	s.notifications[source+" "+kind+" "+result]++
}

var midnight = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// broom is a sweeper of a shelf with a real spool.
type broom struct {
	*Sweeper
	t     *testing.T
	shelf *shelf
	spool *spool.Spool
	tally *sweepTally
}

func newBroom(t *testing.T, s *shelf, places ...Place) *broom {
	t.Helper()
	ledger, err := spool.Open(t.Context(), spool.Options{Dir: t.TempDir(), History: 30 * 24 * time.Hour, Free: func(string) (int64, error) { return 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledger.Close() })
	b := &broom{t: t, shelf: s, spool: ledger, tally: newSweepTally()}
	b.Sweeper = NewSweeper(SweepConfig{Store: s, Ledger: ledger, Observer: b.tally, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Places: places, Moved: "done/", Interval: time.Hour, Grace: 10 * time.Minute, Window: 14 * 24 * time.Hour, Since: midnight.Add(-5 * 24 * time.Hour)})
	return b
}

// want sweeps once and compares what was counted, in this sweep alone.
func (b *broom) want(counts map[string]int) {
	b.t.Helper()
	clear(b.tally.objects)
	b.sweep(b.t.Context())
	if diff := cmp.Diff(counts, b.tally.objects); diff != "" {
		b.t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// items are the ids in the spool.
func (b *broom) items() (ids []string) {
	b.t.Helper()
	items, err := b.spool.List(b.t.Context(), spool.Filter{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, it := range items {
		ids = append(ids, it.ID)
	}
	slices.Sort(ids)
	return ids
}

var mailPlace = Place{Bucket: "mail", Prefix: "in/"}

// at is an object of a certain age.
func at(key string, age time.Duration) Object {
	return Object{Bucket: "mail", Key: key, ETag: `"e"`, Size: 100, Stored: midnight.Add(-age)}
}

func sesKey(n int) string { return fmt.Sprintf("in/%040d", n) }

func TestSweepFindsWhatNobodyTold(t *testing.T) {
	s := &shelf{time: midnight, objects: map[Place][]Object{mailPlace: {
		at("done/in/moved", time.Hour),
		at("in/", time.Hour), // with something in it: no folder
		{Bucket: "mail", Key: "in/folder/", Stored: midnight.Add(-time.Hour)},
		at("in/AMAZON_SES_SETUP_NOTIFICATION", time.Hour),
		at("in/homing-encrypting/mail", time.Hour),
		at(sesKey(1), time.Hour),
		at(sesKey(2), 5*24*time.Hour),
		at(sesKey(3), 5*24*time.Hour+time.Second),
		at(sesKey(4), 10*time.Minute),
		at(sesKey(5), 10*time.Minute-time.Second),
		at(sesKey(6), time.Hour),
		at("in/known", time.Hour),
		at("in/marked", time.Hour),
		at("in/gone", time.Hour),
		at("in/versioned", time.Hour),
		at("in/versioned and known", time.Hour),
	}}, marks: map[string]Marks{
		"in/marked":              {Finished: true},
		"in/versioned":           {Version: "v1"},
		"in/versioned and known": {Version: "v2"},
		sesKey(6):                {Version: "v3"},
	}, fail: map[string]error{"in/gone": goneError{errors.New("NoSuchKey")}}}
	b := newBroom(t, s, mailPlace)
	for _, id := range []string{"mail/in/known", "mail/in/versioned and known?v2"} {
		if _, err := b.spool.Accept(t.Context(), spool.Arrival{Message: spool.Message{ID: id, Source: "webhook"}}); err != nil {
			t.Fatal(err)
		}
	}
	b.want(map[string]int{"found": 6, "known": 2, "marked": 1, "young": 1, "old": 1, "ignored": 5})
	want := []string{sesKey(1)[3:], sesKey(2)[3:], sesKey(4)[3:], sesKey(6)[3:], "mail/in/", "mail/in/known", "mail/in/versioned and known?v2", "mail/in/versioned?v1"}
	if diff := cmp.Diff(want, b.items()); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	item, err := b.spool.Find(t.Context(), sesKey(6)[3:])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spool.Message{ID: sesKey(6)[3:], Source: "sweep", Kind: "object", Bucket: "mail", Key: sesKey(6), Version: "v3", Size: 100,
		Received: midnight.Add(-time.Hour)}, item.Message, cmp.Comparer(time.Time.Equal)); diff != "" || item.State != spool.Pending || len(item.Recipients) != 0 {
		t.Errorf("the item is %s for %v, and (-want +got):\n%s", item.State, item.Recipients, diff)
	}
	if got := b.tally.notifications; got["sweep object accepted"] != 6 || len(got) != 1 {
		t.Errorf("notifications %v", got)
	}

	// A second sweep looks again at what was not there, and once at what only
	// its version tells from another.
	s.looks = nil
	b.want(map[string]int{"known": 8, "marked": 1, "young": 1, "old": 1, "ignored": 5})
	if slices.Sort(s.looks); !slices.Equal(s.looks, []string{"in/gone", "in/versioned"}) || b.tally.sweeps["ok"] != 2 {
		t.Errorf("looked at %q, %v", s.looks, b.tally.sweeps)
	}
	// Another object under a key is looked at.
	s.objects[mailPlace][12].ETag = `"f"`
	s.looks = nil
	b.want(map[string]int{"known": 8, "marked": 1, "young": 1, "old": 1, "ignored": 5})
	if slices.Sort(s.looks); !slices.Equal(s.looks, []string{"in/gone", "in/marked"}) {
		t.Errorf("looked at %q", s.looks)
	}
}

// The window moves with the server's clock, and mail that it has left is not
// looked for.
func TestSweepWindow(t *testing.T) {
	s := &shelf{time: midnight, objects: map[Place][]Object{mailPlace: {at(sesKey(1), 0)}}}
	b := newBroom(t, s, mailPlace)
	for _, step := range []struct {
		after time.Duration
		want  map[string]int
	}{
		{9 * time.Minute, map[string]int{"young": 1}},
		{14*24*time.Hour + time.Second, map[string]int{"old": 1}},
		{14 * 24 * time.Hour, map[string]int{"found": 1}},
	} {
		s.time = midnight.Add(step.after)
		b.want(step.want)
	}
}

// What a queue keeps is left to it, until the queue must have lost it.
func TestSweepLeavesWhatAQueueKeeps(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ledger, err := spool.Open(t.Context(), spool.Options{Dir: dir, History: 30 * 24 * time.Hour, Free: func(string) (int64, error) { return 1 << 40, nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer ledger.Close()
		o := at(sesKey(1), time.Hour)
		item, _, err := ledger.Lease(t.Context(), o.Arrival("sqs", ""))
		if err != nil {
			t.Fatal(err)
		}
		ledger.Release(item.Number)
		tally := newSweepTally()
		sweeper := NewSweeper(SweepConfig{Store: &shelf{time: midnight, objects: map[Place][]Object{mailPlace: {o}}}, Ledger: ledger,
			Observer: tally, Log: slog.New(slog.DiscardHandler), Places: []Place{mailPlace}, Window: 14 * 24 * time.Hour})
		<-time.After(12 * time.Hour)
		sweeper.sweep(t.Context())
		<-time.After(2 * time.Hour)
		sweeper.sweep(t.Context())
		if tally.objects["known"] != 1 || tally.objects["found"] != 1 {
			t.Errorf("%v, want it known once and found once", tally.objects)
		}
		if item, err := ledger.Find(t.Context(), o.ID("")); err != nil || item.State != spool.Pending {
			t.Errorf("%v %+v", err, item)
		}
	})
}

func TestSweepFailures(t *testing.T) {
	other := Place{Bucket: "other"}
	s := &shelf{time: midnight, fail: map[string]error{"mail": errors.New("503 SlowDown"), sesKey(1): errors.New("403")},
		objects: map[Place][]Object{mailPlace: {at(sesKey(1), time.Hour), at(sesKey(2), time.Hour)}, other: {{Bucket: "other", Key: "letter", Stored: midnight.Add(-time.Hour)}}}}
	b := newBroom(t, s, mailPlace, other)
	b.want(map[string]int{"found": 2, "failed": 1})
	if diff := cmp.Diff([]string{sesKey(2)[3:], "other/letter"}, b.items()); diff != "" || b.tally.sweeps["failed"] != 1 {
		t.Errorf("%v, items (-want +got):\n%s", b.tally.sweeps, diff)
	}
	s.fail = nil
	b.want(map[string]int{"found": 1, "known": 2})
	if b.tally.sweeps["ok"] != 1 {
		t.Errorf("%v", b.tally.sweeps)
	}
	// When nothing answers, most is not asked for.
	s.fail = map[string]error{}
	for n := range 1000 {
		o := at(sesKey(1000+n), time.Hour)
		s.objects[mailPlace] = append(s.objects[mailPlace], o)
		s.fail[o.Key] = errors.New("connection refused")
	}
	s.looks = nil
	b.sweep(t.Context())
	if len(s.looks) < mostFailed || len(s.looks) > mostFailed+looksAtOnce {
		t.Errorf("%d objects were looked at, want about %d", len(s.looks), mostFailed)
	}
}

// brokenLedger fails, although what it is asked for may have happened.
type brokenLedger struct {
	Ledger
	lookUp  error
	accept  error
	happens bool
}

func (l *brokenLedger) Standings(ctx context.Context, ids []string) (map[string]spool.Standing, error) {
	if l.lookUp != nil {
		return nil, l.lookUp
	}
	return l.Ledger.Standings(ctx, ids)
}

func (l *brokenLedger) Accept(ctx context.Context, arrivals ...spool.Arrival) (taken []spool.Taken, err error) {
	if l.accept == nil || l.happens {
		taken, err = l.Ledger.Accept(ctx, arrivals...)
	}
	return taken, errors.Join(l.accept, err)
}

func TestSweepLedgerFailures(t *testing.T) {
	for name, broken := range map[string]brokenLedger{
		"look-up":                       {lookUp: errors.New("disk I/O error")},
		"accept":                        {accept: spool.ErrFull},
		"accept failed but it happened": {accept: errors.New("disk I/O error"), happens: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{time: midnight, objects: map[Place][]Object{mailPlace: {at(sesKey(1), time.Hour), at(sesKey(2), time.Hour)}}}
			b := newBroom(t, s, mailPlace)
			broken.Ledger = b.spool
			b.Ledger = &broken
			b.want(map[string]int{"failed": 2})
			if b.tally.sweeps["failed"] != 1 {
				t.Errorf("%v", b.tally.sweeps)
			}
			b.Ledger = b.spool
			b.sweep(t.Context())
			if got := b.items(); len(got) != 2 || b.tally.sweeps["ok"] != 1 {
				t.Errorf("items %q, %v", got, b.tally.sweeps)
			}
		})
	}
}

// TestSweepRun: at once when the queues have answered, then at the interval, and
// no more when it is told to stop.
func TestSweepRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready, sweeps := make(chan struct{}), newSweepTally()
		ctx, cancel := context.WithCancel(t.Context())
		s := NewSweeper(SweepConfig{Store: &shelf{time: midnight}, Observer: sweeps, Log: slog.New(slog.DiscardHandler), Places: []Place{mailPlace},
			Interval: time.Hour, Ready: func(ctx context.Context) error {
				select {
				case <-ready:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}})
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		wait := func(d time.Duration, want int) {
			<-time.After(d)
			synctest.Wait()
			sweeps.mu.Lock()
			defer sweeps.mu.Unlock()
			if got := sweeps.sweeps["ok"]; got != want {
				t.Errorf("%d sweeps, want %d", got, want)
			}
		}
		wait(10*time.Hour, 0)
		close(ready)
		wait(time.Millisecond, 1)
		wait(time.Hour-2*time.Millisecond, 1)
		wait(6*time.Minute+time.Second, 2)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		wait(10*time.Hour, 2)
	})
}

// TestSweepInterrupted: a sweep that is told to stop says nothing of itself.
func TestSweepInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := newBroom(t, &shelf{time: midnight, fail: map[string]error{"mail": ctx.Err()}}, mailPlace)
	b.sweep(ctx)
	if len(b.tally.sweeps) != 0 {
		t.Errorf("%v", b.tally.sweeps)
	}
}

func TestOutermost(t *testing.T) {
	in := []Place{{"b", "x/"}, {"a", "in/sub/"}, {"b", ""}, {"a", "in/"}, {"a", "in2"}, {"a", "in/"}, {"b", "a"}}
	want := []Place{{"a", "in/"}, {"a", "in2"}, {"b", ""}}
	if diff := cmp.Diff(want, Outermost(in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// millionKeys lists so many objects, page by page, and marks every tenth.
type millionKeys struct{ n int }

func (m *millionKeys) List(context.Context, Place) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		for first := 0; first < m.n; first += 1000 {
			page := Page{Time: midnight}
			for n := first; n < min(first+1000, m.n); n++ {
				page.Objects = append(page.Objects, at(sesKey(n), time.Hour))
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}

func (m *millionKeys) Look(context.Context, Object) (Marks, error) { return Marks{Finished: true}, nil }

// allButSome knows all messages but one of ten, as a ledger with replicas does.
type allButSome struct{}

func (allButSome) Standings(_ context.Context, ids []string) (map[string]spool.Standing, error) {
	known := make(map[string]spool.Standing, len(ids))
	for _, id := range ids {
		if !strings.HasSuffix(id, "7") {
			known[id] = spool.Standing{State: spool.Done}
		}
	}
	return known, nil
}

func (allButSome) Accept(context.Context, ...spool.Arrival) ([]spool.Taken, error) {
	return nil, errors.New("nothing is to be taken")
}

// TestSweepOfAMillion: two sweeps of a million keys, of which a hundred thousand
// are to be looked at and remembered.
func TestSweepOfAMillion(t *testing.T) {
	const keys, most = 1_000_000, 64 << 20
	tally := newSweepTally()
	s := NewSweeper(SweepConfig{Store: &millionKeys{n: keys}, Ledger: allButSome{}, Observer: tally, Log: slog.New(slog.DiscardHandler),
		Places: []Place{mailPlace}, Window: 14 * 24 * time.Hour})
	runtime.GC()
	before := heap()
	peak := watchHeap(t)
	began := time.Now()
	s.sweep(t.Context())
	s.sweep(t.Context())
	grown := int64(max(peak(), heap())) - int64(before)
	t.Logf("%d keys: %v a sweep, the heap grew by %d KiB", keys, (time.Since(began) / 2).Round(time.Millisecond), grown>>10)
	if grown > most {
		t.Errorf("the heap grew by %d MiB, more than %d", grown>>20, most>>20)
	}
	want := map[string]int{"known": 2 * 900_000, "marked": 2 * 100_000}
	if diff := cmp.Diff(want, maps.Clone(tally.objects)); diff != "" || tally.sweeps["ok"] != 2 {
		t.Errorf("%v, objects (-want +got):\n%s", tally.sweeps, diff)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// watchHeap looks at the heap while something goes on, and returns what ends
// that and says how large it has been.
func watchHeap(t *testing.T) (peak func() uint64) {
	stop, most := make(chan struct{}), make(chan uint64)
	go func() {
		var m uint64
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				most <- m
				return
			case <-ticker.C:
				m = max(m, heap())
			}
		}
	}()
	t.Helper()
	return func() uint64 {
		close(stop)
		return <-most
	}
}
