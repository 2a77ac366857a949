package poller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
)

// RecoverySpool takes what came back. The methods are *spool.Spool's.
type RecoverySpool interface {
	Accept(ctx context.Context, arrivals ...spool.Arrival) ([]spool.Taken, error)
	// Recovered notes messages for a report.
	Recovered(ctx context.Context, recoveries ...spool.Recovery) error
}

// RecoveryObserver counts what dead-letter queues give back.
type RecoveryObserver interface {
	Observer
	// DeadLetter hears what became of each message: recovered, left or failed.
	DeadLetter(result string)
	// DeadLettersRead hears when the queue was read to its end.
	DeadLettersRead(at time.Time)
}

// DeadLettersConfig says what a reader of a dead-letter queue works with.
type DeadLettersConfig struct {
	Client   SQS
	URL      string
	Trust    Trust
	Intake   Intake
	Spool    RecoverySpool
	Report   bool // note what is recovered, for a report
	Observer RecoveryObserver
	Log      *slog.Logger
	Every    time.Duration // from one reading to the next; 0: 5 minutes
}

const (
	// sourceDead is the name of this way in, for metrics and the queue command.
	sourceDead = "dlq"
	// deadHidden is how long a message that is left is not seen again.
	deadHidden = 2 * time.Minute
	// A first look waits little, for there is seldom anything; any wait at all
	// makes SQS ask all its servers.
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
	deadFirst, deadNext = 1 * time.Second, 5 * time.Second
)

// DeadLetters brings back the notifications that SNS could not deliver: each
// becomes an item like any other. Make it with [NewDeadLetters].
type DeadLetters struct {
	access
	reader
	config DeadLettersConfig
	looked chan struct{} // closed when the queue was read, or could not be
}

// NewDeadLetters returns a reader of a dead-letter queue; [DeadLetters.Run]
// starts it.
func NewDeadLetters(c DeadLettersConfig) *DeadLetters {
	if c.Every == 0 {
		c.Every = 5 * time.Minute
	}
	d := &DeadLetters{
		access: access{client: c.Client, url: c.URL, observer: c.Observer, log: c.Log},
		reader: reader{Trust: c.Trust, intake: c.Intake, source: sourceDead},
		config: c,
		looked: make(chan struct{}),
	}
	d.prepare()
	return d
}

// Run reads the queue to its end now and then, until ctx ends. It always returns
// nil: what fails is tried again.
func (d *DeadLetters) Run(ctx context.Context) error {
	failures := 0
	looked := sync.OnceFunc(func() { close(d.looked) })
	for ctx.Err() == nil {
		n, err := d.drain(ctx)
		looked()
		if n > 0 {
			d.log.Warn("notifications came back from the dead-letter queue; was the webhook not reachable?", "queue", d.url, "messages", n)
		}
		wait := d.config.Every
		if err != nil && ctx.Err() == nil {
			failures++
			wait = min(backoff(failures), wait)
			d.log.Error("the dead-letter queue cannot be read; it is tried again", "queue", d.url, "in", wait.Round(time.Second), "error", err)
		} else {
			failures = 0
			d.config.Observer.DeadLettersRead(time.Now())
		}
		pause(ctx, wait)
	}
	return nil
}

