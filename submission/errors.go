package submission

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/emersion/go-smtp"
)

// AwayError says that the server cannot be used now. It belongs to the server,
// and no message was sent.
type AwayError struct {
	Server string // host:port
	// Refused: the server is there and refuses the user or the password.
	Refused bool
	// Clear: the server does not offer STARTTLS, or somebody between has taken that
	// away; in clear nothing is sent.
	Clear bool
	Err   error
}

func (e *AwayError) Error() string {
	switch {
	case e.Refused:
		return fmt.Sprintf("submission: %s refuses the user or the password: %v", e.Server, e.Err)
	case e.Clear:
		return fmt.Sprintf("submission: %s offers no STARTTLS, and without TLS nothing is sent", e.Server)
	}
	return fmt.Sprintf("submission: %s: %v", e.Server, e.Err)
}

// Unwrap returns the cause.
func (e *AwayError) Unwrap() error { return e.Err }

// Away is always true.
func (e *AwayError) Away() bool { return true }

// ProbeAfter is when to try the server again. Providers lock out whoever repeats
// a wrong password.
func (e *AwayError) ProbeAfter() time.Duration {
	if e.Refused {
		return 15 * time.Minute
	}
	return time.Minute
}

// ReplyError is a refusal in the server's own words.
type ReplyError struct {
	Code     int    // RFC 5321 4.2.1: 4yz or 5yz
	Enhanced string // RFC 3463, as "5.1.1"; empty if the server gave none
	Text     string // printable, at most 500 octets
	Command  string // what was refused: "AUTH", "MAIL", "RCPT" or "DATA"
}

func (e *ReplyError) Error() string {
	words := []string{fmt.Sprintf("submission: %s refused: %d", e.Command, e.Code)}
	for _, s := range []string{e.Enhanced, e.Text} {
		if s != "" {
			words = append(words, s)
		}
	}
	return strings.Join(words, " ")
}

// ReplyCode returns the three-digit code.
func (e *ReplyError) ReplyCode() int { return e.Code }

// UnknownError says that the whole message was sent and the reply never came: it
// may be on its way. Deliver the same message again; it has the same Message-ID.
type UnknownError struct{ Err error }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("submission: the message was sent but not answered, it may have been taken: %v", e.Err)
}

// Unwrap returns the cause.
func (e *UnknownError) Unwrap() error { return e.Err }

// AddressError says that an address cannot be written into a command.
type AddressError struct{ Address string }

func (e *AddressError) Error() string {
	return fmt.Sprintf("submission: %.100q is no address for an envelope: want printable ASCII with a domain", e.Address)
}

// Permanent is always true.
func (e *AddressError) Permanent() bool { return true }

// SizeError says that a message is larger than the server takes (RFC 1870).
type SizeError struct{ Octets, Limit int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("submission: the message has %d octets, the server takes %d", e.Octets, e.Limit)
}

// Permanent is always true.
func (e *SizeError) Permanent() bool { return true }

// refusal makes a *ReplyError of a 4yz or 5yz reply. Other errors stay as they
// are: the connection's, and replies that do not fit the command.
func refusal(command string, err error) error {
	reply, ok := errors.AsType[*smtp.SMTPError](err)
	if !ok {
		return fmt.Errorf("submission: no reply to %s: %w", command, err)
	}
	if reply.Code < 400 || reply.Code > 599 {
		return fmt.Errorf("submission: a reply that does not fit %s: %d %s", command, reply.Code, printable(reply.Message))
	}
	return &ReplyError{Code: reply.Code, Enhanced: enhanced(reply), Text: printable(reply.Message), Command: command}
}

func enhanced(reply *smtp.SMTPError) string {
	if reply.EnhancedCode == smtp.EnhancedCodeNotSet {
		return ""
	}
	e := reply.EnhancedCode
	return fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
}

// printable makes a server's words fit for a log line.
func printable(text string) string {
	const most = 500
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, text)
	return strings.TrimSpace(strings.ToValidUTF8(text[:min(len(text), most)], ""))
}
