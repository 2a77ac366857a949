// Package lmtp hands mail to Dovecot, or to any other LMTP server (RFC 2033):
// one message, one mailbox, one verdict.
//
// A Client keeps a few connections. Deliveries to one mailbox (its +detail
// dropped) form a lane, and a lane is worked by one connection at a time:
// Dovecot's duplicate database loses entries when deliveries to one user
// overlap (measured with Dovecot 2.3.19). Within a lane several transactions
// are in flight, so that a single busy mailbox is still fast. What another
// client does no lane can see: see Config.Exclusive. Where Dovecot counts
// (lmtp_user_concurrency_limit) and refuses whoever comes second, the lane stands
// back for some milliseconds.
//
// go-smtp keeps the session: greeting, LHLO, QUIT, and DATA where the server
// has no CHUNKING. With CHUNKING and PIPELINING the transaction is our own:
// BDAT needs no dot-stuffing, keeps every octet and leaves nothing to smuggle.
package lmtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Config says where the mail goes and how.
type Config struct {
	Network string // "unix" or "tcp"
	Address string // a path, or host:port

	// TLS, where set, is spoken from the first octet ("lmtps"). An empty
	// ServerName is filled with the host of Address.
	TLS *tls.Config

	// Connections is the largest number kept at a time; less than one means one.
	// Keep it below process_limit of Dovecot's service lmtp, since each
	// connection, idle ones too, occupies a process there.
	Connections int

	// Name is what LHLO says. Dovecot writes it into the Received line.
	Name string

	// Exclusive keeps the deliveries of several clients to one mailbox apart, as
	// witness describes. It needs lmtp_user_concurrency_limit = 2 in Dovecot,
	// occupies two of its processes for each connection and has one transaction
	// at a time in flight on each.
	Exclusive bool

	// Misset, which may be nil, is called when an Exclusive client finds that limit
	// wrong, at most once for either: too low, so that no message is delivered,
	// for every test has been refused many times in a row; or too high, so that
	// nothing is kept apart, for a third session for a mailbox was accepted. The
	// second is looked at once, with the first delivery.
	Misset func(tooHigh bool)

	// Observer may be nil.
	Observer Observer

	Timeouts Timeouts
}

// Observer is told how many connections are "idle", "busy" or "dialing"
// whenever a number changes. It is called with a lock held: it must return at
// once and must not call the Client.
type Observer interface {
	Connections(state string, number int)
}

// Timeouts limits each wait; a zero field takes its default. They follow RFC
// 5321, 4.5.3.2, except that a local server owes its greeting much sooner.
type Timeouts struct {
	Dial     time.Duration // until connected: 10 s
	Greeting time.Duration // for the TLS handshake, the greeting and LHLO, each: 15 s
	Command  time.Duration // for the reply to RSET, MAIL, RCPT, DATA: 5 min
	Write    time.Duration // for each write: 3 min
	Final    time.Duration // for the verdict, after the last octet: 10 min
	Idle     time.Duration // until an unused connection is given up with QUIT: 1 min

	// Rest is how long a mailbox is left alone after its connection was lost with
	// whole messages on it: 2 s. Dovecot goes on with those, and its duplicate
	// database loses entries when another connection delivers to the same user
	// meanwhile (measured with Dovecot 2.3.19 and 2.4.1).
	Rest time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Dial:     cmp.Or(t.Dial, 10*time.Second),
		Greeting: cmp.Or(t.Greeting, 15*time.Second),
		Command:  cmp.Or(t.Command, 5*time.Minute),
		Write:    cmp.Or(t.Write, 3*time.Minute),
		Final:    cmp.Or(t.Final, 10*time.Minute),
		Idle:     cmp.Or(t.Idle, time.Minute),
		Rest:     cmp.Or(t.Rest, 2*time.Second),
	}
}

// Client delivers over a small pool of connections. Its methods may be called
// from any number of goroutines.
type Client struct {
	config Config
	open   func(context.Context) (net.Conn, error) // replaced by tests
	wg     sync.WaitGroup                          // connections and dials

	// mu guards everything below, and the guarded fields of lanes, connections
	// and transactions: a thousand deliveries a second do not contend for it.
	mu       sync.Mutex
	closed   bool
	count    uint64           // of transactions
	lanes    map[string]*lane // those with a transaction or a connection, or at rest
	waiting  []*lane          // those with transactions and no connection, longest first
	conns    map[*conn]struct{}
	idle     []*conn // the part of conns without a lane, last used last
	dials    map[*dial]struct{}
	backoff  time.Time   // no further connection before
	retry    *time.Timer // wakes the scheduler when backoff is over
	reported census
	refused  int  // tests of the witnesses in a row
	told     bool // Config.Misset was called with false
	measured bool // whether to call it with true was looked at
}

// New returns a Client. It does not connect: the first delivery does.
func New(config Config) *Client {
	config.Connections = max(config.Connections, 1)
	config.Name = cmp.Or(config.Name, "localhost")
	config.Timeouts = config.Timeouts.withDefaults()
	dialer := &net.Dialer{Timeout: config.Timeouts.Dial}
	return &Client{
		config: config,
		open: func(ctx context.Context) (net.Conn, error) {
			return dialer.DialContext(ctx, config.Network, config.Address)
		},
		lanes:    make(map[string]*lane),
		conns:    make(map[*conn]struct{}),
		dials:    make(map[*dial]struct{}),
		reported: census{-1, -1, -1},
	}
}

// Deliver carries out one transaction: the message in octets, for mailbox, with
// the envelope sender given (empty: the null sender). It blocks until the server
// has answered; nil means that the server took responsibility (2yz).
//
// octets are sent one after another, are not modified, and are not touched any
// more once Deliver has returned.
//
// The errors are *ReplyError (the server refused), *UnknownError (sent, but the
// reply was lost), *AwayError (nobody to talk to), *AddressError (nothing was
// sent), the error of ctx (within *UnknownError where the message may have been
// delivered), or a lost connection. All but *AddressError and a 5yz *ReplyError
// may succeed when tried again.
func (c *Client) Deliver(ctx context.Context, sender, mailbox string, octets [][]byte) error {
	if err := checkEnvelope(sender, mailbox); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t := newTransaction(ctx, sender, mailbox, octets)
	if err := c.enqueue(t); err != nil {
		return err
	}
	select {
	case err := <-t.verdict:
		return err
	case <-ctx.Done():
		return c.cancel(t)
	}
}

// Probe connects, reads the greeting, says LHLO and QUIT, on a connection of its
// own. Its error is an *AwayError.
func (c *Client) Probe(ctx context.Context) error {
	k, err := c.connect(ctx)
	if err != nil {
		return err
	}
	k.quit()
	return nil
}

// Close ends idle connections with QUIT and cuts the others: deliveries still
// under way fail, so wait for them first. It returns when nothing is left running.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	for d := range c.dials {
		d.cancel()
	}
	c.failWaiting(errClosed)
	for _, l := range c.lanes {
		l.fail(errClosed)
		if l.rest != nil {
			l.rest.Stop()
		}
	}
	for k := range c.conns {
		k.stop()
	}
	c.idle = nil
	if c.retry != nil {
		c.retry.Stop()
	}
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}
