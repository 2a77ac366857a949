package lmtp

import "strings"

// maxAddress is what RFC 5321, 4.5.3.1 allows a local part and a domain
// together. Its 64 octets for the local part alone are not enforced: senders
// made by VERP and SRS exceed them every day, and Dovecot takes them.
const (
	maxAddress = 64 + 1 + maxDomain
	maxDomain  = 255
)

// checkEnvelope is the last line of defence: whatever passes cannot end a
// command, leave the angle brackets or add a parameter.
func checkEnvelope(sender, mailbox string) error {
	if sender != "" {
		if reason := unspeakable(sender); reason != "" {
			return &AddressError{Address: sender, Reason: reason}
		}
	}
	if reason := unspeakable(mailbox); reason != "" {
		return &AddressError{Address: mailbox, Reason: reason}
	}
	return nil
}

// unspeakable says why an address cannot stand in a command; empty: it can.
// A missing domain is fine: Dovecot knows users without one.
func unspeakable(address string) string {
	at := strings.LastIndexByte(address, '@')
	switch {
	case address == "":
		return "is empty"
	case len(address) > maxAddress || at >= 0 && len(address)-at-1 > maxDomain:
		return "is too long"
	case at == len(address)-1:
		return "has no domain after its @"
	case address[0] == '@':
		// Nobody's name, or a source route (RFC 5321, appendix C).
		return "has nothing before its @"
	}
	for _, b := range []byte(address) {
		if b <= ' ' || b >= 0x7f || b == '<' || b == '>' {
			return "has characters that a command cannot carry"
		}
	}
	return ""
}

// laneKey names the mailbox that an address belongs to: Dovecot lower-cases
// user names and drops the detail behind the first + (recipient_delimiter).
func laneKey(mailbox string) string {
	local, domain := mailbox, ""
	if at := strings.LastIndexByte(mailbox, '@'); at >= 0 {
		local, domain = mailbox[:at], mailbox[at:]
	}
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		mailbox = local[:plus] + domain
	}
	return strings.ToLower(mailbox)
}
