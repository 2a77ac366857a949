package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/intake"
	"github.com/homing-mail/homing/lmtp"
	"github.com/homing-mail/homing/maildir"
	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
	"github.com/homing-mail/homing/submission"
)

// grace is how long what is in flight may take when homing is told to stop.
const grace = 10 * time.Second

// neighbours are what the demo and the tests put in the place of AWS and of the
// disk. The zero value is the real one; no variable and no flag changes it.
type neighbours struct {
	sns  http.RoundTripper               // nil: the system's roots and resolver
	s3   *s3.Client                      // nil: the SDK's default configuration
	kms  *kms.Client                     // nil: the SDK's default configuration
	free func(dir string) (int64, error) // bytes on the spool's disk; nil: as the system says
}

// app is a homing that is ready to run.
type app struct {
	cfg     *Config
	log     *slog.Logger
	metrics *metrics.Metrics
	spool   *spool.Spool
	courier *courier.Courier
	source  *source
	out     exit
	formOut exit // for messages of the contact form; nil: out
	servers []*server
	pull    pull

	verifier *notice.Verifier
	intake   *intake.Intake
}

// exit is a way out that can be closed.
type exit interface {
	courier.Destination
	Close() error
}

// newApp opens the spool, prepares all parts and listens. What it has opened is
// closed again when it fails.
func newApp(ctx context.Context, cfg *Config, with neighbours, log *slog.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, metrics: metrics.New(version())}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	a.spool, err = spool.Open(ctx, spool.Options{
		Dir: string(cfg.StateDir), History: cfg.History, Log: log, Free: with.free,
		Mailbox: func(address string) string { return a.courier.Mailbox(address) }, // not before run
	})
	if err != nil {
		return nil, err
	}
	if err = a.exits(); err != nil {
		return nil, err
	}
	if a.source, err = newSource(ctx, cfg, with, a.metrics); err != nil {
		return nil, err
	}
	a.courier = courier.New(courier.Config{
		Pause: afterKill(a.spool),
		Spool: a.spool, Source: a.source, Destination: a.out, Form: a.formOut, FormUp: a.metrics.FormDestinationUp,
		Observer: observer{a.metrics, cfg.onlyFormOut()}, Log: log,
		Rules: cfg.rules, Fallback: string(cfg.FallbackMailbox), RetryFor: cfg.RetryFor, Grace: grace,
		After: courier.After{Action: courier.Action(cfg.AfterDelivery.action), Prefix: cfg.AfterDelivery.prefix, Delay: cfg.AfterDeliveryDelay},
	})
	a.metrics.Memory(a.source.budget.InUse)
	a.metrics.Queue(a.queue)
	a.metrics.Disk(a.spool.Room)
	a.verifier = notice.NewVerifier(notice.VerifierConfig{Transport: with.sns})
	a.intake = intake.New(intake.Config{Spool: a.spool, Observer: a.metrics, Log: a.log, History: cfg.History})
	if a.pull, err = a.newPull(ctx); err != nil {
		return nil, err
	}
	return a, a.listen(ctx)
}

// afterKill is how long Dovecot is left alone when homing was killed: it may be
// delivering what was sent then, and its duplicate database loses entries when
// two connections deliver to one user.
func afterKill(s *spool.Spool) time.Duration {
	if s.Killed() {
		return 2 * time.Second
	}
	return 0
}

// exits makes the ways out. Where there is nothing but a form that leaves by a
// submission server, that is the only one.
func (a *app) exits() (err error) {
	if a.cfg.FormDeliverTo.address != "" {
		a.formOut = submission.New(submissionConfig(a.cfg))
	}
	a.metrics.FormDestinationUp(a.formOut == nil)
	if a.cfg.onlyFormOut() {
		a.out, a.formOut = a.formOut, nil
		return nil
	}
	a.out, err = a.destination()
	return err
}

// destination makes the way out that HOMING_DELIVER_TO names. It connects to
// nothing yet.
func (a *app) destination() (exit, error) {
	to := a.cfg.DeliverTo
	if to.maildir != "" {
		boxes, err := maildir.New(to.maildir)
		if err != nil {
			return nil, misconfigured("HOMING_DELIVER_TO", fmt.Errorf("HOMING_DELIVER_TO: %w", err))
		}
		return boxes, boxes.Prepare()
	}
	c := lmtpConfig(to)
	c.Connections, c.Observer = int(a.cfg.LMTPConnections), connections{a.metrics}
	c.Exclusive, c.Misset = a.cfg.LMTPExclusive, a.limitMisset
	return lmtp.New(c), nil
}

