package lmtp

import (
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// quitTime is how long the reply to QUIT is waited for.
const quitTime = 5 * time.Second

// conn is one session. Its own goroutine writes; a second one reads the replies,
// so that a verdict is not held up by the writing of what comes after it. Where
// go-smtp carries out the transactions there is only the first.
type conn struct {
	client   *Client
	wire     *wire
	session  *smtp.Client
	replies  *replyReader
	ours     bool // CHUNKING and PIPELINING: the transactions are our own
	swallows bool // octets may follow before RCPT is answered
	eightBit bool

	wake chan struct{} // for the writer: something changed
	more chan struct{} // for the reader: something changed

	// Of the writer alone, kept to be used again.
	group  []*transaction
	text   []byte
	vector net.Buffers
	packed int64 // octets in vector
	stale  bool  // RSET is due before go-smtp's next transaction

	witness *witness // of the writer alone; nil until it is needed

	// Guarded by Client.mu.
	lane       *lane
	inFlight   []*transaction // in the order of their replies
	bytes      int64          // the octets of these
	taken      int            // transactions in this lane's turn
	kept       bool           // it has worked or been idle: it may have died since
	idle       bool
	over       bool   // the writer has ended, or is to end at once, with nothing in flight
	lost       error  // why it is of no use any more
	severed    bool   // we cut it, the server did nothing wrong
	cutWitness func() // cuts the witness; nil where there was none
}

// run works until there is nothing to do for Timeouts.Idle, or the connection is
// lost, or the client closed.
func (k *conn) run() {
	var reader sync.WaitGroup
	if k.ours {
		reader.Go(k.read)
	}
	k.write()
	clean := k.endWriting()
	k.dismiss()
	if !clean {
		// A verdict, or a 421, may have come before the write failed.
		k.wire.drain()
	}
	reader.Wait()
	if clean {
		k.quit()
	}
	k.wire.cut()
	k.client.remove(k)
}

// quit takes leave. Only between transactions: amid DATA go-smtp's QUIT would
// first end the message, and half of it would be delivered.
func (k *conn) quit() {
	k.wire.capped = true
	k.wire.within(quitTime)
	if k.replies.r.Buffered() == 0 && k.session.Quit() == nil {
		return
	}
	k.wire.cut()
}

// write is the loop of the writing goroutine.
func (k *conn) write() {
	for {
		group, over := k.client.take(k)
		switch {
		case over:
			return
		case len(group) == 0:
			k.pause()
		default:
			if err := k.transact(group); err != nil {
				k.fail(err)
				return
			}
		}
	}
}

// pause waits for something to do; while idle, not for ever.
func (k *conn) pause() {
	k.client.mu.Lock()
	idle := k.idle
	k.client.mu.Unlock()
	if !idle {
		<-k.wake
		return
	}
	patience := time.NewTimer(k.client.config.Timeouts.Idle)
	defer patience.Stop()
	select {
	case <-k.wake:
	case <-patience.C:
		k.client.expire(k)
	}
}

// endWriting lets the reader end too, and reports whether all is in order.
func (k *conn) endWriting() bool {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	k.over = true
	signal(k.more)
	return k.lost == nil
}

// signal wakes whoever waits on c, now or the next time.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
