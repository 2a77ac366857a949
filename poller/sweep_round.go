package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/homing-mail/homing/spool"
)

// What a listed object may turn out to be.
const (
	sweptFound   = "found"   // nobody told us: now an item
	sweptKnown   = "known"   // in the ledger
	sweptMarked  = "marked"  // homing wrote it, or another homing delivered it
	sweptYoung   = "young"   // left to its notification
	sweptOld     = "old"     // stored before the window, or before the ledger was begun
	sweptIgnored = "ignored" // no mail, or gone or moved after its delivery
	sweptFailed  = "failed"  // S3 or the spool did not say
)

const (
	sourceSweep = "sweep"

	// queueSilence is after what silence a queue no longer has a message that it
	// keeps: it hides one for at most 12 hours.
	// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
	queueSilence = 13 * time.Hour
	// looksAtOnce hides S3's latency, and leaves it to the deliveries.
	looksAtOnce = 8
	// takenAtOnce bounds one commit, so that notifications are taken between.
	takenAtOnce = 100
	// mostFailed is how many objects may fail before S3 itself is thought to.
	mostFailed = 20
)

// sweepRound is one sweep.
type sweepRound struct {
	*Sweeper
	found  int
	failed atomic.Int64
}

// sweepFind is an object that the ledger does not have.
type sweepFind struct {
	Object
	Marks
	err error
}

func (r *sweepRound) place(ctx context.Context, place Place) error {
	for page, err := range r.Store.List(ctx, place) {
		if err != nil {
			return err
		}
		if err := r.page(ctx, page); err != nil {
			return err
		}
	}
	return nil
}

func (r *sweepRound) page(ctx context.Context, page Page) error {
	finds, err := r.unknown(ctx, r.screen(page))
	if err != nil {
		return err
	}
	if err := r.look(ctx, finds); err != nil {
		return err
	}
	finds, err = r.unknownVersions(ctx, r.news(finds))
	if err != nil {
		return err
	}
	return r.take(ctx, finds)
}

// screen returns what is to be looked up, and counts the rest.
func (r *sweepRound) screen(page Page) []Object {
	from, to := page.Time.Add(-r.Window), page.Time.Add(-r.Grace)
	if r.Since.After(from) {
		from = r.Since
	}
	counts := map[string]int{}
	var left []Object
	for _, o := range page.Objects {
		switch {
		case !o.IsMail(), r.Moved != "" && strings.HasPrefix(o.Key, r.Moved):
			counts[sweptIgnored]++
		case o.Stored.Before(from):
			counts[sweptOld]++
		case o.Stored.After(to):
			counts[sweptYoung]++
		default:
			if result, ok := r.memory.recall(o); ok {
				counts[result]++
			} else {
				left = append(left, o)
			}
		}
	}
	for result, n := range counts {
		r.Observer.SweptObjects(result, n)
	}
	return left
}

// unknown returns the objects that the ledger does not have.
func (r *sweepRound) unknown(ctx context.Context, objects []Object) ([]sweepFind, error) {
	ids := make([]string, len(objects))
	for i, o := range objects {
		ids[i] = o.ID("")
	}
	standings, err := r.standings(ctx, ids)
	if err != nil {
		return nil, err
	}
	var finds []sweepFind
	for i, o := range objects {
		if !isKnown(standings, ids[i]) {
			finds = append(finds, sweepFind{Object: o})
		}
	}
	r.Observer.SweptObjects(sweptKnown, len(objects)-len(finds))
	return finds, nil
}

func (r *sweepRound) standings(ctx context.Context, ids []string) (map[string]spool.Standing, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	standings, err := r.Ledger.Standings(ctx, ids)
	if err != nil {
		r.Observer.SweptObjects(sweptFailed, len(ids))
	}
	return standings, err
}

func isKnown(standings map[string]spool.Standing, id string) bool {
	standing, ok := standings[id]
	return ok && !Forgotten(standing)
}

// Forgotten reports whether a message that only a queue has was not heard of for
// so long that the queue has lost it.
func Forgotten(standing spool.Standing) bool {
	return standing.State == spool.Queued && standing.Noticed > queueSilence
}

// look asks for the marks of all finds. It gives up when so many fail that the
// others would, too.
func (r *sweepRound) look(ctx context.Context, finds []sweepFind) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for i := range finds {
		f := &finds[i]
		group.Go(func() error {
			f.Marks, f.err = r.Store.Look(ctx, f.Object)
			if f.err != nil && !isGone(f.err) && r.failed.Add(1) > mostFailed {
				return f.err
			}
			return ctx.Err()
		})
	}
	err := group.Wait()
	if err != nil {
		r.Observer.SweptObjects(sweptFailed, len(finds))
	}
	return err
}

// news returns the finds that are to be delivered, and counts the others.
func (r *sweepRound) news(finds []sweepFind) []sweepFind {
	return slices.DeleteFunc(finds, func(f sweepFind) bool {
		switch {
		case f.err != nil && isGone(f.err):
			r.Observer.SweptObjects(sweptIgnored, 1)
		case f.err != nil:
			r.Observer.SweptObjects(sweptFailed, 1)
			r.Log.Error("the sweep passed over an object; it is looked at with the next one", "bucket", f.Bucket, "key", f.Key, "error", f.err)
		case f.Finished:
			r.memory.remember(f.Object, sweptMarked)
			r.Observer.SweptObjects(sweptMarked, 1)
		default:
			return false
		}
		return true
	})
}

// unknownVersions leaves out what the ledger has under the identity with its
// version.
func (r *sweepRound) unknownVersions(ctx context.Context, finds []sweepFind) ([]sweepFind, error) {
	var ids []string
	for _, f := range finds {
		if id := f.ID(f.Version); id != f.ID("") {
			ids = append(ids, id)
		}
	}
	standings, err := r.standings(ctx, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(finds, func(f sweepFind) bool {
		has := isKnown(standings, f.ID(f.Version))
		if has {
			r.memory.remember(f.Object, sweptKnown)
			r.Observer.SweptObjects(sweptKnown, 1)
		}
		return has
	}), nil
}

// take makes items of what nobody told us of.
func (r *sweepRound) take(ctx context.Context, finds []sweepFind) error {
	for some := range slices.Chunk(finds, takenAtOnce) {
		arrivals := make([]spool.Arrival, len(some))
		for i, f := range some {
			arrivals[i] = f.Arrival(sourceSweep, f.Version)
			arrivals[i].Received = f.Stored
		}
		taken, err := r.Ledger.Accept(ctx, arrivals...)
		if err != nil {
			r.Observer.SweptObjects(sweptFailed, len(some))
			r.Observer.Notification(sourceSweep, kindObject, "failed")
			return fmt.Errorf("what the sweep found cannot be taken: %w", err)
		}
		r.took(some, taken)
	}
	return nil
}

func (r *sweepRound) took(finds []sweepFind, taken []spool.Taken) {
	r.found += len(finds)
	r.Observer.SweptObjects(sweptFound, len(finds))
	for i, f := range finds {
		r.Observer.Notification(sourceSweep, kindObject, taken[i].Result())
		r.Log.Info("found in the bucket", "source", sourceSweep, "id", f.ID(f.Version), "key", f.Key, "stored", f.Stored, "as", taken[i])
	}
}

func isGone(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Gone() bool
	}](err)
	return ok && e.Gone()
}
