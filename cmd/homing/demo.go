package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/spool"
)

func newDemoCommand(environ []string, std streams) *cobra.Command {
	var to string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way of a few mails, with everything embedded",
		Long: "Run homing between an SNS, an S3 and an LMTP server inside this process, send a few mails through it,\n" +
			"and show each stage. With HOMING_DELIVER_TO set the mails go to that Dovecot instead of a Maildir, by the\n" +
			"rules of HOMING_RECIPIENTS.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := parseMailbox(to); err != nil || !strings.Contains(to, "@") {
				return usageError{fmt.Errorf("--to %q: want an address, as in you@example.com", to)}
			}
			cfg, err := loadPartialConfig(environ)
			if err != nil {
				return err
			}
			log := slog.New(slog.DiscardHandler)
			if cfg.LogLevel < logLevel(slog.LevelInfo) {
				log = newLogger(cfg, std.err)
			}
			settings, _ := readEnvironment(variables(), environ)
			real := settings["HOMING_DELIVER_TO"].given
			return runDemo(cmd.Context(), cfg, real, demoOptions{to, keep, std.out, log})
		},
	}
	cmd.Flags().StringVar(&to, "to", "you@example.com", "the envelope recipient of the mails")
	cmd.Flags().BoolVar(&keep, "keep", false, "go on running afterwards, until interrupted")
	return cmd
}

type demoOptions struct {
	to   string
	keep bool
	out  io.Writer
	log  *slog.Logger
}

// demo is a homing between neighbours of its own.
type demo struct {
	demoOptions
	app   *app
	stage *stage
	began time.Time
}

// runDemo shows the main job once. Everything it makes is below one temporary
// directory, which stays so that the mails can be looked at.
func runDemo(ctx context.Context, cfg *Config, real bool, o demoOptions) (err error) {
	dir, err := os.MkdirTemp("", "homing-demo-")
	if err != nil {
		return err
	}
	d := &demo{demoOptions: o, began: time.Now()}
	if d.stage, err = newStage(ctx, dir, real, d.say); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stage.close()) }()
	cfg = d.stage.configure(cfg, dir)
	if d.app, err = newApp(ctx, cfg, neighbours{sns: d.stage.sns.Transport(), s3: d.stage.s3.Client()}, o.log); err != nil {
		return err
	}
	d.say("homing", "listens for SNS at http://%s%s and delivers to %s", d.app.webhookAddress(), cfg.WebhookPath, cfg.DeliverTo)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.app.run(running) }()
	err = d.perform(running, dir)
	if err == nil && o.keep {
		err = d.linger(running, dir)
	}
	stop()
	return errors.Join(err, <-ended)
}

// say prints one line: when, who, what.
func (d *demo) say(who, format string, args ...any) {
	fmt.Fprintf(d.out, "%7.1f ms  %-8s %s\n", float64(time.Since(d.began).Microseconds())/1000, who, fmt.Sprintf(format, args...))
}

// perform sends the mails, then what homing must see through.
func (d *demo) perform(ctx context.Context, dir string) error {
	if err := d.app.out.Probe(ctx); err != nil {
		return err // homing would wait for it, but who looks on would not know
	}
	fmt.Fprint(d.out, "\nSNS offers a subscription\n")
	if err := d.post(ctx, d.stage.sns.SubscriptionConfirmation(demoTopic, "2"), http.StatusOK); err != nil {
		return err
	}
	for i, mail := range demoMails(d.to) {
		if err := d.send(ctx, i, mail); err != nil {
			return err
		}
	}
	if err := d.deceive(ctx); err != nil {
		return err
	}
	if err := d.count(ctx); err != nil {
		return err
	}
	if d.stage.maildir {
		fmt.Fprintf(d.out, "\nThe mails are in the Maildir %s\n", filepath.Join(dir, "mail", domainOf(d.to), localOf(d.to)))
	} else {
		fmt.Fprintf(d.out, "\nThe mails are with %s\n", d.app.cfg.DeliverTo)
	}
	return nil
}

// send lets one mail take the whole way and waits until it has arrived.
func (d *demo) send(ctx context.Context, number int, mail demoMail) error {
	fmt.Fprintf(d.out, "\n%s, %d bytes\n", mail.what, len(mail.octets))
	receipt := snstest.Receipt{MessageID: demoID(number), Sender: "friend@example.org", Recipients: []string{d.to}}
	if mail.inline {
		receipt.Content, receipt.Encoding = mail.octets, "BASE64"
	} else {
		receipt.Bucket, receipt.Prefix = demoBucket, "inbox/"
		if err := d.stage.s3.Put(demoBucket, "inbox/"+receipt.MessageID, mail.octets, nil); err != nil {
			return err
		}
		d.say("SES", "stored the mail as s3://%s/inbox/%s", demoBucket, receipt.MessageID)
	}
	body := d.stage.sns.Notification(demoTopic, nil, snstest.SESReceived(receipt), mail.signature)
	if err := d.post(ctx, body, http.StatusOK); err != nil {
		return err
	}
	if err := d.await(ctx, receipt.MessageID); err != nil {
		return err
	}
	return d.stage.compare(receipt.MessageID, mail.octets)
}

