package submission

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// credentials are a certificate for 127.0.0.1, and what trusts it.
func credentials(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots}
}

// provider plays one dialogue for each connection. A line of it is
//
//	S: a reply
//	C: a command that must come
//	TLS  the handshake
//	MAIL a message, up to and with its final dot, that is kept
//	PART a line of a message at least
//	HANG no more, until the client has gone
//	STALL nothing is read until the test's end; then the message must have none
//	FLOOD reply lines without end
//
// After the last line it closes the connection.
type provider struct {
	t        *testing.T
	tls      *tls.Config
	listener net.Listener
	serving  sync.WaitGroup
	hanging  chan struct{} // has one for each dialogue that came to HANG
	ended    chan struct{} // the test has

	mu        sync.Mutex
	dialogues []string
	mails     []string
	unplayed  []string // connections beyond the dialogues
}

// play starts a provider and returns a client for it, which a test may change.
func play(t *testing.T, dialogues ...string) (*provider, *Config) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, client := credentials(t)
	p := &provider{t: t, tls: server, listener: listener, dialogues: dialogues,
		hanging: make(chan struct{}, len(dialogues)), ended: make(chan struct{})}
	p.serving.Go(p.serve)
	t.Cleanup(func() {
		close(p.ended)
		listener.Close()
		p.serving.Wait()
		if len(p.dialogues)+len(p.unplayed) > 0 {
			t.Errorf("%d dialogues were not played, and there were %d connections too many", len(p.dialogues), len(p.unplayed))
		}
	})
	return p, &Config{Address: listener.Addr().String(), User: "me@home.test", Password: "pass word", Sender: "form@home.test", TLS: client}
}

func (p *provider) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if len(p.dialogues) == 0 {
			p.unplayed = append(p.unplayed, "")
			p.mu.Unlock()
			conn.Close()
			continue
		}
		dialogue := p.dialogues[0]
		p.dialogues = p.dialogues[1:]
		p.mu.Unlock()
		p.serving.Go(func() {
			defer conn.Close()
			if err := p.run(conn, dialogue); err != nil {
				p.t.Errorf("in\n%s\n%v", dialogue, err)
			}
		})
	}
}

func (p *provider) run(conn net.Conn, dialogue string) error {
	conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	for line := range strings.Lines(dialogue) {
		line = strings.TrimSpace(line)
		words := strings.TrimSpace(line[min(len(line), 2):])
		switch {
		case line == "":
		case strings.HasPrefix(line, "S:"):
			fmt.Fprint(conn, strings.ReplaceAll(words, "CRLF", "\r\n")+"\r\n") // a client that has gone is noticed below
		case strings.HasPrefix(line, "C:"):
			if got, err := in.ReadString('\n'); got != words+"\r\n" {
				return fmt.Errorf("heard %q, want %q: %w", got, words, errors.Join(err, errors.New("not what the dialogue says")))
			}
		case line == "TLS":
			secure := tls.Server(conn, p.tls)
			if secure.Handshake() != nil {
				return nil // as the client's error tells
			}
			conn, in = secure, bufio.NewReader(secure)
		case line == "MAIL":
			if err := p.take(in); err != nil {
				return err
			}
		case line == "PART":
			if _, err := in.ReadString('\n'); err != nil {
				return err
			}
		case line == "HANG":
			p.hanging <- struct{}{}
			io.Copy(io.Discard, in)
		case line == "STALL":
			<-p.ended
			if rest, _ := io.ReadAll(in); strings.Contains(string(rest), "\n.\r\n") {
				return errors.New("half a message was ended as if it were whole")
			}
		case line == "FLOOD":
			for {
				if _, err := io.WriteString(conn, "250-more\r\n"); err != nil {
					return nil
				}
			}
		default:
			return fmt.Errorf("the dialogue says %q", line)
		}
	}
	return nil
}

// take keeps a message as the wire has it, without the final dot.
func (p *provider) take(in *bufio.Reader) error {
	var mail strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("amid the message %q: %w", mail.String(), err)
		}
		if line == ".\r\n" {
			p.mu.Lock()
			p.mails = append(p.mails, mail.String())
			p.mu.Unlock()
			return nil
		}
		mail.WriteString(line)
	}
}

// took returns the messages that came.
func (p *provider) took() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mails
}