// limitMisset says what is wrong with lmtp_user_concurrency_limit.
func (a *app) limitMisset(tooHigh bool) {
	what := "no mail is delivered, it waits: Dovecot refuses every second session for a mailbox, which HOMING_LMTP_EXCLUSIVE needs"
	if tooHigh {
		what = "HOMING_LMTP_EXCLUSIVE keeps nothing apart: Dovecot accepts a third session for a mailbox"
	}
	a.log.Error(what, "destination", a.cfg.DeliverTo.String(),
		"mend", "set lmtp_user_concurrency_limit = 2 in Dovecot and reload it; homing check tries it")
}

// lmtpConfig is where a server is and how to speak to it.
func lmtpConfig(to destination) lmtp.Config {
	name, err := os.Hostname()
	if err != nil {
		name = "homing"
	}
	c := lmtp.Config{Network: to.network, Address: to.address, Name: name}
	if to.tls {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return c
}

// listen opens the listeners that are configured.
func (a *app) listen(ctx context.Context) error {
	if a.cfg.Listen != "" {
		handler, err := a.front()
		if err != nil {
			return err
		}
		certificates, err := newCertificates(a.cfg, a.log)
		if err != nil {
			return err
		}
		if certificates != nil {
			a.metrics.Certificate(certificates.expiry)
		}
		if err := a.open(ctx, "HOMING_LISTEN", a.cfg.Listen, handler, certificates.config()); err != nil {
			return err
		}
	}
	if a.cfg.MetricsListen != "" {
		return a.open(ctx, "HOMING_METRICS_LISTEN", a.cfg.MetricsListen, a.health(), nil)
	}
	return nil
}

func (a *app) open(ctx context.Context, variable string, at listenAddress, handler http.Handler, certificates *tls.Config) error {
	s, err := newServer(ctx, at, handler, certificates, a.log)
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	s.variable = variable
	a.servers = append(a.servers, s)
	return nil
}

// run works until ctx ends: then it stops listening, lets what is in flight
// finish within the grace, and closes everything.
func (a *app) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range a.servers {
		group.Go(func() error { return s.run(ctx) })
	}
	group.Go(func() error { return a.spool.Maintain(ctx) })
	group.Go(func() error { return a.courier.Run(ctx) })
	a.pull.run(ctx, group)
	if a.cfg.RecipientsFile != "" {
		group.Go(func() error { return a.followRules(ctx) })
	}
	if a.cfg.SweepInterval > 0 && len(a.cfg.Buckets) > 0 {
		group.Go(func() error { return a.sweep(ctx) })
	}
	return errors.Join(group.Wait(), a.close())
}

func (a *app) close() error {
	var errs []error
	for _, s := range a.servers {
		errs = append(errs, s.close())
	}
	for _, out := range []exit{a.out, a.formOut} {
		if out != nil {
			errs = append(errs, out.Close())
		}
	}
	if a.spool != nil {
		errs = append(errs, a.spool.Close())
	}
	return errors.Join(errs...)
}

// queue reads the spool's state for the metrics.
func (a *app) queue(ctx context.Context) (map[string]int64, time.Duration, error) {
	c, err := a.spool.Counts(ctx)
	return map[string]int64{"due": c.Due, "waiting": c.Waiting, "active": c.Active, "held": c.Held}, c.Oldest, err
}

// health answers /metrics, /healthz and /readyz.
func (a *app) health() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		if err := a.spool.Ready(ctx); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return mux
}

func (a *app) webhookAddress() string { return a.address("HOMING_LISTEN") }
func (a *app) metricsAddress() string { return a.address("HOMING_METRICS_LISTEN") }

// address is where the listener of a variable listens, with the port that the
// kernel chose; empty where there is none.
func (a *app) address(variable string) string {
	for _, s := range a.servers {
		if s.variable == variable {
			return s.listener.Addr().(*net.TCPAddr).String()
		}
	}
	return ""
}
