// Package intake takes responsibility for what AWS says: it turns verified
// notifications, whichever way they came, into items of the spool. Here it is
// decided which are mail, which are known not to be, and which are kept for a
// person because nobody can tell.
package intake

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
)

// maxUnknown is how many payloads that nobody understands are kept.
const maxUnknown = 1000

// Spool is where items go. Accept returns nil once they are on disk.
type Spool interface {
	Accept(ctx context.Context, arrivals ...spool.Arrival) ([]spool.Taken, error)
}

// Observer counts notifications by where they came from, what they are and what
// became of them: accepted, repeated, ignored, held or failed.
type Observer interface {
	Notification(source, kind, result string)
}

// Config says what an intake works with.
type Config struct {
	Spool    Spool
	Observer Observer
	Log      *slog.Logger
	// History is how long deliveries are remembered. What was published longer
	// ago may have been delivered and forgotten, so a person decides.
	History time.Duration
	Now     func() time.Time // nil: time.Now
}

// Intake takes notifications. Its methods may be called concurrently.
type Intake struct {
	Config
	mu     sync.Mutex
	shapes map[string]bool // of unknown payloads that have been logged
}

// New returns an intake.
func New(c Config) *Intake {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Intake{Config: c, shapes: map[string]bool{}}
}

// Take takes one verified notification from source. It returns nil when what it
// says is on disk, or known not to be mail; then, and only then, may it be
// acknowledged. An error means that the sender should come back: it wraps
// spool.ErrFull or is the disk's.
func (in *Intake) Take(ctx context.Context, source string, e *notice.Envelope) error {
	kind, arrivals := in.Read(source, e)
	if len(arrivals) == 0 {
		in.Observer.Notification(source, string(kind), "ignored")
		in.Log.Debug("not mail", "source", source, "kind", kind, "notification", e.MessageID)
		return nil
	}
	taken, err := in.Spool.Accept(ctx, arrivals...)
	if err != nil {
		in.Observer.Notification(source, string(kind), "failed")
		return fmt.Errorf("notification %s: %w", e.MessageID, err)
	}
	for i, a := range arrivals {
		in.Observer.Notification(source, string(kind), taken[i].Result())
		in.Log.Debug("taken", "source", source, "kind", kind, "notification", e.MessageID, "id", a.ID, "as", taken[i])
	}
	if kind == notice.KindUnknown {
		in.report(source, e)
	}
	return nil
}

// Read returns what a verified notification announces, without taking it: no
// arrivals when it is known not to be mail, and one that is to be held when
// nobody can tell.
func (in *Intake) Read(source string, e *notice.Envelope) (notice.Kind, []spool.Arrival) {
	kind, notices := notice.Parse(e.Message)
	if kind == notice.KindUnknown {
		return kind, []spool.Arrival{{
			Message:   spool.Message{ID: "sns:" + e.MessageID, Source: source, Kind: string(kind)},
			Content:   []byte(e.Message),
			Hold:      "this version of homing does not understand the notification; `homing queue show` prints it",
			MaxOfKind: maxUnknown,
		}}
	}
	hold := in.tooOld(e)
	arrivals := make([]spool.Arrival, len(notices))
	for i, n := range notices {
		arrivals[i] = spool.Arrival{
			Message: spool.Message{
				ID: n.MessageID, Source: source, Kind: string(kind),
				Bucket: n.Bucket, Key: n.Key, Version: n.Version, Size: n.Size,
				Receipt: n.Receipt, Sender: n.Sender, Verdicts: n.Verdicts, Received: n.Received,
			},
			Recipients: n.Recipients, Content: n.Content, Hold: hold,
		}
	}
	return kind, arrivals
}

// tooOld returns why a notification cannot be told from a repetition, or "".
func (in *Intake) tooOld(e *notice.Envelope) string {
	published, err := e.Time()
	if err != nil || in.Now().Sub(published) <= in.History {
		return ""
	}
	return fmt.Sprintf("published %s, longer ago than HOMING_HISTORY remembers: it may have been delivered already; `homing queue retry` delivers it",
		published.Format(time.DateTime))
}

// report logs the shape of an unknown payload, each shape once.
func (in *Intake) report(source string, e *notice.Envelope) {
	shape := notice.Shape(e.Message)
	in.mu.Lock()
	known := in.shapes[shape]
	if len(in.shapes) < maxUnknown {
		in.shapes[shape] = true
	}
	in.mu.Unlock()
	if !known {
		in.Log.Warn("a notification of an unknown shape is held", "source", source, "notification", e.MessageID,
			"topic", e.TopicARN, "shape", shape)
	}
}
