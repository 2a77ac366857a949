package lmtp

import (
	"context"
	"fmt"
	"io"
	"time"
)

// witness is the second session of a connection whose client is Exclusive. It
// shows that no other Exclusive client delivers to a mailbox.
//
// lmtp_user_concurrency_limit alone does not keep two clients apart: at RCPT
// Dovecot's lmtp process asks its anvil how many deliveries there are, and only
// with the answer does it announce its own, so that two may both hear of none
// (lmtp_local_rcpt_anvil_cb in src/lmtp/lmtp-local.c, 2.3 and 2.4). With a limit
// of 2 a client can announce first and test then:
//
//  1. RCPT on the connection. Its 250 comes after the announcement, which stands
//     until Dovecot has delivered and stored its duplicate database, even if the
//     client has died meanwhile.
//  2. RCPT for the same mailbox on the witness, twice. It is refused if anybody
//     else has announced. Of two clients the later announcement finds the earlier
//     one, so at most one of them is accepted.
//  3. The octets, on the connection. The witness's RCPT stands until the verdict,
//     so that a client without a witness is refused meanwhile.
//
// Each connection has a witness of its own, so that its requests to anvil come
// one after another: what is asked on one socket could else overtake what was
// announced on another. They come twice, since anvil reads announcements from a
// pipe, a kilobyte at a time, and when it is late answers a question with half an
// announcement in its hands: of 60,000 tests that had to be refused 490 (2.3.19)
// and 282 (2.4.1) were accepted, and none a second time, for before the second it
// has read on. Where anvil gives no answer Dovecot accepts everybody.
type witness struct {
	*Trial
	owes bool // the reply to RSET was not read yet
}

// manyRefusals is how many tests are refused in a row before that is taken for a
// limit of 1. One message makes so many in some ten seconds.
const manyRefusals = 100

// measureTime is how long the first delivery may be held up by a third session.
const measureTime = 3 * time.Second

// sendAlone sends the octets of t, whose RCPT was accepted, if the witness is
// accepted too, and waits for the verdict.
func (k *conn) sendAlone(t *transaction) error {
	if verdict := k.prove(t); verdict != nil {
		return k.withdraw(t, verdict)
	}
	if err := k.sendBody(t); err != nil {
		return err // the witness goes with the connection
	}
	k.concluded(t)
	k.release()
	return nil
}

// prove returns nil if nobody else delivers to t's mailbox, else the verdict: a
// *ReplyError, Busy or not, or an *AwayError.
func (k *conn) prove(t *transaction) error {
	for {
		kept := k.witness != nil
		if !kept {
			if err := k.callWitness(t.ctx); err != nil {
				return err
			}
		}
		refusal, err := k.witness.test(t.mailbox)
		switch {
		case err == nil && refusal == nil:
			k.client.tested(true)
			k.measure(t)
			return nil
		case err == nil:
			k.release()
			k.client.tested(!refusal.Busy())
			return refusal
		case !kept:
			k.dismiss()
			return k.client.away(err)
		}
		k.dismiss() // it may have died since its last use
	}
}

// callWitness opens the second session, not on the terms of a message's context.
func (k *conn) callWitness(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.client.mu.Lock()
	k.cutWitness = cancel
	if k.lost != nil {
		cancel()
	}
	k.client.mu.Unlock()
	trial, err := k.client.Try(ctx)
	if err != nil {
		cancel()
		return err
	}
	context.AfterFunc(ctx, trial.conn.wire.cut)
	k.witness = &witness{Trial: trial}
	return nil
}

// test sends both tests at once, as every LMTP server takes them (RFC 2033, 5).
// The first refusal counts.
func (w *witness) test(mailbox string) (verdict *ReplyError, err error) {
	ask := "MAIL FROM:<>\r\nRCPT TO:<" + mailbox + ">\r\n"
	if _, err := io.WriteString(w.conn.wire, ask+"RSET\r\n"+ask); err != nil {
		return nil, err
	}
	if err := w.settle(); err != nil {
		return nil, err
	}
	for _, command := range []string{"MAIL", "RCPT", "RSET", "MAIL", "RCPT"} {
		refusal, err := w.hear(command)
		if err != nil {
			return nil, err
		}
		if verdict == nil {
			verdict = refusal
		}
	}
	return verdict, nil
}

// settle reads the reply to the last RSET.
func (w *witness) settle() error {
	if !w.owes {
		return nil
	}
	w.owes = false
	refusal, err := w.hear("RSET")
	if refusal != nil {
		return refusal
	}
	return err
}

// release takes the witness's RCPT back, and does not wait for the reply.
func (k *conn) release() {
	if k.witness == nil {
		return
	}
	k.witness.owes = true
	if _, err := io.WriteString(k.witness.conn.wire, "RSET\r\n"); err != nil {
		k.dismiss()
	}
}

// dismiss ends the second session.
func (k *conn) dismiss() {
	if k.witness == nil {
		return
	}
	k.witness.conn.wire.within(quitTime)
	if k.witness.settle() == nil {
		k.witness.Close()
	}
	k.witness = nil
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	k.cutWitness()
}

// tested counts refusals in a row.
func (c *Client) tested(passed bool) {
	c.mu.Lock()
	if c.refused++; passed {
		c.refused = 0
	}
	tell := c.refused == manyRefusals && !c.told && c.config.Misset != nil
	c.told = c.told || tell
	c.mu.Unlock()
	if tell {
		c.config.Misset(false)
	}
}

// measure tries, once, whether a third session is accepted while the two of t
// stand. If it cannot tell, there is still homing check: no mail is to wait for it.
func (k *conn) measure(t *transaction) {
	c := k.client
	c.mu.Lock()
	if c.measured || c.config.Misset == nil || k.lost != nil {
		c.mu.Unlock()
		return
	}
	c.measured = true
	ctx, cancel := context.WithTimeout(t.ctx, measureTime)
	defer cancel()
	cut := k.cutWitness
	k.cutWitness = func() { cut(); cancel() } // as useless without the connection
	c.mu.Unlock()
	if room, err := c.Room(ctx, t.mailbox, 1); err == nil && room > 0 {
		c.config.Misset(true)
	}
}

// withdraw takes the announcement of t back: RSET instead of octets.
func (k *conn) withdraw(t *transaction, verdict error) error {
	k.client.mu.Lock()
	lost := k.lost
	if lost == nil {
		t.withdrawn = verdict
	}
	k.client.mu.Unlock()
	if lost != nil {
		return lost // which explains the verdict
	}
	k.pack(append(k.text, "RSET\r\n"...))
	return k.flush(nil)
}

// tookBack applies the reply to that RSET; Client.mu is held.
func (k *conn) tookBack(t *transaction, r reply) error {
	if r.code >= 400 {
		return r.err("RSET")
	}
	k.resolve(t, t.withdrawn)
	if k.replies.r.Buffered() > 0 {
		return fmt.Errorf("%w: it came unasked", errMalformed)
	}
	return nil
}

// withdrawData is withdraw where go-smtp speaks.
func (k *conn) withdrawData(t *transaction, verdict error) error {
	if err := k.session.Reset(); err != nil {
		return err
	}
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	k.resolve(t, verdict)
	return nil
}
