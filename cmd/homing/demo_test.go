package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/spool"
)

// demoDir gives the demo a place for what it leaves.
func demoDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// TestDemo needs nothing: no configuration, no AWS, no Dovecot. What the
// environment says of the user's own mailboxes does not concern it.
func TestDemo(t *testing.T) {
	for _, environ := range [][]string{nil, {"HOMING_DELIVER_TO=", "HOMING_RECIPIENTS=*=me", "HOMING_FALLBACK_MAILBOX=post", "HOMING_LISTEN=192.0.2.1:1", "HOMING_STATE_DIR=/nowhere"}} {
		dir := demoDir(t)
		code, stdout, stderr := command(t, environ, "", "demo", "--to", "Me+work@Example.com")
		if code != exitDone || stderr != "" {
			t.Fatalf("exit code %d, %s\n%s", code, stderr, stdout)
		}
		for _, want := range []string{
			`ms  homing   listens for SNS at http://127\.0\.0\.1:\d+/sns and delivers to lmtp:/`,
			`ms  SNS      posted a notification of \d+ bytes: 200 subscription confirmed\n`,
			`\nA plain mail, \d+ bytes\n`, `\nA mail with an attachment, `, `\nUTF-8 in header and body, `, `\nOctets that are no UTF-8, `,
			`\nA large mail, 20\d{5} bytes\n`, `\nA short mail inside its notification`,
			`ms  SES      stored the mail as s3://demo-mail/inbox/demo0{32}\n`,
			`ms  SNS      posted a notification of \d+ bytes: 200 taken\n`,
			`ms  S3       was asked for inbox/demo0{32}\n`,
			`ms  LMTP     delivered to the mailbox of me\+work@example\.com: 250\n`,
			`ms  homing   recorded the delivery in its ledger\n`,
			`ms  demo     compared: every octet is as it was sent\n`,
			`ms  homing   found it in the ledger: nothing is delivered twice\n`,
			`: 403 not a genuine SNS message: its signature does not fit its content\n`,
			`: 403 this topic is not among HOMING_SNS_TOPICS\n`,
			`\n  homing_deliveries_total\{result="delivered"\} 6\n`,
			`\n  homing_signature_failures_total\{reason="signature"\} 1\n`,
		} {
			if !regexp.MustCompile(want).MatchString(stdout) {
				t.Errorf("%s is missing in\n%s", want, stdout)
			}
		}
		if n := strings.Count(stdout, "every octet is as it was sent"); n != 6 {
			t.Errorf("%d mails are compared, want 6", n)
		}
		found := regexp.MustCompile(`\nThe mails are in the Maildir (\S+)\n$`).FindStringSubmatch(stdout)
		if found == nil || !strings.HasPrefix(found[1], dir) {
			t.Fatalf("it does not end with where the mails are:\n%s", stdout)
		}
		mails := maildirOf(t, found[1])
		for _, sent := range demoMails("Me+work@Example.com") {
			// The date is that of another moment; the rest is the same.
			_, body, _ := bytes.Cut(sent.octets, []byte("\r\n\r\n"))
			if n := len(slices.DeleteFunc(slices.Clone(mails), func(mail string) bool { return !strings.HasSuffix(mail, "\r\n\r\n"+string(body)) })); n != 1 {
				t.Errorf("%s is there %d times", sent.what, n)
			}
		}
		if len(mails) != 6 {
			t.Errorf("%d mails are there, want 6", len(mails))
		}
	}
}

// TestDemoLeavesQueuesAlone: where the environment is that of the homing that
// works, its mail stays its own. Taken from an unsigned queue, it would be held in
// the demo's spool, which nobody looks at again.
func TestDemoLeavesQueuesAlone(t *testing.T) {
	server := sqsServer(t)
	demoDir(t)
	record := snstest.S3Event(snstest.Object{Bucket: testBucket, Key: "in/one"})
	server.Send("mail", record, nil, time.Time{})
	server.Send("dead", record, nil, time.Time{})
	code, stdout, stderr := command(t, []string{"HOMING_SQS_QUEUES=" + server.URL("mail"), "HOMING_SQS_RAW=true", "HOMING_DLQ=" + server.URL("dead")}, "", "demo")
	if code != exitDone {
		t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
	}
	if calls := server.Calls(); len(calls) > 0 {
		t.Errorf("it asked SQS for %v", calls)
	}
}

func TestDemoWrongUsage(t *testing.T) {
	demoDir(t)
	for _, to := range []string{"", "nobody", "a b@example.com", "a@b\r\nRCPT TO:<c@d>", "@example.com", "a@"} {
		code, stdout, stderr := command(t, nil, "", "demo", "--to", to)
		if code != exitUsage || !strings.HasPrefix(stderr, "homing: --to ") || strings.Count(stderr, "\n") != 1 || stdout != "" {
			t.Errorf("--to %q: exit code %d, %s%s", to, code, stdout, stderr)
		}
	}
	if code, _, stderr := command(t, []string{"HOMING_MEMORY=much"}, "", "demo"); code != exitUsage || !strings.HasPrefix(stderr, `homing: HOMING_MEMORY="much"`) {
		t.Errorf("a wrong variable: exit code %d, %s", code, stderr)
	}
}

