package pgp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// The tags of packets (RFC 9580 5) that a message may hold.
const (
	tagKey        = 1 // a session key, encrypted to a public key
	tagSignature  = 2
	tagPassword   = 3 // a session key, encrypted with a password
	tagOnePass    = 4 // announces a signature
	tagCompressed = 8
	tagUnproven   = 9 // encrypted data without an integrity check
	tagMarker     = 10
	tagLiteral    = 11
	tagProtected  = 18 // encrypted data, version 1 with MDC, version 2 with AEAD
	tagOCB        = 20 // encrypted data, as GnuPG protects it with OCB
	tagPadding    = 21

	firstIgnored = 40 // this tag and those above it may be ignored (RFC 9580 4.3)
)

// highest is set in the first octet of every packet.
const highest = 0x80

var errPackets = errors.New("its packets are not well formed")

// rawPacket is one packet, and the reader of its body.
type rawPacket struct {
	tag  byte
	in   *bufio.Reader
	left int64 // of the body, or of this part of it
	more bool  // other parts follow
	open bool  // the body goes on until the end of the reader (RFC 9580 4.2.2)
}

// nextPacket reads a packet's header. The body of the one before must have been
// read. The error at a clean end is io.EOF.
func nextPacket(in *bufio.Reader) (*rawPacket, error) {
	first, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	if first&highest == 0 {
		return nil, because(errPackets, "no packet begins where one should")
	}
	p := &rawPacket{tag: tagOf(first), in: in}
	if first&0x40 != 0 {
		return p, p.readPart()
	}
	if first&3 == 3 {
		p.open = true
		return p, nil
	}
	p.left, err = p.number(1 << (first & 3))
	return p, err
}

// meaningless reports whether the packet may stand anywhere and be skipped.
func (p *rawPacket) meaningless() bool {
	return p.tag == tagMarker || p.tag == tagPadding || p.tag >= firstIgnored
}

// tagOf is the tag in the first octet of a packet.
func tagOf(first byte) byte {
	if first&0x40 == 0 { // the old format
		return first >> 2 & 0xf
	}
	return first & 0x3f
}

// number reads a big-endian number of this many octets.
func (p *rawPacket) number(octets int) (n int64, err error) {
	for range octets {
		b, err := p.in.ReadByte()
		if err != nil {
			return 0, cutOff(err)
		}
		n = n<<8 | int64(b)
	}
	return n, nil
}

// readPart reads the length of the body or of a part of it (RFC 9580 4.2.1).
func (p *rawPacket) readPart() error {
	first, err := p.number(1)
	switch {
	case err != nil:
		return err
	case first < 192:
		p.left, p.more = first, false
	case first < 224:
		second, err := p.number(1)
		p.left, p.more = (first-192)<<8+second+192, false
		return err
	case first < 255:
		p.left, p.more = 1<<(first&0x1f), true
	default:
		p.left, err = p.number(4)
		p.more = false
	}
	return err
}

// Read reads the body.
func (p *rawPacket) Read(b []byte) (n int, err error) {
	if p.open {
		return p.in.Read(b)
	}
	for p.left == 0 {
		if !p.more {
			return 0, io.EOF
		}
		if err := p.readPart(); err != nil {
			return 0, err
		}
	}
	n, err = p.in.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	return n, cutOff(err)
}

// length is the length of what is left of the body, where it is known.
func (p *rawPacket) length() (n int64, known bool) {
	return p.left, !p.more && !p.open
}

// skip reads what is left of the body.
func (p *rawPacket) skip() error {
	_, err := io.Copy(io.Discard, p)
	return err
}

// cutOff is the error of a reader that ended within a packet.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return because(errPackets, "it is cut off")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errPackets, err)
	}
	return nil
}
