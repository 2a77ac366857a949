package lmtp

import (
	"fmt"
	"slices"
	"time"
)

const codeClosing = 421 // RFC 5321, 3.8: in answer to anything, and to nothing

// read is the loop of the reading goroutine.
func (k *conn) read() {
	for {
		t, limit := k.expect()
		if t == nil {
			return
		}
		k.wire.within(limit)
		r, err := k.replies.next()
		if err == nil {
			err = k.answer(t, r)
		}
		if err != nil {
			k.fail(err)
			k.wire.cut() // the writer may be waiting for a server that reads no more
			return
		}
	}
}

// expect waits until a reply is due, and tells whose and for how long to wait;
// nil means that none will be due any more.
func (k *conn) expect() (*transaction, time.Duration) {
	limits := k.client.config.Timeouts
	for {
		k.client.mu.Lock()
		var head *transaction
		var final bool
		if len(k.inFlight) > 0 {
			head = k.inFlight[0]
			final = head.step == stepBody
		}
		over := k.over
		k.client.mu.Unlock()
		switch {
		case head != nil && final:
			return head, limits.Final
		case head != nil:
			return head, limits.Command
		case over:
			return nil, 0
		}
		<-k.more
	}
}

// answer applies a reply to the transaction it is for.
func (k *conn) answer(t *transaction, r reply) error {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	switch {
	case r.code == codeClosing:
		return r.err(t.step.String())
	case 300 <= r.code && r.code < 400:
		return fmt.Errorf("%w: %d to %s", errMalformed, r.code, t.step)
	case r.code >= 400 && t.refusal == nil:
		t.refusal = r.err(t.step.String())
	}
	step := t.step
	t.step++
	switch {
	case step == stepBody && t.withdrawn != nil:
		return k.tookBack(t, r)
	case step == stepBody:
		return k.conclude(t, r)
	case step == stepRcpt && t.waits && t.refusal == nil:
		signal(k.wake) // the writer, for its octets
	case step == stepRcpt && t.waits:
		k.resolve(t, t.refusal) // nothing more was sent
	}
	return nil
}

// conclude hands out the verdict, but not before the writer has let go of the
// octets: a refusal may come while they are still being written. Client.mu is
// held, except while waiting.
func (k *conn) conclude(t *transaction, r reply) error {
	if t.waits && !t.begun {
		return fmt.Errorf("%w: it came before the octets", errMalformed)
	}
	for !t.sent && !k.over {
		k.client.mu.Unlock()
		<-k.more
		k.client.mu.Lock()
	}
	if t.refusal != nil && r.code < 400 {
		k.finish(t, t.refusal)
		// Whoever got these octets, it was not the recipient that was refused.
		return fmt.Errorf("%w: octets were taken without a recipient", errMalformed)
	}
	k.resolve(t, t.outcome())
	if len(k.inFlight) == 0 && k.replies.r.Buffered() > 0 {
		// Taken for an answer, it would shift all that follow.
		return fmt.Errorf("%w: it came unasked", errMalformed)
	}
	return nil
}

// finish hands the verdict of the first in flight to whoever waits for it;
// Client.mu is held.
func (k *conn) finish(t *transaction, verdict error) {
	k.drop(t)
	t.finish(verdict)
	if len(k.inFlight) <= refill {
		signal(k.wake)
	}
}

// drop takes the first in flight off the connection; Client.mu is held.
func (k *conn) drop(t *transaction) {
	k.inFlight = slices.Delete(k.inFlight, 0, 1)
	k.bytes -= t.size
	k.kept = true
}
