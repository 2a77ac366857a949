package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/homing-mail/homing/fetcher"
	"github.com/homing-mail/homing/notice"
)

// clockReading is a time that a neighbour said, and our own at that moment.
type clockReading struct {
	from         string
	theirs, ours time.Time
}

// awsGroup marks a group whose answers the clock is compared with.
func (c *checker) awsGroup(g group) group {
	c.answers.Add(1)
	return func(ctx context.Context, p *page) {
		defer c.answers.Done()
		g(ctx, p)
	}
}

func (c *checker) heard(from string, theirs, ours time.Time) {
	if theirs.IsZero() || ours.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clocks = append(c.clocks, clockReading{from, theirs, ours})
}

// credentials settles the client that the buckets are tried with.
func (c *checker) credentials(ctx context.Context, p *page) {
	defer close(c.found)
	client := c.with.s3
	if client == nil {
		var err error
		if client, err = fetcher.NewClient(ctx, c.cfg.S3PathStyle); err != nil {
			p.add("aws settings", "AWS_*", 0, misset(err, "correct the AWS_* variables, or the profile in ~/.aws"))
			return
		}
	}
	if p.try(ctx, "aws credentials", "region "+client.Options().Region, func(ctx context.Context) finding {
		source, err := fetcher.NewTrial(client).Credentials(ctx)
		if err != nil {
			return trialFinding(err)
		}
		return well("found by %s", source)
	}) {
		c.client = client
	}
}

// trialFinding shows an error of fetcher.Trial.
func trialFinding(err error) finding {
	e, ok := errors.AsType[*fetcher.TrialError](err)
	if !ok {
		return broken(err, "try again")
	}
	f := broken(err, e.Mend())
	if e.Permission != "" {
		f.detail = e.Permission + " is not allowed: " + f.detail
	}
	return f
}

// bucket lists one key and reads the beginning of that object.
func (c *checker) bucket(ctx context.Context, p *page, at place) {
	<-c.found
	if c.client == nil {
		return // which has a line of its own
	}
	trial := fetcher.NewTrial(c.client)
	where := fetcher.Place{Bucket: at.bucket, Prefix: at.prefix}
	target := at.String()
	var key string
	var refused *fetcher.TrialError
	listed := p.try(ctx, "s3 list", target, func(ctx context.Context) finding {
		answer, err := trial.List(ctx, where)
		c.heard("S3", answer.Date, answer.Heard)
		if err != nil {
			refused, _ = errors.AsType[*fetcher.TrialError](err)
			return c.listFinding(err, refused)
		}
		key = answer.Key
		if key == "" {
			return well("allowed; there is no object yet")
		}
		return well("allowed")
	})
	if !listed && (p.hung || refused == nil || refused.Permission == "") {
		return // it is not for the lack of a permission that the object could be asked for without
	}
	p.try(ctx, "s3 get", target, func(ctx context.Context) finding {
		answer, err := trial.Get(ctx, where, key)
		c.heard("S3", answer.Date, answer.Heard)
		return getFinding(answer, err, key, refused == nil)
	})
	if needs := afterPermissions[c.cfg.AfterDelivery.action]; needs != "" {
		p.add("s3 write", target, 0, doubtful("not tried, for it would change the bucket", "make sure that these credentials are allowed "+needs+
			", which HOMING_AFTER_DELIVERY="+c.cfg.AfterDelivery.action+" needs"))
	}
}

// listFinding: listing is the sweep's, and deliveries do without it.
func (c *checker) listFinding(err error, refused *fetcher.TrialError) finding {
	f := trialFinding(err)
	if refused != nil && refused.Permission != "" && c.cfg.SweepInterval == 0 && !c.isWrong("HOMING_SWEEP_INTERVAL") {
		return doubtful(f.detail+" (the sweep is off; `homing backfill` needs it too, and without it S3 does not tell a missing object from one that may not be read)", f.mend)
	}
	return f
}

// getFinding says what a trial to read tells, which without a key depends on
// whether listing is allowed.
func getFinding(answer fetcher.Answer, err error, key string, listed bool) finding {
	e, refused := errors.AsType[*fetcher.TrialError](err)
	switch {
	case refused && key == "" && !listed && e.Permission != "" && !e.Sure:
		return doubtful("cannot be told: S3 answers the same for an object that does not exist and for one that may not be read, unless s3:ListBucket is allowed",
			"allow s3:ListBucket, and s3:GetObject if it is not allowed yet")
	case err != nil:
		return trialFinding(err)
	case answer.Absent:
		return well("allowed, as far as can be told without an object to read")
	}
	return well("allowed; the beginning of %q was read", key)
}

