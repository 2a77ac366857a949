package lmtp_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/lmtp"
)

// onceOnly is the rule that contrib/dovecot ships.
const onceOnly = `require ["duplicate"]; if duplicate :header "X-Homing-Id" :handle "homing" :seconds 2678400 { discard; stop; }`

var pair = []dovecot.User{user("alice"), user("bob")}

// replicas are clients that know nothing of each other.
type replicas []*lmtp.Client

func newReplicas(t *testing.T, server *dovecot.Server, exclusive bool) (all replicas) {
	for range 4 {
		config := onSocket(server, 2)
		config.Exclusive = exclusive
		all = append(all, newClient(t, config))
	}
	return all
}

// insist delivers until the mailbox is free.
func (r replicas) insist(ctx context.Context, by int, mailbox, id string) error {
	for {
		err := r[by%len(r)].Deliver(ctx, "a@x.test", mailbox, [][]byte{[]byte("X-Homing-Id: " + id + "\r\n\r\nbody\r\n")})
		if reply, ok := errors.AsType[*lmtp.ReplyError](err); !ok || !reply.Busy() {
			return err
		}
	}
}

// hammer has the replicas deliver to the pair in turn, each message twice more by
// other replicas once the first is answered, and returns how many came twice.
func (r replicas) hammer(t *testing.T, server *dovecot.Server, messages int) (doubled int) {
	t.Helper()
	var all sync.WaitGroup
	began := time.Now()
	room := make(chan struct{}, 24)
	for n := range messages {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			for i := range 3 {
				if err := r.insist(t.Context(), n+i, pair[n%len(pair)].Name, fmt.Sprint("id-", n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	rate := float64(3*messages) / time.Since(began).Seconds()
	stored := [][][]byte{server.Mailbox(t, pair[0].Name, "INBOX"), server.Mailbox(t, pair[1].Name, "INBOX")}
	for n := range messages {
		copies := count(stored[n%len(pair)], fmt.Sprintf("X-Homing-Id: id-%d\r\n", n))
		if copies == 0 {
			t.Errorf("message %d is lost", n)
		}
		doubled += max(copies-1, 0)
	}
	t.Logf("%d deliveries, %.0f a second, %d stored again", 3*messages, rate, doubled)
	return doubled
}

// Without Exclusive and with a limit of 1, 26 and 27 of these 600 deliveries were
// stored again, measured with 2.3.19 and 2.4.1.
func TestDovecotReplicas(t *testing.T) {
	withDovecot(t, dovecot.Options{Users: pair, SieveBefore: onceOnly, UserConcurrency: 2}, func(t *testing.T, server *dovecot.Server) {
		if doubled := newReplicas(t, server, true).hammer(t, server, 200); doubled > 0 {
			t.Errorf("%d came twice", doubled)
		}
	})
}
