package poller

import (
	"context"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/homing-mail/homing/spool"
)

// Store is where mail lies. Calls may be repeated. Of its errors, one with
// Gone() true says that the object is not there, or another in its place.
type Store interface {
	// List lists the objects of a place page by page, and ends with the first
	// error.
	List(ctx context.Context, place Place) iter.Seq2[Page, error]
	// Look tells of an object what a listing does not.
	Look(ctx context.Context, o Object) (Marks, error)
}

// Ledger knows what has been taken, and takes what has not.
type Ledger interface {
	// Standings leaves out what the ledger does not have.
	Standings(ctx context.Context, messages []string) (map[string]spool.Standing, error)
	// Accept returns nil once all arrivals are on disk.
	Accept(ctx context.Context, arrivals ...spool.Arrival) ([]spool.Taken, error)
}

// SweepObserver counts.
type SweepObserver interface {
	// SweptObjects hears what listed objects turned out to be: found, known,
	// marked, young, old, ignored or failed.
	SweptObjects(result string, n int)
	// Swept hears of each sweep: ok or failed, and how long it took.
	Swept(result string, took time.Duration)
	// Notification hears of each message that was found: accepted, repeated or
	// failed.
	Notification(source, kind, result string)
}

// SweepConfig says what a sweeper works with.
type SweepConfig struct {
	Store    Store
	Ledger   Ledger
	Observer SweepObserver
	Log      *slog.Logger

	Places   []Place
	Moved    string        // where delivered objects are moved to, the beginning of their keys; empty: nowhere
	Interval time.Duration // from the end of a sweep to the next; more than 0
	Grace    time.Duration // younger objects are left to their notification
	Window   time.Duration // older objects are left alone; what is delivered must be remembered for longer
	Since    time.Time     // what was stored before is not ours to deliver

	// Ready returns nil when what was announced has been heard of, so that a
	// sweep finds only what was not: the queues have answered without news. It may
	// be nil: that is always so.
	Ready func(context.Context) error
}

// Sweeper lists the buckets now and then, for mail that nobody told us of.
// Make one with [NewSweeper].
type Sweeper struct {
	SweepConfig
	memory sweepMemory
}

// NewSweeper returns a sweeper; [Sweeper.Run] starts it.
func NewSweeper(c SweepConfig) *Sweeper {
	c.Places = Outermost(c.Places)
	c.Since = c.Since.Truncate(time.Second) // S3's times have no more
	return &Sweeper{SweepConfig: c, memory: newSweepMemory()}
}

// Run sweeps at once, and then at the interval, until ctx ends. What fails is
// logged, counted and looked at with the next sweep.
func (s *Sweeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if s.Ready == nil || s.Ready(ctx) == nil {
			s.sweep(ctx)
		}
		// Replicas that were started together need not list together.
		pause(ctx, s.Interval+rand.N(s.Interval/10+1))
	}
	return nil
}

// sweep goes through all places once. One that cannot be listed does not keep
// the others waiting.
func (s *Sweeper) sweep(ctx context.Context) {
	began := time.Now()
	r := &sweepRound{Sweeper: s}
	for _, place := range s.Places {
		if err := r.place(ctx, place); err != nil && ctx.Err() == nil {
			r.failed.Add(1)
			s.Log.Error("the sweep broke off; it is made again at the next time",
				"bucket", place.Bucket, "prefix", place.Prefix, "error", err)
		}
	}
	if ctx.Err() != nil {
		return
	}
	s.conclude(r, time.Since(began))
}

// conclude says what came of a sweep.
func (s *Sweeper) conclude(r *sweepRound, took time.Duration) {
	if r.failed.Load() == 0 {
		s.memory.turn()
		s.Observer.Swept("ok", took)
	} else {
		s.Observer.Swept("failed", took)
	}
	s.Log.Debug("the buckets were swept", "messages", r.found, "failed", r.failed.Load(), "took", took.Round(time.Millisecond))
	if r.found > 0 {
		s.Log.Warn("the sweep found mail that no notification had announced; is every receipt rule connected to the topic?", "messages", r.found)
	}
}
