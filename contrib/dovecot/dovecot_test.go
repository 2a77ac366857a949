// Package dovecot_test runs what contrib/dovecot ships in real Dovecots.
package dovecot_test

import (
	"fmt"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
)

// start runs a Dovecot with the fragment for its version, changed only in where
// the scripts are, and with more configuration after it.
func start(t *testing.T, version dovecot.Version, more string, users ...dovecot.User) *dovecot.Server {
	t.Helper()
	fragment := read(t, fmt.Sprintf("dovecot-%s.conf", version))
	files := map[string]string{}
	for _, script := range []string{"homing.sieve", "homing-spam.sieve"} {
		setting := "= /etc/dovecot/" + script + "\n"
		if n := strings.Count(fragment, setting); n != 1 {
			t.Fatalf("the fragment names %s %d times, want once", script, n)
		}
		fragment = strings.Replace(fragment, setting, "= @DIR@/sieve/"+script+"\n", 1)
		files["sieve/"+script] = read(t, script)
	}
	return dovecot.Start(t, dovecot.Options{Version: version, Users: users, Config: fragment + more, Files: files})
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// lmtp opens an LMTP session.
func lmtp(t *testing.T, s *dovecot.Server) *textproto.Conn {
	t.Helper()
	conn, err := textproto.Dial("unix", s.UnixSocket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	expect(t, conn, 220)
	say(t, conn, "LHLO homing.test", 250)
	return conn
}

func say(t *testing.T, conn *textproto.Conn, line string, code int) {
	t.Helper()
	if err := conn.PrintfLine("%s", line); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, code)
}

// sayUntil says a line until it is answered so: Dovecot answers a RSET before
// its anvil process knows that the user is free.
func sayUntil(t *testing.T, conn *textproto.Conn, line string, code int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; {
		if err := conn.PrintfLine("%s", line); err != nil {
			t.Fatal(err)
		}
		_, _, err := conn.ReadResponse(code)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: still %v", line, err)
		}
	}
}

func expect(t *testing.T, conn *textproto.Conn, code int) {
	t.Helper()
	if _, reply, err := conn.ReadResponse(code); err != nil {
		t.Fatalf("want %d, got %v %s", code, err, reply)
	}
}

// deliver delivers a mail with this X-Homing-Id, or none, and this subject.
func deliver(t *testing.T, conn *textproto.Conn, to, id, subject string, code int) {
	t.Helper()
	header := "Subject: " + subject + "\r\nMessage-ID: <always@the.same>\r\n"
	if id != "" {
		header = "X-Homing-Id: " + id + "\r\n" + header
	}
	say(t, conn, "MAIL FROM:<sender@far.test>", 250)
	say(t, conn, "RCPT TO:<"+to+">", 250)
	say(t, conn, "DATA", 354)
	say(t, conn, header+"\r\nbody\r\n.", code)
}

// subjects returns the subjects of a folder's messages, in order.
func subjects(t *testing.T, s *dovecot.Server, user, folder string) string {
	t.Helper()
	var all []string
	for _, message := range s.Mailbox(t, user, folder) {
		_, after, _ := strings.Cut(string(message), "\r\nSubject: ")
		subject, _, _ := strings.Cut(after, "\r\n")
		all = append(all, subject)
	}
	return strings.Join(all, " ")
}

// complaints returns what Dovecot logged as an error, but for one: at a user's
// very first mail the home is not there yet to hold the database. That mail is
// remembered all the same, as the tests show.
func complaints(s *dovecot.Server) (lines []string) {
	for line := range strings.Lines(s.Log()) {
		first := strings.Contains(line, "lda-dupes) failed: No such file or directory")
		if !first && (strings.Contains(line, "Error:") || strings.Contains(line, "Fatal:")) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestRepetitions(t *testing.T) {
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			s := start(t, version, "",
				dovecot.User{Name: "alice"},
				dovecot.User{Name: "bob", Sieve: `require "fileinto"; fileinto "Bob";`},
				dovecot.User{Name: "carol", Sieve: `redirect "carol@far.test";`},
			)
			conn := lmtp(t, s)
			deliver(t, conn, "alice", "id-1", "first", 250)
			deliver(t, conn, "alice", "id-1", "repeated", 250)
			deliver(t, conn, "alice", "id-2", "second", 250)
			deliver(t, conn, "alice+work", "id-2", "repeated", 250)
			deliver(t, conn, "alice", "", "plain", 250)
			deliver(t, conn, "alice", "", "plain", 250)
			deliver(t, conn, "bob", "id-1", "filed", 250)
			deliver(t, conn, "bob", "id-1", "repeated", 250)
			for _, complaint := range complaints(s) {
				t.Errorf("Dovecot is not content with the fragment: %s", complaint)
			}

			// The submission port is closed: carol's mail is refused for now, and
			// must not count as delivered.
			deliver(t, conn, "carol", "id-1", "refused", 451)
			deliver(t, conn, "carol", "id-1", "refused", 451)

			s.Restart(t)
			conn = lmtp(t, s)
			deliver(t, conn, "alice", "id-1", "repeated", 250)

			for _, want := range []struct{ user, folder, subjects string }{
				{"alice", "INBOX", "first second plain plain"},
				{"bob", "Bob", "filed"},
				{"bob", "INBOX", ""},
				{"carol", "INBOX", ""},
			} {
				if got := subjects(t, s, want.user, want.folder); got != want.subjects {
					t.Errorf("%s of %s holds %q, want %q", want.folder, want.user, got, want.subjects)
				}
			}
		})
	}
}

