package main

import (
	"slices"
	"strings"
	"testing"
)

const (
	queueA = "https://sqs.eu-west-1.amazonaws.com/123456789012/mail"
	queueB = "http://localhost:4566/000000000000/mail"
)

func TestParseQueueURL(t *testing.T) {
	checkParser(t, parseQueueURL, append(bad[queueURL](
		"", "mail", "arn:aws:sqs:eu-west-1:123456789012:mail", "sqs.eu-west-1.amazonaws.com/123456789012/mail", "ftp://sqs/1/mail",
		"https:///mail", "https://sqs.eu-west-1.amazonaws.com", "https://sqs.eu-west-1.amazonaws.com/", "https://u:p@sqs/1/mail",
		queueA+"?x=1", queueA+"#x", queueA+".fifo", "https://sqs/1/ma\nil"),
		good(queueA, queueURL(queueA)), good(queueB, queueURL(queueB)),
	)...)
	if _, err := parseQueueURL(queueA + ".fifo"); !strings.Contains(text(err), "standard queue") {
		t.Errorf("a FIFO queue: %v", err)
	}
}

func TestParseQueueURLs(t *testing.T) {
	checkParser(t, parseQueueURLs, append(bad[queueURLs]("mail", queueA+",mail"),
		good(queueA+",\n"+queueB+" "+queueA, queueURLs{queueB, queueA}),
		good(" ", queueURLs(nil)),
	)...)
}

func TestQueueConfig(t *testing.T) {
	base := []string{"HOMING_BUCKETS=mail", "HOMING_LISTEN="}
	for _, test := range []struct {
		name    string
		environ []string
		want    string // the beginning of its only line; empty: no mistake
	}{
		{"no topics", []string{"HOMING_SQS_QUEUES=" + queueA}, "HOMING_SNS_TOPICS is required with queues"},
		{"no topics for the dead", []string{"HOMING_DLQ=" + queueA}, "HOMING_SNS_TOPICS is required with queues"},
		{"raw", []string{"HOMING_SQS_QUEUES=" + queueA, "HOMING_SQS_RAW=true"}, ""},
		{"signed", []string{"HOMING_SQS_QUEUES=" + queueA, "HOMING_SNS_TOPICS=" + topicA}, ""},
		{"one queue for both", []string{"HOMING_SQS_QUEUES=" + queueA, "HOMING_DLQ=" + queueA, "HOMING_SNS_TOPICS=" + topicA}, "HOMING_DLQ is one of HOMING_SQS_QUEUES"},
		{"one queue twice", []string{"HOMING_SQS_QUEUES=" + queueA + "," + queueA, "HOMING_SNS_TOPICS=" + topicA}, ""},
		{"no mailbox", []string{"HOMING_POSTMASTER=a b"}, `HOMING_POSTMASTER="a b": want one mailbox`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadConfig(slices.Concat(base, test.environ))
			got := text(err)
			if !strings.HasPrefix(got, test.want) || strings.Contains(got, "\n") || test.want == "" && got != "" {
				t.Errorf("got\n%s\nwant one line that begins\n%s", got, test.want)
			}
		})
	}
	cfg, err := loadConfig(slices.Concat(base, []string{"HOMING_DLQ=" + queueA, "HOMING_SNS_TOPICS=" + topicA}))
	if err != nil || len(cfg.warnings()) != 2 || !strings.HasPrefix(cfg.warnings()[0], "HOMING_DLQ is read, but") {
		t.Errorf("got %v, %q", err, cfg.warnings())
	}
}
