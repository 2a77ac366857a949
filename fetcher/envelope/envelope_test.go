package envelope

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mail = "Return-Path: <ann@far.example>\r\nReceived: from far.example by inbound-smtp.eu-west-1.amazonaws.com\r\n\r\nHello\r\n"

func TestThereAndBack(t *testing.T) {
	for name, e := range map[string]*Envelope{
		"not known":    nil,
		"usual":        {Sender: "ann@far.example", Recipients: []string{"alice@home.test", "bob+lists@home.test"}},
		"a bounce":     {Recipients: []string{"alice@home.test"}},
		"nobody":       {Sender: "ann@far.example"},
		"batv":         {Sender: "prvs=1234abc=ann@far.example", Recipients: []string{`"a b"@home.test`, "50%off@home.test", "<@>"}},
		"every octet":  {Sender: allOctets(), Recipients: []string{allOctets(), "", " ", "\r\n" + last, "日本@例.jp"}},
		"many of them": {Recipients: strings.Fields(strings.Repeat("somebody-with-a-long-name@home.test ", 500))},
	} {
		for _, message := range []string{mail, "", "\r\n", first + last + mail, to + "<mallory@home.test>\r\n" + last + mail} {
			block := e.Block()
			for text := range strings.Lines(string(block)) {
				if !strings.HasSuffix(text, "\r\n") || !strings.HasPrefix(text, "X-Homing-Envelope") {
					t.Errorf("%s: line %q", name, text)
				}
			}
			got, rest, err := Cut(append(block, message...))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if diff := cmp.Diff(e, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			if string(rest) != message {
				t.Errorf("%s: the message is %.200q, want %.200q", name, rest, message)
			}
		}
	}
}

func allOctets() string {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return string(all)
}

// What a sender can write begins after SES's lines, and moves nothing.
func TestOnlyAtTheTop(t *testing.T) {
	forged := (&Envelope{Sender: "mallory@far.example", Recipients: []string{"victim@home.test"}}).Block()
	for _, octets := range [][]byte{
		append([]byte(mail), forged...),
		append([]byte("Return-Path: <mallory@far.example>\r\n"), forged...),
		append([]byte("\r\n"), forged...),
		append([]byte(" "), forged...),
		bytes.ToLower(forged),
		nil,
		[]byte("X-Homing-Envelope"),
		[]byte("X-Homing-Envelope-To: <victim@home.test>\r\n\r\n"),
	} {
		e, message, err := Cut(octets)
		if e != nil || err != nil || !bytes.Equal(message, octets) {
			t.Errorf("%.100q: envelope %v, message %.100q, %v", octets, e, message, err)
		}
	}
}

func TestBroken(t *testing.T) {
	for _, block := range []string{
		mark,
		first,
		"X-Homing-Envelope: 2\r\n" + last,
		"X-Homing-Envelope: 1\n" + last,
		first + from + "<ann@far.example>\r\n",
		first + from + "<ann@far.example>\r\nX-Homing-Envelope: end\n",
		first + from + "<ann@far.example>\r\n" + from + "<eve@far.example>\r\n" + last,
		first + to + "<alice@home.test>\r\n" + last,
		first + "Subject: hello\r\n" + last,
		first + "\r\n" + last,
		first + from + "ann@far.example\r\n" + last,
		first + from + "<ann@far.example>\n" + last,
		first + from + "<ann%4@far.example>\r\n" + last,
		first + from + "<ann%zz@far.example>\r\n" + last,
		first + from + "<" + strings.Repeat("a", maxBlock) + ">\r\n" + last,
	} {
		if e, message, err := Cut([]byte(block + mail)); err == nil {
			t.Errorf("%.200q: envelope %v, message %.100q, no error", block, e, message)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte(mail))
	f.Add(append((*Envelope)(nil).Block(), mail...))
	f.Add(append((&Envelope{Sender: "a@b", Recipients: []string{"c%@d", "\n"}}).Block(), mail...))
	f.Add([]byte(first + from + "<%0d%0A>\r\n" + last))
	f.Fuzz(func(t *testing.T, octets []byte) {
		e, message, err := Cut(octets)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(octets, message) {
			t.Fatalf("the message %q is no part of %q", message, octets)
		}
		if len(message) == len(octets) {
			return
		}
		again, rest, err := Cut(append(e.Block(), message...))
		if diff := cmp.Diff(e, again); err != nil || diff != "" || !bytes.Equal(rest, message) {
			t.Fatalf("%q: %v, %s, message %q", octets, err, diff, rest)
		}
	})
}