// TestDemoDelivers goes where HOMING_DELIVER_TO says, by the user's rules.
func TestDemoDelivers(t *testing.T) {
	demoDir(t)
	s := newSink(t)
	code, stdout, stderr := command(t, []string{s.variable, "HOMING_RECIPIENTS=you@example.com=me@home.example"}, "", "demo")
	if code != exitDone || !strings.HasSuffix(stdout, "\nThe mails are with "+strings.TrimPrefix(s.variable, "HOMING_DELIVER_TO=")+"\n") {
		t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
	}
	mails := s.took("me@home.example")
	if len(mails) != 6 || !strings.Contains(mails[0], "X-Original-To: you@example.com\r\n") {
		t.Errorf("%d mails came, want 6", len(mails))
	}
	if strings.Contains(stdout, "compared") || strings.Contains(stdout, "LMTP  ") {
		t.Errorf("it tells of a server that is not its own:\n%s", stdout)
	}

	mail := t.TempDir()
	code, _, stderr = command(t, []string{"HOMING_DELIVER_TO=maildir:" + mail + "/%n"}, "", "demo")
	if mails := maildirOf(t, filepath.Join(mail, "you")); code != exitDone || len(mails) != 6 {
		t.Errorf("into a Maildir: exit code %d, %d mails, %s", code, len(mails), stderr)
	}
}

// TestDemoFails with what the destination said.
func TestDemoFails(t *testing.T) {
	demoDir(t)
	s := newSink(t)
	s.refuse(550)
	nobody := filepath.Join(t.TempDir(), "nobody")
	for _, test := range []struct{ variable, want string }{
		{s.variable, "homing: demo00000000000000000000000000000000 did not arrive: lmtp: RCPT refused: 550 5.1.1 not today\n"},
		{"HOMING_DELIVER_TO=lmtp:" + nobody, "homing: lmtp: no LMTP server at unix:" + nobody},
		{"HOMING_MAX_MESSAGE=1MiB", "homing: demo00000000000000000000000000000004 did not arrive: fetch "},
	} {
		code, stdout, stderr := command(t, []string{test.variable}, "", "demo")
		if code != exitFailed || !strings.HasPrefix(stderr, test.want) {
			t.Errorf("%s: exit code %d, %s\n%s", test.variable, code, stderr, stdout)
		}
	}
}

// TestDemoIsInterrupted while it waits for a mail that does not arrive.
func TestDemoIsInterrupted(t *testing.T) {
	r := newRig(t)
	r.prepare() // nobody runs it
	defer r.app.close()
	if _, err := r.app.spool.Accept(t.Context(), spool.Arrival{Message: spool.Message{ID: "m1"}, Recipients: []string{testAddress}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&demo{app: r.app}).await(ctx, "m1") }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
}

// TestDemoKeep plays with a demo that goes on, as its last lines propose.
func TestDemoKeep(t *testing.T) {
	demoDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs transcript
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"demo", "--keep"}, []string{"HOMING_LOG_LEVEL=debug"}, streams{strings.NewReader(""), &out, &errs})
	}()
	proposals := regexp.MustCompile(`Ctrl-C ends it\. Try\n  curl (http\S+/metrics)\n  curl (http\S+/readyz)\n  curl --data-binary @(\S+) (http\S+)\n  HOMING_STATE_DIR=(\S+) homing queue list --all\n`)
	var proposed []string
	await(t, "the demo to go on", func() bool {
		proposed = proposals.FindStringSubmatch(out.String())
		return proposed != nil || len(code) > 0
	})
	if proposed == nil {
		t.Fatalf("it ended:\n%s%s", &out, &errs)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if code, text := fetch(t, client, proposed[1]); code != http.StatusOK || !strings.Contains(text, `homing_deliveries_total{result="delivered"} 6`) {
		t.Errorf("/metrics: %d", code)
	}
	if code, text := fetch(t, client, proposed[2]); code != http.StatusOK {
		t.Errorf("/readyz: %d %s", code, text)
	}
	body, err := os.ReadFile(proposed[3])
	if err != nil {
		t.Fatal(err)
	}
	if code, answer, err := snstest.Post(t.Context(), client, proposed[4], body); err != nil || code != http.StatusOK {
		t.Errorf("posted: %d %s, %v", code, answer, err)
	}
	await(t, "the seventh mail", func() bool {
		return strings.Count(out.String(), "LMTP     delivered to the mailbox of you@example.com: 250\n") == 7
	})
	await(t, "the ledger", func() bool {
		_, stdout, _ := command(t, []string{"HOMING_STATE_DIR=" + proposed[5]}, "", "queue", "list", "--all", "--state", "done")
		return strings.Count(stdout, "  done  ") == 7
	})
	if !strings.Contains(errs.String(), "msg=delivered") {
		t.Errorf("at debug it logs\n%s", &errs)
	}
	cancel()
	if got := <-code; got != exitDone {
		t.Errorf("exit code %d\n%s", got, &errs)
	}
}