// The duplicate test's database is right only while a user's deliveries come
// one after another.
func TestOneDeliveryAtATime(t *testing.T) {
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			s := start(t, version, "", dovecot.User{Name: "alice"}, dovecot.User{Name: "bob"})
			one, other := lmtp(t, s), lmtp(t, s)
			say(t, one, "MAIL FROM:<>", 250)
			say(t, one, "RCPT TO:<alice>", 250)
			say(t, other, "MAIL FROM:<>", 250)
			say(t, other, "RCPT TO:<alice+work>", 451)
			say(t, other, "RCPT TO:<bob>", 250)
			say(t, one, "RSET", 250)
			sayUntil(t, other, "RCPT TO:<alice+work>", 250)
		})
	}
}

// What SES found to be spam or a virus goes to Junk, by the line that homing
// makes of the notification as well as by SES's own, and all other mail to where
// the user's own script puts it.
func TestSpamFiling(t *testing.T) {
	own := "require \"fileinto\"; if header :contains \"Subject\" \"list\" { fileinto \"Lists\"; }"
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			s := start(t, version, "", dovecot.User{Name: "alice", Sieve: own})
			conn := lmtp(t, s)
			for _, header := range []string{
				"Subject: plain",
				"Subject: list",
				"X-Homing-Verdict: spam=PASS virus=PASS spf=PASS dkim=PASS dmarc=FAIL\r\nSubject: passed",
				"X-Homing-Verdict: spam=GRAY virus=none spf=FAIL dkim=FAIL dmarc=none\r\nSubject: gray",
				"X-Homing-Verdict: spam=FAIL virus=PASS spf=PASS dkim=PASS dmarc=PASS\r\nSubject: spam list",
				"X-Homing-Verdict: spam=PASS virus=FAIL spf=PASS dkim=PASS dmarc=PASS\r\nSubject: virus",
				"X-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: PASS\r\nSubject: SES passed",
				"X-SES-Spam-Verdict: FAIL\r\nX-SES-Virus-Verdict: PASS\r\nSubject: SES spam",
				// What the sender adds below SES's own does not help.
				"X-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: FAIL\r\nX-SES-Virus-Verdict: PASS\r\nSubject: SES virus",
			} {
				say(t, conn, "MAIL FROM:<sender@far.test>", 250)
				say(t, conn, "RCPT TO:<alice>", 250)
				say(t, conn, "DATA", 354)
				say(t, conn, header+"\r\n\r\nbody\r\n.", 250)
			}
			for folder, want := range map[string]string{
				"INBOX": "plain passed gray SES passed",
				"Lists": "list",
				"Junk":  "spam list virus SES spam SES virus",
			} {
				if got := subjects(t, s, "alice", folder); got != want {
					t.Errorf("%s holds %q, want %q", folder, got, want)
				}
			}
			for _, complaint := range complaints(s) {
				t.Errorf("Dovecot is not content with the fragment: %s", complaint)
			}
		})
	}
}

// The listener is open to one group, and +detail is a folder.
func TestListenerAndDetail(t *testing.T) {
	if os.Geteuid() != 0 {
		neighbour.Missing(t, "root", "only root can give a socket to a group")
	}
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			const group = "daemon" // every Debian has it, and 1 is its number
			listener := strings.Replace(read(t, "listener.conf"), "group = homing\n", "group = "+group+"\n", 1)
			s := start(t, version, listener+read(t, "detail.conf"), dovecot.User{Name: "alice"})
			info, err := os.Stat(s.UnixSocket)
			if err != nil {
				t.Fatal(err)
			}
			if owner := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o660 || owner.Gid != 1 {
				t.Errorf("the socket has mode %v and group %d, want 0660 and 1", info.Mode(), owner.Gid)
			}
			conn := lmtp(t, s)
			deliver(t, conn, "alice", "id-1", "plain", 250)
			deliver(t, conn, "alice+work", "id-2", "detail", 250)
			for folder, want := range map[string]string{"INBOX": "plain", "work": "detail"} {
				if got := subjects(t, s, "alice", folder); got != want {
					t.Errorf("%s holds %q, want %q", folder, got, want)
				}
			}
		})
	}
}
