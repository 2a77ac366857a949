// Package courier carries each item of the spool to its mailboxes: fetch,
// decrypt, deliver, settle. It decides what is tried again, what is held for a person,
// and what becomes of the object in the bucket afterwards.
//
// Where messages lie and how they leave are the consumers' interfaces [Source]
// and [Destination]; the spool is the only package of homing it imports.
package courier

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/homing-mail/homing/spool"
)

// Source is where messages lie. Calls may be repeated.
//
// Of its errors, one with Permanent() true holds the item, one with Gone() true
// says that the object is not there; any other is tried again.
type Source interface {
	// Fetch returns the whole object once it is known to be what was stored. lane
	// names the mailbox on whose behalf memory is used: at least room octets of it,
	// and as many as the object has. The courier releases it.
	Fetch(ctx context.Context, m spool.Message, lane string, room int64) (*Object, error)
	// Reserve waits for room in memory for octets of a message that is not fetched.
	Reserve(ctx context.Context, lane string, octets int64) (Memory, error)
	// Decrypt makes the message of an object that is encrypted, once all of it is
	// known to be authentic, and leaves others as they are. The object is lost with
	// an error. One with a Room() above 0 says how many octets of memory it would
	// have taken: it is to be fetched again with that many, for nobody waits for
	// memory who has some.
	Decrypt(ctx context.Context, m spool.Message, object *Object) error
	Delete(ctx context.Context, m spool.Message) error
	Tag(ctx context.Context, m spool.Message) error
	// Move returns the object's new key. id marks it as homing's own.
	Move(ctx context.Context, m spool.Message, prefix, id string) (key string, err error)
	// Encrypt is Move to an encrypted object that holds the envelope, too, which
	// may be nil; an empty prefix means in place. The key is empty where the object
	// was encrypted before and stays.
	Encrypt(ctx context.Context, m spool.Message, e *Envelope, prefix, id string) (key string, err error)
}

// Object is a fetched message.
type Object struct {
	Octets   []byte
	Size     int64             // of what is stored, in octets
	Metadata map[string]string // of the object; nil for what was not in a bucket
	Version  string            // empty where the bucket has none
	ETag     string
	Own      bool // homing wrote it: it carries the metadata homing-id
	// Envelope was encrypted together with the message; nil: none was.
	Envelope *Envelope
	Memory
}

// Envelope is what SES was told in the SMTP session.
type Envelope struct {
	Sender     string // empty: the null sender
	Recipients []string
}

// Memory is what an object holds of the memory for messages. One goroutine uses
// it at a time.
type Memory interface {
	// Resize holds so many octets instead: always where these are fewer, and where
	// they are more if that is possible at once, which it reports.
	Resize(octets int64) bool
	Release() // gives all of it back; may be called more than once
}

// Destination is a way out: Dovecot over LMTP, Maildirs, or a submission server.
//
// Of its errors, one with Away() true belongs to the destination and not to the
// message, and one with ProbeAfter() says when to look for it again; Busy() true means that the mailbox is occupied for the moment;
// Permanent() true that the mailbox cannot be expressed; ReplyCode() is an
// LMTP reply. Any other may mean that the message arrived all the same, and is
// tried again.
type Destination interface {
	// Deliver hands over one message to one mailbox; nil means that it is safe
	// there. It does not change octets.
	Deliver(ctx context.Context, sender, mailbox string, octets [][]byte) error
	// Probe returns nil when the destination answers.
	Probe(ctx context.Context) error
}

// Observer counts. Its methods are called concurrently.
type Observer interface {
	// Delivery hears of each try: delivered, fallback, retry or held; how long it
	// took; and for a delivered one the time since SES received it (0: not known).
	Delivery(result string, took, latency time.Duration)
	DestinationUp(up bool)
	// AfterDelivery hears of each delete, tag, move or encrypt: ok or failed.
	AfterDelivery(action, result string)
}

