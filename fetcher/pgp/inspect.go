package pgp

import (
	"fmt"
	"io"
	"strings"
)

// Message is what an encrypted message shows without a key.
type Message struct {
	Armored    bool
	Recipients []Recipient
	Passwords  int    // how many passwords open it
	Integrity  string // how it is protected: "MDC", "AEAD", "OCB" or "none"
}

// Recipient is a key that a message is encrypted to.
type Recipient struct {
	// ID of the key, 16 hexadecimal digits in upper case; empty where the sender hid it.
	ID string
	// Fingerprint of the key in upper case, which only RFC 9580's messages have.
	Fingerprint string
}

// leastData is what two tags of AEAD take, which are shorter than what MDC adds.
const leastData = 32

// Inspect reads a message to its end and says what it is: that all of it is
// there, though not that it is unchanged, for that takes a key. It leaves octets
// as they are. Its errors are *Error.
func Inspect(octets []byte) (_ *Message, err error) {
	defer contain(&err)
	packets, armored, err := open(octets)
	if err != nil {
		return nil, err
	}
	e, err := readEnvelope(packets)
	if err != nil {
		return nil, err
	}
	switch n, err := io.Copy(io.Discard, e.data); {
	case err != nil:
		return nil, asMalformed(err)
	case n < leastData:
		return nil, failed(malformed, "its encrypted data are too short to be any")
	}
	m := e.message()
	m.Armored = armored
	return m, e.end()
}

func (e *envelope) message() *Message {
	m := &Message{Passwords: e.passwords, Integrity: "none"}
	switch {
	case e.tag == tagOCB:
		m.Integrity = "OCB"
	case e.tag == tagProtected && e.version == 2:
		m.Integrity = "AEAD"
	case e.tag == tagProtected:
		m.Integrity = "MDC"
	}
	for _, key := range e.keys {
		r := Recipient{Fingerprint: fmt.Sprintf("%X", key.KeyFingerprint)}
		if key.KeyId != 0 {
			r.ID = fmt.Sprintf("%016X", key.KeyId)
		}
		m.Recipients = append(m.Recipients, r)
	}
	return m
}

// needs lists the recipients, the first of many.
func (m *Message) needs() string {
	const most = 8
	if len(m.Recipients) == 0 {
		return "no key"
	}
	var names []string
	for i, r := range m.Recipients {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(m.Recipients)-most))
			break
		}
		name := r.ID
		if name == "" {
			name = "a hidden key"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
