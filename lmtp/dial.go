package lmtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/emersion/go-smtp"
)

// connect makes a session that is ready for its first transaction. Its error is
// an *AwayError.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	raw, err := c.open(ctx)
	if err != nil {
		return nil, c.away(err)
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	k, err := c.greet(ctx, raw)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, c.away(err)
	}
	return k, nil
}

func (c *Client) away(err error) error {
	return &AwayError{Destination: c.config.Network + ":" + c.config.Address, Err: err}
}

// greet speaks TLS if wanted, reads the greeting and says LHLO.
func (c *Client) greet(ctx context.Context, raw net.Conn) (*conn, error) {
	secure, err := c.secure(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	w := newWire(raw, secure, c.config.Timeouts)
	session := smtp.NewClientLMTP(w)
	var heard greeting
	session.DebugWriter = &heard
	err = session.Hello(c.config.Name)
	session.DebugWriter = nil
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && !heard.over:
		return nil, fmt.Errorf("connected, but no greeting within %s (Dovecot at the process_limit of its service lmtp?): %w", c.config.Timeouts.Greeting, err)
	case err != nil:
		return nil, fmt.Errorf("greeting: %w", err)
	case heard.smtp:
		return nil, errors.New("it refuses LHLO: this is an SMTP server")
	}
	return c.newConn(w, session, heard.isDovecot()), nil
}

// secure makes the TLS connection, nil where none is wanted.
func (c *Client) secure(ctx context.Context, raw net.Conn) (*tls.Conn, error) {
	if c.config.TLS == nil {
		return nil, nil
	}
	config := c.config.TLS.Clone()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(c.config.Address)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeouts.Greeting)
	defer cancel()
	secure := tls.Client(raw, config)
	return secure, secure.HandshakeContext(ctx)
}

// newConn looks at what the server offers.
func (c *Client) newConn(w *wire, session *smtp.Client, dovecot bool) *conn {
	chunking, _ := session.Extension("CHUNKING")
	pipelining, _ := session.Extension("PIPELINING")
	eightBit, _ := session.Extension("8BITMIME")
	k := &conn{
		client:   c,
		wire:     w,
		session:  session,
		replies:  newReplyReader(w),
		ours:     chunking && pipelining,
		swallows: dovecot,
		eightBit: eightBit,
		wake:     make(chan struct{}, 1),
		more:     make(chan struct{}, 1),
	}
	// From here replies are bounded by the replyReader, unless go-smtp reads them.
	w.capped = !k.ours
	return k
}

// greeting overhears the beginning of a session; go-smtp keeps it to itself.
type greeting struct {
	text []byte
	over bool // LHLO was said
	smtp bool // go-smtp fell back to HELO
}

// Write is given what is read and what is written.
func (g *greeting) Write(p []byte) (int, error) {
	switch {
	case bytes.HasPrefix(p, []byte("HELO ")):
		g.smtp = true
	case bytes.HasPrefix(p, []byte("LHLO ")):
		g.over = true
	case !g.over:
		g.text = append(g.text, p...) // no more than wire lets through
	}
	return len(p), nil
}

// isDovecot: RFC 3030, 3 has a server read the octets of a chunk that it
// refuses, but of those that offer CHUNKING only Dovecot is known to. go-smtp's
// server did not before 0.25.1: it took the message for commands.
func (g *greeting) isDovecot() bool {
	return bytes.Contains(g.text, []byte("Dovecot"))
}
