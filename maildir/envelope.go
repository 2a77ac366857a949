package maildir

import (
	"bytes"
	"fmt"
	"strings"
)

// maxAddress keeps the lines below the 998 octets of RFC 5322 section 2.1.1.
const maxAddress = 900

// envelope is the header lines of the final delivery: RFC 5321 section 4.4 asks
// for Return-Path, and readers know the mailbox by Delivered-To.
func envelope(sender, mailbox, lineEnd string) ([]byte, error) {
	for _, address := range []string{sender, mailbox} {
		if len(address) > maxAddress || strings.ContainsAny(address, "<>") || !printable(address) {
			return nil, impossible(fmt.Sprintf("the address %.100q cannot be put into a header", address))
		}
	}
	return []byte("Return-Path: <" + sender + ">" + lineEnd + "Delivered-To: " + mailbox + lineEnd), nil
}

// lineEnd is how the first line of the message ends, which may be in the part
// after the one where it begins.
func lineEnd(octets [][]byte) string {
	var last byte
	for _, part := range octets {
		if i := bytes.IndexByte(part, '\n'); i >= 0 {
			if i > 0 {
				last = part[i-1]
			}
			if last == '\r' {
				return "\r\n"
			}
			return "\n"
		}
		if len(part) > 0 {
			last = part[len(part)-1]
		}
	}
	return "\r\n"
}
