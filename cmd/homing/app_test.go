package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/spool"
)

const testMail = "Received: from mail.example.org (mail.example.org [192.0.2.25]) by inbound-smtp.us-east-1.amazonaws.com with SMTP id x for alice@example.com; Sun, 22 Nov 2026 01:00:00 +0000\r\n" +
	"From: Bob <bob@example.org>\r\nSubject: a \xe4 secret subject\r\n\r\n.\r\nThe secret b\xf6dy.\r\n.\r\n"

// TestFromNotificationToMaildir: the main job, for each kind of notification.
func TestFromNotificationToMaildir(t *testing.T) {
	const verdicts = "X-Homing-Verdict: spam=PASS virus=PASS spf=PASS dkim=PASS dmarc=PASS\r\n"
	r := newRig(t)
	r.start()
	inBucket := func(id string) string {
		r.put("in/"+id, testMail)
		return snstest.SESReceived(receipt(id, "Alice@Example.com"))
	}
	object := func(id string) snstest.Object {
		r.put("in/a b+"+id, testMail)
		return snstest.Object{Bucket: testBucket, Key: "in/a b+" + id, Size: int64(len(testMail))}
	}
	for _, test := range []struct {
		name, version string
		message       func(id string) string
		sender        string
		header        string
	}{
		{"S3 action, version 1", "1", inBucket, "s@example.org", "X-Original-To: Alice@Example.com\r\n" + verdicts},
		{"S3 action, version 2", "2", inBucket, "s@example.org", "X-Original-To: Alice@Example.com\r\n" + verdicts},
		{"SNS action", "2", func(id string) string { return inline(id, testMail, testAddress) }, "s@example.org",
			"X-Original-To: alice@example.com\r\n" + verdicts},
		{"S3 event", "2", func(id string) string { return snstest.S3Event(object(id)) }, "", "X-Original-To: alice@example.com\r\n"},
		{"EventBridge", "2", func(id string) string { return snstest.EventBridge(object(id)) }, "", "X-Original-To: alice@example.com\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(r.box(testAddress))
			message := test.message(strings.ToLower(strings.Map(letters, test.name)) + "00000000000000000000")
			if code, answer := r.post(r.sns.Notification(testTopic, nil, message, test.version)); code != http.StatusOK {
				t.Fatalf("answered %d %s", code, answer)
			}
			want := "Return-Path: <" + test.sender + ">\r\nDelivered-To: alice@example.com\r\nX-Homing-Id: ID\r\n" + test.header + testMail
			await(t, "the mail", func() bool { return len(r.box(testAddress)) == before+1 })
			got := r.box(testAddress)
			for i, mail := range got {
				got[i] = homingID.ReplaceAllString(mail, "X-Homing-Id: ID\r\n")
			}
			if !slices.Contains(got, want) {
				t.Errorf("%q is missing in\n%q", want, got)
			}
		})
	}
}

var homingID = regexp.MustCompile(`X-Homing-Id: [0-9a-f]{32}\r\n`)

func letters(r rune) rune {
	if strings.ContainsRune("-, ", r) {
		return -1
	}
	return r
}

// TestSeveralMailboxes: one copy for each mailbox, by the recipient rules.
func TestSeveralMailboxes(t *testing.T) {
	r := newRig(t)
	r.start("HOMING_RECIPIENTS=info@=bob@example.net, @.example.com=alice@example.com")
	r.notify(inline("m1", testMail, "info@a.example.com", "x@a.example.com", "y@b.example.com", "carol@example.com"))
	r.awaitState("m1", spool.Done)
	for address, original := range map[string]string{
		"bob@example.net":   "X-Original-To: info@a.example.com\r\n",
		"alice@example.com": "X-Original-To: x@a.example.com\r\nX-Original-To: y@b.example.com\r\n",
		"carol@example.com": "X-Original-To: carol@example.com\r\n",
	} {
		mails := r.box(address)
		if len(mails) != 1 || !strings.Contains(mails[0], original+"X-Homing-Verdict") ||
			strings.Count(mails[0], "X-Original-To") != strings.Count(original, "\n") {
			t.Errorf("%s has %q, want one with %q", address, mails, original)
		}
	}
}

