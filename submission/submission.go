// Package submission hands mail to a provider's submission server (RFC 6409): a
// connection for each message, over TLS always, with a user and a password.
//
// It is for little mail, a contact form's. go-smtp speaks; what it leaves to its
// caller is done here: deadlines, bounds on what is read, and never a QUIT amid
// DATA, which would send half a message.
package submission

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Config says where the server is and who we are there.
type Config struct {
	Address  string // host:port; the host is also what the certificate has to name
	Implicit bool   // TLS from the first octet (RFC 8314 3.3); else STARTTLS, without which nothing is sent
	User     string // empty: the server wants no password
	Password string
	// Sender is the envelope sender of every message, whatever its own: servers take
	// only addresses of the user's, and no null sender.
	Sender string

	TLS      *tls.Config // nil: the system's roots
	Timeouts Timeouts
}

// Timeouts limits the phases of a delivery; a zero field takes its default. Like
// those of RFC 5321 4.5.3.2 they are long, but for the first.
type Timeouts struct {
	Open     time.Duration // to connect, for TLS, greeting, EHLO and AUTH together: 1 min
	Envelope time.Duration // for MAIL, RCPT and DATA together: 5 min
	Body     time.Duration // to send the message: 10 min
	Final    time.Duration // for the verdict after it: 10 min
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Open:     cmp.Or(t.Open, time.Minute),
		Envelope: cmp.Or(t.Envelope, 5*time.Minute),
		Body:     cmp.Or(t.Body, 10*time.Minute),
		Final:    cmp.Or(t.Final, 10*time.Minute),
	}
}

// Client delivers to one server. Its methods may be called concurrently.
type Client struct {
	config Config
	host   string
}

// New returns a client. It connects to nothing.
func New(c Config) *Client {
	c.Timeouts = c.Timeouts.withDefaults()
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		host = c.Address // connecting will say what is wrong with it
	}
	return &Client{c, host}
}

// Deliver hands over one message for one mailbox; nil means that the server took
// responsibility for it. The octets have CRLF line ends; they are not changed.
//
// The errors are *AwayError (nothing was sent: no server, no TLS, the password
// refused), *ReplyError (the server refused), *UnknownError (sent, but the reply
// was lost), *AddressError, *SizeError, or a connection lost before all was sent.
// All but the last but one and a 5yz may succeed when tried again.
func (c *Client) Deliver(ctx context.Context, _, mailbox string, octets [][]byte) error {
	if err := checkEnvelope(c.config.Sender, mailbox); err != nil {
		return err
	}
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	return s.send(c.config.Sender, mailbox, octets)
}

// Probe does all that a delivery does before the envelope. Its error is an
// *AwayError.
func (c *Client) Probe(ctx context.Context) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	s.quit()
	s.close()
	return nil
}

// Close does nothing: no connection outlives its delivery.
func (c *Client) Close() error { return nil }

func checkEnvelope(addresses ...string) error {
	for _, address := range addresses {
		if !speakable(address) {
			return &AddressError{address}
		}
	}
	return nil
}

// speakable reports whether an address can stand in a command without meaning
// anything else there: it has a domain and is printable ASCII.
func speakable(address string) bool {
	const most = 64 + 1 + 255 // RFC 5321 4.5.3.1
	at := -1
	for i, b := range []byte(address) {
		if b <= ' ' || b >= 0x7f || b == '<' || b == '>' {
			return false
		}
		if b == '@' {
			at = i
		}
	}
	return len(address) <= most && at > 0 && at < len(address)-1
}
