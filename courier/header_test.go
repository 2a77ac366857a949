package courier

import (
	"strings"
	"testing"
)

func TestHeaderKeepsEveryOctetButOurNames(t *testing.T) {
	for name, c := range map[string]struct{ message, want string }{
		"nothing to drop":          {"From: a\r\n\r\nbody\r\n", "From: a\r\n\r\nbody\r\n"},
		"ours is dropped":          {"X-Homing-Id: fake\r\nFrom: a\r\n\r\nb", "From: a\r\n\r\nb"},
		"any case, folded":         {"From: a\r\nx-homing-VERDICT: spam=PASS\r\n\tvirus=PASS\r\n more\r\nTo: b\r\n\r\nb", "From: a\r\nTo: b\r\n\r\nb"},
		"white space before colon": {"X-Original-To \t: x\r\nA: b\r\n\r\n", "A: b\r\n\r\n"},
		"twice":                    {"X-Homing-Id: 1\nA: b\nX-Homing-Id: 2\n\nX-Homing-Id: body\n", "A: b\n\nX-Homing-Id: body\n"},
		"the body is untouched":    {"A: b\r\n\r\nX-Homing-Id: body\r\n.\r\n\x00\xff", "A: b\r\n\r\nX-Homing-Id: body\r\n.\r\n\x00\xff"},
		"a continuation of ours":   {" spam=PASS\r\n\tvirus=PASS\r\nA: b\r\n\r\nc", "A: b\r\n\r\nc"},
		"CR CR LF does not end it": {"A: b\r\n\r\r\nX-Homing-Verdict: x\r\n\r\nc", "A: b\r\n\r\r\n\r\nc"},
		"NUL ends the name":        {"X-Homing-Verdict\x00junk: spam=PASS\r\nX-Homing-Id \x00: y\r\nA: b\r\n\r\n", "A: b\r\n\r\n"},
		"a similar name":           {"X-Homing-Idea: x\r\nX-Homing-Id-: y\r\n\r\n", "X-Homing-Idea: x\r\nX-Homing-Id-: y\r\n\r\n"},
		"no colon":                 {"X-Homing-Id\r\nA: b\r\n\r\n", "X-Homing-Id\r\nA: b\r\n\r\n"},
		"header only, no end":      {"A: b\r\nX-Homing-Id: x", "A: b\r\n"},
		"empty":                    {"", ""},
		"body only":                {"\r\nX-Homing-Id: body", "\r\nX-Homing-Id: body"},
	} {
		t.Run(name, func(t *testing.T) {
			h := readHeader([]byte(c.message))
			if got := string(h.message); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

const sesLine = "Received: from mail.example.org (mail.example.org [192.0.2.1])\r\n by inbound-smtp.eu-west-1.amazonaws.com with SMTP id abc123def456ghi789jk\r\n for alice@example.com;\r\n Sun, 22 Nov 2026 12:00:00 +0000 (UTC)\r\n"

func TestEnvelopeOfAMessageWithoutReceipt(t *testing.T) {
	for name, c := range map[string]struct {
		message, sender, recipient string
		ok                         bool
	}{
		"as SES writes it":     {"Return-Path: <bob@example.org>\r\n" + sesLine + "To: other@example.net\r\n\r\n", "bob@example.org", "alice@example.com", true},
		"in brackets":          {"Return-Path: <>\r\n" + strings.Replace(sesLine, "alice@example.com", "<alice@example.com>", 1) + "\r\n", "", "alice@example.com", true},
		"no Received line":     {"Return-Path: <bob@example.org>\r\nTo: a@b\r\n\r\n", "bob@example.org", "", false},
		"not the topmost":      {"Received: from x by mx.evil.test with SMTP id 1 for x@y; now\r\n" + sesLine + "\r\n", "", "", false},
		"another host's":       {strings.Replace(sesLine, "inbound-smtp.eu-west-1.amazonaws.com", "inbound-smtp.evil.test", 1) + "\r\n", "", "", false},
		"a look-alike":         {strings.Replace(sesLine, "amazonaws.com", "amazonaws.com.evil.test", 1) + "\r\n", "", "", false},
		"the client's own lie": {strings.Replace(sesLine, "from mail.example.org", "from x by inbound-smtp.eu-west-1.amazonaws.com with SMTP id 1 for victim@example.com; (x", 1) + "\r\n", "", "alice@example.com", false},
		"in the body":          {"A: b\r\n\r\n" + sesLine, "", "", false},
		"the second is older":  {"Return-Path: <new@example.org>\r\nReturn-Path: <old@example.org>\r\n" + sesLine + "\r\n", "new@example.org", "alice@example.com", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := readHeader([]byte(c.message))
			recipient, ok := h.recipient()
			if name == "the client's own lie" {
				// Either nothing is believed, or what SES wrote at the end.
				if ok && recipient != c.recipient {
					t.Errorf("believed %q", recipient)
				}
				return
			}
			if recipient != c.recipient || ok != c.ok || h.sender() != c.sender {
				t.Errorf("got %q from %q, %v; want %q from %q, %v", recipient, h.sender(), ok, c.recipient, c.sender, c.ok)
			}
		})
	}
}

func TestPreamble(t *testing.T) {
	h := readHeader([]byte("A: b\r\n\r\n"))
	got := string(h.preamble("id1", []string{"a@x", "b@x"}, "spam=PASS"))
	if want := "X-Homing-Id: id1\r\nX-Original-To: a@x\r\nX-Original-To: b@x\r\nX-Homing-Verdict: spam=PASS\r\n"; got != want {
		t.Errorf("got %q", got)
	}
	h = readHeader([]byte("A: b\n\n"))
	if got := string(h.preamble("id1", nil, "")); got != "X-Homing-Id: id1\n" {
		t.Errorf("before a message with bare line feeds: %q", got)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("X-Homing-Id: a\r\n b\r\nFrom: c\r\n\r\nbody"))
	f.Add([]byte(sesLine + "\n\nx"))
	f.Add([]byte(" a\n\tb\nX-Original-To:\n"))
	f.Fuzz(func(t *testing.T, message []byte) {
		before := len(message)
		h := readHeader(message)
		kept := string(h.message)
		if len(kept) > before {
			t.Fatal("it grew")
		}
		again := readHeader([]byte(kept))
		if got := string(again.message); got != kept {
			t.Errorf("a second pass changes %q to %q", kept, got)
		}
		block := kept
		if i := strings.Index("\n"+kept, "\n\n"); i >= 0 {
			block = kept[:i]
		}
		for line := range strings.SplitSeq(block, "\n") {
			if line == "\r" {
				break
			}
			if strings.EqualFold(fieldName([]byte(line)), headerID) && strings.Contains(line, ":") {
				t.Errorf("a line of ours was left: %q", line)
			}
		}
		h.recipient()
		h.sender()
	})
}

func TestRetryTable(t *testing.T) {
	var total float64
	for attempts := 1; attempts <= 12; attempts++ {
		wait := retryWait(attempts)
		if wait > 3600e9 {
			t.Errorf("attempt %d waits %v, more than an hour", attempts, wait)
		}
		want := 3600.0
		if attempts <= len(retryAfter) {
			want = retryAfter[attempts-1].Seconds()
		}
		if got := wait.Seconds(); got > want || got < 0.9*want {
			t.Errorf("attempt %d waits %vs, the table says %vs", attempts, got, want)
		}
		total += want
	}
	if total < 4*3600 {
		t.Errorf("twelve attempts in %vs", total)
	}
}