// TestMetricsMove compares all that changes but times and sizes.
func TestMetricsMove(t *testing.T) {
	r := newRig(t)
	r.start()
	await(t, "the destination", func() bool { return r.samples()["homing_destination_up"] == 1 })
	before := r.samples()

	r.put("in/whole", testMail)
	whole := snstest.SESReceived(receipt("whole", testAddress))
	r.notify(whole)
	r.awaitState("whole", spool.Done)
	r.notify(whole)
	r.notify(inline("inside", testMail, testAddress))
	r.awaitState("inside", spool.Done)
	r.notify(snstest.SESReceived(receipt("gone", testAddress)))
	await(t, "a try", func() bool { return r.awaitState("gone", spool.Pending).Attempts == 1 })
	r.notify(inline("unspeakable", testMail, "a b@example.com"))
	r.awaitState("unspeakable", spool.Held)
	r.notify(`{"what":"is this"}`)
	r.notify(snstest.S3TestEvent(testBucket))
	if code, _ := r.post(r.sns.Notification(snstest.Topic("foreign"), nil, whole, "2")); code != http.StatusForbidden {
		t.Errorf("a foreign topic was answered %d", code)
	}
	if code, _ := r.post(r.sns.Notification(testTopic, nil, whole, "2", snstest.After(func(f snstest.Fields) { f["Message"] = "{}" }))); code != http.StatusForbidden {
		t.Errorf("a forgery was answered %d", code)
	}
	if code, _ := r.get(r.app.webhookAddress(), "/sns"); code != http.StatusMethodNotAllowed {
		t.Errorf("a GET was answered %d", code)
	}
	if code, _ := r.post(r.sns.SubscriptionConfirmation(testTopic, "1")); code != http.StatusOK || len(r.sns.Confirmed()) != 1 {
		t.Errorf("a confirmation was answered %d", code)
	}

	got := map[string]float64{}
	for name, value := range r.samples() {
		if value != before[name] && !strings.Contains(name, "_seconds_bucket") && !strings.Contains(name, "_seconds_sum") {
			got[name] = value - before[name]
		}
	}
	for _, name := range []string{"homing_last_delivery_timestamp_seconds", "homing_oldest_message_seconds"} {
		if got[name] <= 0 {
			t.Errorf("%s has not moved", name)
		}
		delete(got, name)
	}
	delete(got, "homing_disk_free_bytes") // others write to this disk, too
	want := map[string]float64{
		`homing_webhook_requests_total{code="200"}`: 8, `homing_webhook_requests_total{code="403"}`: 2, `homing_webhook_requests_total{code="405"}`: 1,
		`homing_notifications_total{kind="ses_s3",result="accepted",source="webhook"}`:       2,
		`homing_notifications_total{kind="ses_s3",result="repeated",source="webhook"}`:       1,
		`homing_notifications_total{kind="ses_sns",result="accepted",source="webhook"}`:      2,
		`homing_notifications_total{kind="unknown",result="held",source="webhook"}`:          1,
		`homing_notifications_total{kind="s3_test",result="ignored",source="webhook"}`:       1,
		`homing_notifications_total{kind="confirmation",result="accepted",source="webhook"}`: 1,
		`homing_notifications_total{kind="none",result="refused",source="webhook"}`:          2,
		`homing_signature_failures_total{reason="topic"}`:                                    1,
		`homing_signature_failures_total{reason="signature"}`:                                1,
		`homing_fetch_total{result="ok"}`:                                                    1,
		`homing_fetch_total{result="gone"}`:                                                  1,
		`homing_fetch_bytes_total`:                                                           float64(len(testMail)),
		`homing_fetch_seconds_count`:                                                         1,
		`homing_deliveries_total{result="delivered"}`:                                        2,
		`homing_deliveries_total{result="held"}`:                                             1,
		`homing_delivery_seconds_count`:                                                      3,
		`homing_latency_seconds_count`:                                                       2,
		`homing_messages{state="held"}`:                                                      2,
		`homing_messages{state="waiting"}`:                                                   1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestListenersAreApart: the world sees the webhook and nothing else.
func TestListenersAreApart(t *testing.T) {
	r := newRig(t)
	r.start("HOMING_WEBHOOK_PATH=/hook")
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/", "/sns", "/hook/"} {
		if code, text := r.get(r.app.webhookAddress(), path); code != http.StatusNotFound || strings.Contains(text, "homing_") {
			t.Errorf("webhook: %s is answered %d %s", path, code, text)
		}
	}
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/": 404, "/hook": 404, "/debug/pprof/": 404} {
		if code, _ := r.get(r.app.metricsAddress(), path); code != want {
			t.Errorf("metrics: %s is answered %d, want %d", path, code, want)
		}
	}
	for _, path := range []string{"/hook", "/metrics", "/readyz"} {
		code, _, err := snstest.Post(t.Context(), r.client, "http://"+r.app.metricsAddress()+path, []byte("{}"))
		if err != nil || code == http.StatusOK {
			t.Errorf("metrics: a POST to %s is answered %d, %v", path, code, err)
		}
	}
}