// Quiet returns nil when the queue has been read once, or could not be, or an
// error when ctx ends before.
func (d *DeadLetters) Quiet(ctx context.Context) error {
	select {
	case <-d.looked:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain reads the queue until it is empty and returns how many messages came
// back from it.
func (d *DeadLetters) drain(ctx context.Context) (recovered int, err error) {
	for wait := deadFirst; ctx.Err() == nil; wait = deadNext {
		messages, err := d.receive(ctx, wait, deadHidden)
		if err != nil {
			d.observer.QueueError("receive")
			return recovered, explain(err)
		}
		if len(messages) == 0 {
			return recovered, nil
		}
		safe, err := d.takeAll(ctx, messages)
		recovered += len(safe)
		if len(safe) > 0 {
			if _, err := d.remove(ctx, safe); err != nil {
				d.complain("delete", err) // it comes again, and is recognised
			}
		}
		if err != nil {
			return recovered, err
		}
	}
	return recovered, nil
}

// takeAll takes messages and returns those that may be deleted. An error means
// that the spool takes no more.
func (d *DeadLetters) takeAll(ctx context.Context, messages []*message) (safe []*message, err error) {
	var wg sync.WaitGroup
	errs := make([]error, len(messages))
	for i, m := range messages {
		wg.Go(func() { errs[i] = d.take(ctx, m) })
	}
	wg.Wait()
	for i, m := range messages {
		why, isRefused := errors.AsType[*refusal](errs[i])
		forLater, isUnverified := errors.AsType[*notice.UnavailableError](errs[i])
		switch {
		case errs[i] == nil:
			d.config.Observer.DeadLetter("recovered")
			safe = append(safe, m)
			continue
		case isRefused:
			d.leave(sourceDead, m, why)
		case isUnverified:
			d.observer.SignatureFailure("unavailable")
			d.quiet.Do(func() {
				d.log.Error("a message cannot be verified just now; it is looked at again", "queue", d.url, "message", m.id, "error", forLater)
			})
		default:
			d.config.Observer.DeadLetter("failed")
			err = errs[i]
			continue
		}
		d.config.Observer.DeadLetter("left")
	}
	return safe, err
}

// take returns nil when all of a message is on disk, and noted.
func (d *DeadLetters) take(ctx context.Context, m *message) error {
	n, err := d.read(ctx, m)
	if err != nil {
		return err
	}
	switch {
	case n.envelope.Type != notice.TypeNotification:
		d.observer.Notification(sourceDead, "confirmation", "ignored") // it has long expired
		return nil
	case n.part.recipients == nil && !n.raw:
		err = d.intake.Take(ctx, sourceDead, n.envelope)
	default:
		err = d.accept(ctx, n)
	}
	if err != nil || !d.config.Report || len(n.arrivals) == 0 {
		return err
	}
	recoveries := make([]spool.Recovery, len(n.arrivals))
	for i, a := range n.arrivals {
		recoveries[i] = spool.Recovery{Message: a.ID, Published: n.since(), Cause: cause(m)}
	}
	return d.config.Spool.Recovered(ctx, recoveries...)
}

// accept is the intake's Take for what has been narrowed down.
func (d *DeadLetters) accept(ctx context.Context, n *news) error {
	if len(n.arrivals) == 0 {
		d.observer.Notification(sourceDead, string(n.kind), "ignored")
		return nil
	}
	taken, err := d.config.Spool.Accept(ctx, n.arrivals...)
	if err != nil {
		d.observer.Notification(sourceDead, string(n.kind), "failed")
		return err
	}
	for _, t := range taken {
		d.observer.Notification(sourceDead, string(n.kind), t.Result())
	}
	return nil
}

// causeNames are the attributes in which AWS says why a message came to a
// dead-letter queue, those of greatest interest first.
var causeNames = []string{"ErrorCode", "ERROR_CODE", "ErrorMessage", "ERROR_MESSAGE"}

// maxCause bounds what is kept of them, in bytes.
const maxCause = 300

// cause joins what the attributes say, without what is different for each message.
func cause(m *message) string {
	var said []string
	for _, name := range causeNames {
		if value := m.attributes[name]; value != "" {
			said = append(said, fmt.Sprintf("%s %s", name, value))
		}
	}
	if said == nil {
		for _, name := range slices.Sorted(maps.Keys(m.attributes)) {
			if name != "RequestID" && m.attributes[name] != "" {
				said = append(said, fmt.Sprintf("%s %s", name, m.attributes[name]))
			}
		}
	}
	text := strings.ToValidUTF8(strings.Join(said, ", "), "?")
	return strings.ToValidUTF8(text[:min(len(text), maxCause)], "")
}
