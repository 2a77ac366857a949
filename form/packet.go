package form

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The packets of an encrypted message (RFC 9580 5).
const (
	tagSessionKey = 1  // encrypted to a public key
	tagData       = 18 // encrypted, with a proof of integrity
)

const (
	// maxSessionKey is how large a session key's packet may be; post-quantum ones
	// need 2 KB.
	maxSessionKey = 4 << 10
	// maxSessionKeys is how many there may be.
	maxSessionKeys = 16
	// leastData are the version, the prefix and the MDC of empty data (RFC 9580 5.13.1).
	leastData = 1 + 18 + 22
)

var errPacket = errors.New("not an encrypted OpenPGP message: want session keys for public keys, then data with a proof of integrity, and nothing else")

// sealed is a message that only the owners of some keys can read.
type sealed struct {
	octets     []byte
	recipients []uint64 // IDs of the keys; 0: one that the sender hid
	version    byte     // of the data: 1, or 2, which is RFC 9580's
}

// parse takes a message for what it says it is. It refuses everything but session
// keys encrypted to public keys, and then one packet of integrity-protected data
// that ends the message: other packets can carry readable text.
func parse(message []byte) (*sealed, error) {
	s := &sealed{octets: message}
	for {
		tag, body, rest, err := cutPacket(message)
		switch {
		case err != nil:
			return nil, err
		case tag == tagData && len(s.recipients) > 0 && len(rest) == 0 && len(body) >= leastData && (body[0] == 1 || body[0] == 2):
			s.version = body[0]
			return s, nil
		case tag != tagSessionKey || len(s.recipients) == maxSessionKeys:
			return nil, errPacket
		}
		id, err := keyID(body)
		if err != nil {
			return nil, err
		}
		s.recipients, message = append(s.recipients, id), rest
	}
}

// keyID returns whom a session key is for (RFC 9580 5.1): version 3 says it by
// the key's ID, version 6 by its fingerprint, of which the ID is a part.
func keyID(body []byte) (uint64, error) {
	switch {
	case len(body) > maxSessionKey:
	case len(body) > 9 && body[0] == 3:
		return binary.BigEndian.Uint64(body[1:9]), nil
	case len(body) > 2 && body[0] == 6 && body[1] == 0:
		return 0, nil
	case len(body) > 3+20 && body[0] == 6 && body[1] == 1+20 && body[2] == 4:
		return binary.BigEndian.Uint64(body[3+20-8:]), nil
	case len(body) > 3+32 && body[0] == 6 && body[1] == 1+32 && body[2] == 6:
		return binary.BigEndian.Uint64(body[3:]), nil
	}
	return 0, errPacket
}

// cutPacket cuts off the first packet (RFC 9580 4.2). The body is only its first
// part where it comes in several, which only data may.
func cutPacket(message []byte) (tag byte, body, rest []byte, err error) {
	if len(message) < 2 || message[0]&0x80 == 0 {
		return 0, nil, nil, errPacket
	}
	if message[0]&0x40 == 0 {
		return cutOld(message)
	}
	tag, rest = message[0]&0x3f, message[1:]
	for first := true; ; first = false {
		length, size, partial, err := partLength(rest)
		if err != nil || uint64(length) > uint64(len(rest)-size) || partial && tag != tagData {
			return 0, nil, nil, fmt.Errorf("%w (it is cut off)", errPacket)
		}
		if first {
			body = rest[size : size+length]
		}
		if rest = rest[size+length:]; !partial {
			return tag, body, rest, nil
		}
	}
}

// partLength reads the length of a body, or of a part that others follow (RFC
// 9580 4.2.1), and how many octets say it.
func partLength(b []byte) (length, size int, partial bool, err error) {
	switch {
	case len(b) >= 1 && b[0] < 192:
		return int(b[0]), 1, false, nil
	case len(b) >= 2 && b[0] < 224:
		return int(b[0]-192)<<8 + int(b[1]) + 192, 2, false, nil
	case len(b) >= 1 && 224 <= b[0] && b[0] < 255:
		return 1 << (b[0] & 0x1f), 1, true, nil
	case len(b) >= 5 && b[0] == 255:
		return int(binary.BigEndian.Uint32(b[1:])), 5, false, nil
	}
	return 0, 0, false, errPacket
}

// cutOld is cutPacket for the legacy format (RFC 9580 4.2.2), in which GnuPG
// writes session keys. A body without a length is refused.
func cutOld(message []byte) (tag byte, body, rest []byte, err error) {
	tag, kind := message[0]>>2&0xf, message[0]&3
	size := 1 << kind
	if kind == 3 || len(message) < 1+size {
		return 0, nil, nil, errPacket
	}
	var length uint64
	for _, b := range message[1 : 1+size] {
		length = length<<8 | uint64(b)
	}
	rest = message[1+size:]
	if length > uint64(len(rest)) {
		return 0, nil, nil, fmt.Errorf("%w (it is cut off)", errPacket)
	}
	return tag, rest[:length], rest[length:], nil
}
