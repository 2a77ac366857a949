package lmtpsink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// talk opens a session, says each line and returns all replies, a line each.
func talk(t *testing.T, sink *Server, replies int, lines ...string) string {
	t.Helper()
	conn, err := net.Dial(sink.Addr().Network(), sink.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	text := textproto.NewConn(conn)
	if _, _, err := text.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\n")); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for range replies {
		code, reply, err := text.ReadResponse(0)
		if err != nil {
			t.Fatalf("%v after %s", err, all.String())
		}
		fmt.Fprintf(&all, "%d %s\n", code, strings.ReplaceAll(reply, "\n", "|"))
	}
	return all.String()
}

func start(t *testing.T, config Config) *Server {
	t.Helper()
	if config.Listener == nil {
		config.Network, config.Address = "unix", filepath.Join(t.TempDir(), "lmtp")
	}
	sink, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
	return sink
}

// A verdict for each recipient, over BDAT and DATA, and nothing of a chunk that
// was refused is taken for commands.
func TestVerdicts(t *testing.T) {
	var mu sync.Mutex
	var got []string
	sink := start(t, Config{
		RecipientCheck: func(recipient string) error {
			if recipient == "nobody@y.test" {
				return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "who?"}
			}
			return nil
		},
		Deliver: func(_ context.Context, sender, recipient string, octets []byte) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s>%s:%s", sender, recipient, octets))
			switch recipient {
			case "full@y.test":
				return &smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 2, 2}, Message: "full"}
			case "broken@y.test":
				return errors.New("disk on fire")
			}
			return nil
		},
	})
	replies := talk(t, sink, 17, "LHLO t",
		"MAIL FROM:<a@x.test>", "RCPT TO:<bob@y.test>", "RCPT TO:<full@y.test>", "RCPT TO:<broken@y.test>", "BDAT 7 LAST", "ma\x00il",
		"RSET", "MAIL FROM:<>", "RCPT TO:<nobody@y.test>", "BDAT 6 LAST", "QUIT",
		"RSET", "MAIL FROM:<>", "RCPT TO:<bob@y.test>", "DATA", strings.Repeat("x", 9000), "..", ".")
	for _, want := range []string{"|CHUNKING|", "\n250 2.0.0 <bob@y.test> ", "\n552 5.2.2 <full@y.test> full\n", "\n451 4.3.0 <broken@y.test> disk on fire\n", "\n550 5.1.1 who?\n"} {
		if !strings.Contains(replies, want) {
			t.Errorf("no %q in %s", want, replies)
		}
	}
	want := []string{"a@x.test>bob@y.test:ma\x00il\r\n", "a@x.test>full@y.test:ma\x00il\r\n", "a@x.test>broken@y.test:ma\x00il\r\n",
		">bob@y.test:" + strings.Repeat("x", 9000) + "\r\n.\r\n"}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q", got)
	}
}

// A message cut in the middle is not delivered.
func TestCut(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var calls bytes.Buffer
	sink := start(t, Config{Listener: listener, Deliver: func(_ context.Context, _, _ string, octets []byte) error {
		calls.Write(octets)
		return nil
	}})
	talk(t, sink, 3, "LHLO t", "MAIL FROM:<>", "RCPT TO:<bob@y.test>", "BDAT 100 LAST", "mail")
	talk(t, sink, 4, "LHLO t", "MAIL FROM:<>", "RCPT TO:<bob@y.test>", "DATA", "mail")
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	if calls.Len() > 0 {
		t.Errorf("delivered %q", calls.String())
	}
}

// Sessions may be anywhere when it closes.
func TestCloseAmidOctets(t *testing.T) {
	for n := range 50 {
		sink := start(t, Config{Deliver: func(context.Context, string, string, []byte) error {
			t.Error("half a message was delivered")
			return nil
		}})
		var sessions sync.WaitGroup
		for range 4 {
			conn, err := net.Dial(sink.Addr().Network(), sink.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			sessions.Go(func() {
				defer conn.Close()
				// Less than it promises, as long as the sink lets it.
				_, err := conn.Write([]byte("LHLO t\r\nMAIL FROM:<>\r\nRCPT TO:<bob@y.test>\r\nBDAT 1000000 LAST\r\n"))
				octets := make([]byte, 1000)
				for sent := 0; sent < 900 && err == nil; sent++ {
					_, err = conn.Write(octets)
				}
				_, _ = io.Copy(io.Discard, conn)
			})
		}
		if n%2 == 0 {
			talk(t, sink, 3, "LHLO t", "MAIL FROM:<>", "RCPT TO:<bob@y.test>", "BDAT 100 LAST", "mail")
		}
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
		sessions.Wait()
	}
}

// Close ends a delivery under way through its context, and waits for it.
func TestClose(t *testing.T) {
	begun, ended := make(chan struct{}), false
	sink := start(t, Config{Deliver: func(ctx context.Context, _, _ string, _ []byte) error {
		close(begun)
		<-ctx.Done()
		ended = true
		return ctx.Err()
	}})
	talk(t, sink, 3, "LHLO t", "MAIL FROM:<>", "RCPT TO:<bob@y.test>", "BDAT 2 LAST", "")
	<-begun
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	if !ended {
		t.Error("Close did not wait")
	}
}

func TestListenFails(t *testing.T) {
	if _, err := New(t.Context(), Config{Network: "unix", Address: "/nonexistent/lmtp"}); err == nil {
		t.Error("listened nowhere")
	}
}
