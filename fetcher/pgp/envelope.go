package pgp

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	// mostSessionKeys is how many packets with a session key are looked at; the
	// largest mailing lists have fewer members with keys.
	mostSessionKeys = 1000
	// mostSessionKey is how large such a packet may be; post-quantum ones need 2 KB.
	mostSessionKey = 16 << 10
)

// envelope is all of a message but the encrypted data themselves.
type envelope struct {
	keys      []*packet.EncryptedKey
	passwords int                        // how many passwords open it
	tag       byte                       // of the packet with the data
	version   int                        // of this packet, 0 where it has none
	data      io.Reader                  // its body, to be read to the end
	sealed    packet.EncryptedDataPacket // which decrypts data; nil without integrity check
	rest      *bufio.Reader
}

// readEnvelope reads the packets of a message until the encrypted data begin.
// Its errors are *Error.
func readEnvelope(r *bufio.Reader) (*envelope, error) {
	e := &envelope{rest: r}
	for {
		first, err := r.Peek(1)
		switch {
		case errors.Is(err, io.EOF):
			return nil, failed(malformed, "it ends before its encrypted data")
		case err != nil:
			return nil, asMalformed(err)
		}
		if tag := tagOf(first[0]); first[0]&highest != 0 && (tag == tagProtected || tag == tagOCB) {
			return e, e.readSealed(tag)
		}
		p, err := nextPacket(r)
		if err != nil {
			return nil, asMalformed(err)
		}
		if p.tag == tagUnproven {
			e.tag, e.data = p.tag, p
			return e, nil
		}
		if err := e.add(p); err != nil {
			return nil, err
		}
	}
}

// add takes one of the packets before the data.
func (e *envelope) add(p *rawPacket) error {
	switch {
	case p.tag == tagKey || p.tag == tagPassword:
		if e.passwords+len(e.keys) == mostSessionKeys {
			return failed(unsupported, "it is encrypted to more than %d keys", mostSessionKeys)
		}
		if p.tag == tagPassword {
			e.passwords++
			break
		}
		return e.addKey(p)
	case p.meaningless():
	case p.tag == tagSignature || p.tag == tagOnePass || p.tag == tagCompressed || p.tag == tagLiteral:
		return failed(unsupported, "it is an OpenPGP message, but not an encrypted one")
	default:
		return failed(malformed, "a packet of type %d stands before its encrypted data", p.tag)
	}
	if err := p.skip(); err != nil {
		return asMalformed(err)
	}
	return nil
}

func (e *envelope) addKey(p *rawPacket) error {
	body, err := io.ReadAll(io.LimitReader(p, mostSessionKey+1))
	if err != nil {
		return asMalformed(err)
	}
	if len(body) > mostSessionKey {
		return failed(malformed, "one of its session keys is larger than %d bytes", mostSessionKey)
	}
	header := []byte{0xc0 | tagKey, 255, 0, 0, byte(len(body) >> 8), byte(len(body))}
	parsed, err := packet.Read(io.MultiReader(bytes.NewReader(header), bytes.NewReader(body)))
	if _, unknown := errors.AsType[pgperrors.UnsupportedError](err); unknown {
		return nil // another kind of key, for which others may be there
	}
	if err != nil {
		return failed(malformed, "one of its session keys is damaged: %w", err)
	}
	if key, ok := parsed.(*packet.EncryptedKey); ok {
		e.keys = append(e.keys, key)
	}
	return nil
}

// readSealed reads the beginning of the packet with the data.
func (e *envelope) readSealed(tag byte) error {
	p, err := packet.Read(e.rest)
	if _, unknown := errors.AsType[pgperrors.UnsupportedError](err); unknown {
		return failed(unsupported, "its data: %w", err)
	}
	if err != nil {
		return failed(malformed, "its data: %w", err)
	}
	e.tag = tag
	switch p := p.(type) {
	case *packet.SymmetricallyEncrypted:
		p.Contents = whole{p.Contents}
		e.version, e.data, e.sealed = p.Version, p.Contents, p
	case *packet.AEADEncrypted:
		p.Contents = whole{p.Contents}
		e.version, e.data, e.sealed = 1, p.Contents, p
	}
	return nil
}

// whole is a reader that says when it was cut off, in words of its own: for
// io.ReadFull, and thus the library, io.ErrUnexpectedEOF is an end as any other.
type whole struct{ io.Reader }

func (w whole) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = because(errPackets, "it is cut off")
	}
	return n, err
}

// end is asked when the data were read: they must be the last of the message.
// What is appended to it is not believed to be harmless.
func (e *envelope) end() error {
	switch _, err := e.rest.Peek(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return asMalformed(err)
	}
	return failed(malformed, "something follows its end")
}
