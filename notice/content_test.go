package notice

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

func TestDecodeContent(t *testing.T) {
	const mail = "Subject: x\n\nhello\n"
	const wire = "Subject: x\r\n\r\nhello\r\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(mail))
	wrapped := encoded[:8] + "\r\n" + encoded[8:16] + "\n" + encoded[16:] + "\n"
	binary := []byte("Subject: \xe4\x00\xff\r\n\r\n\x80")
	tests := []struct {
		name, encoding, content string
		want                    string
		ok                      bool
	}{
		{"UTF8", "UTF8", mail, wire, true},
		{"UTF-8", "utf-8", mail, wire, true},
		{"UTF8 that looks like base64", "UTF8", encoded, encoded, true},
		{"BASE64", "BASE64", encoded, wire, true},
		{"Base64", "Base64", encoded, wire, true},
		{"BASE64 in lines", "BASE64", wrapped, wire, true},
		{"BASE64 of octets", "BASE64", base64.StdEncoding.EncodeToString(binary), string(binary), true},
		{"BASE64 of what is encrypted", "BASE64", base64.StdEncoding.EncodeToString([]byte("\x84\n\r\n\x0a")), "\x84\n\r\n\x0a", true},
		{"BASE64 that is none", "BASE64", mail, "", false},
		{"BASE64 cut off", "BASE64", encoded[:len(encoded)-1], "", false},
		{"BASE64 in URLs' alphabet", "BASE64", "__-_", "", false},
		{"BASE64 of nothing", "BASE64", "", "", false},
		{"nothing", "UTF8", "", "", false},
		{"unknown", "ROT13", mail, "", false},
		{"undeclared text", "", mail, wire, true},
		{"undeclared base64", "", encoded, wire, true},
		{"undeclared base64 in lines", "", wrapped, wire, true},
		{"undeclared word that is base64 of no mail", "", "abcd", "abcd", true},
		{"undeclared base64 of text", "", base64.StdEncoding.EncodeToString([]byte("Hello world: x\n")), base64.StdEncoding.EncodeToString([]byte("Hello world: x\n")), true},
		{"undeclared base64 with stray bits", "", "QTp=", "QTp=", true},
		{"undeclared nothing", "", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := decodeContent(tt.encoding, tt.content)
			if string(got) != tt.want || ok != tt.ok {
				t.Errorf("got %q, %v, want %q, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestCRLF(t *testing.T) {
	for in, want := range map[string]string{
		"":           "",
		"a":          "a",
		"a\n":        "a\r\n",
		"\n":         "\r\n",
		"\n\n":       "\r\n\r\n",
		"a\r\nb":     "a\r\nb",
		"a\r\nb\nc":  "a\r\nb\r\nc",
		"a\rb\n":     "a\rb\r\n",
		"a\r\r\nb\n": "a\r\r\nb\r\n",
		"a\n\r\n\r":  "a\r\n\r\n\r",
		"\x00\n\xff": "\x00\r\n\xff",
	} {
		if got := crlf([]byte(in)); string(got) != want {
			t.Errorf("crlf(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBeginsWithField(t *testing.T) {
	for in, want := range map[string]bool{
		"From: x":                true,
		"X-Y:":                   true,
		"Subject : x":            true,
		"":                       false,
		":":                      false,
		"From bob Mon: ":         false,
		"a\nb: c":                false,
		"\xff: x":                false,
		strings.Repeat("a", 100): false,
	} {
		if got := beginsWithField([]byte(in)); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

// checkLineEnds fails if there is an LF without a CR.
func checkLineEnds(t *testing.T, content []byte) {
	t.Helper()
	if bytes.Count(content, []byte("\n")) != bytes.Count(content, []byte("\r\n")) {
		t.Fatalf("an LF without a CR in %q", content)
	}
}

// isBinary tells what has no lines: no mail begins so.
func isBinary(content []byte) bool { return len(content) > 0 && content[0] >= 0x80 }

// FuzzContent: a message keeps every octet but the CRs that its LFs lacked, in
// whichever encoding it came; what is binary keeps all.
func FuzzContent(f *testing.F) {
	for _, seed := range []string{"Subject: x\n\nhello\n", "A: b\r\n\r\nx\r\r\n\n", "\n", "", "\x00\xff\r", "U3ViamVjdDogeA=="} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		kept := bytes.Clone(raw)
		got := crlf(raw)
		checkLineEnds(t, got)
		if !bytes.Equal(raw, kept) {
			t.Fatal("the input was changed")
		}
		if a, b := bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")); !bytes.Equal(a, b) {
			t.Fatalf("%q became %q", raw, got)
		}
		if again := crlf(got); !bytes.Equal(again, got) {
			t.Fatalf("a second time %q became %q", got, again)
		}
		encoded := base64.StdEncoding.EncodeToString(raw)
		for encoding, content := range map[string]string{"BASE64": encoded, "UTF8": string(raw)} {
			decoded, ok := decodeContent(encoding, content)
			want := got
			if isBinary(raw) {
				want = raw
			}
			if ok != (len(raw) > 0) || ok && !bytes.Equal(decoded, want) {
				t.Fatalf("%s: %q became %q, %v", encoding, raw, decoded, ok)
			}
		}
		// Not told the encoding, it finds the base64 of whatever begins like mail.
		decoded, _ := decodeContent("", encoded)
		if beginsWithField(raw) && !bytes.Equal(decoded, got) {
			t.Fatalf("undeclared: %q became %q", raw, decoded)
		}
	})
}
