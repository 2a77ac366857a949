// Package envelope puts a message's envelope before its octets, so that the two
// can be encrypted as one, and takes it off again.
//
// The envelope is a block of header lines with a first and a last one of its own:
//
//	X-Homing-Envelope: 1
//	X-Homing-Envelope-From: <ann@far.example>
//	X-Homing-Envelope-To: <me@example.com>
//	X-Homing-Envelope: end
//
// so what gpg prints is a mail, for whoever restores one by hand. Addresses are
// percent-encoded (RFC 3986 2.1) where they would break a line.
//
// It is believed at the very beginning of what an object was decrypted to, and
// nowhere else. Nobody who sends mail can put it there: an object as SES stores
// it begins with SES's own Return-Path and Received lines, so it is no OpenPGP
// message even if the mail in it is one, it is never decrypted, and if the
// bucket's owner encrypts it, its plaintext still begins with those lines. And
// every block that homing writes has its end: what the sender wrote after it is
// mail, though it look like a block. Whoever may write objects can forge an
// envelope, as they can forge SES's lines in a plain message.
package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	name  = "X-Homing-Envelope"
	mark  = name + ": "
	first = mark + "1\r\n" // the number is the format's
	last  = mark + "end\r\n"
	from  = name + "-From: "
	to    = name + "-To: "

	// maxBlock is more than a notification's 256 KiB of addresses can become.
	maxBlock = 1 << 20
)

// Envelope is what SES was told in the SMTP session.
type Envelope struct {
	Sender     string   // empty: the null sender
	Recipients []string // as SES gave them, octet for octet
}

// Block returns the lines that go before a message. A nil envelope is one that
// is not known: its block says nothing, and marks the message's beginning.
func (e *Envelope) Block() []byte {
	var b bytes.Buffer
	b.WriteString(first)
	if e != nil {
		line(&b, from, e.Sender)
		for _, recipient := range e.Recipients {
			line(&b, to, recipient)
		}
	}
	b.WriteString(last)
	return b.Bytes()
}

func line(b *bytes.Buffer, name, address string) {
	b.WriteString(name)
	b.WriteByte('<')
	b.WriteString(url.PathEscape(address))
	b.WriteString(">\r\n")
}

// Cut takes the block off what an object was decrypted to. Octets that begin
// with none are the message themselves; an envelope that is not known is nil.
// A block that begins and is not as Block writes it is an error: no mail begins
// so. The message shares the octets' memory.
func Cut(octets []byte) (e *Envelope, message []byte, err error) {
	if !bytes.HasPrefix(octets, []byte(mark)) {
		return nil, octets, nil
	}
	rest, found := bytes.CutPrefix(octets, []byte(first))
	if !found {
		return nil, nil, errors.New("its envelope is in a form that this version of homing does not know; a newer one may")
	}
	block, _, found := bytes.Cut(rest[:min(len(rest), maxBlock)], []byte(last))
	if !found {
		return nil, nil, fmt.Errorf("its envelope has no end within %d octets", maxBlock)
	}
	e, err = parse(string(block))
	return e, rest[len(block)+len(last):], err
}

// parse reads what is between the first and the last line.
func parse(block string) (e *Envelope, err error) {
	for text := range strings.Lines(block) {
		switch {
		case e == nil && strings.HasPrefix(text, from):
			e = new(Envelope)
			e.Sender, err = address(text[len(from):])
		case e != nil && strings.HasPrefix(text, to):
			var recipient string
			recipient, err = address(text[len(to):])
			e.Recipients = append(e.Recipients, recipient)
		default:
			err = errors.New("it belongs to no envelope")
		}
		if err != nil {
			return nil, fmt.Errorf("its envelope has the line %.100q: %w", text, err)
		}
	}
	return e, nil
}

func address(text string) (string, error) {
	inner, opened := strings.CutPrefix(text, "<")
	inner, closed := strings.CutSuffix(inner, ">\r\n")
	if !opened || !closed {
		return "", errors.New("an address stands between < and >")
	}
	return url.PathUnescape(inner)
}
