package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/sqstest"
	"github.com/homing-mail/homing/spool"
)

// sqsServer starts an SQS with the queues mail and dead, which the environment
// need not name.
func sqsServer(t *testing.T) *sqstest.Server {
	t.Helper()
	server, err := sqstest.New("mail", "dead")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	return server
}

// TestPull: the main job without a webhook, from a queue and from what the
// webhook of another time missed.
func TestPull(t *testing.T) {
	server := sqsServer(t)
	r := newRig(t)
	r.start("HOMING_LISTEN=", "HOMING_SQS_QUEUES="+server.URL("mail"), "HOMING_DLQ="+server.URL("dead"), "HOMING_POSTMASTER=me@example.com")
	for queue, id := range map[string]string{"mail": "pulled", "dead": "recovered"} {
		r.put("in/"+id, testMail)
		notification := r.sns.Notification(testTopic, nil, snstest.SESReceived(receipt(id, testAddress)), "2")
		server.Send(queue, string(notification), nil, time.Time{})
	}
	forged := r.sns.Notification(testTopic, nil, "{}", "2", snstest.After(func(f snstest.Fields) { f["Message"] = "[]" }))
	server.Send("mail", string(forged), nil, time.Time{})
	await(t, "both mails", func() bool { return len(r.box(testAddress)) == 2 })
	await(t, "empty queues", func() bool { return len(server.Messages("mail")) == 1 && len(server.Messages("dead")) == 0 })
	r.awaitState("pulled", spool.Done)
	r.awaitState("recovered", spool.Done)
	await(t, "the metrics", func() bool { return r.samples()["homing_dlq_last_read_timestamp_seconds"] > 0 })
	for name, want := range map[string]float64{
		`homing_notifications_total{kind="ses_s3",result="accepted",source="sqs"}`: 1,
		`homing_notifications_total{kind="ses_s3",result="accepted",source="dlq"}`: 1,
		`homing_notifications_total{kind="none",result="refused",source="sqs"}`:    1,
		`homing_signature_failures_total{reason="signature"}`:                      1,
		`homing_dlq_messages_total{result="recovered"}`:                            1,
		`homing_sqs_errors_total{operation="receive"}`:                             0,
		`homing_reports_total{kind="dlq"}`:                                         0,
	} {
		if got, ok := r.samples()[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// What one SNS topic delivers by both ways comes once.
func TestPullAndWebhook(t *testing.T) {
	server := sqsServer(t)
	r := newRig(t)
	r.start("HOMING_SQS_QUEUES=" + server.URL("mail"))
	r.put("in/both", testMail)
	message := snstest.SESReceived(receipt("both", testAddress))
	for range 5 {
		r.notify(message)
		server.Send("mail", string(r.sns.Notification(testTopic, nil, message, "2")), nil, time.Time{})
	}
	await(t, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
	r.awaitState("both", spool.Done)
	if n := len(r.box(testAddress)); n != 1 {
		t.Errorf("%d copies", n)
	}
}

// A queue that is not there does not keep the webhook from working, and the log
// names it.
func TestPullFromNowhere(t *testing.T) {
	server := sqsServer(t)
	r := newRig(t)
	r.start("HOMING_SQS_QUEUES="+server.URL("nowhere"), "HOMING_SWEEP_INTERVAL=0")
	r.notify(inline("m1", testMail, testAddress))
	r.awaitState("m1", spool.Done)
	await(t, "the log", func() bool {
		return strings.Contains(r.log.String(), "nothing can be received from the queue") && strings.Contains(r.log.String(), server.URL("nowhere"))
	})
}

func TestPullConfiguration(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_ENDPOINT_URL_SQS", "")
	t.Setenv("AWS_MAX_ATTEMPTS", "many")
	r := newRig(t)
	_, err := newApp(t.Context(), r.config("HOMING_SQS_QUEUES="+queueA), neighbours{sns: r.sns.Transport(), s3: r.s3.Client()}, newLogger(r.config(), &transcript{}))
	wrong, ok := errors.AsType[*configError](err)
	if !ok || wrong.mistakes[0].variable != "HOMING_SQS_QUEUES" {
		t.Errorf("got %v", err)
	}
}
