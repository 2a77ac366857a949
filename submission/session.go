package submission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// session is an authenticated connection.
type session struct {
	*smtp.Client
	wire      *wire
	limits    Timeouts
	release   func() bool // of the context
	mechanism string      // that the password went by; empty: none was asked for
}

// open connects, speaks TLS and authenticates. Its error is an *AwayError.
func (c *Client) open(ctx context.Context) (*session, error) {
	dialer := net.Dialer{Timeout: c.config.Timeouts.Open}
	raw, err := dialer.DialContext(ctx, "tcp", c.config.Address)
	if err != nil {
		return nil, &AwayError{Server: c.config.Address, Err: err}
	}
	s := &session{wire: &wire{Conn: raw}, limits: c.config.Timeouts}
	s.release = context.AfterFunc(ctx, s.wire.cut)
	s.wire.within(s.limits.Open)
	if err := c.greet(ctx, s); err != nil {
		s.close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, c.away(err)
	}
	return s, nil
}

// greet brings the session to where mail can be sent.
func (c *Client) greet(ctx context.Context, s *session) (err error) {
	if s.Client, err = c.secure(ctx, s.wire); err != nil {
		return err
	}
	if err := s.Hello(literal(s.wire.LocalAddr())); err != nil {
		return err
	}
	return s.authenticate(c.config.User, c.config.Password)
}

// secure speaks TLS, at once or after STARTTLS. What follows the reply to
// STARTTLS in clear go-smtp drops, so that nobody can slip in commands' answers.
func (c *Client) secure(ctx context.Context, w *wire) (*smtp.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.config.TLS != nil {
		config = c.config.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = c.host
	}
	if !c.config.Implicit {
		return smtp.NewClientStartTLS(w, config)
	}
	secure := tls.Client(w, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return smtp.NewClient(secure), nil
}

// literal is our address as EHLO may give it (RFC 5321 4.1.3): a machine at home
// has no name that anybody else could look up.
func literal(address net.Addr) string {
	at, err := netip.ParseAddrPort(address.String())
	switch ip := at.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "localhost"
	case ip.Is6():
		return "[IPv6:" + ip.String() + "]"
	default:
		return "[" + ip.String() + "]"
	}
}

// authenticate says the password, by the first mechanism that is offered and that
// the server then also knows.
func (s *session) authenticate(user, password string) error {
	if user == "" {
		return nil
	}
	err := errors.New("it offers neither AUTH PLAIN nor AUTH LOGIN")
	for _, m := range []struct {
		name   string
		client sasl.Client
	}{{sasl.Plain, sasl.NewPlainClient("", user, password)}, {sasl.Login, &login{answers: []string{user, password}}}} {
		if !s.SupportsAuth(m.name) {
			continue
		}
		if err = s.Auth(m.client); err == nil {
			s.mechanism = m.name
			return nil
		}
		err = refusal("AUTH", err)
		// 504: the mechanism is not known after all (RFC 4954 4).
		if refused, ok := errors.AsType[*ReplyError](err); !ok || refused.Code != 504 {
			return err
		}
	}
	return err
}

// login is the mechanism LOGIN, which asks for user and password in words that
// differ from server to server. go-sasl's wants one of them.
type login struct{ answers []string }

// Start implements sasl.Client.
func (l *login) Start() (mechanism string, initial []byte, err error) { return sasl.Login, nil, nil }

// Next implements sasl.Client.
func (l *login) Next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(answer), nil
}

// away says why the server cannot be used.
func (c *Client) away(err error) *AwayError {
	refused, isReply := errors.AsType[*ReplyError](err)
	_, other := errors.AsType[*smtp.SMTPError](err)
	return &AwayError{
		Server:  c.config.Address,
		Refused: isReply && refused.Code >= 500,
		// The library has no other sign of it.
		Clear: !isReply && !other && strings.HasSuffix(err.Error(), "doesn't support STARTTLS"),
		Err:   explained(err),
	}
}

// explained says what went wrong where the library's error is a bare reply.
func explained(err error) error {
	if reply, ok := errors.AsType[*smtp.SMTPError](err); ok {
		words := fmt.Sprintf("it answered %d %s %s", reply.Code, enhanced(reply), printable(reply.Message))
		return errors.New(strings.Join(strings.Fields(words), " "))
	}
	return err
}

// quitTime is how long the reply to QUIT is waited for.
const quitTime = 5 * time.Second

// quit takes leave; only between transactions.
func (s *session) quit() {
	s.wire.within(quitTime)
	_ = s.Quit() // the connection is closed in any case
}

// close ends the connection without a word.
func (s *session) close() {
	s.release()
	s.wire.cut()
}
