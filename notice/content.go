package notice

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// decodeContent returns the message that an SNS action carries, with CRLF line
// ends; false if it cannot be read or is empty. SES says UTF8 or BASE64; the
// names in CloudFormation are UTF-8 and Base64.
func decodeContent(encoding, content string) ([]byte, bool) {
	var raw []byte
	switch strings.ToUpper(encoding) {
	case "UTF8", "UTF-8":
		raw = []byte(content)
	case "BASE64":
		decoded, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			return nil, false
		}
		raw = decoded
	case "":
		raw = guessContent(content)
	}
	if len(raw) > 0 && raw[0] >= 0x80 {
		return raw, true // no mail begins so: it is encrypted, and its octets are no lines
	}
	return crlf(raw), len(raw) > 0
}

// guessContent decodes content whose encoding SES did not name, as older
// notifications do. It is base64 only if all of it is, and if a header field
// comes out: the colon of a header field is no base64 character, so a plain
// message is never taken for it.
func guessContent(content string) []byte {
	decoded, err := base64.StdEncoding.Strict().DecodeString(content)
	if err == nil && beginsWithField(decoded) {
		return decoded
	}
	return []byte(content)
}

// beginsWithField reports whether b begins with a header field's name and its
// colon (RFC 5322, section 2.2; white space before the colon is obsolete syntax).
func beginsWithField(b []byte) bool {
	name, _, found := bytes.Cut(b, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !found || len(name) == 0 {
		return false
	}
	return !bytes.ContainsFunc(name, func(r rune) bool { return r < '!' || r > '~' })
}

// crlf puts a CR before every LF that has none, as mail on the wire demands
// (RFC 5321, section 2.3.8). It touches nothing else: a CR alone stays.
func crlf(b []byte) []byte {
	bare := bytes.Count(b, []byte("\n")) - bytes.Count(b, []byte("\r\n"))
	if bare == 0 {
		return b
	}
	out := make([]byte, 0, len(b)+bare)
	for line := range bytes.Lines(b) {
		text, found := bytes.CutSuffix(line, []byte("\n"))
		if !found || bytes.HasSuffix(text, []byte("\r")) {
			out = append(out, line...)
			continue
		}
		out = append(append(out, text...), "\r\n"...)
	}
	return out
}