func TestNoListeners(t *testing.T) {
	r := newRig(t)
	stop := r.start("HOMING_LISTEN=", "HOMING_METRICS_LISTEN=")
	if len(r.app.servers) != 0 || r.app.webhookAddress() != "" || r.app.metricsAddress() != "" {
		t.Errorf("%d servers, webhook %q, metrics %q", len(r.app.servers), r.app.webhookAddress(), r.app.metricsAddress())
	}
	stop()
}

// TestNotReady: when the spool cannot take mail homing says so, to SNS too, and
// goes on as soon as it can again.
func TestNotReady(t *testing.T) {
	var full atomic.Bool
	sabotage := func(t *testing.T, r *rig, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(r.state, spool.FileName)+"?_pragma=busy_timeout(10000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name       string
		spoil      func(*testing.T, *rig)
		mend       func(*testing.T, *rig)
		want, page string
	}{
		{"the disk is full", func(*testing.T, *rig) { full.Store(true) }, func(*testing.T, *rig) { full.Store(false) },
			"the spool is full: 5 MiB are free on the disk", "not ready: the spool is full"},
		{"the database takes nothing", func(t *testing.T, r *rig) {
			sabotage(t, r, `CREATE TRIGGER broken BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END;
				CREATE TRIGGER broken2 BEFORE INSERT ON item BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END`)
		}, func(t *testing.T, r *rig) { sabotage(t, r, "DROP TRIGGER broken; DROP TRIGGER broken2") },
			"disk I/O error", "disk I/O error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.free = func(string) (int64, error) {
				if full.Load() {
					return 5 << 20, nil
				}
				return 1 << 40, nil
			}
			r.start()
			if code, text := r.get(r.app.metricsAddress(), "/readyz"); code != http.StatusOK {
				t.Errorf("at first /readyz says %d %s", code, text)
			}
			test.spoil(t, r)
			if code, text := r.get(r.app.metricsAddress(), "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, test.page) {
				t.Errorf("/readyz says %d %s, want 503 %s", code, text, test.page)
			}
			if code, _ := r.get(r.app.metricsAddress(), "/healthz"); code != http.StatusOK {
				t.Errorf("/healthz says %d", code)
			}
			body := r.sns.Notification(testTopic, nil, inline("later", testMail, testAddress), "2")
			if code, answer := r.post(body); code != http.StatusServiceUnavailable {
				t.Errorf("SNS is told %d %s", code, answer)
			}
			if !strings.Contains(r.log.String(), test.want) {
				t.Errorf("%q is missing in\n%s", test.want, r.log)
			}
			if _, page := r.get(r.app.metricsAddress(), "/metrics"); strings.Contains(page, "\nhoming_disk_free_bytes 5.24288e+06\n") != full.Load() {
				t.Errorf("the free space is not what is shown:\n%s", page)
			}
			test.mend(t, r)
			if code, text := r.get(r.app.metricsAddress(), "/readyz"); code != http.StatusOK {
				t.Errorf("at last /readyz says %d %s", code, text)
			}
			if code, answer := r.post(body); code != http.StatusOK {
				t.Errorf("at last SNS is told %d %s", code, answer)
			}
			r.awaitState("later", spool.Done)
		})
	}
}

