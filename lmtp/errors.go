package lmtp

import (
	"errors"
	"fmt"
	"strings"
)

var errClosed = errors.New("lmtp: the client was closed")

// ReplyError is a refusal in the server's own words.
type ReplyError struct {
	Code     int    // RFC 5321, 4.2.1: 4yz or 5yz
	Enhanced string // RFC 3463, as "5.1.1"; empty if the server gave none
	Text     string // printable, at most 500 octets, lines joined by a space
	Command  string // what was refused: "RSET", "MAIL", "RCPT", "DATA" or "BDAT"
}

func (e *ReplyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lmtp: %s refused: %d", e.Command, e.Code)
	for _, s := range []string{e.Enhanced, e.Text} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	return b.String()
}

// ReplyCode returns the three-digit code.
func (e *ReplyError) ReplyCode() int { return e.Code }

// Busy reports whether the mailbox is only being delivered to by somebody else
// (Dovecot's lmtp_user_concurrency_limit): not a failure, try again in a moment.
func (e *ReplyError) Busy() bool {
	return e.Code == 451 && e.Enhanced == "4.3.0" && strings.Contains(e.Text, "Too many concurrent deliveries")
}

// AwayError says that there is no LMTP server to talk to. It belongs to the
// destination: no message is to blame, and none was sent.
type AwayError struct {
	Destination string // network:address
	Err         error
}

func (e *AwayError) Error() string {
	return fmt.Sprintf("lmtp: no LMTP server at %s: %v", e.Destination, e.Err)
}

func (e *AwayError) Unwrap() error { return e.Err }

// Away is always true.
func (e *AwayError) Away() bool { return true }

// UnknownError says that the last octet was sent and the reply never came. The
// message may have been delivered: deliver it again, with the same id.
type UnknownError struct {
	Err error
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("lmtp: the message was sent but not answered, it may have arrived: %v", e.Err)
}

func (e *UnknownError) Unwrap() error { return e.Err }

// AddressError says that an address cannot be written into a command. Nothing
// was sent, and trying again will not help.
type AddressError struct {
	Address string
	Reason  string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("lmtp: address %.100q %s", e.Address, e.Reason)
}

// Permanent is always true.
func (e *AddressError) Permanent() bool { return true }
