// Package lmtpsink is an LMTP server (RFC 2033) inside the process: the demo's
// Dovecot, and a neighbour for tests. It is go-smtp's server, one session as
// good as another, with what arrives handed to a function.
package lmtpsink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	maxMessage    = 64 << 20
	maxRecipients = 100
	patience      = 5 * time.Minute
)

// Config says where to listen and what to do with mail.
type Config struct {
	// Network and Address are as for net.Listen; Listener, where set, is used
	// in their place (one of crypto/tls for lmtps) and closed by Close.
	Network, Address string
	Listener         net.Listener

	// Deliver takes one message for one recipient, from several sessions at
	// once. octets are shared between the recipients of a transaction and must
	// not be modified or kept. An error is the verdict for this recipient: an
	// *smtp.SMTPError as it is, any other as 451. The context ends with Close.
	Deliver func(ctx context.Context, sender, recipient string, octets []byte) error

	// RecipientCheck may be nil; its errors refuse a RCPT, like those of Deliver.
	RecipientCheck func(recipient string) error
}

// Server is a running sink.
type Server struct {
	config   Config
	server   *smtp.Server
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc

	serving   sync.WaitGroup
	mu        sync.Mutex
	conns     map[*watchedConn]struct{} // those of sessions
	closed    bool
	delivered sync.WaitGroup // deliveries under way
}

// New listens and serves until Close. The context is what Deliver is given.
func New(ctx context.Context, config Config) (*Server, error) {
	listener := config.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, config.Network, config.Address); err != nil {
			return nil, err
		}
	}
	s := &Server{config: config, listener: listener, conns: map[*watchedConn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.server = s.newServer()
	s.serving.Go(func() { s.server.Serve(watchedListener{listener, s}) })
	return s, nil
}

func (s *Server) newServer() *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(func(conn *smtp.Conn) (smtp.Session, error) {
		watched, ok := conn.Conn().(*watchedConn)
		if !ok {
			return nil, errors.New("a connection of another listener")
		}
		return &session{sink: s, conn: watched}, nil
	}))
	server.LMTP = true
	server.Domain = "localhost"
	server.MaxMessageBytes = maxMessage
	server.MaxRecipients = maxRecipients
	server.MaxLineLength = 0 // mail has longer lines than RFC 5321 allows
	server.ReadTimeout, server.WriteTimeout = patience, patience
	server.ErrorLog = log.New(io.Discard, "", 0)
	return server
}

// Addr is where the sink listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close stops listening, cuts all sessions and waits for deliveries under way.
func (s *Server) Close() error {
	s.cancel()
	err := s.listener.Close() // the server may not know it yet
	s.serving.Wait()
	s.cutAll()
	// Not its Close, which takes BDAT's pipe away from sessions that are writing to it.
	// All that it can complain of is that the listener is closed.
	_ = s.server.Shutdown(context.WithoutCancel(s.ctx))
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.delivered.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// cutAll ends all connections; their sessions hear of it.
func (s *Server) cutAll() {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, conn := range all {
		_ = conn.Conn.Close() // it may have ended by itself
	}
}

// begin registers a delivery, unless the sink is closing.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.delivered.Add(1)
	return true
}

// watchedListener and watchedConn know whether a client has gone. go-smtp v0.25.1
// takes a connection that ends within the last chunk of BDAT for the end of the
// message; half of it would be delivered.
type watchedListener struct {
	net.Listener
	sink *Server
}

func (l watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	watched := &watchedConn{Conn: conn, sink: l.sink}
	l.sink.mu.Lock()
	defer l.sink.mu.Unlock()
	l.sink.conns[watched] = struct{}{}
	return watched, nil
}

type watchedConn struct {
	net.Conn
	sink *Server
	gone atomic.Bool
}

// Close is what the session ends with.
func (c *watchedConn) Close() error {
	c.sink.mu.Lock()
	delete(c.sink.conns, c)
	c.sink.mu.Unlock()
	return c.Conn.Close()
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.gone.Store(true)
	}
	return n, err
}

// session is one transaction after another.
type session struct {
	sink       *Server
	conn       *watchedConn
	sender     string
	recipients []string
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.sender = from
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if check := s.sink.config.RecipientCheck; check != nil {
		if err := check(to); err != nil {
			return verdict(err)
		}
	}
	s.recipients = append(s.recipients, to)
	return nil
}

// LMTPData implements smtp.LMTPSession: nothing is delivered before all is there.
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	if !s.sink.begin() {
		return verdict(net.ErrClosed)
	}
	defer s.sink.delivered.Done()
	var octets bytes.Buffer
	if _, err := octets.ReadFrom(r); err != nil {
		return err
	}
	if s.conn.gone.Load() {
		return verdict(io.ErrUnexpectedEOF)
	}
	for _, recipient := range s.recipients {
		status.SetStatus(recipient, verdict(s.sink.config.Deliver(s.sink.ctx, s.sender, recipient, octets.Bytes())))
	}
	return nil
}

// Data implements smtp.Session; an LMTP server does not call it.
func (s *session) Data(io.Reader) error {
	return verdict(errors.New("this is an LMTP server"))
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.sender, s.recipients = "", nil }

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }

// verdict makes an error one that go-smtp passes on as it is.
func verdict(err error) error {
	if err == nil {
		return nil
	}
	if reply, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return reply
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: err.Error()}
}
