package form

import (
	"strings"
	"time"
)

// subject says nothing of the message: the mailbox's providers can read it.
const subject = "Message from the contact form"

// compose makes a mail of an encrypted message (RFC 3156 4). Nothing in it but
// that message is the visitor's: whom to answer stands inside.
//
// The mail is the same for the same id and time, and From is homing's owner: an
// automatic answer would go to nobody who wrote, hence Auto-Submitted (RFC 3834 5).
func compose(mailbox, from, id string, message *sealed, now time.Time) []byte {
	domain := from[strings.LastIndexByte(from, '@')+1:]
	to := mailbox
	if !strings.Contains(to, "@") {
		to += "@" + domain
	}
	boundary := "homing-" + id // cannot begin a line of an armored message
	b := make([]byte, 0, len(message.octets)/3*4+len(message.octets)/lineOctets*2+3<<10)
	for _, line := range []string{
		"From: Contact form <" + from + ">",
		"To: <" + to + ">",
		"Subject: " + subject,
		"Date: " + now.Format("Mon, 02 Jan 2006 15:04:05 -0700"),
		"Message-ID: <" + id + "@" + domain + ">",
		"Auto-Submitted: auto-generated",
		"MIME-Version: 1.0",
		`Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";`,
		"\tboundary=\"" + boundary + "\"",
		"",
		"This is an OpenPGP/MIME encrypted message (RFC 3156).",
		"",
		"--" + boundary,
		"Content-Type: application/pgp-encrypted",
		"Content-Description: PGP/MIME version identification",
		"",
		"Version: 1",
		"",
		"--" + boundary,
		`Content-Type: application/octet-stream; name="encrypted.asc"`,
		"Content-Description: OpenPGP encrypted message",
		`Content-Disposition: inline; filename="encrypted.asc"`,
		"",
	} {
		b = append(b, line+"\r\n"...)
	}
	return append(appendArmor(b, message.octets, message.version == 1), "\r\n--"+boundary+"--\r\n"...)
}
