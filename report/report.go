// Package report writes mail of homing's own to the postmaster: what came back
// from the dead-letter queue, and once a day what is held.
//
// A report is an item of the spool like any other mail. It has the null sender
// and says Auto-Submitted (RFC 3834), there is at most one an hour, and none is
// about a report, so that it cannot cause others.
package report

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/homing-mail/homing/spool"
)

// Source is the spool.Message.Source, and the kind, of reports.
const Source = "report"

// The reports.
const (
	recovered = "dlq"
	held      = "held"
)

const (
	// most is how many items a report lists.
	most = 50
	// patience is how long a report waits for what it is about to be delivered.
	patience = 15 * time.Minute
	// calm is how long nothing more may have come back before a report is made.
	calm = 30 * time.Second
	// between is the least time between two reports of any kind.
	between = time.Hour
	// daily is the time between two digests of what is held.
	daily = 24 * time.Hour
)

// Spool is where reports come from and go to. The methods are *spool.Spool's.
type Spool interface {
	Recoveries(ctx context.Context, most int) (*spool.Digest, error)
	HeldDigest(ctx context.Context, except string, most int) (*spool.Digest, error)
	Reported(ctx context.Context, name string) (ago time.Duration, ever bool, err error)
	Report(ctx context.Context, name string, report spool.Arrival, of *spool.Digest) error
}

// Config says what a reporter works with.
type Config struct {
	Spool      Spool
	Postmaster string // the mailbox
	Log        *slog.Logger
	Reported   func(kind string) // counts reports by their kind: dlq or held
	Look       time.Duration     // how often it looks whether there is something to say; 0: 20 s
}

// Reporter writes reports. Make it with [New].
type Reporter struct{ Config }

// New returns a reporter; [Reporter.Run] starts it.
func New(c Config) *Reporter {
	if c.Look == 0 {
		c.Look = 20 * time.Second
	}
	return &Reporter{c}
}

// Run reports until ctx ends. It always returns nil: what the spool cannot say
// now is asked again.
func (r *Reporter) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.Look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error("a report could not be made; it is tried again", "error", err)
		}
	}
}

// look makes the report that is due, if any.
func (r *Reporter) look(ctx context.Context) error {
	for _, name := range []string{recovered, held} {
		ago, ever, err := r.Spool.Reported(ctx, name)
		if err != nil || ever && ago < between {
			return err
		}
	}
	made, err := r.recoveries(ctx)
	if err != nil || made {
		return err
	}
	return r.held(ctx)
}

// recoveries reports what came back, once all of it is settled or patience is at
// its end.
func (r *Reporter) recoveries(ctx context.Context) (made bool, err error) {
	d, err := r.Spool.Recoveries(ctx, most)
	if err != nil || d.Total == 0 || d.Oldest < patience && (d.Waiting > 0 || d.Newest < calm) {
		return false, err
	}
	subject, text := describeRecoveries(d)
	return true, r.send(ctx, recovered, subject, text, d)
}

// held reports what is held, once a day and not in the first minutes: what is
// held together should be in one report.
func (r *Reporter) held(ctx context.Context) error {
	ago, ever, err := r.Spool.Reported(ctx, held)
	if err != nil || ever && ago < daily {
		return err
	}
	d, err := r.Spool.HeldDigest(ctx, Source, most)
	if err != nil || d.Total == 0 || d.Oldest < patience {
		return err
	}
	subject, text := describeHeld(d)
	return r.send(ctx, held, subject, text, d)
}

func (r *Reporter) send(ctx context.Context, name, subject, text string, of *spool.Digest) error {
	now := time.Now()
	id := Source + "-" + rand.Text()
	err := r.Spool.Report(ctx, name, spool.Arrival{
		// A mailbox is named, as in HOMING_FALLBACK_MAILBOX: no rule maps it.
		Message:    spool.Message{ID: id, Source: Source, Kind: Source, Receipt: true, Direct: true},
		Recipients: []string{r.Postmaster},
		Content:    compose(r.Postmaster, id, subject, text, now),
	}, of)
	if err != nil {
		return err
	}
	r.Reported(name)
	r.Log.Info("a report was made", "kind", name, "to", r.Postmaster, "id", id)
	return nil
}
