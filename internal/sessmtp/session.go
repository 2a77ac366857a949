package sessmtp

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// maxMessage is SES's limit. https://docs.aws.amazon.com/ses/latest/dg/quotas.html
const maxMessage = 40 << 20

// session is one client's.
type session struct {
	server   *Server
	conn     net.Conn
	text     *textproto.Conn
	secure   bool
	admitted bool
	mail     *Message // the envelope, nil outside a transaction
}

func newSession(s *Server, conn net.Conn) *session {
	se := &session{server: s}
	if s.config.Implicit {
		se.encrypt(conn)
	} else {
		se.use(conn)
	}
	return se
}

func (se *session) use(conn net.Conn) { se.conn, se.text = conn, textproto.NewConn(conn) }

func (se *session) encrypt(conn net.Conn) {
	se.use(tls.Server(conn, se.server.tls))
	se.secure, se.mail = true, nil
}

// run answers commands until the client leaves.
func (se *session) run() {
	se.say("220 email-smtp.amazonaws.com ESMTP SimpleEmailService-1234567890 " + "0123456789abcdef")
	for {
		if se.conn.SetDeadline(time.Now().Add(patience)) != nil {
			return
		}
		line, err := se.text.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		if verb = strings.ToUpper(verb); verb == "QUIT" {
			se.say("221 Bye")
			return
		}
		se.answer(verb, rest)
	}
}

// say answers; where the client has gone, the next read says so.
func (se *session) say(lines ...string) {
	for _, line := range lines {
		_ = se.text.PrintfLine("%s", line)
	}
}

func (se *session) answer(verb, rest string) {
	switch verb {
	case "EHLO":
		se.greet()
	case "STARTTLS":
		se.say("220 Ready to start TLS")
		se.encrypt(se.conn)
	case "AUTH":
		se.authenticate(rest)
	case "MAIL":
		se.begin(rest)
	case "RCPT":
		se.recipient(rest)
	case "DATA":
		se.data()
	case "RSET", "NOOP":
		if verb == "RSET" {
			se.mail = nil
		}
		se.say("250 Ok")
	default:
		se.say("502 Unimplemented command")
	}
}

// greet offers what SES offers, which is neither PIPELINING nor CHUNKING.
func (se *session) greet() {
	lines := []string{"250-email-smtp.amazonaws.com", "250-8BITMIME"}
	if se.secure {
		lines = append(lines, "250-AUTH PLAIN LOGIN")
	} else {
		lines = append(lines, "250-STARTTLS", "250-AUTH PLAIN LOGIN")
	}
	se.say(append(lines, "250 Ok")...)
}

func (se *session) authenticate(rest string) {
	if !se.secure {
		se.say("530 Must issue a STARTTLS command first")
		return
	}
	mechanism, initial, _ := strings.Cut(rest, " ")
	var user, password string
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		if initial == "" {
			initial = se.ask("334 ")
		}
		parts := strings.Split(decode(initial), "\x00")
		if len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	case "LOGIN":
		if user = decode(initial); user == "" {
			user = decode(se.ask("334 VXNlcm5hbWU6"))
		}
		password = decode(se.ask("334 UGFzc3dvcmQ6"))
	default:
		se.say("504 Unrecognized authentication type")
		return
	}
	if user != se.server.config.User || password != se.server.config.Password {
		se.say("535 Authentication Credentials Invalid")
		return
	}
	se.admitted = true
	se.server.admitted()
	se.say("235 Authentication successful.")
}

// ask returns the client's answer to a challenge, empty when it has gone.
func (se *session) ask(challenge string) string {
	se.say(challenge)
	line, err := se.text.ReadLine()
	if err != nil {
		return ""
	}
	return line
}

func decode(text string) string {
	octets, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(octets)
}

func (se *session) begin(rest string) {
	if !se.admitted {
		se.say("530 Authentication required")
		return
	}
	se.mail = &Message{Sender: address(rest)}
	se.say("250 Ok")
}

func (se *session) recipient(rest string) {
	if se.mail == nil {
		se.say("503 Error: need MAIL command")
		return
	}
	se.mail.Recipients = append(se.mail.Recipients, address(rest))
	se.say("250 Ok")
}

// address reads "FROM:<a@example.test> BODY=8BITMIME".
func address(argument string) string {
	_, after, _ := strings.Cut(argument, "<")
	inside, _, _ := strings.Cut(after, ">")
	return inside
}

// data takes a message, and judges it at its end as SES does.
func (se *session) data() {
	if se.mail == nil || len(se.mail.Recipients) == 0 {
		se.say("503 Error: need RCPT command")
		return
	}
	se.say("354 End data with <CR><LF>.<CR><LF>")
	octets, err := io.ReadAll(io.LimitReader(se.text.DotReader(), maxMessage+1))
	if err != nil {
		return // cut off: it was not sent
	}
	m := *se.mail
	se.mail = nil
	// The reader makes every line end LF; on the wire they were CRLF.
	m.Octets = []byte(strings.ReplaceAll(string(octets), "\n", "\r\n"))
	_, domain, _ := strings.Cut(strings.ToLower(m.Sender), "@")
	switch {
	case len(octets) > maxMessage:
		se.say(fmt.Sprintf("552 Message is too long. Maximum size: %d", maxMessage))
	case !slices.Contains(se.server.config.Verified, domain):
		se.say("554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: " + m.Sender)
	default:
		se.server.take(m)
		se.say("250 Ok 0102018f-0123456789ab-000000")
	}
}
