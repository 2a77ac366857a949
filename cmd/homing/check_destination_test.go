package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/lmtpsink"
)

// checkDestination runs the destination's group alone.
func checkDestination(t *testing.T, environ ...string) collected {
	t.Helper()
	c := &checker{patience: checkTime}
	c.configure(environ)
	lines, _ := c.all(t, []group{c.destination})
	return lines
}

func TestCheckMailboxes(t *testing.T) {
	s := newSink(t)
	environ := []string{s.variable, "HOMING_RECIPIENTS=info@=Alice@Example.com bob, *=alice@example.com", "HOMING_FALLBACK_MAILBOX=alice@example.com",
		"HOMING_POSTMASTER=post@example.com"}
	for _, test := range []struct {
		err    error
		failed bool
		warns  bool
		detail string
		mend   string
	}{
		{&smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such \x1b[31muser"}, true, false,
			"550 5.1.1", "make this user in Dovecot, or correct HOMING_RECIPIENTS, rule info@="},
		{&smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Temporary internal error"}, true, false, "451 4.3.0", "Dovecot's log"},
		{&smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "Quota exceeded"}, false, true, "452 4.2.2", "quota"},
		{&smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Too many concurrent deliveries for user"}, false, false, "just now", ""},
		{nil, false, false, "taken back (HOMING_RECIPIENTS, rule info@=)", ""},
	} {
		s.mu.Lock()
		s.refusal = test.err
		s.mu.Unlock()
		lines := checkDestination(t, environ...)
		wantWell(t, lines.one(t, "lmtp"), "CHUNKING PIPELINING")
		found := lines.find("mailbox")
		// go-smtp's server wants a domain, whatever it is told to answer.
		if len(found) != 3 || found[0].Target != "alice@example.com" || found[1].Target != "bob" || found[2].Target != "post@example.com" {
			t.Fatalf("the lines are\n%s", lines)
		}
		switch line := found[0]; {
		case test.failed:
			wantFailed(t, line, test.detail, test.mend)
		case test.warns:
			wantWarning(t, line, test.detail, test.mend)
		default:
			wantWell(t, line, test.detail)
		}
		if strings.Contains(lines.String(), "\x1b") {
			t.Errorf("control characters in %q", lines.String())
		}
	}
	if len(s.mails) != 0 {
		t.Errorf("the check delivered %q", s.mails)
	}
	if lines := checkDestination(t, s.variable); len(lines) != 1 || !strings.Contains(lines[0].Detail, "no mailbox was tried") {
		t.Errorf("without a mailbox\n%s", lines)
	}
}

func TestCheckNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	file := writeFile(t, "no socket")
	for _, test := range []struct{ to, detail, mend string }{
		{"lmtp:" + filepath.Join(t.TempDir(), "lmtp"), "no such file", "start Dovecot with its lmtp service"},
		{"lmtp:" + file, "connection refused", "correct the socket's path"},
		{"lmtp://" + closed, "connection refused", "start Dovecot with an inet_listener"},
	} {
		lines := checkDestination(t, "HOMING_DELIVER_TO="+test.to, "HOMING_FALLBACK_MAILBOX=alice@example.com")
		wantFailed(t, lines.one(t, "lmtp"), test.detail, test.mend)
		if len(lines) != 1 {
			t.Errorf("a mailbox was tried at nobody's:\n%s", lines)
		}
	}
}

// TestCheckWrongCertificate: of an authority that nobody knows.
func TestCheckWrongCertificate(t *testing.T) {
	p := newPair(t)
	p.issue(t, "lmtp")
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := lmtpsink.New(t.Context(), lmtpsink.Config{Listener: listener})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	lines := checkDestination(t, "HOMING_DELIVER_TO=lmtps://"+listener.Addr().String())
	wantFailed(t, lines.one(t, "lmtp"), "certificate signed by unknown authority", "authority that this system knows")
}

func TestCheckMaildir(t *testing.T) {
	dir := t.TempDir()
	to := "HOMING_DELIVER_TO=maildir:" + dir + "/%d/%n"
	if err := os.MkdirAll(filepath.Join(dir, "example.com", "bob", "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	lines := checkDestination(t, to, "HOMING_RECIPIENTS=@a=alice@example.com bob@example.com carol")
	wantWell(t, lines.one(t, "maildir"), "writable")
	found := lines.find("mailbox")
	if len(found) != 3 {
		t.Fatalf("the lines are\n%s", lines)
	}
	wantWell(t, found[0], "would be made")
	wantWell(t, found[1], "is there and writable")
	wantFailed(t, found[2], "nothing for the %d", "HOMING_RECIPIENTS, rule @a=")
	if left, err := filepath.Glob(filepath.Join(dir, "*", "*", "*", ".*")); err != nil || len(left) != 0 {
		t.Errorf("the check left %q, %v", left, err)
	}
	wantWarning(t, checkDestination(t, "HOMING_DELIVER_TO=maildir:"+dir+"/none/%n").one(t, "maildir"), "there is none yet", "homing makes it")
	wantFailed(t, checkDestination(t, "HOMING_DELIVER_TO=maildir:/proc/none/%n").one(t, "maildir"), "none can be made", "HOMING_DELIVER_TO")
}

// withDovecot runs a test against every version of Dovecot there is.
func withDovecot(t *testing.T, options dovecot.Options, test func(t *testing.T, server *dovecot.Server)) {
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			options.Version = version
			test(t, dovecot.Start(t, options))
		})
	}
}

