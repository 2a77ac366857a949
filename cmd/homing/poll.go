package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/homing-mail/homing/poller"
	"github.com/homing-mail/homing/report"
)

// pull is what homing fetches for itself, and what it tells about that.
type pull struct {
	queues   []*poller.Queue
	dead     *poller.DeadLetters // nil: HOMING_DLQ is not set
	reporter *report.Reporter    // nil: HOMING_POSTMASTER is not set
}

// newPull prepares the queues that are configured. It makes no request.
func (a *app) newPull(ctx context.Context) (p pull, err error) {
	trust := poller.Trust{Topics: a.cfg.SNSTopics, Confirm: a.cfg.SNSConfirm, Raw: a.cfg.SQSRaw, Verifier: a.verifier}
	for _, url := range a.cfg.SQSQueues {
		client, err := poller.NewClient(ctx, string(url))
		if err != nil {
			return p, misconfigured("HOMING_SQS_QUEUES", err)
		}
		p.queues = append(p.queues, poller.NewQueue(poller.QueueConfig{
			Client: client, URL: string(url), Trust: trust, Intake: a.intake, Ledger: a.spool, Courier: a.courier,
			Observer: a.metrics, Log: a.log, Grace: grace,
		}))
	}
	if a.cfg.DLQ != "" {
		client, err := poller.NewClient(ctx, string(a.cfg.DLQ))
		if err != nil {
			return p, misconfigured("HOMING_DLQ", err)
		}
		p.dead = poller.NewDeadLetters(poller.DeadLettersConfig{
			Client: client, URL: string(a.cfg.DLQ), Trust: trust, Intake: a.intake, Spool: a.spool,
			Report: a.cfg.Postmaster != "", Observer: a.metrics, Log: a.log,
		})
	}
	if a.cfg.Postmaster != "" {
		p.reporter = report.New(report.Config{
			Spool: a.spool, Postmaster: string(a.cfg.Postmaster), Log: a.log, Reported: a.metrics.Reported,
		})
	}
	return p, nil
}

// run runs all of it in the group until ctx ends.
func (p *pull) run(ctx context.Context, group *errgroup.Group) {
	for _, q := range p.queues {
		group.Go(func() error { return q.Run(ctx) })
	}
	if p.dead != nil {
		group.Go(func() error { return p.dead.Run(ctx) })
	}
	if p.reporter != nil {
		group.Go(func() error { return p.reporter.Run(ctx) })
	}
}

// quiet returns nil once every queue has answered that it has no more messages, or
// none that is new, and the dead-letter queue has been looked into.
func (p *pull) quiet(ctx context.Context) error {
	if p.dead != nil {
		if err := p.dead.Quiet(ctx); err != nil {
			return err
		}
	}
	for _, q := range p.queues {
		if err := q.Quiet(ctx); err != nil {
			return err
		}
	}
	return nil
}
