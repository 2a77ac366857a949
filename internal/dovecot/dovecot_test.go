package dovecot

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// each runs a test against every version of Dovecot.
func each(t *testing.T, options Options, test func(t *testing.T, s *Server)) {
	t.Helper()
	for _, version := range Versions() {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			options := options
			options.Version = version
			test(t, Start(t, options))
		})
	}
}

// deliver speaks one LMTP transaction over the unix socket and returns the
// reply to RCPT if that refuses, else the one after the end of data.
func deliver(t *testing.T, s *Server, to, message string) (code int, reply string) {
	t.Helper()
	session, err := openSession("unix", s.UnixSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer session.close()
	for _, step := range []struct {
		line string
		code int
	}{
		{"MAIL FROM:<sender@far.test>", 250},
		{"RCPT TO:<" + to + ">", 250},
		{"DATA", 354},
		{message + "\r\n.", 250},
	} {
		if code, reply = session.say(step.line); code != step.code {
			return code, reply
		}
	}
	session.say("QUIT")
	return code, reply
}

const letter = "From: a@far.test\r\nSubject: hello\r\n\r\nFirst line\r\n..dot and 8 bit: \xe4\xf6\xfc"

// stored is the letter as it must come back, after the lines Dovecot prepends.
const stored = "From: a@far.test\r\nSubject: hello\r\n\r\nFirst line\r\n.dot and 8 bit: \xe4\xf6\xfc\r\n"

// expect checks that a folder holds just these messages.
func expect(t *testing.T, s *Server, user, folder string, want ...string) {
	t.Helper()
	got := s.WaitMessages(t, user, folder, len(want))
	if len(got) != len(want) {
		t.Fatalf("%s of %s has %d messages, want %d: %q", folder, user, len(got), len(want), got)
	}
	for i := range want {
		if !bytes.HasSuffix(got[i], []byte(want[i])) {
			t.Errorf("message %d in %s of %s is %q, want it to end with %q", i, folder, user, got[i], want[i])
		}
	}
}

func TestDelivery(t *testing.T) {
	const script = `require ["fileinto", "envelope", "mailbox"];
if header :contains "subject" "hello" { fileinto :create "Greetings"; }
elsif envelope "from" "" { discard; }`
	each(t, Options{Users: []User{
		{Name: "alice@home.test"},
		{Name: "bob", Sieve: script},
		{Name: "small@home.test", QuotaBytes: 20_000},
		{Name: "few@home.test", QuotaMessages: 1},
	}}, func(t *testing.T, s *Server) {
		for _, test := range []struct {
			to, message string
			code        int
			reply       string // its beginning
		}{
			{"alice@home.test", letter, 250, "2.0.0"},
			{"Alice+work@home.test", letter, 250, "2.0.0"},
			{"bob", letter, 250, "2.0.0"},
			{"nobody@home.test", letter, 550, "5.1.1"},
			{"small@home.test", letter + strings.Repeat("\r\ntwenty characters..", 1000), 552, "5.2.2"},
			{"few@home.test", letter, 250, "2.0.0"},
			{"few@home.test", letter, 552, "5.2.2"},
		} {
			code, reply := deliver(t, s, test.to, test.message)
			if code != test.code || !strings.HasPrefix(reply, test.reply) {
				t.Errorf("%s: got %d %s, want %d %s", test.to, code, reply, test.code, test.reply)
			}
		}
		expect(t, s, "alice@home.test", "INBOX", stored, stored)
		expect(t, s, "bob", "Greetings", stored)
		expect(t, s, "bob", "INBOX")
		expect(t, s, "small@home.test", "INBOX")
		expect(t, s, "few@home.test", "INBOX", stored)
		expect(t, s, "alice@home.test", "No such folder")
	})
}

func TestDetailFolder(t *testing.T) {
	each(t, Options{
		Users:        []User{{Name: "alice@home.test"}},
		SaveToDetail: true,
	}, func(t *testing.T, s *Server) {
		if code, reply := deliver(t, s, "alice+work@home.test", letter); code != 250 {
			t.Fatal(code, reply)
		}
		expect(t, s, "alice@home.test", "work", stored)
		expect(t, s, "alice@home.test", "INBOX")
	})
}

func TestSieveBefore(t *testing.T) {
	each(t, Options{
		Users:       []User{{Name: "alice", Sieve: `discard;`}},
		SieveBefore: `require ["fileinto", "mailbox"]; fileinto :create "Before"; stop;`,
	}, func(t *testing.T, s *Server) {
		if code, reply := deliver(t, s, "alice", letter); code != 250 {
			t.Fatal(code, reply)
		}
		expect(t, s, "alice", "Before", stored)
	})
}

// A script that wants to send mail must not reach this machine's sendmail.
func TestSendsNothing(t *testing.T) {
	each(t, Options{
		Users: []User{{Name: "alice", Sieve: `redirect "victim@far.test";`}},
	}, func(t *testing.T, s *Server) {
		if code, reply := deliver(t, s, "alice", letter); code != 451 {
			t.Errorf("got %d %s, want 451, for the submission port is closed", code, reply)
		}
	})
}

func TestAnyUser(t *testing.T) {
	each(t, Options{AnyUser: true, MailFsync: "never"}, func(t *testing.T, s *Server) {
		for i := range 3 {
			user := fmt.Sprintf("%d@somewhere.test", i)
			if code, reply := deliver(t, s, user, letter); code != 250 {
				t.Fatal(code, reply)
			}
			expect(t, s, user, "INBOX", stored)
		}
	})
}

func TestStopAndRestart(t *testing.T) {
	each(t, Options{Users: []User{{Name: "alice"}}}, func(t *testing.T, s *Server) {
		if code, reply := deliver(t, s, "alice", letter); code != 250 {
			t.Fatal(code, reply)
		}
		s.Stop(t)
		if session, err := openSession("unix", s.UnixSocket); err == nil {
			session.close()
			t.Error("a stopped server answered")
		}
		s.Restart(t)
		expect(t, s, "alice", "INBOX", stored)
		s.Restart(t)
		if code, reply := deliver(t, s, "alice", letter); code != 250 {
			t.Fatal(code, reply)
		}
		expect(t, s, "alice", "INBOX", stored, stored)
	})
}

func TestReload(t *testing.T) {
	each(t, Options{Users: []User{{Name: "alice"}}}, func(t *testing.T, s *Server) {
		session, err := openSession("unix", s.UnixSocket)
		if err != nil {
			t.Fatal(err)
		}
		defer session.close()
		s.Reload(t)
		if code, reply := session.reply(); code != 421 {
			t.Errorf("the open session got %d %s, want 421", code, reply)
		}
		if code, reply := deliver(t, s, "alice", letter); code != 250 {
			t.Error(code, reply)
		}
	})
}

func TestUserDatabaseAway(t *testing.T) {
	each(t, Options{Users: []User{{Name: "alice"}}}, func(t *testing.T, s *Server) {
		s.Away(t)
		if code, reply := deliver(t, s, "alice", letter); code == 250 {
			t.Errorf("while the user database was away: %d %s", code, reply)
		} else {
			t.Logf("while the user database is away: %d %s", code, reply)
		}
		s.Back(t)
		if code, reply := deliver(t, s, "alice", letter); code != 250 {
			t.Errorf("after it came back: %d %s", code, reply)
		}
		expect(t, s, "alice", "INBOX", stored)
	})
}

func TestLimits(t *testing.T) {
	each(t, Options{
		Users:           []User{{Name: "alice"}},
		ProcessLimit:    2,
		UserConcurrency: 1,
	}, func(t *testing.T, s *Server) {
		var sessions []*session
		for range 2 {
			session, err := openSession("unix", s.UnixSocket)
			if err != nil {
				t.Fatal(err)
			}
			defer session.close()
			sessions = append(sessions, session)
		}
		for i, want := range []int{250, 451} {
			sessions[i].say("MAIL FROM:<>")
			if code, reply := sessions[i].say("RCPT TO:<alice>"); code != want {
				t.Errorf("session %d: RCPT answered %d %s, want %d", i, code, reply, want)
			}
		}
	})
}

func TestCPUTime(t *testing.T) {
	each(t, Options{AnyUser: true, MailFsync: "never"}, func(t *testing.T, s *Server) {
		before := s.CPUTime(t)
		for range 50 {
			if code, reply := deliver(t, s, "alice", letter); code != 250 {
				t.Fatal(code, reply)
			}
		}
		used := s.CPUTime(t) - before
		if used <= 0 || used > patience {
			t.Errorf("50 deliveries took %v of processor time", used)
		}
		t.Logf("50 deliveries: %v", used)
	})
}
