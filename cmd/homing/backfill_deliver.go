package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/homing-mail/homing/fetcher"
	"github.com/homing-mail/homing/spool"
)

const (
	// unfinished bounds how many messages of a backfill wait in the spool: mail
	// that arrives meanwhile goes between, and the listing waits.
	unfinished = 1000
	// putAtOnce bounds one commit.
	putAtOnce = 100
	// backfillLook is how often the spool is asked what has become of them.
	backfillLook = 250 * time.Millisecond
	// stillness is after what time without an end of anything we wonder.
	stillness = 30 * time.Second
)

// errInterrupted ends a backfill that was told to stop.
var errInterrupted = errors.New("interrupted")

// backfiller does one task.
type backfiller struct {
	backfillTask
	base  *backfillBase
	out   io.Writer
	meter *meter
	tally tally

	waiting   map[string]bool // messages in the spool that are not finished
	moved     time.Time       // when one of them last was
	versioned map[string]bool // bucket -> whether it has versions, where that is known
}

// deliver puts everything into the spool, waits for it, and sums up.
func (b *backfiller) deliver(ctx context.Context) error {
	err := b.work(ctx)
	if ctx.Err() != nil {
		err = errInterrupted
	}
	err = errors.Join(err, b.base.settle())
	if b.base.ledger != nil {
		err = errors.Join(err, b.look(context.WithoutCancel(ctx)))
	}
	b.meter.end(b.tally)
	b.summarize(err)
	switch {
	case err != nil:
		return err
	case b.tally.held > 0:
		return fmt.Errorf("%d messages are held: see `homing queue list --state held`", b.tally.held)
	case b.tally.failed > 0:
		return fmt.Errorf("%d objects could not be looked at", b.tally.failed)
	}
	return nil
}

// work walks, and counts ahead of it unless nothing takes long.
func (b *backfiller) work(ctx context.Context) error {
	counting, stop := context.WithCancel(ctx)
	var group errgroup.Group
	if !b.dryRun {
		group.Go(func() error { return b.count(counting) })
	}
	err := b.walk(ctx)
	if err == nil {
		err = b.await(ctx, 0)
	}
	stop()
	// What could not be counted only leaves the remaining time unknown.
	_ = group.Wait()
	return err
}

// count finds out how many there are, ahead of the deliveries.
func (b *backfiller) count(ctx context.Context) error {
	var total int64
	for _, place := range b.places {
		for page, err := range b.base.source.List(ctx, fetcher.Place{Bucket: place.Bucket, Prefix: place.Prefix}) {
			if err != nil {
				return err
			}
			total += int64(len(b.choose(place.Bucket, page)))
		}
	}
	b.meter.total.Store(total)
	return nil
}

// walk goes through the listings, as fast as what is found is delivered.
func (b *backfiller) walk(ctx context.Context) error {
	for _, place := range b.places {
		for page, err := range b.base.source.List(ctx, fetcher.Place{Bucket: place.Bucket, Prefix: place.Prefix}) {
			if err != nil {
				return err
			}
			finds, err := b.unknown(ctx, b.choose(place.Bucket, page))
			if err == nil {
				err = b.put(ctx, finds)
			}
			if err != nil {
				return err
			}
			b.meter.show(b.tally)
		}
	}
	return nil
}

// put puts messages into the spool, a few at a time and when there is room.
func (b *backfiller) put(ctx context.Context, finds []backfillFind) error {
	if b.dryRun {
		return b.propose(finds)
	}
	for some := range slices.Chunk(finds, putAtOnce) {
		if err := b.await(ctx, unfinished-len(some)); err != nil {
			return err
		}
		if _, err := b.base.ledger.Accept(ctx, b.arrivals(some)...); err != nil {
			return err
		}
		for _, f := range some {
			b.waiting[f.id] = true
		}
	}
	return b.await(ctx, unfinished) // it may be others that wait
}

func (b *backfiller) arrivals(finds []backfillFind) []spool.Arrival {
	arrivals := make([]spool.Arrival, len(finds))
	for i, f := range finds {
		a := f.Arrival(spool.SourceBackfill, f.version)
		a.ID = f.id
		if b.to != "" {
			a.Recipients, a.Direct = []string{string(b.to)}, true
		}
		arrivals[i] = a
	}
	return arrivals
}

// await waits until at most so many messages are unfinished.
func (b *backfiller) await(ctx context.Context, most int) error {
	if len(b.waiting) <= most {
		return nil
	}
	ticker := time.NewTicker(backfillLook)
	defer ticker.Stop()
	for len(b.waiting) > most {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		if err := b.look(ctx); err != nil {
			return err
		}
		b.meter.show(b.tally)
	}
	return nil
}

// look counts what has been finished since the last look.
func (b *backfiller) look(ctx context.Context) error {
	standings, err := b.base.ledger.Standings(ctx, slices.Collect(maps.Keys(b.waiting)))
	if err != nil {
		return err
	}
	b.tally.reason = ""
	before := len(b.waiting)
	for id := range b.waiting {
		standing := standings[id]
		switch standing.State {
		case spool.Pending, spool.Queued:
			if standing.Reason != "" {
				b.tally.reason = standing.Reason
			}
			continue
		case spool.Held:
			b.tally.hold(id, standing.Reason)
		case spool.Dropped:
			b.tally.passed++
		default:
			b.tally.delivered++
		}
		delete(b.waiting, id)
	}
	b.tally.waiting = int64(len(b.waiting))
	if now := time.Now(); len(b.waiting) < before || b.moved.IsZero() {
		b.moved = now
	} else if still := now.Sub(b.moved); still > stillness && b.tally.reason == "" {
		b.tally.reason = fmt.Sprintf("nothing moves for %s: does homing run, and its destination answer?", still.Round(time.Second))
	}
	return nil
}
