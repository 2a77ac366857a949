// Package pgp decrypts the objects that are OpenPGP messages (RFC 9580, RFC
// 4880, and GnuPG's OCB packets), and makes such objects of mail.
//
// What it decrypts is whole and unchanged, or it is an error: the plaintext is
// not parsed, decompressed or returned before the integrity check at the end of
// the message has passed. Signatures are neither required nor looked at.
package pgp

import (
	"bufio"
	"bytes"
	"io"
)

const (
	// enough is how many of the first octets of an object Encrypted looks at.
	enough       = 64
	beginMessage = beginLine + "MESSAGE"
	byteOrder    = "\xef\xbb\xbf" // UTF-8's mark, as editors put it
	space        = " \t\r\n"
)

// Encrypted reports whether an object is an OpenPGP message to be decrypted, and
// not mail, by its first octets, of which the first 64 are enough.
//
// It is false for all mail. A header begins with a name in ASCII and a colon
// (RFC 5322 2.2), a packet with an octet above 127, and an armor with a line
// that has no colon. Mail that was itself sent encrypted has a header, too.
func Encrypted(octets []byte) bool {
	octets = octets[:min(len(octets), enough)]
	text := bytes.TrimLeft(bytes.TrimPrefix(octets, []byte(byteOrder)), space)
	line, _, _ := bytes.Cut(text, []byte("\n"))
	isArmor := bytes.HasPrefix(line, []byte(beginMessage)) && !bytes.Contains(line, []byte(":"))
	return isArmor || beginsMessage(octets)
}

// beginsMessage reports whether octets begin with the header of a packet that
// begins an encrypted message, and a version that such a packet can have. Bare
// data without integrity protection have none, and nothing tells them from noise.
func beginsMessage(octets []byte) bool {
	if len(octets) == 0 || octets[0]&highest == 0 {
		return false // as all mail in plain text, for which no reader is made
	}
	p, err := nextPacket(bufio.NewReader(bytes.NewReader(octets)))
	if err != nil {
		return false
	}
	var start [3]byte
	if _, err := io.ReadFull(p, start[:]); err != nil {
		return false
	}
	version := start[0]
	switch p.tag {
	case tagKey:
		return version == 3 || version == 6
	case tagPassword:
		return 4 <= version && version <= 6
	case tagProtected:
		return version == 1 || version == 2
	case tagOCB:
		return version == 1
	case tagMarker:
		return string(start[:]) == "PGP"
	}
	return false
}

// open returns a reader of the packets of a message, armored or not.
func open(octets []byte) (packets *bufio.Reader, armored bool, err error) {
	if len(octets) == 0 || octets[0]&highest != 0 && !bytes.HasPrefix(octets, []byte(byteOrder)) {
		return bufio.NewReader(bytes.NewReader(octets)), false, nil
	}
	b, rest, err := cutBlock(octets)
	switch {
	case err != nil:
		return nil, true, failed(malformed, "%w", err)
	case b.kind != "MESSAGE":
		return nil, true, failed(unsupported, "its armor says %q, not MESSAGE", b.kind[:min(len(b.kind), 40)])
	case len(bytes.Trim(rest, space)) > 0:
		return nil, true, failed(malformed, "something follows the end of its armor")
	}
	return bufio.NewReader(&unarmor{text: b.text}), true, nil
}
