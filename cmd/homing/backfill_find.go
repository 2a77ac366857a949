package main

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/homing-mail/homing/fetcher"
	"github.com/homing-mail/homing/poller"
	"github.com/homing-mail/homing/spool"
)

// headsAtOnce hides S3's latency.
const headsAtOnce = 8

// choose returns what of a page the task is about.
func (b *backfiller) choose(bucket string, page fetcher.Page) (chosen []poller.Object) {
	for _, listed := range page.Objects {
		o := poller.Object{Bucket: bucket, Key: listed.Key, ETag: listed.ETag, Size: listed.Size, Stored: listed.Stored}
		if o.IsMail() && !o.Stored.Before(b.since) && (b.until.IsZero() || o.Stored.Before(b.until)) {
			chosen = append(chosen, o)
		}
	}
	return chosen
}

// backfillFind is an object, and what is to be known of it.
type backfillFind struct {
	poller.Object
	version string
	id      string
	err     error
}

// unknown returns the objects that are to be delivered.
func (b *backfiller) unknown(ctx context.Context, objects []poller.Object) ([]backfillFind, error) {
	b.tally.found += int64(len(objects))
	finds, err := b.identify(ctx, objects)
	if err != nil || b.base.ledger == nil {
		return finds, err
	}
	ids := make([]string, len(finds))
	for i, f := range finds {
		ids[i] = f.id
	}
	standings, err := b.base.ledger.Standings(ctx, ids)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(finds, func(f backfillFind) bool {
		standing, ok := standings[f.id]
		switch {
		case !ok || poller.Forgotten(standing):
			return false
		case standing.State == spool.Pending && !b.dryRun:
			b.waiting[f.id] = true // left by a run before this one, or just announced
		case standing.State == spool.Held:
			b.tally.heldBefore++
			b.tally.passed++
		default:
			b.tally.passed++
		}
		return true
	}), nil
}

// identify gives each object the identity under which the ledger would have it.
func (b *backfiller) identify(ctx context.Context, objects []poller.Object) ([]backfillFind, error) {
	finds := make([]backfillFind, len(objects))
	var group errgroup.Group
	group.SetLimit(headsAtOnce)
	for i, o := range objects {
		f := &finds[i]
		f.Object = o
		if !o.NeedsVersion() {
			continue
		}
		has, known := b.versioned[o.Bucket]
		switch {
		case !known:
			// The first tells whether the others have to be asked.
			b.ask(ctx, f)
			if f.err == nil {
				b.versioned[o.Bucket] = f.version != ""
			}
		case has:
			group.Go(func() error {
				b.ask(ctx, f)
				return nil
			})
		}
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	for i := range finds {
		finds[i].id = b.id(&finds[i])
	}
	return slices.DeleteFunc(finds, b.failed), nil
}

func (b *backfiller) ask(ctx context.Context, f *backfillFind) {
	var head fetcher.Head
	head, f.err = b.base.source.Head(ctx, fetcher.Ref{Bucket: f.Bucket, Key: f.Key, ETag: f.ETag})
	f.version = head.Version
}

// id is the message's identity; in a run of --again it is one of its own, which
// neither the ledger nor the Sieve rule has seen.
func (b *backfiller) id(f *backfillFind) string {
	id := f.ID(f.version)
	if b.run != "" {
		id += "#" + b.run
	}
	return id
}

// failed counts an object that could not be asked for its version.
func (b *backfiller) failed(f backfillFind) bool {
	if f.err == nil {
		return false
	}
	if failure, ok := errors.AsType[*fetcher.Error](f.err); ok && failure.Gone() {
		b.tally.gone++
	} else {
		b.tally.fail(f.err)
	}
	return true
}