// The pieces of dialogues. AG1lQGhvbWUudGVzdABwYXNzIHdvcmQ= is NUL user NUL password.
const (
	starttls = `
		S: 220 mx.example ESMTP
		C: EHLO localhost
		S: 250-mx.example
		S: 250 STARTTLS
		C: STARTTLS
		S: 220 go ahead
		TLS
	`
	ehlo = `
		C: EHLO [127.0.0.1]
		S: 250-mx.example
		S: 250-SIZE 10000
		S: 250 AUTH LOGIN PLAIN
	`
	auth = `
		C: AUTH PLAIN AG1lQGhvbWUudGVzdABwYXNzIHdvcmQ=
		S: 235 2.7.0 welcome
	`
	open = starttls + ehlo + auth
	mail = `
		C: MAIL FROM:<form@home.test> SIZE=48
		S: 250 2.1.0 ok
	`
	rcpt = `
		C: RCPT TO:<me@home.test>
		S: 250 2.1.5 ok
	`
	begin = mail + rcpt + `
		C: DATA
		S: 354 go on
	`
	quit = `
		C: QUIT
		S: 221 bye
	`
)

var message = [][]byte{[]byte("X-Homing-Id: 1\r\n"), []byte("Subject: x\r\n\r\n.\r\n..two\r\n.\r\nend\r\n")}

// deliver hands the message to the client's server.
func deliver(t *testing.T, c *Config) error {
	t.Helper()
	return New(*c).Deliver(t.Context(), "", "me@home.test", message)
}

func TestDelivers(t *testing.T) {
	p, c := play(t, open+begin+"MAIL\nS: 250 2.0.0 queued\n"+quit)
	if err := deliver(t, c); err != nil {
		t.Fatal(err)
	}
	const want = "X-Homing-Id: 1\r\nSubject: x\r\n\r\n..\r\n...two\r\n..\r\nend\r\n"
	if got := p.took(); len(got) != 1 || got[0] != want {
		t.Errorf("the server has %q, want %q", got, want)
	}
}

func TestDeliversOverImplicitTLS(t *testing.T) {
	p, c := play(t, "TLS\nS: 220 mx.example\n"+ehlo+auth+begin+"MAIL\nS: 250 ok\n"+quit)
	c.Implicit = true
	if err := deliver(t, c); err != nil || len(p.took()) != 1 {
		t.Errorf("%v, %d mails", err, len(p.took()))
	}
}

// Every 2yz after the message means yes, whether QUIT is answered or not.
func TestSaysYesInOtherWords(t *testing.T) {
	p, c := play(t, open+begin+"MAIL\nS: 251 will forward\n", open+begin+"MAIL\nS: 200 fine\n"+quit)
	for range 2 {
		if err := deliver(t, c); err != nil {
			t.Error(err)
		}
	}
	if n := len(p.took()); n != 2 {
		t.Errorf("%d mails", n)
	}
}

