package courier

import (
	"errors"
	"fmt"
	"strings"
)

// maxAddress is what RFC 5321 4.5.3.1 allows a local part and a domain together,
// in octets. Its limit of 64 for the local part alone is left to Dovecot: senders
// made by VERP and SRS exceed it every day.
const maxAddress = 64 + 1 + 255

// errUnspeakable marks an address that cannot be written into a command or a
// header line without meaning something else there.
var errUnspeakable = errors.New("it cannot be expressed")

// checkAddress refuses what LMTP without SMTPUTF8 (which Dovecot does not
// offer), a header line or a log line cannot carry: anything but printable
// ASCII, spaces, angle brackets, and what is too long.
func checkAddress(address string) error {
	if len(address) > maxAddress {
		return fmt.Errorf("the address %.60q... has %d octets, %d are allowed: %w", address, len(address), maxAddress, errUnspeakable)
	}
	for i := range len(address) {
		if c := address[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return fmt.Errorf("the address %q has the octet 0x%02x: %w", address, c, errUnspeakable)
		}
	}
	return nil
}

// checkMailbox is checkAddress for what goes into RCPT; the domain may be
// missing (Dovecot knows users without one), the local part not.
func checkMailbox(mailbox string) error {
	if local, _ := split(mailbox); local == "" {
		return fmt.Errorf("the mailbox %q has no local part: %w", mailbox, errUnspeakable)
	}
	if strings.HasSuffix(mailbox, "@") {
		return fmt.Errorf("the mailbox %q ends in @: %w", mailbox, errUnspeakable)
	}
	return checkAddress(mailbox)
}

// split cuts an address at its last @; a quoted local part may hold others.
func split(address string) (local, domain string) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address, ""
	}
	return address[:at], address[at+1:]
}

func join(local, domain string) string {
	if domain == "" {
		return local
	}
	return local + "@" + domain
}
