package intake

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
)

type counts map[string]int

func (c counts) Notification(source, kind, result string) { c[source+" "+kind+" "+result]++ }

type rig struct {
	*Intake
	spool  *spool.Spool
	counts counts
	log    *strings.Builder
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s, err := spool.Open(t.Context(), spool.Options{Dir: t.TempDir(), History: 30 * 24 * time.Hour, Free: func(string) (int64, error) { return 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := &rig{spool: s, counts: counts{}, log: &strings.Builder{}}
	r.Intake = New(Config{Spool: s, Observer: r.counts, Log: slog.New(slog.NewTextHandler(r.log, nil)), History: 30 * 24 * time.Hour})
	return r
}

func envelope(message string) *notice.Envelope {
	return &notice.Envelope{Type: notice.TypeNotification, MessageID: "n1", TopicARN: "arn", Message: message,
		Timestamp: time.Now().UTC().Format(time.RFC3339)}
}

func (r *rig) take(t *testing.T, e *notice.Envelope) {
	t.Helper()
	if err := r.Take(t.Context(), "webhook", e); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) find(t *testing.T, id string) *spool.Item {
	t.Helper()
	item, err := r.spool.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return item
}

const id = "abcdefghijklmnopqrstuvwxyz0123456789abcd"

func TestMailBecomesAnItem(t *testing.T) {
	r := newRig(t)
	message := snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "s@example.org", Recipients: []string{"a@example.com", "b@example.com"}, Bucket: "mail", Prefix: "in/"})
	r.take(t, envelope(message))
	r.take(t, envelope(message))
	item := r.find(t, id)
	if item.State != spool.Pending || item.Bucket != "mail" || item.Key != "in/"+id || item.Sender != "s@example.org" ||
		len(item.Recipients) != 2 || !item.Receipt || item.Source != "webhook" || item.Kind != "ses_s3" ||
		item.Verdicts != "spam=PASS virus=PASS spf=PASS dkim=PASS dmarc=PASS" || item.Received.IsZero() {
		t.Errorf("%+v", item)
	}
	if r.counts["webhook ses_s3 accepted"] != 1 || r.counts["webhook ses_s3 repeated"] != 1 {
		t.Errorf("%v", r.counts)
	}
}

func TestInlineContent(t *testing.T) {
	r := newRig(t)
	r.take(t, envelope(snstest.SESReceived(snstest.Receipt{MessageID: id, Recipients: []string{"a@example.com"}, Content: []byte("A: b\n\nc\n"), Encoding: "BASE64"})))
	item := r.find(t, id)
	octets, err := r.spool.Content(t.Context(), item.Number)
	if err != nil || string(octets) != "A: b\r\n\r\nc\r\n" || item.Sender != "" {
		t.Errorf("%q, %v, sender %q", octets, err, item.Sender)
	}
}

func TestWhatIsNotMailIsOnlyCounted(t *testing.T) {
	r := newRig(t)
	for message, kind := range map[string]string{
		snstest.S3TestEvent("mail"):                                                                                     "s3_test",
		"Successfully validated SNS topic for Amazon SES event publishing.":                                             "text",
		`{"notificationType":"Bounce","bounce":{},"mail":{}}`:                                                           "ses_event",
		snstest.SESReceived(snstest.Receipt{MessageID: "AMAZON_SES_SETUP_NOTIFICATION", Bucket: "mail", Prefix: "in/"}): "ses_setup",
	} {
		r.take(t, envelope(message))
		if r.counts["webhook "+kind+" ignored"] != 1 {
			t.Errorf("%s: %v", kind, r.counts)
		}
	}
	items, err := r.spool.List(t.Context(), spool.Filter{})
	if err != nil || len(items) != 0 {
		t.Errorf("%d items, %v", len(items), err)
	}
}

func TestUnknownIsHeldWithItsPayloadAndLoggedOnce(t *testing.T) {
	r := newRig(t)
	for _, nid := range []string{"n1", "n2"} {
		e := envelope(`{"mailManager":{"secret":"value"},"n":1}`)
		e.MessageID = nid
		r.take(t, e)
	}
	item := r.find(t, "sns:n1")
	payload, err := r.spool.Content(t.Context(), item.Number)
	if err != nil || item.State != spool.Held || !strings.Contains(string(payload), "mailManager") || r.counts["webhook unknown held"] != 2 {
		t.Errorf("%+v %s %v %v", item, payload, err, r.counts)
	}
	if n := strings.Count(r.log.String(), "unknown shape"); n != 1 || strings.Contains(r.log.String(), "value") || !strings.Contains(r.log.String(), "mailManager") {
		t.Errorf("logged %d times: %s", n, r.log)
	}
}

func TestOlderThanTheHistoryIsHeld(t *testing.T) {
	r := newRig(t)
	e := envelope(snstest.SESReceived(snstest.Receipt{MessageID: id, Recipients: []string{"a@example.com"}, Bucket: "mail"}))
	e.Timestamp = time.Now().Add(-31 * 24 * time.Hour).UTC().Format(time.RFC3339)
	r.take(t, e)
	if item := r.find(t, id); item.State != spool.Held || !strings.Contains(item.Reason, "HOMING_HISTORY") {
		t.Errorf("%+v", item)
	}
}

type broken struct{}

func (broken) Accept(context.Context, ...spool.Arrival) ([]spool.Taken, error) {
	return nil, spool.ErrFull
}

func TestFailingSpoolIsAnError(t *testing.T) {
	c := counts{}
	in := New(Config{Spool: broken{}, Observer: c, Log: slog.New(slog.DiscardHandler), History: time.Hour})
	err := in.Take(t.Context(), "webhook", envelope(snstest.SESReceived(snstest.Receipt{MessageID: id, Recipients: []string{"a@example.com"}, Bucket: "mail"})))
	if !errors.Is(err, spool.ErrFull) || c["webhook ses_s3 failed"] != 1 {
		t.Errorf("%v, %v", err, c)
	}
}