// post sends a notification to homing and shows its answer, which must have the
// given status.
func (d *demo) post(ctx context.Context, body []byte, want int) error {
	address := "http://" + d.app.webhookAddress() + string(d.app.cfg.WebhookPath)
	status, answer, err := snstest.Post(ctx, http.DefaultClient, address, body)
	if err != nil {
		return err
	}
	answer = strings.TrimSpace(answer)
	d.say("SNS", "posted a notification of %d bytes: %d %s", len(body), status, answer)
	if status != want {
		return fmt.Errorf("homing answered %d, want %d: %s", status, want, answer)
	}
	return nil
}

// await waits until the mail is where it belongs, and fails with the reply that
// keeps it from there.
func (d *demo) await(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second,
		fmt.Errorf("%s has not arrived after 30 s; is %s there?", id, d.app.cfg.DeliverTo))
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		item, err := d.app.spool.Find(ctx, id)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case item.State == spool.Done:
			d.say("homing", "recorded the delivery in its ledger")
			return nil
		case item.State == spool.Held || item.Reason != "":
			return fmt.Errorf("%s did not arrive: %s", id, clean(item.Reason))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// deceive shows what becomes of forged and of repeated notifications.
func (d *demo) deceive(ctx context.Context) error {
	fmt.Fprint(d.out, "\nThe same notification again, as SNS does when in doubt, then two that are not genuine\n")
	again := snstest.SESReceived(snstest.Receipt{MessageID: demoID(0), Sender: "friend@example.org", Recipients: []string{d.to}, Bucket: demoBucket, Prefix: "inbox/"})
	genuine := d.stage.sns.Notification(demoTopic, nil, again, "2")
	if err := d.post(ctx, genuine, http.StatusOK); err != nil {
		return err
	}
	item, err := d.app.spool.Find(ctx, demoID(0))
	if err != nil {
		return err
	}
	if item.State != spool.Done {
		return fmt.Errorf("the repetition was not recognised: the item is %s", item.State)
	}
	d.say("homing", "found it in the ledger: nothing is delivered twice")
	forged := bytes.Replace(genuine, []byte(d.to), []byte("eve@example.net"), 1)
	if err := d.post(ctx, forged, http.StatusForbidden); err != nil {
		return err
	}
	err = d.post(ctx, d.stage.sns.Notification(snstest.Topic("not-ours"), nil, again, "2"), http.StatusForbidden)
	return err
}

// count shows a few of the metrics.
func (d *demo) count(ctx context.Context) error {
	fmt.Fprint(d.out, "\nWhat Prometheus sees\n")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.app.metricsAddress()+"/metrics", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		for _, name := range []string{"homing_notifications_total{", "homing_signature_failures_total{", "homing_deliveries_total{", "homing_fetch_bytes_total ", "homing_latency_seconds_count "} {
			if strings.HasPrefix(line, name) && !strings.HasSuffix(line, " 0\n") {
				fmt.Fprint(d.out, "  ", line)
			}
		}
	}
	return nil
}

// linger goes on until interrupted, with a notification ready to be posted.
func (d *demo) linger(ctx context.Context, dir string) error {
	mail := demoMails(d.to)[0]
	id := demoID(99)
	if err := d.stage.s3.Put(demoBucket, "inbox/"+id, mail.octets, nil); err != nil {
		return err
	}
	message := snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "friend@example.org", Recipients: []string{d.to}, Bucket: demoBucket, Prefix: "inbox/"})
	path := filepath.Join(dir, "notification.json")
	if err := writeNew(path, d.stage.sns.Notification(demoTopic, nil, message, "2")); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nhoming goes on; Ctrl-C ends it. Try\n"+
		"  curl http://%s/metrics\n  curl http://%s/readyz\n  curl --data-binary @%s http://%s%s\n  HOMING_STATE_DIR=%s homing queue list --all\n",
		d.app.metricsAddress(), d.app.metricsAddress(), path, d.app.webhookAddress(), d.app.cfg.WebhookPath, d.app.cfg.StateDir)
	<-ctx.Done()
	return nil
}