// Config says how to carry.
type Config struct {
	Spool       *spool.Spool
	Source      Source
	Destination Destination
	// Form may be nil: the way out for messages of the contact form, where that is
	// not Destination. FormUp is told whether it answers.
	Form     Destination
	FormUp   func(up bool)
	Observer Observer
	Log      *slog.Logger

	Rules    *Rules        // nil: every address is a mailbox; see [Courier.SetRules]
	Fallback string        // the mailbox at Destination for what others refuse for good; empty: hold it
	RetryFor time.Duration // then an item is held
	After    After
	Grace    time.Duration // how long what is in flight may go on when Run is told to stop
	// Pause is how long Run waits before it delivers anything: after homing was
	// killed, Dovecot may still be working on what was sent.
	Pause time.Duration
	Probe time.Duration // how often a destination that is away is looked for; 0: 10 s
}

const (
	// window is how many items are worked at once: enough to hide S3's latency
	// at the rate at which Dovecot takes mail.
	window = 128
	// perLane is how many of them may wait for one mailbox.
	perLane = 32
	// breath is the least time between two looks into the spool while there is
	// more work than calm; what arrives meanwhile is read in one go.
	breath = 20 * time.Millisecond
	calm   = 12
	// lull is the longest time between two looks.
	lull = 10 * time.Minute
)

// Courier works a spool. Make one with [New].
type Courier struct {
	Config
	rules atomic.Pointer[Rules]
	main  *way
	form  *way          // nil: main
	done  chan struct{} // capacity 1: an item has been given back
	back  chan struct{} // capacity 1: a destination answers again
}

// New returns a courier; [Courier.Run] starts it.
func New(c Config) *Courier {
	if c.Probe == 0 {
		c.Probe = 10 * time.Second
	}
	courier := &Courier{Config: c, done: make(chan struct{}, 1), back: make(chan struct{}, 1)}
	courier.main = &way{Destination: c.Destination, what: "the destination", up: c.Observer.DestinationUp,
		probe: c.Probe, fallback: c.Fallback, lost: make(chan error, 1), back: courier.back}
	if c.Form != nil {
		courier.form = &way{Destination: c.Form, what: "the destination of the contact form", up: c.FormUp,
			probe: c.Probe, lost: make(chan error, 1), back: courier.back}
	}
	courier.SetRules(c.Rules)
	if c.Pause > 0 {
		courier.main.gone()
	}
	return courier
}

// SetRules replaces the recipient rules for what is worked from now on.
func (c *Courier) SetRules(r *Rules) {
	if r == nil {
		r = &Rules{}
	}
	c.rules.Store(r)
}

// Run works until ctx ends, then lets what is in flight finish for the grace,
// and leaves the rest in the spool. It returns an error only when the spool
// cannot be read.
func (c *Courier) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		pause(ctx, c.Pause)
		c.watch(ctx, c.main)
	})
	if c.form != nil {
		wg.Go(func() { c.watch(ctx, c.form) })
	}
	workers := &pool{work: func(item *spool.Item) {
		c.carry(work, item)
		notify(c.done)
	}}
	err := c.dispatch(ctx, workers.start)
	grace := time.AfterFunc(c.Grace, cancel)
	defer grace.Stop()
	workers.close()
	wg.Wait()
	return err
}

// dispatch hands due items to start, never more than the window at once.
func (c *Courier) dispatch(ctx context.Context, start func(*spool.Item)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.Spool.Changed():
		case <-c.done:
		case <-c.back:
		case <-timer.C:
		}
		wait, err := c.handOut(ctx, start)
		if err != nil && ctx.Err() == nil {
			c.Log.Error("the spool cannot be read; it is tried again", "error", err)
			wait = time.Second
		}
		timer.Reset(wait)
		if c.Spool.Active() > calm {
			pause(ctx, breath)
		}
	}
}

// handOut starts what is due and returns how long to wait at most for more.
func (c *Courier) handOut(ctx context.Context, start func(*spool.Item)) (time.Duration, error) {
	room := window - c.Spool.Active()
	part, open := c.reachable()
	if room < window/4 || !open {
		return lull, nil // an item given back, or the destination, wakes us
	}
	wait, some, err := c.Spool.Next(ctx) // before Due, so that nothing falls between
	if err != nil {
		return 0, err
	}
	items, err := c.Spool.Due(ctx, part, room, perLane)
	if err != nil {
		return 0, err
	}
	for _, item := range items {
		start(item)
	}
	if !some {
		return lull, nil
	}
	return min(wait, lull), nil
}

// pause waits, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
