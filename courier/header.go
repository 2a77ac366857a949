package courier

import (
	"bytes"
	"regexp"
	"strings"
)

// The header lines that homing writes, and drops where a sender wrote them, so
// that Sieve scripts can trust them.
const (
	headerID       = "X-Homing-Id"
	headerOriginal = "X-Original-To"
	headerVerdict  = "X-Homing-Verdict"
)

// header is what the courier reads of a message's top header block.
type header struct {
	message    []byte // without the lines that only homing may write
	received   int    // how many Received fields there are
	topmost    []byte // the first of them
	returnPath []byte // the first Return-Path field
	newline    string // how the message's first line ends
}

// readHeader walks the top header block as Dovecot's parser does: a line ends
// at LF, the block at the first line that is LF or CRLF alone, white space before the colon
// belongs to no name, and a line that begins with white space continues the one
// before. Such a line at the very top would continue our own: it is dropped.
//
// What follows a dropped line is moved up within message.
func readHeader(message []byte) header {
	h := header{newline: "\r\n"}
	start, end, dropping := 0, 0, true // [0, end) is kept, from start on it goes on
	for at := 0; at < len(message); {
		next := len(message)
		if i := bytes.IndexByte(message[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		line := message[at:next]
		if at == 0 && !bytes.HasSuffix(line, []byte("\r\n")) && bytes.HasSuffix(line, []byte("\n")) {
			h.newline = "\n"
		}
		if string(line) == "\n" || string(line) == "\r\n" {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			dropping = h.note(fieldName(line), message[at:])
		}
		if dropping {
			end += move(message, end, start, at)
			start = next
		}
		at = next
	}
	end += move(message, end, start, len(message))
	h.message = message[:end]
	return h
}

// move copies message[from:until] to message[to:] and returns its length.
func move(message []byte, to, from, until int) int {
	if to == from {
		return until - from
	}
	return copy(message[to:], message[from:until])
}

// note remembers a field that matters, and reports whether it is one that only
// homing may write. rest begins with the field.
func (h *header) note(name string, rest []byte) (drop bool) {
	switch {
	case strings.EqualFold(name, headerID), strings.EqualFold(name, headerOriginal), strings.EqualFold(name, headerVerdict):
		return true
	case strings.EqualFold(name, "Received"):
		if h.received++; h.received == 1 {
			h.topmost = unfold(rest)
		}
	case strings.EqualFold(name, "Return-Path") && h.returnPath == nil:
		h.returnPath = unfold(rest)
	}
	return false
}

// fieldName returns what stands before the colon, empty for a line without one.
func fieldName(line []byte) string {
	name, _, found := bytes.Cut(line, []byte(":"))
	if !found {
		return ""
	}
	// To Dovecot a NUL ends the name.
	name, _, _ = bytes.Cut(name, []byte{0})
	return string(bytes.TrimRight(name, " \t"))
}

// maxField bounds how much of one field is read.
const maxField = 4096

// unfold returns the value of the field that rest begins with, on one line.
func unfold(rest []byte) []byte {
	rest = rest[:min(len(rest), maxField)]
	_, value, _ := bytes.Cut(rest, []byte(":"))
	var one []byte
	for line := range bytes.Lines(value) {
		if len(one) > 0 && line[0] != ' ' && line[0] != '\t' {
			break
		}
		one = append(one, bytes.TrimRight(line, "\r\n")...)
		one = append(one, ' ')
	}
	return bytes.TrimSpace(one)
}

// sesReceived is the end of the line that SES's MX writes. What the client said
// of itself stands before it, so only the end may be believed; the greedy start
// finds the last " by ".
var sesReceived = regexp.MustCompile(`^.*\sby\s+inbound-smtp\.[a-z0-9-]+\.amazonaws\.com\s+with\s+\S+\s+id\s+\S+\s+for\s+<?([^\s<>;]+)>?\s*;[^;]*$`)

// recipient returns whom a message without a receipt is for, where SES itself
// wrote it down.
func (h *header) recipient() (address string, ok bool) {
	match := sesReceived.FindSubmatch(h.topmost)
	if match == nil {
		return "", false
	}
	return string(match[1]), true
}

// sender returns the topmost Return-Path, empty for the null sender.
func (h *header) sender() string {
	path := string(h.returnPath)
	if open := strings.IndexByte(path, '<'); open >= 0 {
		path, _, _ = strings.Cut(path[open+1:], ">")
	}
	return path
}

// preamble is the block of header lines that goes before a message. The values
// have been checked to hold no line ends.
func (h *header) preamble(id string, originals []string, verdicts string) []byte {
	var b bytes.Buffer
	write := func(name, value string) {
		b.WriteString(name)
		b.WriteString(": ")
		b.WriteString(value)
		b.WriteString(h.newline)
	}
	write(headerID, id)
	for _, address := range originals {
		write(headerOriginal, address)
	}
	if verdicts != "" {
		write(headerVerdict, verdicts)
	}
	return b.Bytes()
}
