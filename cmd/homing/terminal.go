package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// clean makes text from outside harmless on a terminal, on one line.
func clean(s string) string { return strings.TrimSpace(strings.Map(harmless, s)) }

// cleanLines is clean for text of several lines.
func cleanLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return harmless(r)
	}, s)
}

func harmless(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '\uFFFD'
}

// plainJSON writes JSON with escapes for what does not print: encoding/json
// leaves the controls from U+007F to U+009F as they are, and what changes the
// direction of text. JSON is given to it whole, in UTF-8.
type plainJSON struct{ io.Writer }

// Write implements io.Writer.
func (w plainJSON) Write(octets []byte) (int, error) {
	if !slices.ContainsFunc(octets, func(octet byte) bool { return octet >= 0x7f }) {
		return w.Writer.Write(octets)
	}
	plain := make([]byte, 0, len(octets))
	for _, r := range string(octets) {
		if unicode.IsPrint(r) || r < ' ' { // the latter are between the values
			plain = utf8.AppendRune(plain, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			plain = fmt.Appendf(plain, `\u%04x`, unit)
		}
	}
	if _, err := w.Writer.Write(plain); err != nil {
		return 0, err
	}
	return len(octets), nil
}
