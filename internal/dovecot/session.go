package dovecot

import (
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// session is an LMTP session by hand (RFC 2033): a line out, a reply in.
type session struct {
	text *textproto.Conn
	conn net.Conn
}

// openSession connects, and reads the greeting and the reply to LHLO.
func openSession(network, addr string) (*session, error) {
	conn, err := dial(network, addr)
	if err != nil {
		return nil, err
	}
	s := &session{text: textproto.NewConn(conn), conn: conn}
	if _, _, err := s.text.ReadResponse(220); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if code, reply := s.say("LHLO homing.test"); code != 250 {
		return nil, errors.Join(fmt.Errorf("LHLO: %d %s", code, reply), conn.Close())
	}
	return s, nil
}

// say sends a line, or several, and returns the next reply. An I/O error is
// returned as code 0 with its text.
func (s *session) say(line string) (code int, reply string) {
	if err := s.text.PrintfLine("%s", line); err != nil {
		return 0, err.Error()
	}
	return s.reply()
}

func (s *session) reply() (code int, reply string) {
	code, reply, err := s.text.ReadResponse(0)
	if err != nil {
		return 0, err.Error()
	}
	return code, reply
}

func (s *session) close() error { return s.conn.Close() }

// dial connects with deadlines on everything after it.
func dial(network, addr string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// greets connects to each listener and hears its greeting.
func (s *Server) greets() error {
	for _, at := range [][2]string{{"unix", s.UnixSocket}, {"tcp", s.TCPAddr}} {
		session, err := openSession(at[0], at[1])
		if err != nil {
			return fmt.Errorf("LMTP at %s: %w", at[1], err)
		}
		session.say("QUIT")
		if err := session.close(); err != nil {
			return err
		}
	}
	conn, err := dial("tcp", s.IMAPAddr)
	if err != nil {
		return fmt.Errorf("IMAP: %w", err)
	}
	defer conn.Close()
	line, err := textproto.NewConn(conn).ReadLine()
	if err != nil || !strings.HasPrefix(line, "* OK") {
		return fmt.Errorf("IMAP greeted with %q: %w", line, err)
	}
	return nil
}
