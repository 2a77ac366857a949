package courier

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/homing-mail/homing/spool"
)

// There are as many goroutines as were busy at once; who was busy last takes the
// next item, and close waits for all.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, done atomic.Int32
		open := make(chan struct{})
		p := &pool{work: func(*spool.Item) {
			busy.Add(1)
			<-open
			busy.Add(-1)
			done.Add(1)
		}}
		for range 3 {
			p.start(new(spool.Item))
		}
		synctest.Wait()
		if busy.Load() != 3 {
			t.Errorf("%d are worked, want 3 at once", busy.Load())
		}
		for range 3 {
			open <- struct{}{}
		}
		synctest.Wait()
		rested := len(p.idle)
		last := p.idle[rested-1]
		p.start(new(spool.Item))
		synctest.Wait()
		if rested != 3 || len(p.idle) != 2 || p.idle[0] == last || p.idle[1] == last {
			t.Errorf("%d rested, %d rest now, want who rested last busy", rested, len(p.idle))
		}
		open <- struct{}{}
		synctest.Wait()
		if len(p.idle) != 3 || p.idle[2] != last {
			t.Errorf("%d rest, want who was busy last to be the next", len(p.idle))
		}
		for range 3 {
			p.start(new(spool.Item))
		}
		synctest.Wait()
		if busy.Load() != 3 || len(p.idle) != 0 {
			t.Errorf("%d are worked, %d rest, want the same three busy again", busy.Load(), len(p.idle))
		}
		closed := make(chan struct{})
		go func() {
			p.close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed before the last was done")
		default:
		}
		close(open)
		<-closed
		if done.Load() != 7 {
			t.Errorf("%d done, want 7", done.Load())
		}
	})
}
