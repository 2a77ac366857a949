package main

import (
	"context"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/homing-mail/homing/internal/lmtpsink"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/spool"
)

// sink is an LMTP server that keeps what it takes, and refuses when told to.
type sink struct {
	variable string // HOMING_DELIVER_TO=... of its unix socket

	mu      sync.Mutex
	refusal error
	mails   []string // recipient, line end, message
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{}
	socket := filepath.Join(t.TempDir(), "lmtp")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, listener)
	s.variable = "HOMING_DELIVER_TO=lmtp:" + socket
	return s
}

// serve takes mail on one more listener, until the test ends.
func (s *sink) serve(t *testing.T, listener net.Listener) {
	t.Helper()
	server, err := lmtpsink.New(t.Context(), lmtpsink.Config{Listener: listener, RecipientCheck: s.check, Deliver: s.deliver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
}

func (s *sink) check(string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusal
}

func (s *sink) deliver(_ context.Context, _, recipient string, octets []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, recipient+"\n"+string(octets))
	return nil
}

// refuse makes every RCPT fail with a reply; 0 ends that.
func (s *sink) refuse(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = nil
	if code != 0 {
		s.refusal = &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "not today"}
	}
}

// took returns what has come for a recipient.
func (s *sink) took(recipient string) (mails []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, mail := range s.mails {
		if text, found := strings.CutPrefix(mail, recipient+"\n"); found {
			mails = append(mails, text)
		}
	}
	return mails
}

// TestRetryWhileHomingRuns: what a person asks for in another process happens at
// once, however long the item would have waited.
func TestRetryWhileHomingRuns(t *testing.T) {
	s := newSink(t)
	r := newRig(t)
	r.start(s.variable)
	s.refuse(550)
	r.notify(inline("m1", testMail, testAddress))
	await(t, "the refusal", func() bool { return r.awaitState("m1", spool.Pending).Reason != "" })
	// A minute, less up to a tenth, and what this test takes.
	waits := regexp.MustCompile(`pending +(now|\d+s) +([345]\ds|1m) +alice@example.com +lmtp: RCPT refused: 550 5.1.1 not today +m1\n`)
	if _, stdout, _ := r.queue("", "list"); !waits.MatchString(stdout) {
		t.Errorf("the list shows\n%s", stdout)
	}
	// Until homing has nothing to do, and would not look by itself.
	await(t, "a quiet moment", func() bool { return r.awaitState("m1", spool.Pending).Age > 300*time.Millisecond })
	s.refuse(0)
	began := time.Now()
	if code, stdout, stderr := r.queue("", "retry", "m1"); code != exitDone || stdout != "1 of 1 items tried again\n" {
		t.Fatalf("exit code %d, %s%s", code, stdout, stderr)
	}
	item := r.awaitState("m1", spool.Done)
	t.Logf("delivered after %v", time.Since(began))
	if mails := s.took(testAddress); len(mails) != 1 || !strings.HasSuffix(mails[0], testMail) {
		t.Errorf("delivered %q", mails)
	}
	if line, ok := item.Delivery(testAddress); !ok || line.State != spool.Delivered {
		t.Errorf("the ledger says %+v", line)
	}
}

// TestDroppedStaysDropped: neither the daemon nor a repeated notification brings
// back what a person gave up.
func TestDroppedStaysDropped(t *testing.T) {
	s := newSink(t)
	r := newRig(t)
	r.start(s.variable)
	s.refuse(451)
	body := r.sns.Notification(testTopic, nil, inline("m1", testMail, testAddress), "2")
	r.post(body)
	await(t, "the refusal", func() bool { return r.awaitState("m1", spool.Pending).Reason != "" })
	keep := t.TempDir()
	if code, stdout, stderr := r.queue("y\n", "drop", "--keep", keep, "m1"); code != exitDone || stdout != "1 of 1 items dropped\n" {
		t.Fatalf("exit code %d, %s%s", code, stdout, stderr)
	}
	if got := read(t, filepath.Join(keep, "1.eml")); got != testMail {
		t.Errorf("kept %q", got)
	}
	s.refuse(0)
	if code, _ := r.post(body); code != 200 {
		t.Errorf("the repetition is answered %d", code)
	}
	// Another mail for the same mailbox takes the same way, later.
	r.notify(inline("m2", testMail, testAddress))
	r.awaitState("m2", spool.Done)
	r.awaitState("m1", spool.Dropped)
	if mails := s.took(testAddress); len(mails) != 1 {
		t.Errorf("%d mails were delivered, want 1", len(mails))
	}
	if n := r.samples()[`homing_notifications_total{kind="ses_sns",result="repeated",source="webhook"}`]; n != 1 {
		t.Errorf("%v repetitions are counted", n)
	}
	// Who was not named before gets it.
	r.notify(inline("m1", testMail, testAddress, "bob@example.com"))
	r.awaitState("m1", spool.Done)
	if alice, bob := s.took(testAddress), s.took("bob@example.com"); len(alice) != 1 || len(bob) != 1 {
		t.Errorf("%d mails for alice, %d for bob, want one each", len(alice), len(bob))
	}
}

// TestHeldIsRetried: mail in a bucket that is not configured waits for a person,
// and comes home once the person has mended that.
func TestHeldIsRetried(t *testing.T) {
	r := newRig(t)
	stop := r.start()
	if err := r.s3.Put(foreignBucket, "in/m1", []byte(testMail), nil); err != nil {
		t.Fatal(err)
	}
	foreign := receipt("m1", testAddress)
	foreign.Bucket = foreignBucket
	r.notify(snstest.SESReceived(foreign))
	if held := r.awaitState("m1", spool.Held); !strings.Contains(held.Reason, "objects are not fetched from there") {
		t.Errorf("held because %q", held.Reason)
	}
	await(t, "the log", func() bool { return r.log.said(t, "held for a person") == 1 })
	if _, stdout, _ := r.queue("", "show", "m1"); !strings.Contains(stdout, "state        held\n") || !strings.Contains(stdout, "s3://foreign/in/m1\n") {
		t.Errorf("shown as\n%s", stdout)
	}
	stop()
	if code, stdout, stderr := r.queue("", "retry", "--all"); code != exitDone || stdout != "1 of 1 items tried again\n" {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	r.start("HOMING_BUCKETS=" + testBucket + "," + foreignBucket + "/in/")
	r.awaitState("m1", spool.Done)
	if mails := r.box(testAddress); len(mails) != 1 || !strings.HasSuffix(mails[0], testMail) {
		t.Errorf("delivered %q", mails)
	}
}
