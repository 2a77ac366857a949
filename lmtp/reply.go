package lmtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// RFC 5321, 4.5.3.1.5 allows 512 octets to a reply line; be generous, but
// bounded, for whoever answers at the address.
const (
	maxReplyLine = 2048
	maxReply     = 64 << 10
	maxReplyText = 500
)

// A malformed reply means that client and server no longer agree on what is
// being answered: the connection is closed.
var errMalformed = errors.New("malformed reply")

// reply is one whole reply. Its text is kept for refusals only.
type reply struct {
	code     int
	enhanced string
	text     string
}

// err makes a refusal of it.
func (r reply) err(command string) *ReplyError {
	return &ReplyError{Code: r.code, Enhanced: r.enhanced, Text: r.text, Command: command}
}

// replyReader reads replies (RFC 5321, 4.2.1), several of which may arrive at once.
type replyReader struct {
	r *bufio.Reader
}

func newReplyReader(r io.Reader) *replyReader {
	return &replyReader{r: bufio.NewReaderSize(r, maxReplyLine)}
}

// next reads one reply with all its lines. A clean end before it is io.EOF.
func (rr *replyReader) next() (reply, error) {
	var r reply
	var lines []string
	for size := 0; ; {
		line, err := rr.line()
		if err != nil {
			return reply{}, err
		}
		code, more, text, ok := parseReplyLine(line)
		if size += len(line); !ok || size > maxReply || r.code != 0 && code != r.code {
			return reply{}, fmt.Errorf("%w: %.60q", errMalformed, line)
		}
		r.code = code
		if code >= 400 {
			lines = append(lines, string(text))
		}
		if !more {
			r.enhanced, r.text = explain(code, lines)
			return r, nil
		}
	}
}

// line reads up to a line end, which may lack its CR.
func (rr *replyReader) line() ([]byte, error) {
	line, err := rr.r.ReadSlice('\n')
	switch {
	case err == nil:
		return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a line of more than %d octets", errMalformed, maxReplyLine)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	}
	return nil, err
}

// parseReplyLine splits "250-text", "250 text" and "250".
func parseReplyLine(line []byte) (code int, more bool, text []byte, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, false, nil, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, false, nil, true
	}
	return code, line[3] == '-', line[4:], line[3] == '-' || line[3] == ' '
}

// explain takes the enhanced code off each line (RFC 2034, 4) and makes one
// printable line of the rest.
func explain(code int, lines []string) (enhanced, text string) {
	for i, line := range lines {
		if e, rest, ok := cutEnhanced(code, line); ok {
			enhanced, lines[i] = e, rest
		}
	}
	return enhanced, printable(strings.Join(lines, " "))
}

// cutEnhanced splits "5.1.1 text"; its class must be the code's (RFC 3463, 2).
func cutEnhanced(code int, line string) (enhanced, rest string, ok bool) {
	word, rest, _ := strings.Cut(line, " ")
	class, detail, _ := strings.Cut(word, ".")
	subject, detail, _ := strings.Cut(detail, ".")
	if len(class) != 1 || int(class[0]-'0') != code/100 || !isNumber(subject) || !isNumber(detail) {
		return "", line, false
	}
	return word, rest, true
}

// isNumber tells whether s is one to three digits.
func isNumber(s string) bool {
	for _, b := range []byte(s) {
		if !isDigit(b) {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 3
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// printable makes s fit for a log line: no control or formatting characters,
// valid UTF-8, bounded.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(strings.ToValidUTF8(s[:min(len(s), maxReplyText)], ""))
}
