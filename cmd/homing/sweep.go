package main

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/homing-mail/homing/fetcher"
	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/poller"
)

// sweep looks for mail that no notification announced, until ctx ends.
func (a *app) sweep(ctx context.Context) error {
	return poller.NewSweeper(poller.SweepConfig{
		Store: &bucketStore{Fetcher: a.source.Fetcher, metrics: a.metrics, log: a.log}, Ledger: a.spool, Observer: a.metrics, Log: a.log,
		Places: a.cfg.listed(), Moved: a.cfg.moved(), Interval: a.cfg.SweepInterval, Grace: a.cfg.SweepGrace,
		Window: a.cfg.sweepWindow(), Since: a.spool.Made(), Ready: a.pull.quiet,
	}).Run(ctx)
}

// moved is where nothing but what was delivered lies. Where homing encrypts to,
// the Lambda may encrypt to, too, what nobody has delivered yet.
func (c *Config) moved() string {
	if c.AfterDelivery.action == "move" {
		return c.AfterDelivery.prefix
	}
	return ""
}

// sweepWindow is how far back a sweep looks: as long as SNS and its dead-letter
// queue repeat themselves, and never so far that the ledger may have forgotten
// what was delivered. A day is left for clocks that jumped.
func (c *Config) sweepWindow() time.Duration {
	const most, margin = 14 * 24 * time.Hour, 24 * time.Hour
	return min(most, c.History-min(margin, c.History/2))
}

// listed are the places in which mail is looked for.
func (c *Config) listed() []poller.Place {
	all := make([]poller.Place, len(c.Buckets))
	for i, p := range c.Buckets {
		all[i] = poller.Place{Bucket: p.bucket, Prefix: p.prefix}
	}
	return all
}

// bucketStore lets the sweep look into the buckets, and counts its requests.
type bucketStore struct {
	*fetcher.Fetcher
	metrics *metrics.Metrics
	log     *slog.Logger
	denied  sync.Once // the tags may not be read
}

// List implements poller.Store.
func (b *bucketStore) List(ctx context.Context, place poller.Place) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		for listed, err := range b.Fetcher.List(ctx, fetcher.Place{Bucket: place.Bucket, Prefix: place.Prefix}) {
			b.metrics.SweepRequest("list")
			page := poller.Page{Time: listed.Time, Objects: make([]poller.Object, len(listed.Objects))}
			for i, o := range listed.Objects {
				page.Objects[i] = poller.Object{Bucket: place.Bucket, Key: o.Key, ETag: o.ETag, Size: o.Size, Stored: o.Stored}
			}
			if !yield(page, err) {
				return
			}
		}
	}
}

// Look implements poller.Store. Where the tags may not be read an object counts
// as one that has none: what another replica delivered then comes twice, and
// the Sieve rule turns it away.
func (b *bucketStore) Look(ctx context.Context, o poller.Object) (poller.Marks, error) {
	ref := fetcher.Ref{Bucket: o.Bucket, Key: o.Key, ETag: o.ETag}
	b.metrics.SweepRequest("head")
	head, err := b.Head(ctx, ref)
	if err != nil || head.Metadata[ownMark] != "" {
		return poller.Marks{Version: head.Version, Finished: err == nil}, err
	}
	ref.Version = head.Version
	b.metrics.SweepRequest("tagging")
	tagged, err := b.Tagged(ctx, ref)
	if failed, ok := errors.AsType[*fetcher.Error](err); ok && failed.Denied() {
		b.denied.Do(func() {
			b.log.Warn("the sweep may not read the objects' tags and cannot see what other replicas delivered; allow s3:GetObjectTagging", "error", err)
		})
		err = nil
	}
	return poller.Marks{Version: head.Version, Finished: tagged}, err
}
