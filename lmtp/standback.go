package lmtp

import (
	"errors"
	"math/rand/v2"
	"time"
)

// standBack is how long a mailbox is left to another client, half as long or half
// as long again: who is refused together must not come back together. While it stays
// occupied after the last, each refusal is a verdict, for whoever waits is to hear in
// the end, and the mailbox is left as long before the next one asks.
var standBack = [...]time.Duration{
	4 * time.Millisecond,
	8 * time.Millisecond,
	16 * time.Millisecond,
	32 * time.Millisecond,
	64 * time.Millisecond,
	128 * time.Millisecond, // a quarter of a second in all
}

// resolve ends the first in flight with its verdict, nil if the server took it. Where
// another client's delivery was in the way it is tried again in a moment, and the
// connection works for other mailboxes meanwhile; until one is taken, no other is in
// flight beside it and no octet goes out before its RCPT is accepted. Client.mu is held.
func (k *conn) resolve(t *transaction, verdict error) {
	l := t.lane
	refusal, _ := errors.AsType[*ReplyError](verdict)
	switch {
	case refusal == nil || !refusal.Busy():
		l.tries = 0
		k.finish(t, verdict)
		return
	case k.client.closed, t.ctx.Err() != nil: // who gave it up waits for the verdict
		k.finish(t, verdict)
		return
	case t.tries == l.tries: // else it was in flight together with one that was refused before
		wait := standBack[min(l.tries, len(standBack)-1)]
		l.tries++
		k.client.restLane(l, wait/2+rand.N(wait))
	}
	if l.tries > len(standBack) {
		k.finish(t, verdict)
		return
	}
	k.drop(t)
	l.putBack(t)
	signal(k.wake)
}
