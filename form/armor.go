package form

import (
	"bytes"
	"encoding/base64"
	"errors"
)

const (
	beginLine = "-----BEGIN PGP MESSAGE-----"
	endLine   = "-----END PGP MESSAGE-----"
	// lineOctets fill a line of 64 characters, as in RFC 9580's examples and GnuPG's.
	lineOctets = 48
	// maxArmorHeaders is how many of the armor's own header lines are passed over.
	maxArmorHeaders = 8
)

var errArmor = errors.New("not one armored OpenPGP message")

// unarmor decodes an armored message (RFC 9580 6.2) that is all of text, white
// space around it aside. The armor's own header lines, such as Comment, and its
// checksum are not in the result: they could carry anything. It uses text up.
func unarmor(text []byte) ([]byte, error) {
	text = bytes.Trim(text, " \t\r\n")
	text, begins := bytes.CutPrefix(text, []byte(beginLine))
	text, ends := bytes.CutSuffix(text, []byte("\n"+endLine))
	if !begins || !ends {
		return nil, errArmor
	}
	text, err := skipHeaders(text)
	if err != nil {
		return nil, err
	}
	// Strict: one message has one form.
	octets, err := base64.StdEncoding.Strict().AppendDecode(nil, joinLines(text))
	if err != nil || len(octets) == 0 {
		return nil, errArmor
	}
	return octets, nil
}

// skipHeaders cuts off the rest of the first line, the header lines and the empty
// line after them.
func skipHeaders(text []byte) ([]byte, error) {
	for n := range maxArmorHeaders + 2 {
		line, rest, found := bytes.Cut(text, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case !found, n == 0 && len(line) > 0, n > 0 && len(line) > 0 && !bytes.Contains(line, []byte(": ")):
			return nil, errArmor
		case n > 0 && len(line) == 0:
			return rest, nil
		}
		text = rest
	}
	return nil, errArmor
}

// joinLines moves the lines together, in place, without a checksum in the last
// one: RFC 9580 6.1 forbids to refuse anything for it.
func joinLines(text []byte) []byte {
	joined, end := text[:0], 0 // where the last line ends, or begins if it is a checksum
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		end = len(joined)
		if len(line) != 5 || line[0] != '=' {
			end += len(line)
		}
		joined = append(joined, line...)
	}
	return joined[:end]
}

// appendArmor appends an armored message, without headers.
//
// Data of version 1 are checked: without a checksum GnuPG 2.2 fails where base64
// needs no padding (seen with 2.2.40, in one message of three). Behind version 2,
// which that GnuPG cannot read, there must be none (RFC 9580 6.1).
func appendArmor(b, octets []byte, checked bool) []byte {
	b = append(b, beginLine+"\r\n\r\n"...)
	for rest := octets; len(rest) > 0; {
		line := rest[:min(len(rest), lineOctets)]
		rest = rest[len(line):]
		b = append(base64.StdEncoding.AppendEncode(b, line), "\r\n"...)
	}
	if checked {
		sum := checksum(octets)
		b = append(b, '=')
		b = append(base64.StdEncoding.AppendEncode(b, []byte{byte(sum >> 16), byte(sum >> 8), byte(sum)}), "\r\n"...)
	}
	return append(b, endLine+"\r\n"...)
}

// checksum is CRC24 (RFC 9580 6.1.1).
func checksum(octets []byte) uint32 {
	const start, generator = 0xb704ce, 0x864cfb
	var table [256]uint32
	for i := range table {
		crc := uint32(i) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= generator
			}
		}
		table[i] = crc & 0xffffff
	}
	crc := uint32(start)
	for _, b := range octets {
		crc = crc<<8&0xffffff ^ table[byte(crc>>16)^b]
	}
	return crc
}