func TestAuthentication(t *testing.T) {
	const greeting = "C: EHLO [127.0.0.1]\nS: 250-mx.example\n"
	const asksAndTakes = `
		C: AUTH LOGIN
		S: 334 VXNlciBOYW1lAA==
		C: bWVAaG9tZS50ZXN0
		S: 334 UGFzc3dvcmQ6
		C: cGFzcyB3b3Jk
		S: 235 welcome
	`
	for name, dialogue := range map[string]string{
		"LOGIN only":             greeting + "S: 250 AUTH LOGIN\n" + asksAndTakes,
		"lower case":             greeting + "S: 250 AUTH login xoauth2\n" + asksAndTakes,
		"PLAIN unknown in truth": greeting + "S: 250 AUTH PLAIN LOGIN\nC: AUTH PLAIN AG1lQGhvbWUudGVzdABwYXNzIHdvcmQ=\nS: 504 5.5.4 unknown\nC: *\nS: 500 what\n" + asksAndTakes,
	} {
		t.Run(name, func(t *testing.T) {
			_, c := play(t, starttls+dialogue+quit)
			if err := New(*c).Probe(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("none wanted", func(t *testing.T) {
		_, c := play(t, starttls+"C: EHLO [127.0.0.1]\nS: 250 mx.example\n"+quit)
		c.User = ""
		if err := New(*c).Probe(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What fails before the envelope belongs to the server: nothing was sent, and in
// clear never the password.
func TestAway(t *testing.T) {
	const greeting = "S: 220 mx.example\nC: EHLO localhost\n"
	const left = "C: *\nS: 500 what\n" // go-smtp takes an exchange back
	for name, c := range map[string]struct {
		dialogue string
		change   func(*Config)
		says     string
		refused  bool
		clear    bool
	}{
		"closes at once":       {"", nil, "EOF", false, false},
		"busy":                 {"S: 421 4.3.2 too many connections\n", nil, "421 4.3.2 too many", false, false},
		"turned away":          {"S: 554 no\n", nil, "554 no", false, false},
		"no SMTP":              {"S: * OK IMAP4rev1\nHANG\n", nil, "", false, false},
		"silent":               {"HANG", func(c *Config) { c.Timeouts.Open = 50 * time.Millisecond }, "i/o timeout", false, false},
		"EHLO refused":         {greeting + "S: 550 no\n", nil, "550 no", false, false},
		"no STARTTLS":          {greeting + "S: 250-mx.example\nS: 250 AUTH PLAIN\nHANG\n", nil, "offers no STARTTLS", false, true},
		"HELO only":            {greeting + "S: 502 what\nC: HELO localhost\nS: 250 mx.example\nHANG\n", nil, "offers no STARTTLS", false, true},
		"STARTTLS refused":     {greeting + "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\nHANG\n", nil, "454 4.7.0 not now", false, false},
		"not trusted":          {starttls, func(c *Config) { c.TLS = nil }, "certificate", false, false},
		"another name":         {starttls, func(c *Config) { c.TLS.ServerName = "mx.other.test" }, "mx.other.test", false, false},
		"not trusted at once":  {"TLS\n", func(c *Config) { c.TLS, c.Implicit = nil, true }, "certificate", false, false},
		"clear where TLS is":   {"S: 220 mx.example\nHANG\n", func(c *Config) { c.Implicit = true }, "tls", false, false},
		"slipped in":           {strings.Replace(starttls, "S: 220 go ahead", "S: 220 go aheadCRLF250 AUTH PLAIN", 1) + "C: EHLO [127.0.0.1]\nS: 250 mx.example\nHANG\n", nil, "neither AUTH PLAIN nor", false, false},
		"no AUTH":              {starttls + "C: EHLO [127.0.0.1]\nS: 250 mx.example\nHANG\n", nil, "neither AUTH PLAIN nor", false, false},
		"only others":          {starttls + "C: EHLO [127.0.0.1]\nS: 250-mx\nS: 250 AUTH CRAM-MD5\nHANG\n", nil, "neither AUTH PLAIN nor", false, false},
		"wrong password":       {starttls + ehlo + "C: AUTH PLAIN AG1lQGhvbWUudGVzdABwYXNzIHdvcmQ=\nS: 535 5.7.8 wrong\n" + left, nil, "535 5.7.8 wrong", true, false},
		"password not now":     {starttls + ehlo + "C: AUTH PLAIN AG1lQGhvbWUudGVzdABwYXNzIHdvcmQ=\nS: 454 4.7.0 later\n" + left, nil, "454 4.7.0 later", false, false},
		"asks without end":     {starttls + ehlo + "C: AUTH PLAIN AG1lQGhvbWUudGVzdABwYXNzIHdvcmQ=\nS: 334 AAAA\n" + left, nil, "unexpected server challenge", false, false},
		"asks a third time":    {starttls + "C: EHLO [127.0.0.1]\nS: 250-mx.example\nS: 250 AUTH LOGIN\nC: AUTH LOGIN\nS: 334 AAAA\nC: bWVAaG9tZS50ZXN0\nS: 334 AAAA\nC: cGFzcyB3b3Jk\nS: 334 AAAA\n" + left, nil, "unexpected server challenge", false, false},
		"colours":              {"S: 554 \x1b[31mno\xc2\x9b\n", nil, "554 [31mno", false, false},
		"gone amid AUTH":       {starttls + ehlo + "C: AUTH PLAIN AG1lQGhvbWUudGVzdABwYXNzIHdvcmQ=\n", nil, "EOF", false, false},
		"421 to AUTH":          {starttls + ehlo + "C: AUTH PLAIN AG1lQGhvbWUudGVzdABwYXNzIHdvcmQ=\nS: 421 4.3.2 going down\n", nil, "421 4.3.2", false, false},
		"talks without end":    {"FLOOD", nil, "256 KiB", false, false},
		"hangs after STARTTLS": {starttls + "HANG", func(c *Config) { c.Timeouts.Open = 3 * time.Second }, "timeout", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := play(t, c.dialogue)
			if c.change != nil {
				c.change(config)
			}
			err := deliver(t, config)
			away, ok := errors.AsType[*AwayError](err)
			if !ok || !strings.Contains(err.Error(), c.says) || !away.Away() || away.Refused != c.refused || away.Clear != c.clear {
				t.Fatalf("%v (%+v), want it away and %q", err, away, c.says)
			}
			if wait := away.ProbeAfter(); c.refused != (wait > time.Minute) || wait < time.Minute {
				t.Errorf("to be tried again after %s", wait)
			}
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("the error %q has control characters", err)
			}
			if strings.Contains(err.Error(), "pass word") || strings.Contains(err.Error(), "cGFzcyB3b3Jk") {
				t.Error("the error has the password")
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	p, c := play(t)
	p.listener.Close()
	if _, ok := errors.AsType[*AwayError](deliver(t, c)); !ok {
		t.Error("a refused connection is not the server's")
	}
}

// Refusals have the server's words; the connection is left in good order.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		dialogue string
		code     int
		says     string
	}{
		"sender":         {open + "C: MAIL FROM:<form@home.test> SIZE=48\nS: 553-5.7.1 not\nS: 553 5.7.1 yours\n" + quit, 553, "MAIL refused: 553 5.7.1 not yours"},
		"sender, later":  {open + "C: MAIL FROM:<form@home.test> SIZE=48\nS: 450 slow down\n" + quit, 450, "MAIL refused: 450 slow down"},
		"too much mail":  {open + "C: MAIL FROM:<form@home.test> SIZE=48\nS: 421 4.7.0 rate\n", 421, "MAIL refused: 421 4.7.0 rate"},
		"mailbox":        {open + mail + "C: RCPT TO:<me@home.test>\nS: 550 5.1.1 who\n" + quit, 550, "RCPT refused: 550 5.1.1 who"},
		"mailbox, full":  {open + mail + "C: RCPT TO:<me@home.test>\nS: 452 4.2.2 full\n" + quit, 452, "RCPT refused: 452 4.2.2 full"},
		"DATA":           {open + mail + rcpt + "C: DATA\nS: 554 5.5.1 no\n" + quit, 554, "DATA refused: 554"},
		"message":        {open + begin + "MAIL\nS: 550 5.7.1 spam\x1b[31m\n" + quit, 550, "DATA refused: 550 5.7.1 spam[31m"},
		"message, later": {open + begin + "MAIL\nS: 451 4.3.0 disk\n" + quit, 451, "DATA refused: 451 4.3.0 disk"},
		"many words":     {open + begin + "MAIL\n" + strings.Repeat("S: 550-"+strings.Repeat("x", 900)+"\n", 200) + "S: 550 x\n" + quit, 550, "DATA refused: 550 xxx"},
		"421 at the end": {open + begin + "MAIL\nS: 421 4.3.2 going down\n", 421, "DATA refused: 421"},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := play(t, c.dialogue)
			err := deliver(t, config)
			refused, ok := errors.AsType[*ReplyError](err)
			if !ok || refused.ReplyCode() != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %d and %q", err, c.code, c.says)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d octets", len(err.Error()))
			}
		})
	}
}

// "Failed": the message was not sent whole; half of one is never ended. And
// "failed, but it may have happened".
func TestLostConnections(t *testing.T) {
	for name, c := range map[string]struct {
		dialogue string
		change   func(*Config)
		unknown  bool
	}{
		"after MAIL":           {open + "C: MAIL FROM:<form@home.test> SIZE=48\n", nil, false},
		"after RCPT":           {open + mail + "C: RCPT TO:<me@home.test>\n", nil, false},
		"after DATA":           {open + mail + rcpt + "C: DATA\n", nil, false},
		"DATA hangs":           {open + mail + rcpt + "C: DATA\nHANG\n", func(c *Config) { c.Timeouts.Envelope = 3 * time.Second }, false},
		"colours to DATA":      {open + mail + rcpt + "C: DATA\nS: 250 \x1b[31mok\n" + quit, nil, false},
		"250 to DATA":          {open + mail + rcpt + "C: DATA\nS: 250 ok\n" + quit, nil, false},
		"354 to RCPT":          {open + mail + "C: RCPT TO:<me@home.test>\nS: 354 ok\n" + quit, nil, false},
		"after the message":    {open + begin + "MAIL\n", nil, true},
		"no verdict":           {open + begin + "MAIL\nHANG\n", func(c *Config) { c.Timeouts.Final = 300 * time.Millisecond }, true},
		"nonsense as verdict":  {open + begin + "MAIL\nS: hello\nHANG\n", nil, true},
		"354 as verdict":       {open + begin + "MAIL\nS: 354 more\nHANG\n", nil, true},
		"verdict without end":  {open + begin + "MAIL\nFLOOD\n", nil, true},
		"half a verdict":       {open + begin + "MAIL\nS: 250-taken\n", nil, true},
		"closed by its middle": {open + begin + "PART\n", nil, false},
		"stalled amid it":      {open + begin + "STALL\n", func(c *Config) { c.Timeouts.Body = 300 * time.Millisecond }, false},
	} {
		t.Run(name, func(t *testing.T) {
			octets := message
			if strings.Contains(name, "middle") || strings.Contains(name, "amid") {
				octets = [][]byte{make([]byte, 1<<20), []byte("\r\n"), make([]byte, 8<<20)}
				c.dialogue = strings.NewReplacer(" SIZE=48", "", "S: 250-SIZE 10000\n", "").Replace(c.dialogue)
			}
			_, config := play(t, c.dialogue)
			if c.change != nil {
				c.change(config)
			}
			err := New(*config).Deliver(t.Context(), "", "me@home.test", octets)
			_, unknown := errors.AsType[*UnknownError](err)
			_, away := errors.AsType[*AwayError](err)
			_, refused := errors.AsType[*ReplyError](err)
			if err == nil || unknown != c.unknown || away || refused {
				t.Errorf("%T %v, want unknown %v", err, err, c.unknown)
			}
			if err != nil && strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("the error %q has control characters", err)
			}
		})
	}
}

func TestTooLargeForTheServer(t *testing.T) {
	_, c := play(t, strings.Replace(open, "SIZE 10000", "SIZE 47", 1)+quit)
	err := deliver(t, c)
	if e, ok := errors.AsType[*SizeError](err); !ok || !e.Permanent() || e.Octets != 48 || e.Limit != 47 {
		t.Errorf("%v", err)
	}
}

// "SIZE 0" says that there is no limit (RFC 1870 4), as "SIZE" does.
func TestNoSizeLimit(t *testing.T) {
	for _, size := range []string{"SIZE 0", "SIZE"} {
		_, c := play(t, strings.Replace(open, "SIZE 10000", size, 1)+begin+"MAIL\nS: 250 ok\n"+quit)
		if err := deliver(t, c); err != nil {
			t.Errorf("%s: %v", size, err)
		}
	}
}

func TestAddressesThatCannotBeSaid(t *testing.T) {
	_, c := play(t)
	for _, address := range []string{"", "me", "@home.test", "me@", "a b@home.test", "a\r\nRCPT TO:<b@home.test>", "ä@home.test", "<me@home.test>", strings.Repeat("x", 400) + "@home.test"} {
		for _, envelope := range [][2]string{{address, "me@home.test"}, {"form@home.test", address}} {
			c.Sender = envelope[0]
			err := New(*c).Deliver(t.Context(), "", envelope[1], message)
			if e, ok := errors.AsType[*AddressError](err); !ok || !e.Permanent() {
				t.Errorf("%q: %v", envelope, err)
			}
		}
	}
}

// Stopping homing does not wait for a server that hangs.
func TestCancelled(t *testing.T) {
	for name, dialogue := range map[string]string{"at the greeting": "HANG", "at the verdict": open + begin + "MAIL\nHANG\n"} {
		t.Run(name, func(t *testing.T) {
			p, c := play(t, dialogue)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				defer cancel()
				select {
				case <-p.hanging:
				case <-ctx.Done():
				}
			}()
			began := time.Now()
			if err := New(*c).Deliver(ctx, "", "me@home.test", message); ctx.Err() == nil || err == nil || time.Since(began) > 20*time.Second {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		})
	}
}

func TestTrial(t *testing.T) {
	const reset = "C: RSET\nS: 250 ok\n" + ehlo // which go-smtp says again after RSET
	_, c := play(t, open+"C: MAIL FROM:<form@home.test>\nS: 250 ok\n"+rcpt+reset+quit,
		open+"C: MAIL FROM:<form@home.test>\nS: 550 5.7.1 not yours\n"+quit)
	for _, want := range []string{"", "550 5.7.1 not yours"} {
		ctx, cancel := context.WithCancel(t.Context())
		trial, err := New(*c).Try(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cancel() // the session outlives it
		if trial.Mechanism() != "PLAIN" {
			t.Errorf("the password went by %q", trial.Mechanism())
		}
		if err := trial.Recipient(t.Context(), "me@home.test"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		trial.Close()
	}
}
