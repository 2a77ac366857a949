package system

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// arrived is a message as a mailbox has it, taken apart.
type arrived struct {
	sender    string   // Dovecot's Return-Path: the envelope sender
	mailbox   string   // Dovecot's Delivered-To: the address in RCPT
	id        string   // X-Homing-Id
	originals []string // X-Original-To
	verdicts  string   // X-Homing-Verdict, empty where there is none
	message   []byte   // all that is below
}

// dovecots are the lines that Dovecot puts before what it is given.
var dovecots = regexp.MustCompile(`^Return-Path: <(.*)>\r\nDelivered-To: (.*)\r\n` +
	`Received: from \S+(?: \(\[[0-9a-f.:]+\]\))?\r\n(?:\t\(using TLS.*\)\r\n)?\tby \S+ with LMTPS?\r\n\tid \S+\r\n\t\(envelope-from <.*>\)\r\n\tfor <(.*)>; .*\r\n`)

// homings are the lines that homing puts before a message.
var homings = regexp.MustCompile(`^X-Homing-Id: ([0-9a-f]{32})\r\n((?:X-Original-To: \S+\r\n)*)` +
	`(?:X-Homing-Verdict: ((?:(?:spam|virus|spf|dkim|dmarc)=[A-Z_a-z]+ ?){5})\r\n)?`)

// open takes apart a message as IMAP gives it.
func open(tb testing.TB, message []byte) arrived {
	tb.Helper()
	outer := dovecots.FindSubmatch(message)
	if outer == nil {
		tb.Fatalf("a message does not begin with Dovecot's lines: %.600q", message)
	}
	message = message[len(outer[0]):]
	inner := homings.FindSubmatch(message)
	if inner == nil {
		tb.Fatalf("a message does not begin with homing's lines: %.600q", message)
	}
	if !bytes.Equal(outer[2], outer[3]) {
		tb.Errorf("Dovecot's own lines differ: %q", outer[0])
	}
	a := arrived{
		sender: string(outer[1]), mailbox: string(outer[2]), id: string(inner[1]),
		verdicts: string(inner[3]), message: message[len(inner[0]):],
	}
	for line := range strings.Lines(string(inner[2])) {
		a.originals = append(a.originals, strings.TrimSpace(strings.TrimPrefix(line, "X-Original-To: ")))
	}
	return a
}

// folder returns the messages of a folder once there are as many as wanted, and
// wants no more.
func (h *home) folder(user, name string, want int) (messages []arrived) {
	h.tb.Helper()
	raw := h.dovecot.WaitMessages(h.tb, user, name, want)
	for _, message := range raw {
		messages = append(messages, open(h.tb, message))
	}
	if len(raw) != want {
		h.tb.Errorf("%s of %s has %d messages, want %d", name, user, len(raw), want)
	}
	return messages
}

// one is folder for a folder with one message.
func (h *home) one(user, name string) arrived {
	h.tb.Helper()
	return h.folder(user, name, 1)[0]
}

// sameMessage checks a message that came by IMAP, which ends every line by CR LF
// and has no NUL (RFC 9051, section 9; Dovecot gives 0x80 for it).
func sameMessage(tb testing.TB, got, sent []byte) {
	tb.Helper()
	want := bytes.ReplaceAll(bytes.ReplaceAll(sent, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	want = bytes.ReplaceAll(want, []byte{0}, []byte{0x80})
	sameOctets(tb, got, want)
}

func sameOctets(tb testing.TB, got, want []byte) {
	tb.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	show := func(b []byte) []byte { return b[max(0, at-40):min(len(b), at+80)] }
	tb.Errorf("the message has %d octets, want %d; they differ from octet %d on: %q, want %q", len(got), len(want), at, show(got), show(want))
}

// sameOriginals checks the X-Original-To lines, whose order says nothing.
func sameOriginals(tb testing.TB, got arrived, want ...string) {
	tb.Helper()
	slices.Sort(got.originals)
	slices.Sort(want)
	if !slices.Equal(got.originals, want) {
		tb.Errorf("the copy for %s has X-Original-To %q, want %q", got.mailbox, got.originals, want)
	}
}
