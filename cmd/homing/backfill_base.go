package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/spool"
)

// backfillBase is what a backfill stands on: the spool and the courier of a
// homing that runs, or its own.
type backfillBase struct {
	source *source
	ledger *spool.Spool // nil: there is none yet, for a dry run
	app    *app         // nil: another homing works the spool
	stop   func() error // ends the app's work; nil: there is none
}

// openBase takes the spool over when nobody works it. A dry run does not.
func openBase(ctx context.Context, cfg *Config, with neighbours, dryRun bool, log *slog.Logger) (*backfillBase, error) {
	if !dryRun {
		own := *cfg
		own.Listen, own.MetricsListen = "", ""
		a, err := newApp(ctx, &own, with, log)
		if err == nil {
			return &backfillBase{source: a.source, ledger: a.spool, app: a, stop: a.work(ctx)}, nil
		}
		if !errors.Is(err, spool.ErrRunning) {
			return nil, err
		}
	}
	from, err := newSource(ctx, cfg, with, metrics.New(version()))
	if err != nil {
		return nil, err
	}
	ledger, err := spool.Open(ctx, spool.Options{Dir: string(cfg.StateDir), History: cfg.History, Log: log, Guest: true, Free: with.free})
	if dryRun && errors.Is(err, fs.ErrNotExist) {
		return &backfillBase{source: from}, nil
	}
	if err != nil {
		return nil, err
	}
	return &backfillBase{source: from, ledger: ledger}, nil
}

// work carries the spool's items until stop is called or ctx ends: run without
// what brings new ones.
func (a *app) work(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.spool.Maintain(ctx) })
	group.Go(func() error { return a.courier.Run(ctx) })
	if a.cfg.RecipientsFile != "" {
		group.Go(func() error { return a.followRules(ctx) })
	}
	return func() error {
		cancel()
		return group.Wait()
	}
}

// settle ends the work, so that the ledger says all that came of it.
func (b *backfillBase) settle() error {
	if b.stop == nil {
		return nil
	}
	stop := b.stop
	b.stop = nil
	return stop()
}

func (b *backfillBase) close() error {
	err := b.settle()
	switch {
	case b.app != nil:
		return errors.Join(err, b.app.close())
	case b.ledger != nil:
		return errors.Join(err, b.ledger.Close())
	}
	return err
}