// TestOneLogLine: whoever reads the log learns that a message came home, and
// nothing of what is in it.
func TestOneLogLine(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "never-said")
	r := newRig(t)
	r.start()
	r.put("in/one", testMail)
	r.notify(snstest.SESReceived(receipt("one", testAddress, "bob@example.com")))
	r.notify(inline("two", testMail, testAddress))
	r.awaitState("one", spool.Done)
	r.awaitState("two", spool.Done)
	await(t, "two lines", func() bool { return r.log.said(t, "delivered") == 2 })
	seen := map[any]bool{}
	for _, line := range r.log.lines(t) {
		if line[slog.MessageKey] != "delivered" {
			if line[slog.LevelKey] == "INFO" && (line["id"] == "one" || line["id"] == "two") {
				t.Errorf("another line at Info: %v", line)
			}
			continue
		}
		seen[line["id"]] = true
		recipients := []any{testAddress}
		if line["id"] == "one" {
			recipients = append(recipients, "bob@example.com")
		}
		if elapsed, ok := line["elapsed"].(float64); !ok || elapsed <= 0 {
			t.Errorf("elapsed is %v", line["elapsed"])
		}
		delete(line, "elapsed")
		delete(line, slog.TimeKey)
		delete(line, "item")
		want := map[string]any{"level": "INFO", "msg": "delivered", "id": line["id"], "recipients": recipients,
			"attempts": 1.0, "bytes": float64(len(testMail))}
		if diff := cmp.Diff(want, line); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if !seen["one"] || !seen["two"] {
		t.Errorf("lines of %v", seen)
	}
	for _, secret := range []string{"secret", "never-said", "bob@example.org", "PRIVATE"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log says %q:\n%s", secret, r.log)
		}
	}
}

// TestDestinations: mail goes over each kind of connection that can be asked for,
// but to nobody who cannot prove by a certificate who it is where that is wanted.
func TestDestinations(t *testing.T) {
	files := newPair(t)
	files.issue(t, "nobody knows this one")
	certificate, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(t)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, plain)
	s.serve(t, secret)
	for number, test := range []struct {
		variable string
		arrives  bool
	}{
		{s.variable, true},
		{"HOMING_DELIVER_TO=lmtp://" + plain.Addr().String(), true},
		{"HOMING_DELIVER_TO=lmtps://" + secret.Addr().String(), false},
	} {
		r := newRig(t)
		stop := r.start(test.variable)
		address := fmt.Sprintf("user%d@example.com", number)
		r.notify(inline("m1", testMail, address))
		if test.arrives {
			r.awaitState("m1", spool.Done)
		} else {
			await(t, "the doubt", func() bool { return strings.Contains(r.log.String(), "x509: certificate signed by unknown authority") })
		}
		stop()
		if mails := s.took(address); (len(mails) == 1) != test.arrives {
			t.Errorf("%s: %d mails have arrived", test.variable, len(mails))
		}
	}
}

// TestRestart: what was taken and not delivered is delivered by the next run.
func TestRestart(t *testing.T) {
	r := newRig(t)
	stop := r.start("HOMING_DELIVER_TO=lmtp:" + filepath.Join(r.mail, "nobody"))
	r.notify(inline("m1", testMail, testAddress))
	await(t, "the warning", func() bool {
		return r.log.said(t, "the destination does not answer; mail is taken and kept meanwhile") == 1
	})
	if up := r.samples()["homing_destination_up"]; up != 0 {
		t.Errorf("homing_destination_up is %v", up)
	}
	if code, _ := r.get(r.app.metricsAddress(), "/readyz"); code != http.StatusOK {
		t.Errorf("/readyz says %d while Dovecot is away", code)
	}
	stop()
	r.start()
	r.awaitState("m1", spool.Done)
	if mails := r.box(testAddress); len(mails) != 1 {
		t.Errorf("%d mails, want 1", len(mails))
	}
}

// TestNewAppClosesWhatItOpened: after a failure the spool can be opened again.
func TestNewAppClosesWhatItOpened(t *testing.T) {
	r := newRig(t)
	r.prepare()
	taken := r.app.webhookAddress()
	other := newRig(t)
	cfg := other.config("HOMING_METRICS_LISTEN=" + taken)
	if _, err := newApp(t.Context(), cfg, neighbours{s3: other.s3.Client()}, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.HasPrefix(err.Error(), "HOMING_METRICS_LISTEN: listen tcp "+taken) {
		t.Errorf("error %v, want one about HOMING_METRICS_LISTEN", err)
	}
	if err := r.app.close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other.prepare()
	if err := other.app.run(ctx); err != nil {
		t.Error(err)
	}
}
