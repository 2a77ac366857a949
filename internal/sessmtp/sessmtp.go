// Package sessmtp is Amazon SES's SMTP endpoint as far as a relay can tell it
// from the real one: its extensions, TLS, its credentials and the words in which
// it refuses. Nothing that it takes goes anywhere.
// https://docs.aws.amazon.com/ses/latest/dg/send-email-smtp.html
package sessmtp

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"
)

// Config says what the endpoint knows.
type Config struct {
	User, Password string   // SMTP credentials
	Verified       []string // domains whose addresses may send
	Implicit       bool     // TLS from the first octet, as on port 465; else STARTTLS
}

// Message is one that was taken.
type Message struct {
	Sender     string
	Recipients []string
	Octets     []byte // with CRLF line ends, dots unstuffed
}

// Server is a running endpoint.
type Server struct {
	Host, Port string
	Authority  []byte // PEM: what its certificate is to be checked with

	config   Config
	tls      *tls.Config
	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	closed   bool
	messages []Message
	sessions int
}

// patience is how long a client may take for anything.
const patience = 3 * time.Minute

// Start serves on loopback, under the name localhost, until the test ends.
func Start(tb testing.TB, config Config) *Server {
	tb.Helper()
	authority, certificate, err := issue("localhost")
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{
		Authority: authority, config: config, listener: listener, conns: map[net.Conn]bool{},
		tls: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	s.Host = "localhost"
	if _, s.Port, err = net.SplitHostPort(listener.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	s.serving.Go(s.serve)
	tb.Cleanup(s.close)
	return s
}

// Messages returns what was taken, in the order in which it came.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message{}, s.messages...)
}

// Sessions is how many clients have shown the right credentials.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

func (s *Server) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.keep(conn) {
			return
		}
		s.serving.Go(func() {
			defer s.forget(conn)
			newSession(s, conn).run()
		})
	}
}

func (s *Server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close() // nobody has heard of it
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Server) forget(conn net.Conn) {
	_ = conn.Close() // the client may have ended it
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

func (s *Server) close() {
	_ = s.listener.Close() // nothing more is accepted, whatever it says
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func (s *Server) take(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
}

func (s *Server) admitted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
}
