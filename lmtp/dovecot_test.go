package lmtp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/lmtp"
)

// withDovecot runs test against every version of Dovecot there is.
func withDovecot(t *testing.T, options dovecot.Options, test func(t *testing.T, server *dovecot.Server)) {
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			options.Version = version
			test(t, dovecot.Start(t, options))
		})
	}
}

func newClient(t *testing.T, config lmtp.Config) *lmtp.Client {
	t.Helper()
	config.Name = "homing.test"
	c := lmtp.New(config)
	t.Cleanup(func() { c.Close() })
	return c
}

func onSocket(server *dovecot.Server, connections int) lmtp.Config {
	return lmtp.Config{Network: "unix", Address: server.UnixSocket, Connections: connections}
}

func user(name string) dovecot.User { return dovecot.User{Name: name + "@y.test"} }

// message has a body in which every way to end DATA is tried.
func message(id string) []byte {
	const evil = "one\n.\ntwo\r\n.\nthree\n.\r\nfour\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<mallory@y.test>\r\nDATA\r\n.five\r\n"
	return []byte("X-Id: " + id + "\r\nSubject: test\r\n\r\n" + evil)
}

func code(t *testing.T, err error) int {
	t.Helper()
	reply, ok := errors.AsType[*lmtp.ReplyError](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	return reply.ReplyCode()
}

// Octets arrive as they were, up to the line ends, which IMAP makes CRLF, and
// refusals on either side of them change nothing.
func TestDovecotVerdicts(t *testing.T) {
	small := dovecot.User{Name: "small@y.test", QuotaBytes: 20 << 10}
	withDovecot(t, dovecot.Options{Users: []dovecot.User{user("alice"), user("mallory"), small}}, func(t *testing.T, server *dovecot.Server) {
		for _, config := range []lmtp.Config{
			onSocket(server, 1),
			{Network: "tcp", Address: server.TCPAddr, Connections: 1},
		} {
			c := newClient(t, config)
			deliver := func(sender, mailbox string, octets ...[]byte) error {
				return c.Deliver(t.Context(), sender, mailbox, octets)
			}
			large := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef\r\n"), 40<<10)
			if err := deliver("", "alice@y.test", message("1")); err != nil {
				t.Error(err)
			}
			if got := code(t, deliver("a@x.test", "nobody@y.test", message("2"))); got != 550 {
				t.Errorf("unknown user: %d", got)
			}
			if got := code(t, deliver("a@x.test", "nobody@y.test", message("2"), large)); got != 550 {
				t.Errorf("unknown user, large: %d", got)
			}
			if got := code(t, deliver("a@x.test", "small@y.test", large)); got != 552 {
				t.Errorf("over quota: %d", got)
			}
			if err := deliver("a@x.test", "Alice+detail@y.test", message("3"), large); err != nil {
				t.Error(err)
			}
		}
		got := server.Mailbox(t, "alice@y.test", "INBOX")
		if len(got) != 4 {
			t.Fatalf("alice has %d messages", len(got))
		}
		for i, id := range []string{"1", "3", "1", "3"} {
			want := strings.ReplaceAll(strings.ReplaceAll(string(message(id)), "\r\n", "\n"), "\n", "\r\n")
			if !strings.Contains(string(got[i]), want) {
				t.Errorf("message %d is %.1000q", i, got[i])
			}
		}
		if stray := server.Mailbox(t, "mallory@y.test", "INBOX"); len(stray) > 0 {
			t.Errorf("smuggled: %q", stray)
		}
	})
}

// In a pipeline each transaction is by itself, whatever became of the others.
func TestDovecotPipeline(t *testing.T) {
	withDovecot(t, dovecot.Options{Users: []dovecot.User{{Name: "few@y.test", QuotaMessages: 5}}}, func(t *testing.T, server *dovecot.Server) {
		c := newClient(t, onSocket(server, 1))
		var accepted, refused atomic.Int32
		var senders sync.WaitGroup
		for i := range 40 {
			senders.Go(func() {
				err := c.Deliver(t.Context(), "a@x.test", "few@y.test", [][]byte{message(fmt.Sprint(i))})
				if err == nil {
					accepted.Add(1)
				} else if code(t, err) == 552 {
					refused.Add(1)
				}
			})
		}
		senders.Wait()
		if accepted.Load() != 5 || refused.Load() != 35 {
			t.Errorf("%d accepted, %d refused for quota", accepted.Load(), refused.Load())
		}
		if got := server.Mailbox(t, "few@y.test", "INBOX"); len(got) != 5 {
			t.Errorf("%d stored", len(got))
		}
	})
}

// A reload and a restart in the middle lose nothing, and repeat only what the
// client was told of.
func TestDovecotRestarts(t *testing.T) {
	const mailboxes, senders, messages = 4, 10, 20
	var users []dovecot.User
	for i := range mailboxes {
		users = append(users, user(fmt.Sprint("u", i)))
	}
	withDovecot(t, dovecot.Options{Users: users}, func(t *testing.T, server *dovecot.Server) {
		c := newClient(t, onSocket(server, mailboxes))
		var verdicts atomic.Int32
		var failed sync.Map
		var group sync.WaitGroup
		for s := range mailboxes * senders {
			group.Go(func() {
				for m := range messages {
					id := fmt.Sprintf("id%d-%d", s, m)
					for c.Deliver(t.Context(), "a@x.test", users[s%mailboxes].Name, [][]byte{message(id)}) != nil {
						failed.Store(id, true)
						await(t, func() bool { return c.Probe(t.Context()) == nil })
					}
					verdicts.Add(1)
				}
			})
		}
		const all = mailboxes * senders * messages
		await(t, func() bool { return verdicts.Load() > all/4 })
		server.Reload(t)
		await(t, func() bool { return verdicts.Load() > all/2 })
		server.Restart(t)
		group.Wait()
		for i, u := range users {
			stored := server.Mailbox(t, u.Name, "INBOX")
			for s := i; s < mailboxes*senders; s += mailboxes {
				for m := range messages {
					id := fmt.Sprintf("id%d-%d", s, m)
					_, again := failed.Load(id)
					if n := count(stored, "X-Id: "+id+"\r\n"); n == 0 || n > 1 && !again {
						t.Errorf("%s: %d copies (delivered again: %v)", id, n, again)
					}
				}
			}
		}
	})
}

// Beyond the process limit Dovecot connects and says nothing: the connections
// that work go on working.
func TestDovecotProcessLimit(t *testing.T) {
	var users []dovecot.User
	for i := range 8 {
		users = append(users, user(fmt.Sprint("u", i)))
	}
	withDovecot(t, dovecot.Options{Users: users, ProcessLimit: 1}, func(t *testing.T, server *dovecot.Server) {
		config := onSocket(server, 4)
		config.Timeouts.Greeting = 3 * time.Second
		c := newClient(t, config)
		var senders sync.WaitGroup
		for i := range 200 {
			senders.Go(func() {
				if err := c.Deliver(t.Context(), "a@x.test", users[i%len(users)].Name, [][]byte{message(fmt.Sprint(i))}); err != nil {
					t.Error(err)
				}
			})
		}
		senders.Wait()
	})
}

// Another client's delivery to the same mailbox is not a failure of ours.
func TestDovecotBusy(t *testing.T) {
	withDovecot(t, dovecot.Options{Users: []dovecot.User{user("alice")}, UserConcurrency: 1}, func(t *testing.T, server *dovecot.Server) {
		other, err := net.Dial("unix", server.UnixSocket)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		fmt.Fprintf(other, "LHLO other\r\nMAIL FROM:<>\r\nRCPT TO:<alice@y.test>\r\nDATA\r\n")
		awaitText(t, other, "354")

		c := newClient(t, onSocket(server, 1))
		err = c.Deliver(t.Context(), "a@x.test", "alice+work@y.test", [][]byte{message("1")})
		if reply, ok := errors.AsType[*lmtp.ReplyError](err); !ok || !reply.Busy() {
			t.Fatalf("got %v", err)
		}
		other.Close()
		await(t, func() bool {
			return c.Deliver(t.Context(), "a@x.test", "alice@y.test", [][]byte{message("2")}) == nil
		})
		// Our own pipeline is one delivery after another.
		var senders sync.WaitGroup
		for i := range 20 {
			senders.Go(func() {
				if err := c.Deliver(t.Context(), "a@x.test", "alice@y.test", [][]byte{message(fmt.Sprint(i))}); err != nil {
					t.Error(err)
				}
			})
		}
		senders.Wait()
	})
}

func TestDovecotAway(t *testing.T) {
	withDovecot(t, dovecot.Options{Users: []dovecot.User{user("alice")}}, func(t *testing.T, server *dovecot.Server) {
		c := newClient(t, onSocket(server, 2))
		deliver := func() error {
			return c.Deliver(t.Context(), "a@x.test", "alice@y.test", [][]byte{message("1")})
		}
		if err := deliver(); err != nil {
			t.Fatal(err)
		}
		server.Stop(t)
		for _, err := range []error{deliver(), c.Probe(t.Context())} {
			if _, ok := errors.AsType[*lmtp.AwayError](err); !ok {
				t.Errorf("stopped: got %v", err)
			}
		}
		server.Restart(t)
		if err := errors.Join(c.Probe(t.Context()), deliver()); err != nil {
			t.Errorf("started again: %v", err)
		}
	})
}

// await waits for a condition, for as long as the test may.
func await(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("it did not happen")
		}
	}
}

func awaitText(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	var got []byte
	buffer := make([]byte, 512)
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	for !bytes.Contains(got, []byte(text)) {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, buffer[:n]...)
	}
}

func count(messages [][]byte, text string) (n int) {
	for _, m := range messages {
		n += bytes.Count(m, []byte(text))
	}
	return n
}
