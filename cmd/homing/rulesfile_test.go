package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/spool"
)

// TestLook goes through what can become of the file, one look after another.
func TestLook(t *testing.T) {
	path := writeFile(t, "*=old\n")
	file := &rulesFile{path: path, judged: "*=old"}
	const gone = "\x00"
	for i, step := range []struct {
		text    string // of the file now
		mailbox string // that new rules lead to; empty: no new rules
		err     string // empty: nothing to say
	}{
		{text: "*=old\n"},
		{text: "*=new\n"},                 // half written, perhaps
		{text: "*=new\n", mailbox: "new"}, // the same again: it counts
		{text: "*=new\n"},
		{text: ""}, // an editor is about to write
		{text: "*=newer", mailbox: ""},
		{text: "*=newer", mailbox: "newer"},
		{text: "nonsense"},
		{text: "nonsense", err: `recipient rule "nonsense" (line 1)`},
		{text: "nonsense"}, // said once
		{text: "*=newer"},
		{text: "*=newer", mailbox: "newer"},
		{text: gone, err: "no such file"},
		{text: gone}, // said once
		{text: "*=newer"},
		{text: "*=newer"},
		{text: gone, err: "no such file"}, // and again when it is gone again
		{text: "*=back"},
		{text: gone, err: "no such file"},
		{text: "*=back"}, // two looks in succession did not find it
		{text: "*=back", mailbox: "back"},
		{text: "# nobody\n"},
		{text: "# nobody\n", mailbox: "a@b"}, // no rule at all, and meant
		{text: strings.Repeat("#", maxValueFile+2), err: "larger than 1 MiB"},
	} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if step.text != gone {
			if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		rules, err := file.look()
		if got := text(err); !strings.Contains(got, step.err) || step.err == "" && err != nil {
			t.Errorf("look %d: error %q, want %q", i, got, step.err)
		}
		var mailboxes []string
		if rules != nil {
			mailboxes = rules.Map("a@b")
		}
		if got := strings.Join(mailboxes, " "); got != step.mailbox {
			t.Errorf("look %d: new rules lead to %q, want %q", i, got, step.mailbox)
		}
	}
}

// TestRulesFollowTheFile runs a homing that listens nowhere in a bubble, where
// looking at a file for minutes takes no time.
func TestRulesFollowTheFile(t *testing.T) {
	rules := writeFile(t, "*=old@example.com\n")
	state, mail := t.TempDir(), t.TempDir()
	cfg, err := loadConfig([]string{"HOMING_BUCKETS=mail", "HOMING_LISTEN=", "HOMING_METRICS_LISTEN=", "HOMING_STATE_DIR=" + state,
		"HOMING_SWEEP_INTERVAL=0", // asking for a bucket's name would ask the network, whose time is not the bubble's
		"HOMING_DELIVER_TO=maildir:" + mail + "/%n", "HOMING_RECIPIENTS_FILE=" + rules, "HOMING_LOG_FORMAT=json"})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log transcript
		app, err := newApp(t.Context(), cfg, neighbours{s3: s3.New(s3.Options{Region: "none"})}, newLogger(cfg, &log))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- app.run(ctx) }()
		number := 0
		// leads lets a minute pass and then a mail come in.
		leads := func(mailbox string) {
			t.Helper()
			pass(time.Minute)
			number++
			id := string(rune('a' + number))
			if _, err := app.spool.Accept(t.Context(), spool.Arrival{
				Message:    spool.Message{ID: id, Source: "webhook", Kind: "ses_sns", Receipt: true},
				Recipients: []string{"someone@example.org"}, Content: []byte("Subject: " + id + "\r\n\r\n"),
			}); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
			if mails := maildirOf(t, filepath.Join(mail, mailbox)); !slices.ContainsFunc(mails, func(mail string) bool {
				return strings.HasSuffix(mail, "Subject: "+id+"\r\n\r\n")
			}) {
				t.Errorf("mail %s is not with %s\n%s", id, mailbox, &log)
			}
		}
		said := func(text string, want int) {
			t.Helper()
			if got := log.said(t, text); got != want {
				t.Errorf("%q is said %d times, want %d", text, got, want)
			}
		}
		const again, kept = "the recipient rules were read again", "the recipient rules stay as they were"
		leads("old")
		said(again, 0)
		replace(t, rules, "*=new@example.com\n")
		leads("new")
		said(again, 1)
		replace(t, rules, "*=\n")
		leads("new")
		said(kept, 1)
		if err := os.Remove(rules); err != nil {
			t.Fatal(err)
		}
		leads("new")
		said(kept, 2)
		said(again, 1)
		replace(t, rules, "*=newer@example.com\n")
		leads("newer")
		said(again, 2)
		said(kept, 2)
		for _, record := range log.lines(t) {
			if record[slog.MessageKey] == kept && (record["file"] != rules || record[slog.LevelKey] != "ERROR" || record["error"] == "") {
				t.Errorf("%v does not say what is wrong", record)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// pass lets the time of a bubble go by, and what is due happen.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// replace puts a new file in the place of another, in one step.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
