package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// missing finds what serve cannot do without.
func (c *Config) missing() []mistake {
	found := c.missingForForm()
	if c.formOnly() {
		return found
	}
	if len(c.Buckets) == 0 {
		found = append(found, mistake{"HOMING_BUCKETS",
			errors.New("HOMING_BUCKETS is required: name the bucket in which SES stores mail, as bucket or bucket/prefix")})
	}
	if len(c.SNSTopics) == 0 && c.Listen != "" && c.FormPath == "" {
		found = append(found, mistake{"HOMING_SNS_TOPICS",
			errors.New("HOMING_SNS_TOPICS is required while HOMING_LISTEN is not empty: give the ARN of the topic that SES notifies, as in " + exampleTopic)})
	}
	if len(c.SNSTopics) == 0 && (c.Listen == "" || c.FormPath != "") && (len(c.SQSQueues) > 0 || c.DLQ != "") && !c.SQSRaw {
		found = append(found, mistake{"HOMING_SNS_TOPICS",
			errors.New("HOMING_SNS_TOPICS is required with queues: give the ARN of the topic that speaks through them, as in " + exampleTopic +
				", or set HOMING_SQS_RAW=true where no topic does")})
	}
	return found
}

// contradictions finds variables that are right one by one and not together.
func (c *Config) contradictions() []mistake {
	found := append(c.formContradictions(), c.sealContradictions()...)
	if c.TLSCertPath != "" && c.TLSKeyPath == "" {
		found = append(found, mistake{"HOMING_TLS_KEY_PATH",
			errors.New("HOMING_TLS_KEY_PATH is required with HOMING_TLS_CERT_PATH: give the path of the certificate's key")})
	}
	if c.TLSKeyPath != "" && c.TLSCertPath == "" {
		found = append(found, mistake{"HOMING_TLS_CERT_PATH",
			errors.New("HOMING_TLS_CERT_PATH is required with HOMING_TLS_KEY_PATH: give the path of the key's certificate chain")})
	}
	if c.DLQ != "" && slices.Contains(c.SQSQueues, c.DLQ) {
		found = append(found, mistake{"HOMING_DLQ",
			errors.New("HOMING_DLQ is one of HOMING_SQS_QUEUES; give it in one of them: a queue that SNS delivers to, or the one for what it could not deliver")})
	}
	if c.Listen.overlaps(c.MetricsListen) {
		found = append(found, mistake{"HOMING_METRICS_LISTEN",
			fmt.Errorf("HOMING_METRICS_LISTEN=%s: HOMING_LISTEN has the same port; give the metrics another, for they are not for the world to see",
				quote(string(c.MetricsListen)))})
	}
	return found
}

// addNew adds what was found to what is wrong, but nothing about a variable that
// has a mistake already: it may be missing only because it could not be read.
func addNew(wrong, found []mistake) []mistake {
	all := wrong
	for _, m := range found {
		if !slices.ContainsFunc(wrong, func(known mistake) bool { return known.variable == m.variable }) {
			all = append(all, m)
		}
	}
	return all
}

// warnings tells what is allowed and hardly meant.
func (c *Config) warnings() []string {
	// SNS's dead-letter queue keeps a notification for at most 14 days
	// (https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html).
	const repeats = 14 * 24 * time.Hour
	found := append(c.formWarnings(), c.sealWarnings()...)
	if locked := c.keyring().locked; locked != nil {
		found = append(found, fmt.Sprintf("HOMING_PGP_PASSPHRASE leaves keys locked, and what is encrypted to them will be held (%v)", locked))
	}
	if c.History < repeats && !c.formOnly() {
		found = append(found, "HOMING_HISTORY is shorter than 14 days, for which SNS may repeat a notification: the mail may then come twice")
	}
	if c.LMTPExclusive && c.DeliverTo.maildir != "" {
		found = append(found, "HOMING_LMTP_EXCLUSIVE does nothing for a Maildir, where any number of homings may deliver at a time")
	}
	if c.DLQ != "" && c.Postmaster == "" {
		found = append(found, "HOMING_DLQ is read, but without HOMING_POSTMASTER nobody is told what came back from it")
	}
	if c.Listen == "" && len(c.SQSQueues) == 0 && !c.formOnly() {
		rest := "nothing finds mail"
		if c.SweepInterval > 0 {
			rest = fmt.Sprintf("mail is found by the sweep alone, every %s", span(c.SweepInterval))
		}
		found = append(found, "HOMING_LISTEN and HOMING_SQS_QUEUES are both empty, so that no notification arrives: "+rest)
	}
	if 0 < c.SweepInterval && c.SweepInterval < time.Minute {
		found = append(found, "HOMING_SWEEP_INTERVAL is shorter than a minute: each sweep lists the whole bucket, and S3 charges for every 1,000 objects")
	}
	if c.SweepInterval > 0 && c.SweepGrace >= c.sweepWindow() {
		found = append(found, fmt.Sprintf("HOMING_SWEEP_GRACE leaves nothing to the sweep, which looks back %s with this HOMING_HISTORY", span(c.sweepWindow())))
	}
	if c.AfterDelivery.prefix != "" {
		for _, p := range c.Buckets {
			if !slices.ContainsFunc(c.Buckets, func(q place) bool { return q.bucket == p.bucket && strings.HasPrefix(c.AfterDelivery.prefix, q.prefix) }) {
				found = append(found, fmt.Sprintf("HOMING_AFTER_DELIVERY puts objects of %s under %s, which HOMING_BUCKETS does not cover: recipients that are named later cannot be served from there",
					p.bucket, quote(c.AfterDelivery.prefix)))
			}
		}
	}
	return found
}
