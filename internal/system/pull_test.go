package system

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/moto"
	"github.com/homing-mail/homing/internal/sqstest"
)

// puller is a homing that has no webhook and pulls from a queue.
func puller(tb testing.TB, to, s3, queue string, pairs ...string) environment {
	tb.Helper()
	return bare(tb, to).with("HOMING_LISTEN", "", "AWS_ENDPOINT_URL_S3", s3, "HOMING_SQS_QUEUES", queue).with(pairs...)
}

// fill stores messages for the users in turn, and puts their notifications into
// a queue of moto.
func (l *load) fill(m *moto.Server, queue string, many int) {
	tb := l.home.tb
	tb.Helper()
	client := m.SQS()
	var entries []types.SendMessageBatchRequestEntry
	for n := range many {
		mailbox := address(l.users[n%len(l.users)])
		id, notification := l.store(mailbox)
		l.acked[id] = mailbox
		entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(n % 10)), MessageBody: aws.String(notification)})
		if len(entries) < 10 && n < many-1 {
			continue
		}
		if _, err := client.SendMessageBatch(tb.Context(), &sqs.SendMessageBatchInput{QueueUrl: &queue, Entries: entries}); err != nil {
			tb.Fatal(err)
		}
		entries = nil
	}
}

// store stores a message of 4 KB for a mailbox and returns what SNS says of it.
func (l *load) store(mailbox string) (id, notification string) {
	l.home.tb.Helper()
	id = newID()
	message := fmt.Sprintf("From: ann@far.test\r\nSubject: %s\r\n\r\n%s", id, strings.Repeat("Nothing else to say in this line of text.\r\n", 96))
	if err := l.home.s3.Put(bucket, id, []byte(message), nil); err != nil {
		l.home.tb.Fatal(err)
	}
	return id, string(sign(receipt(id, "ann@far.test", mailbox)))
}

// Replicas with state directories of their own share one queue. One of them is
// killed in the middle and does not come back; another is told to stop. All mail
// arrives, with the rule from contrib/dovecot once.
func TestReplicasShareAQueue(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		many := 600
		if testing.Short() {
			many = 150
		}
		m := moto.Start(t)
		queue := m.Queue(t, "mail", nil)
		h := &home{tb: t, dovecot: dovecot.Start(t, forReplicas(t, shipped(t, version, users(crowd...)))), s3: memoryS3(t)}
		l := &load{home: h, users: crowd, acked: map[string]string{}}
		l.fill(m, queue, many)
		replicas := make([]*daemon, 4)
		for i := range replicas { // all at once, so that there is mail for each
			replicas[i] = launch(t, puller(t, "lmtp:"+h.dovecot.UnixSocket, h.s3.URL(), queue, "HOMING_LMTP_EXCLUSIVE", "true"))
		}
		for _, d := range replicas {
			d.awaitListeners(t)
		}
		replicas[0].awaitMetric(t, `homing_deliveries_total{result="delivered"}`, 5)
		replicas[0].kill()
		replicas[1].awaitMetric(t, `homing_deliveries_total{result="delivered"}`, 10)
		if code, _ := replicas[1].stop(t); code != 0 {
			t.Errorf("it stopped with %d", code)
		}
		// What the killed one had in hand is hidden for a minute.
		for _, what := range []string{"most of the mail", "what the killed one had in hand"} {
			await(t, what, func() error {
				if left := m.Left(t, queue); left > 100 || left > 0 && what != "most of the mail" {
					return fmt.Errorf("%d messages are in the queue", left)
				}
				return nil
			})
		}
		l.verify(true)
		t.Logf("%d messages, by the last two replicas %v", many, shares(t, replicas[2:]))
	})
}

// shares is how many each replica delivered; none may have been idle.
func shares(tb testing.TB, replicas []*daemon) (all []float64) {
	tb.Helper()
	for i, d := range replicas {
		n, err := d.metric(`homing_deliveries_total{result="delivered"}`)
		if err != nil || n == 0 {
			tb.Errorf("replica %d delivered %v, %v", i, n, err)
		}
		all = append(all, n)
	}
	return all
}

// What SNS could not post comes back from its dead-letter queue, and the
// postmaster is told.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	m := moto.Start(t)
	queue := m.Queue(t, "dead", nil)
	h := &home{tb: t, dovecot: dovecot.Start(t, dovecot.Options{Version: dovecot.V23, Users: users("alice", "postmaster")}), s3: memoryS3(t)}
	l := &load{home: h, users: []string{"alice"}, acked: map[string]string{}}
	l.fill(m, queue, 25)
	env := puller(t, "lmtp:"+h.dovecot.UnixSocket, h.s3.URL(), "", "HOMING_DLQ", queue, "HOMING_POSTMASTER", address("postmaster"))
	h.daemon = serve(t, env)
	h.dovecot.WaitMessages(t, address("alice"), "INBOX", 25)
	h.awaitMetric(t, `homing_dlq_messages_total{result="recovered"}`, 25)
	h.stop(t) // what is to be reported survives
	h.daemon = serve(t, env)
	report := string(h.dovecot.WaitMessages(t, address("postmaster"), "INBOX", 1)[0])
	for _, want := range []string{"Return-Path: <>", "Auto-Submitted: auto-generated", "Subject: homing: 25 messages back", "None of them waits any more."} {
		if !strings.Contains(report, want) {
			t.Errorf("%q is missing in the report:\n%s", want, report)
		}
	}
	if left := m.Left(t, queue); left != 0 {
		t.Errorf("%d messages are in the dead-letter queue", left)
	}
	l.verify(true)
}

// An idle homing listens to its queue without using the processor.
func TestIdlePollsCostNothing(t *testing.T) {
	t.Parallel()
	server, err := sqstest.New("mail", "dead")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	d := serve(t, puller(t, "maildir:"+t.TempDir()+"/%n", memoryS3(t).URL(), server.URL("mail"), "HOMING_DLQ", server.URL("dead")))
	await(t, "the first poll", func() error {
		if server.Calls()["ReceiveMessage"] < 3 {
			return fmt.Errorf("%v", server.Calls())
		}
		return nil
	})
	quiet := 45 * time.Second
	if testing.Short() {
		quiet = 25 * time.Second
	}
	before, polls := d.cpu(t), server.Calls()["ReceiveMessage"]
	<-time.After(quiet)
	used := d.cpu(t) - before
	share := used.Seconds() / quiet.Seconds()
	t.Logf("idle for %v: %v of processor time, %.2f %% of a core, %d polls", quiet, used, 100*share, server.Calls()["ReceiveMessage"]-polls)
	if share > 0.005 {
		t.Errorf("an idle homing uses %.2f %% of a core", 100*share)
	}
	d.stop(t)
}