// TestCheckDovecot: a rule with a mailbox that is not there, on both listeners.
func TestCheckDovecot(t *testing.T) {
	withDovecot(t, dovecot.Options{Users: []dovecot.User{{Name: "alice@example.test"}, {Name: "bob@example.test"}}}, func(t *testing.T, server *dovecot.Server) {
		for _, to := range []string{"lmtp:" + server.UnixSocket, "lmtp://" + server.TCPAddr} {
			lines := checkDestination(t, "HOMING_DELIVER_TO="+to,
				"HOMING_RECIPIENTS=a@example.com=alice+work@example.test, @example.com=eve@example.test", "HOMING_FALLBACK_MAILBOX=bob@example.test")
			wantWell(t, lines.one(t, "lmtp"), "Dovecot, offers CHUNKING PIPELINING 8BITMIME ENHANCEDSTATUSCODES")
			found := lines.find("mailbox")
			if len(found) != 3 {
				t.Fatalf("the lines are\n%s", lines)
			}
			wantWell(t, found[0], "taken back")
			wantFailed(t, found[1], "550 5.1.1", "correct HOMING_RECIPIENTS, rule @example.com=")
			wantWell(t, found[2], "HOMING_FALLBACK_MAILBOX")
			if found[1].Target != "eve@example.test" {
				t.Errorf("the failed line is about %s", found[1].Target)
			}
		}
		for _, user := range []string{"alice@example.test", "bob@example.test"} {
			if mails := server.Mailbox(t, user, "INBOX"); len(mails) != 0 {
				t.Errorf("%s got %q", user, mails)
			}
		}
	})
}

// TestCheckProcessLimit: Dovecot accepts, and says nothing.
func TestCheckProcessLimit(t *testing.T) {
	withDovecot(t, dovecot.Options{Users: []dovecot.User{{Name: "alice@example.test"}}, ProcessLimit: 1}, func(t *testing.T, server *dovecot.Server) {
		occupied, err := net.Dial("unix", server.UnixSocket)
		if err != nil {
			t.Fatal(err)
		}
		defer occupied.Close()
		if err := occupied.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := occupied.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c := &checker{patience: 3 * time.Second}
		c.configure([]string{"HOMING_DELIVER_TO=lmtp:" + server.UnixSocket})
		lines, err := c.all(t, []group{c.destination})
		if err == nil {
			t.Error("no error")
		}
		wantFailed(t, lines.one(t, "lmtp"), "no greeting", "process_limit")
	})
}

// TestProbe: with the rule of contrib/dovecot one copy arrives, without it two,
// and either way the answers are the same.
func TestProbe(t *testing.T) {
	rule := read(t, filepath.Join("..", "..", "contrib", "dovecot", "homing.sieve"))
	for name, test := range map[string]struct {
		script string
		copies int
	}{"with the rule": {rule, 1}, "without": {"", 2}} {
		t.Run(name, func(t *testing.T) {
			options := dovecot.Options{Users: []dovecot.User{{Name: "post@example.test"}}, SieveBefore: test.script, UserConcurrency: 1}
			withDovecot(t, options, func(t *testing.T, server *dovecot.Server) {
				c := &checker{patience: checkTime, probing: true, probeTo: "Post@example.test"}
				c.configure([]string{"HOMING_DELIVER_TO=lmtp:" + server.UnixSocket, "HOMING_FALLBACK_MAILBOX=post@example.test"})
				if err := c.choosePostmaster(); err != nil {
					t.Fatal(err)
				}
				lines, err := c.all(t, []group{c.destination})
				if err != nil {
					t.Errorf("%v\n%s", err, lines)
				}
				probe := lines.one(t, "probe")
				wantWarning(t, probe, "both mails", "one copy means")
				mails := server.Mailbox(t, "post@example.test", "INBOX")
				if len(mails) != test.copies {
					t.Errorf("%d copies, want %d", len(mails), test.copies)
				}
				for _, mail := range mails {
					_, subject, _ := strings.Cut(string(mail), "\nSubject: ")
					subject, _, _ = strings.Cut(subject, "\n")
					if subject = strings.TrimSpace(subject); subject == "" || !strings.Contains(probe.Detail, subject) {
						t.Errorf("the line %q does not name the subject %q", probe.Detail, subject)
					}
				}
			})
		})
	}
}

// TestProbeWaits: our own trial of the mailbox, or a delivery, may occupy it.
func TestProbeWaits(t *testing.T) {
	var asked, taken atomic.Int64
	socket := filepath.Join(t.TempDir(), "lmtp")
	server, err := lmtpsink.New(t.Context(), lmtpsink.Config{Network: "unix", Address: socket,
		RecipientCheck: func(string) error {
			switch asked.Add(1) {
			case 1, 2:
				return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Too many concurrent deliveries for user"}
			case 5:
				return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
			}
			return nil
		},
		Deliver: func(context.Context, string, string, []byte) error { taken.Add(1); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	c := &checker{patience: checkTime, probing: true}
	c.configure([]string{"HOMING_DELIVER_TO=lmtp:" + socket, "HOMING_POSTMASTER=Post@example.test"})
	if err := c.choosePostmaster(); err != nil || c.probeTo != "post@example.test" {
		t.Fatalf("the mailbox is %q, %v", c.probeTo, err)
	}
	c.cfg.Postmaster = "" // which would be tried by RCPT first
	lines, err := c.all(t, []group{c.destination})
	if err != nil || taken.Load() != 2 {
		t.Errorf("%v, %d mails\n%s", err, taken.Load(), lines)
	}
	lines, err = c.all(t, []group{c.destination})
	if _, usage := errors.AsType[usageError](err); err == nil || usage {
		t.Errorf("error %v", err)
	}
	wantFailed(t, lines.one(t, "probe"), "mail 1 of 2 was not delivered", "lines above")
}
