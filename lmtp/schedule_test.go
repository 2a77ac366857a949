package lmtp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/internal/lmtpsink"
	"github.com/homing-mail/homing/internal/pipe"
)

// observed is an Observer that remembers.
type observed map[string][]int

func (o observed) Connections(state string, n int) { o[state] = append(o[state], n) }

func (o observed) last(state string) int { return o[state][len(o[state])-1] }

func TestObserver(t *testing.T) {
	o := make(observed)
	playConfigured(t, Config{Connections: 2, Observer: o}, []string{greetDovecot + bob + `
		AWAIT looked
	` + taken + bye}, func(t *testing.T, th *theatre) {
		result := th.start(th.bob)
		if got := fmt.Sprint(o); got != "map[busy:[0 1] dialing:[1 0] idle:[0]]" {
			t.Errorf("in flight: %s", got)
		}
		close(th.cue("looked"))
		<-result
		synctest.Wait()
		if got := fmt.Sprint(o); got != "map[busy:[0 1 0] dialing:[1 0] idle:[0 1]]" {
			t.Errorf("afterwards: %s", got)
		}
		th.Close()
		if o.last("idle")+o.last("busy") != 0 {
			t.Errorf("closed: %v", o)
		}
	})
}

// alice+work and ALICE are alice: one connection, one after another.
func TestOneLanePerMailbox(t *testing.T) {
	to := func(mailbox string) string { return strings.ReplaceAll(bob, "bob@y.test", mailbox) }
	playConfigured(t, Config{Connections: 4}, []string{greetDovecot + `
		AWAIT all
	` + to("alice@y.test") + to("alice+work@y.test") + to("ALICE+x@Y.test") + taken + taken + taken + bye},
		func(t *testing.T, th *theatre) {
			var results []<-chan error
			for _, mailbox := range []string{"alice@y.test", "alice+work@y.test", "ALICE+x@Y.test"} {
				results = append(results, th.start(func() error { return th.to(mailbox) }))
			}
			close(th.cue("all"))
			for _, result := range results {
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
		})
}

// withSink runs test with a client of a sink, in a bubble.
func withSink(t *testing.T, config Config, deliver func(mailbox string) error, test func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		listener := pipe.Listen()
		sink, err := lmtpsink.New(t.Context(), lmtpsink.Config{
			Listener: listener,
			Deliver: func(_ context.Context, _, recipient string, _ []byte) error {
				return deliver(recipient)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer sink.Close()
		c := New(config)
		c.open = listener.Dial
		defer c.Close()
		test(t, c)
	})
}

// A lane with no end of mail lets the others have their turn, and they it.
func TestFairness(t *testing.T) {
	const many, few = 5 * turn, 3
	var order []string // written by one session at a time
	var gate chan struct{}
	deliver := func(mailbox string) error {
		<-gate
		order = append(order, mailbox)
		return nil
	}
	withSink(t, Config{Connections: 1}, deliver, func(t *testing.T, c *Client) {
		gate = make(chan struct{}) // of the bubble
		var senders sync.WaitGroup
		for mailbox, n := range map[string]int{"alice@y.test": many, "bob@y.test": few, "carol@y.test": few} {
			for range n {
				senders.Go(func() {
					if err := c.Deliver(t.Context(), "", mailbox, mail()); err != nil {
						t.Error(err)
					}
				})
			}
		}
		synctest.Wait()
		close(gate)
		senders.Wait()
		for _, mailbox := range []string{"bob@y.test", "carol@y.test"} {
			if at := slices.Index(order, mailbox); at > turn+few {
				t.Errorf("%s had to wait for %d deliveries", mailbox, at)
			}
		}
		if at := slices.Index(order, "alice@y.test"); at > 2*few {
			t.Errorf("alice had to wait for %d deliveries", at)
		}
	})
}

// Whatever comes in, no mailbox is ever delivered to on two connections, and no
// connection is without need.
func TestManyLanesFewConnections(t *testing.T) {
	const connections, mailboxes, messages = 4, 10, 30
	var mu sync.Mutex
	busy, peak := make(map[string]int), 0
	enter := func(mailbox string, by int) {
		mu.Lock()
		defer mu.Unlock()
		if busy[mailbox] += by; busy[mailbox] > 1 {
			t.Errorf("%d deliveries to %s at once", busy[mailbox], mailbox)
		}
		if busy[mailbox] == 0 {
			delete(busy, mailbox)
		}
		peak = max(peak, len(busy))
	}
	deliver := func(mailbox string) error {
		key := laneKey(mailbox)
		enter(key, 1)
		defer enter(key, -1)
		<-time.After(time.Millisecond)
		return nil
	}
	withSink(t, Config{Connections: connections}, deliver, func(t *testing.T, c *Client) {
		begun := time.Now()
		var senders sync.WaitGroup
		for i := range mailboxes * messages {
			mailbox := fmt.Sprintf("user%d+%d@y.test", i%mailboxes, i%3)
			senders.Go(func() {
				if err := c.Deliver(t.Context(), "a@x.test", mailbox, mail()); err != nil {
					t.Error(err)
				}
			})
		}
		senders.Wait()
		if peak != connections {
			t.Errorf("at most %d mailboxes at once, want %d", peak, connections)
		}
		// 10 lanes do not divide evenly by 4 connections, but nearly.
		if took, ideal := time.Since(begun), mailboxes*messages*time.Millisecond/connections; took > ideal*5/4 {
			t.Errorf("took %s, want about %s", took, ideal)
		}
	})
}
