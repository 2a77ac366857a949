package lmtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The tests play dialogues. Each line of one is a step of the server:
//
//	S: text     send a line
//	C: text     receive this line
//	O: "text"   receive these octets (a Go string)
//	SKIP n      receive n octets, whatever they are
//	SILENCE d   receive nothing for so long
//	RAW "text"  send octets that are no line
//	CLOSE       close
//	EOF         receive the client's close
//	PAUSE d     wait so long
//	STALL       read nothing, say nothing, until the test is over
//	AWAIT x     wait for the test to say x
//
// What the client sends on top of it fails the test.
const (
	greetDovecot = `
		S: 220 mx.test Dovecot ready.
		C: LHLO homing.test
		S: 250-mx.test
		S: 250-8BITMIME
		S: 250-CHUNKING
		S: 250-ENHANCEDSTATUSCODES
		S: 250 PIPELINING
	`
	greetOther = `
		S: 220 mx.test Example LMTP
		C: LHLO homing.test
		S: 250-mx.test
		S: 250-CHUNKING
		S: 250 PIPELINING
	`
	greetPlain = `
		S: 220 mx.test Example LMTP
		C: LHLO homing.test
		S: 250-mx.test
		S: 250-8BITMIME
		S: 250 PIPELINING
	`
	envelopeBob = `
		C: RSET
		C: MAIL FROM:<a@x.test> BODY=8BITMIME
		C: RCPT TO:<bob@y.test>
	`
	bob = envelopeBob + `
		C: BDAT 5 LAST
		O: "mail\n"
	`
	taken = `
		S: 250 2.0.0 OK
		S: 250 2.1.0 OK
		S: 250 2.1.5 OK
		S: 250 2.0.0 <bob@y.test> saved
	`
	bye = `
		C: QUIT
		S: 221 2.0.0 bye
		EOF
	`
)

// mail is the message of most dialogues, in two pieces.
func mail() [][]byte { return [][]byte{[]byte("ma"), []byte("il\n")} }

// theatre plays one dialogue per connection, in order; after the last one
// connections are refused.
type theatre struct {
	*Client
	t     *testing.T
	mu    sync.Mutex
	plays []string
	dials int
	cues  map[string]chan struct{}
	over  chan struct{}
	stage sync.WaitGroup
}

// play runs test in a bubble with a client whose connections play these dialogues.
func play(t *testing.T, plays []string, test func(t *testing.T, th *theatre)) {
	t.Helper()
	playConfigured(t, Config{Connections: 1}, plays, test)
}

func playConfigured(t *testing.T, config Config, plays []string, test func(t *testing.T, th *theatre)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config.Name, config.Network, config.Address = "homing.test", "unix", "/mx"
		th := &theatre{Client: New(config), t: t, plays: plays, cues: make(map[string]chan struct{}), over: make(chan struct{})}
		th.open = th.dial
		test(t, th)
		close(th.over)
		if err := th.Close(); err != nil {
			t.Error(err)
		}
		th.stage.Wait()
		if len(th.plays) > 0 {
			t.Errorf("%d dialogues were not played", len(th.plays))
		}
	})
}

func (th *theatre) dial(context.Context) (net.Conn, error) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.dials++
	if len(th.plays) == 0 {
		return nil, fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	}
	script := th.plays[0]
	th.plays = th.plays[1:]
	near, far := net.Pipe()
	th.stage.Go(func() {
		defer far.Close()
		a := &actor{conn: far, r: bufio.NewReader(far), th: th}
		if err := a.perform(script); err != nil {
			th.t.Error(err)
		}
	})
	return near, nil
}

// cue is what AWAIT waits for.
func (th *theatre) cue(name string) chan struct{} {
	th.mu.Lock()
	defer th.mu.Unlock()
	if th.cues[name] == nil {
		th.cues[name] = make(chan struct{})
	}
	return th.cues[name]
}

// bob delivers mail to bob.
func (th *theatre) bob() error { return th.to("bob@y.test") }

func (th *theatre) to(mailbox string) error {
	return th.Deliver(th.t.Context(), "a@x.test", mailbox, mail())
}

// start delivers in the background, after everything started before.
func (th *theatre) start(deliver func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- deliver() }()
	synctest.Wait()
	return result
}

// actor plays the server on one connection.
type actor struct {
	conn net.Conn
	r    *bufio.Reader
	th   *theatre
}

func (a *actor) perform(script string) error {
	for line := range strings.SplitSeq(script, "\n") {
		line = strings.TrimLeft(line, "\t")
		if line == "" {
			continue
		}
		if err := a.step(line); err != nil {
			return fmt.Errorf("at %q: %w", line, err)
		}
	}
	return nil
}

func (a *actor) step(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "S:":
		_, err := io.WriteString(a.conn, rest+"\r\n")
		return err
	case "C:":
		got, err := a.r.ReadString('\n')
		return expect(rest+"\r\n", got, err)
	case "O:":
		want, err := strconv.Unquote(rest)
		if err != nil {
			return err
		}
		got := make([]byte, len(want))
		n, err := io.ReadFull(a.r, got)
		return expect(want, string(got[:n]), err)
	case "RAW":
		text, err := strconv.Unquote(rest)
		if err == nil {
			_, err = io.WriteString(a.conn, text)
		}
		if errors.Is(err, io.ErrClosedPipe) {
			return nil // more than the client wanted
		}
		return err
	case "SKIP":
		n, err := strconv.ParseInt(rest, 10, 64)
		if err == nil {
			_, err = io.CopyN(io.Discard, a.r, n)
		}
		return err
	case "SILENCE":
		return a.silence(rest)
	case "PAUSE":
		limit, err := time.ParseDuration(rest)
		<-time.After(limit)
		return err
	case "CLOSE":
		return a.conn.Close()
	case "EOF":
		got, err := io.ReadAll(a.r)
		return expect("", string(got), err)
	case "STALL":
		<-a.th.over
		return nil
	case "AWAIT":
		<-a.th.cue(rest)
		return nil
	}
	return errors.New("no such step")
}

// silence fails if anything comes within the time.
func (a *actor) silence(text string) error {
	limit, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	a.conn.SetReadDeadline(time.Now().Add(limit))
	defer a.conn.SetReadDeadline(time.Time{})
	b, err := a.r.Peek(1)
	if err == nil {
		return fmt.Errorf("got %q", b)
	}
	if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() {
		return nil
	}
	return err
}

func expect(want, got string, err error) error {
	if got != want {
		return errors.Join(fmt.Errorf("got %q", got), err)
	}
	return err
}