// afterPermissions are what HOMING_AFTER_DELIVERY needs beside reading.
var afterPermissions = map[string]string{
	"delete":  "s3:DeleteObject",
	"tag":     "s3:PutObjectTagging and s3:GetObjectTagging",
	"move":    "s3:PutObject and s3:DeleteObject",
	"encrypt": "s3:PutObject and s3:DeleteObject, in a bucket with versions s3:GetObjectVersion and s3:DeleteObjectVersion, too,",
}

// hosts are where SNS gives out the certificates for the topics, each once. For a
// topic without one it is the topic.
func (c *checker) hosts() (all []string) {
	for _, topic := range c.cfg.SNSTopics {
		host, err := notice.Host(topic)
		if err != nil {
			host = topic
		}
		if !slices.Contains(all, host) {
			all = append(all, host)
		}
	}
	return all
}

// sns reaches for a host over TLS.
func (c *checker) sns(ctx context.Context, p *page, host string) {
	p.try(ctx, "sns", host, func(ctx context.Context) finding {
		if slices.Contains(c.cfg.SNSTopics, host) {
			_, err := notice.Host(host)
			return broken(err, "correct HOMING_SNS_TOPICS: homing verifies messages of the partitions aws, aws-us-gov and aws-cn only")
		}
		date, err := notice.NewVerifier(notice.VerifierConfig{Transport: c.with.sns}).Reach(ctx, host)
		if err != nil {
			return broken(err, reachMend(err))
		}
		c.heard("SNS", date, time.Now())
		return well("reachable over TLS, for the certificates that signatures are verified with")
	})
}

// reachMend is what to do where an AWS host is not reached.
func reachMend(err error) string {
	if _, dns := errors.AsType[*net.DNSError](err); dns {
		return "this machine cannot resolve the name: look at its DNS (in a container /etc/resolv.conf), and at the region in HOMING_SNS_TOPICS"
	}
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return "install the system's root certificates (package ca-certificates); if a proxy opens TLS here, let it pass this host untouched"
	}
	if _, other := errors.AsType[x509.HostnameError](err); other {
		return "something else answers in AWS's name: look at DNS and at a proxy that opens TLS"
	}
	if _, invalid := errors.AsType[x509.CertificateInvalidError](err); invalid {
		return "look at the clock of this machine, and at a proxy that opens TLS"
	}
	return "let this machine reach the host on port 443: firewall, HTTPS_PROXY"
}

// clock compares ours with AWS's. It waits for the answers that the others get.
func (c *checker) clock(ctx context.Context, p *page) {
	answered := make(chan struct{})
	go func() {
		c.answers.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-ctx.Done():
	}
	c.mu.Lock()
	readings := c.clocks
	c.mu.Unlock()
	if len(readings) == 0 {
		p.add("clock", "of this machine", 0, doubtful("AWS said nothing to compare it with", "mend what failed above, and check again"))
		return
	}
	p.add("clock", "of this machine", 0, judgeClock(readings))
}

// judgeClock goes by the neighbour that differs most.
func judgeClock(readings []clockReading) finding {
	const (
		most      = 5 * time.Minute // AWS refuses signatures of more than 15
		precision = time.Second     // of an HTTP date
	)
	var worst time.Duration
	var from string
	for _, r := range readings {
		if off := r.ours.Sub(r.theirs).Round(precision); from == "" || off.Abs() > worst.Abs() {
			worst, from = off, r.from
		}
	}
	relation := "ahead of"
	if worst < 0 {
		relation = "behind"
	}
	if worst.Abs() > most {
		return broken(fmt.Errorf("%s %s the clock of %s, whose signatures are good for 15 minutes", worst.Abs(), relation, from),
			"set the clock, and keep it with NTP (timedatectl set-ntp true)")
	}
	if worst.Abs() <= 2*precision {
		return well("as that of %s", from)
	}
	return well("%s %s that of %s", worst.Abs(), relation, from)
}
