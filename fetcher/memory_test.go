package fetcher

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/homing-mail/homing/internal/s3test"
)

// waiting reports whether somebody wants more of the lane than there is.
func waiting(b *Budget, name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lanes[name] != nil
}

func TestFetchWaitsForRoom(t *testing.T) {
	const large = 16 << 20 // more than fits between two sockets
	for _, test := range []struct {
		size         int64 // in the reference
		before, then int64 // requests while there is no room, and in all
	}{
		{size: 0, before: 1, then: 2},
		{size: large, before: 0, then: 1},
		{size: 10, before: 0, then: 1}, // the lie is found out while there is room
	} {
		server, f := start(t)
		f.maxMessage, f.budget = large, NewBudget(4*large)
		ref := put(t, server, "key", octets(large))
		ref.Size, ref.Lane = test.size, "me@example.com"
		var asked, open atomic.Int64
		server.Inject(func(r *http.Request) *s3test.Fault {
			asked.Add(1)
			open.Add(1)
			context.AfterFunc(r.Context(), func() { open.Add(-1) }) // the answer ended, or nobody reads it
			return nil
		})
		full := must(t, f.budget, "", 4*large)
		fetched := make(chan error)
		go func() {
			object, err := f.Fetch(t.Context(), ref)
			if err == nil {
				defer object.Release()
			}
			fetched <- err
		}()
		eventually(t, "fetch waits, and keeps no connection open", func() bool {
			return asked.Load() == test.before && open.Load() == 0 && waiting(f.budget, ref.Lane)
		})
		full()
		if err := <-fetched; err != nil {
			t.Error(err)
		}
		if got := asked.Load(); got != test.then {
			t.Errorf("size %d: %d requests, want %d", test.size, got, test.then)
		}
	}
}

// TestFetchGrown replaces the object by a larger one each time it is asked for,
// and leaves room for the last one only.
func TestFetchGrown(t *testing.T) {
	server, f := start(t)
	f.budget = NewBudget(1000)
	var n atomic.Int64
	server.Inject(func(*http.Request) *s3test.Fault {
		put(t, server, "key", octets(100*int(n.Add(1))))
		return nil
	})
	others, err := f.budget.Acquire(t.Context(), "", 950)
	if err != nil {
		t.Fatal(err)
	}
	fetched := make(chan error)
	go func() {
		_, err := f.Fetch(t.Context(), Ref{Bucket: "mail", Key: "key"})
		fetched <- err
	}()
	for round := range int64(rounds) {
		eventually(t, "fetch waits", func() bool {
			room, ok := f.budget.tryAcquire("", 1)
			if ok {
				room.Release()
			}
			return !ok // there is room for one, so somebody waits
		})
		others.Resize(950 - 100*(round+1)) // which serves the fetch, and leaves 50
	}
	if err := <-fetched; reason(err) != other || n.Load() != rounds {
		t.Errorf("%d requests, %v", n.Load(), err)
	}
	others.Release()
	if got := f.budget.InUse(); got != 0 {
		t.Errorf("%d bytes in use", got)
	}
}

// TestFetchManyLarge passes sixteen messages of 40 MB through a budget of 100 MB.
func TestFetchManyLarge(t *testing.T) {
	const size, budget, messages = 40 << 20, 100 << 20, 16
	server, f := start(t)
	f.maxMessage, f.budget = 64<<20, NewBudget(budget)
	body := octets(size)
	ref := put(t, server, "key", body)
	var wg sync.WaitGroup
	for range messages {
		wg.Go(func() {
			object, err := f.Fetch(t.Context(), ref)
			if err != nil {
				t.Error(err)
				return
			}
			if got := f.budget.InUse(); got > budget {
				t.Errorf("%d bytes in use of %d", got, budget)
			}
			if !bytes.Equal(object.Octets, body) {
				t.Error("other octets")
			}
			object.Release()
		})
	}
	wg.Wait()
	if got := f.budget.InUse(); got != 0 {
		t.Errorf("%d bytes in use at the end", got)
	}
}

func TestFetchConcurrently(t *testing.T) {
	server, f := start(t)
	f.budget = NewBudget(50000) // less than is asked for at a time
	var wg sync.WaitGroup
	for i := range 200 {
		body := octets(1000 + i*10)
		ref := put(t, server, fmt.Sprint("key", i), body)
		ref.Lane = fmt.Sprint("lane", i%5)
		wg.Go(func() {
			object, err := f.Fetch(t.Context(), ref)
			if err != nil {
				t.Error(err)
				return
			}
			defer object.Release()
			if !bytes.Equal(object.Octets, body) {
				t.Errorf("object %d: other octets", i)
			}
		})
	}
	wg.Wait()
	if got := f.budget.InUse(); got != 0 {
		t.Errorf("%d bytes in use at the end", got)
	}
}

// TestFetchRoom: what is to be made of an object may need more than it has.
func TestFetchRoom(t *testing.T) {
	server, f := start(t)
	ref := put(t, server, "key", octets(1000))
	for _, test := range []struct{ size, room, want int64 }{
		{0, 0, 1000}, {0, 500, 1000}, {0, 3000, 3000}, {1000, 3000, 3000}, {10, 3000, 3000}, {5000, 3000, 5000},
	} {
		ref.Size, ref.Room = test.size, test.room
		object, err := f.Fetch(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.budget.InUse(); got != test.want {
			t.Errorf("%+v: %d bytes in use", test, got)
		}
		if !object.Resize(1) || f.budget.InUse() != 1 {
			t.Errorf("%+v: %d bytes in use after less was kept", test, f.budget.InUse())
		}
		object.Release()
	}
	ref.Size, ref.Room = 2*maxMessage, 3000
	if object, err := f.Fetch(t.Context(), ref); err != nil || f.budget.InUse() != 3000 {
		t.Errorf("with a size that is a lie: %v, %d bytes in use", err, f.budget.InUse())
	} else {
		object.Release()
	}
	if got := f.budget.InUse(); got != 0 {
		t.Errorf("%d bytes in use at the end", got)
	}
}
