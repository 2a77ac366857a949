package pgp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
)

const (
	beginLine = "-----BEGIN PGP "
	endLine   = "-----END PGP "
	dashes    = "-----"
)

// block is one piece of armored text (RFC 9580 6.2).
type block struct {
	kind string // "MESSAGE", "PRIVATE KEY BLOCK" and so on
	text []byte // base64, with line ends
}

var errArmor = errors.New("the armor is not well formed")

// cutBlock takes the armored block that text begins with, white space before it
// aside, and returns what follows it.
func cutBlock(text []byte) (b block, rest []byte, err error) {
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte(byteOrder)), space)
	first, text, found := bytes.Cut(text, []byte("\n"))
	begun, isBegin := bytes.CutPrefix(first, []byte(beginLine))
	kind, isWhole := bytes.CutSuffix(bytes.TrimRight(begun, space), []byte(dashes))
	switch {
	case isBegin && !found:
		return block{}, nil, because(errArmor, "it has one line only; were its line ends lost?")
	case !isBegin || !isWhole:
		return block{}, nil, because(errArmor, "its first line is wrong")
	}
	if text, err = skipHeaders(text); err != nil {
		return block{}, nil, err
	}
	end := bytes.Index(text, []byte(endLine))
	if end < 0 {
		return block{}, nil, because(errArmor, "its last line is missing; is it cut off?")
	}
	last, rest, _ := bytes.Cut(text[end:], []byte("\n"))
	if string(bytes.TrimRight(last, space)) != endLine+string(kind)+dashes {
		return block{}, nil, because(errArmor, "its last line is wrong")
	}
	return block{string(kind), withoutChecksum(text[:end])}, rest, nil
}

// skipHeaders skips the armor's own header lines and the empty line after them.
func skipHeaders(text []byte) ([]byte, error) {
	for {
		line, rest, found := bytes.Cut(text, []byte("\n"))
		line = bytes.TrimRight(line, space)
		switch {
		case !found:
			return nil, because(errArmor, "it ends within its headers")
		case len(line) == 0:
			return rest, nil
		case !bytes.Contains(line, []byte(":")):
			return nil, because(errArmor, "there is no empty line after its headers")
		}
		text = rest
	}
}

// withoutChecksum drops the CRC24 line. RFC 9580 6.1 forbids to reject anything
// for it; what is encrypted has a better proof.
func withoutChecksum(text []byte) []byte {
	text = bytes.TrimRight(text, space)
	start := bytes.LastIndexByte(text, '\n') + 1
	if len(text)-start == 5 && text[start] == '=' {
		text = text[:start]
	}
	return text
}

// unarmor decodes the base64 of a block, without memory of its own. It reads
// whole lines at a time, which is many times as fast as octet by octet.
type unarmor struct {
	text    []byte  // not yet read
	pending []byte  // decoded, and not yet returned
	room    [3]byte // of pending
}

// Read reads what the base64 stands for. Its errors wrap errArmor.
func (u *unarmor) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(u.pending) > 0 {
			moved := copy(p[n:], u.pending)
			u.pending, n = u.pending[moved:], n+moved
			continue
		}
		if u.text = bytes.TrimLeft(u.text, space); len(u.text) == 0 {
			break
		}
		decoded, err := u.decode(p[n:])
		if err != nil {
			return n, err
		}
		n += decoded
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// decode decodes into p what it can of a line, or else four characters, which
// may lie on two lines, into pending.
func (u *unarmor) decode(p []byte) (int, error) {
	line := u.text
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = bytes.TrimRight(line[:end], space)
	}
	size := min(len(line), len(p)/3*4) &^ 3
	if size == 0 {
		return 0, u.decodeOne()
	}
	n, err := base64.StdEncoding.Decode(p, line[:size])
	u.text = u.text[size:]
	return n, u.checked(err, n, size)
}

func (u *unarmor) decodeOne() error {
	var quantum [4]byte
	n := 0
	for ; n < len(quantum) && len(u.text) > 0; n++ {
		quantum[n] = u.text[0]
		u.text = bytes.TrimLeft(u.text[1:], space)
	}
	decoded, err := base64.StdEncoding.Decode(u.room[:], quantum[:n])
	u.pending = u.room[:decoded]
	return u.checked(err, decoded, len(quantum))
}

// checked is the error of a decoding: of size characters to n octets, of which
// fewer than there could be are an end.
func (u *unarmor) checked(err error, n, size int) error {
	switch {
	case err != nil:
		return because(errArmor, "it has characters that base64 has not")
	case n < size/4*3 && len(bytes.TrimLeft(u.text, space)) > 0:
		return because(errArmor, "it goes on after its end")
	}
	return nil
}
