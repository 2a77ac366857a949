package fetcher

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// must acquires what is known to be free.
func must(t *testing.T, b *Budget, lane string, n int64) (release func()) {
	t.Helper()
	room, err := b.Acquire(t.Context(), lane, n)
	if err != nil {
		t.Fatal(err)
	}
	return room.Release
}

// queue asks for each size in turn, one after the other is waiting or served,
// and returns the order in which they were served. Each holds until the end.
type queue struct {
	wg     sync.WaitGroup
	mu     sync.Mutex
	served []string
	held   map[string]func()
}

func (q *queue) ask(t *testing.T, b *Budget, name, lane string, n int64) {
	q.wg.Go(func() {
		room, err := b.Acquire(t.Context(), lane, n)
		if err != nil {
			t.Error(err)
			return
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.served = append(q.served, name)
		if q.held == nil {
			q.held = make(map[string]func())
		}
		q.held[name] = room.Release
	})
	synctest.Wait()
}

func (q *queue) release(name string) {
	q.mu.Lock()
	release := q.held[name]
	q.mu.Unlock()
	release()
	synctest.Wait()
}

func (q *queue) want(t *testing.T, names ...string) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Equal(q.served, names) {
		t.Errorf("served %v, want %v", q.served, names)
	}
}

func TestBudgetInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, q := NewBudget(100), new(queue)
		release := must(t, b, "", 90)
		q.ask(t, b, "large", "", 95)
		q.ask(t, b, "small", "", 10)
		q.want(t) // the small one would fit, but came later
		if _, ok := b.tryAcquire("", 1); ok {
			t.Error("served before those who wait")
		}
		release()
		synctest.Wait()
		q.want(t, "large")
		if got := b.InUse(); got != 95 {
			t.Errorf("%d in use, want 95", got)
		}
		q.release("large")
		q.want(t, "large", "small")
		q.release("small")
		if got := b.InUse(); got != 0 {
			t.Errorf("%d in use at the end", got)
		}
	})
}

func TestBudgetLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, q := NewBudget(100), new(queue)
		q.ask(t, b, "slow 1", "slow@example.com", 30)
		q.ask(t, b, "slow 2", "slow@example.com", 20)
		q.ask(t, b, "slow 3", "slow@example.com", 1)
		q.ask(t, b, "other", "other@example.com", 50)
		q.want(t, "slow 1", "slow 2", "other") // the lane is full, the budget was not
		q.release("other")
		q.want(t, "slow 1", "slow 2", "other")
		q.release("slow 2")
		q.want(t, "slow 1", "slow 2", "other", "slow 3")
		q.release("slow 1")
		q.release("slow 3")
		if len(b.lanes) != 0 {
			t.Errorf("%d lanes are kept for nobody", len(b.lanes))
		}
	})
}

func TestBudgetLargerThanTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, q := NewBudget(100), new(queue)
		release := must(t, b, "a", 1)
		q.ask(t, b, "huge", "b", 1000)
		q.ask(t, b, "next", "c", 1)
		q.want(t)
		release()
		synctest.Wait()
		q.want(t, "huge") // alone
		if got := b.InUse(); got != 1000 {
			t.Errorf("%d in use, want 1000", got)
		}
		q.release("huge")
		q.want(t, "huge", "next")
		q.release("next")
	})
}

func TestBudgetLargerThanHalf(t *testing.T) {
	b := NewBudget(100)
	release := must(t, b, "a", 80)
	if _, ok := b.tryAcquire("a", 1); ok {
		t.Error("the lane is full")
	}
	if _, ok := b.tryAcquire("b", 21); ok {
		t.Error("the budget has 20 left")
	}
	other := must(t, b, "b", 20)
	other()
	release()
	release() // twice is once
	if got := b.InUse(); got != 0 {
		t.Errorf("%d in use", got)
	}
	must(t, b, "a", 100)()
}

func TestBudgetGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(100)
		release := must(t, b, "a", 50)
		whole := must(t, b, "b", 50)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, lane := range []string{"a", "c"} { // one waits for its lane, one for the whole
			wg.Go(func() {
				if _, err := b.Acquire(ctx, lane, 10); !errors.Is(err, context.Canceled) {
					t.Errorf("lane %s: %v", lane, err)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		release()
		whole()
		must(t, b, "c", 100)()
		if len(b.lanes) != 0 {
			t.Errorf("%d lanes left", len(b.lanes))
		}
	})
}

// TestResize: who waits is served before whoever wants more, and what is given
// back while it is held serves them.
func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, q := NewBudget(100), new(queue)
		room, err := b.Acquire(t.Context(), "a", 20)
		if err != nil {
			t.Fatal(err)
		}
		if !room.Resize(50) || b.InUse() != 50 {
			t.Errorf("%d in use, want 50", b.InUse())
		}
		q.ask(t, b, "large", "b", 60)
		q.want(t)
		if room.Resize(room.size + 1) {
			t.Error("served before those who wait")
		}
		if !room.Resize(40) {
			t.Error("less is always possible")
		}
		synctest.Wait()
		q.want(t, "large")
		if got := b.InUse(); got != 100 {
			t.Errorf("%d in use, want 100", got)
		}
		room.Release()
		if room.Resize(10) || b.InUse() != 60 {
			t.Errorf("what is given back is resized: %d in use", b.InUse())
		}
		q.release("large")
		if len(b.lanes) != 0 || b.InUse() != 0 {
			t.Errorf("%d lanes and %d bytes left", len(b.lanes), b.InUse())
		}
	})
}

// TestBudgetModel compares what is had without waiting with plain sums.
func TestBudgetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 40).Draw(t, "limit")
		half := (limit + 1) / 2
		b, held := NewBudget(limit), []*Room(nil)
		// fits: others and n in a lane are no more than there is.
		fits := func(lane string, n int64, but *Room) bool {
			whole, inLane := min(n, limit), min(n, half)
			for _, other := range held {
				if other == but {
					continue
				}
				whole += min(other.size, limit)
				if other.lane.name == lane {
					inLane += min(other.size, half)
				}
			}
			return whole <= limit && (lane == "" || inLane <= half)
		}
		t.Repeat(map[string]func(*rapid.T){
			"acquire": func(t *rapid.T) {
				lane, n := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "lane"), rapid.Int64Range(0, 50).Draw(t, "n")
				want := fits(lane, n, nil)
				room, ok := b.tryAcquire(lane, n)
				if ok != want {
					t.Fatalf("limit %d: %d in lane %q: %v, want %v", limit, n, lane, ok, want)
				}
				if ok {
					held = append(held, room)
				}
			},
			"resize": func(t *rapid.T) {
				if len(held) == 0 {
					return
				}
				room, n := rapid.SampledFrom(held).Draw(t, "which"), rapid.Int64Range(0, 50).Draw(t, "n")
				before := room.size
				want := n <= before || fits(room.lane.name, n, room)
				if ok := room.Resize(n); ok != want || room.size != map[bool]int64{true: n, false: before}[ok] {
					t.Fatalf("limit %d: from %d to %d in lane %q: %v and %d, want %v", limit, before, n, room.lane.name, ok, room.size, want)
				}
			},
			"release": func(t *rapid.T) {
				if len(held) == 0 {
					return
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				held[i].Release()
				held = slices.Delete(held, i, i+1)
			},
			"": func(t *rapid.T) {
				var sum int64
				for _, room := range held {
					sum += room.size
				}
				if got := b.InUse(); got != sum {
					t.Fatalf("%d in use, want %d", got, sum)
				}
			},
		})
	})
}

// What was released before a large message is out of memory when it is read.
func TestReleasedMemoryIsCollected(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // nobody else asks for it
	collections := func() uint32 {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		return now.NumGC
	}
	b := NewBudget(8 * large)
	for _, step := range []struct {
		name string
		n    int64
		want uint32
	}{
		{"the first", large, 0},
		{"after one of its size", large, 1},
		{"after a smaller one", 2 * large, 0},
		{"a small one after a large one", large - 1, 0},
		{"after all three", 4 * large, 0},
		{"after those", 4 * large, 1},
	} {
		before := collections()
		release := must(t, b, "", step.n)
		if got := collections() - before; got != step.want {
			t.Errorf("%s: collected %d times, want %d", step.name, got, step.want)
		}
		release()
	}
}
