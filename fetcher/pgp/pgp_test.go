package pgp

import (
	"bytes"
	"errors"
	"net/mail"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pair is a key made for a test, read back as the program reads it.
func pair(t testing.TB) (*Keys, *Recipients) {
	t.Helper()
	made, err := Generate("homing", "me@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ReadKeys(made.Secret, "")
	if err != nil {
		t.Fatal(err)
	}
	to, err := ReadRecipients(made.Public)
	if err != nil {
		t.Fatal(err)
	}
	return keys, to
}

func sealed(t testing.TB, to *Recipients, plaintext ...[]byte) []byte {
	t.Helper()
	message, err := to.Encrypt(plaintext...)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// reason is the reason in an error of Decrypt, or the error's text.
func reason(err error) string {
	if failed, ok := errors.AsType[*Error](err); ok {
		return failed.Reason()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestRoundTrip(t *testing.T) {
	keys, to := pair(t)
	for _, size := range []int{0, 1, 21, 22, 23, 505, 506, 511, 512, 513, 65535, 65536, 1 << 20, 3<<20 + 7} {
		want := mail8bit(size)[:size]
		message := sealed(t, to, want[:size/3], nil, want[size/3:])
		if !Encrypted(message) {
			t.Errorf("%d octets: not recognised", size)
		}
		if m, err := Inspect(message); err != nil || m.Armored || m.Integrity != "MDC" || len(m.Recipients) != 1 || m.Recipients[0].ID != to.IDs()[0] {
			t.Errorf("%d octets: %+v, %v", size, m, err)
		}
		if size > 0 {
			if _, err := keys.Decrypt(bytes.Clone(message), int64(size)-1, nil); reason(err) != tooLarge || !strings.Contains(err.Error(), "larger than") {
				t.Errorf("%d octets: %v", size, err)
			}
		}
		got, err := keys.Decrypt(message, int64(size), nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets: got %d, %v", size, len(got), err)
		}
	}
}

func TestEncrypted(t *testing.T) {
	_, to := pair(t)
	sealed := string(sealed(t, to, []byte("hello")))
	for _, test := range []struct {
		octets string
		want   bool
	}{
		{sealed, true},
		{sealed[:enough], true},
		{sealed[:5], true},
		{"\xca\x03PGP" + sealed, true},
		{"-----BEGIN PGP MESSAGE-----\n\n", true},
		{"-----BEGIN PGP MESSAGE-----", true},
		{"-----BEGIN PGP MESSAGE, PART 1/2-----", true}, // so that it is held, not delivered
		{"\xef\xbb\xbf-----BEGIN PGP MESSAGE-----\r\n", true},
		{"\r\n \t\n-----BEGIN PGP MESSAGE-----\r\n", true},
		{"\x84\x5e\x03\x01\x02", true},                 // old format, as GnuPG writes it
		{"\x85\x01\x8c\x03\x01\x02", true},             // RSA
		{"\xc1\xff\x00\x00\x00\x22\x06\x15\x04", true}, // RFC 9580
		{"\xd2\xff\x00\x00\x10\x00\x01\x01\x01", true},
		{"\xd4\xff\x00\x00\x10\x00\x01\x09\x02\x16", true},
		{"\x8c\x0d\x04\x09\x03", true}, // a password
		{"", false},
		{"\n", false},
		{"\xd2", false},
		{"\x84\x5e\x02\x01\x01", false},
		{"\xc9\xff\x00\x00\x10\x00\x01\x01\x01", false},             // without integrity protection nor key
		{"\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82", false}, // Cyrillic
		{"\xc3\xa4\xc3\xb6\xc3\xbc", false},
		{"\xef\xbb\xbfReturn-Path: <>\r\n", false},
		{"Return-Path: <>\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n", false},
		{"From me@example.com Mon\n-----BEGIN PGP MESSAGE-----\n", false},
		{"-----BEGIN PGP SIGNED MESSAGE-----\n", false},
		{"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", false},
		{"> -----BEGIN PGP MESSAGE-----\n", false},
		{strings.Repeat("\n", enough) + "-----BEGIN PGP MESSAGE-----\n", false},
	} {
		if got := Encrypted([]byte(test.octets)); got != test.want {
			t.Errorf("%.30q: %v, want %v", test.octets, got, test.want)
		}
	}
}

// TestEncryptedIsNoMail makes mail of all kinds and puts armor into it.
func TestEncryptedIsNoMail(t *testing.T) {
	line := rapid.StringMatching(`[!-9;-~]{1,20}:[^\r\n]{0,40}\r?\n`)
	rapid.Check(t, func(t *rapid.T) {
		header := rapid.SliceOfN(line, 1, 5).Draw(t, "header")
		body := rapid.SampledFrom([]string{"", "\r\n", "\n-----BEGIN PGP MESSAGE-----\n", "\r\n\x84\x5e\x03\x01\x02"}).Draw(t, "body")
		octets := []byte(strings.Join(header, "") + body)
		if Encrypted(octets) {
			t.Fatalf("taken for an encrypted object: %q", octets)
		}
	})
}

// FuzzEncrypted looks for octets that are both: mail to net/mail, and an
// encrypted object.
func FuzzEncrypted(f *testing.F) {
	for _, seed := range []string{"", "Return-Path: <>\r\n\r\n", "-----BEGIN PGP MESSAGE-----\n\n", "-----BEGIN PGP MESSAGE-----:\n\n",
		"\x84\x5e\x03\x01\x02", "\xd4\xff\x00\x00\x10\x00\x01\x09", " -----BEGIN PGP MESSAGE\n :\n\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		sealed := Encrypted(octets)
		if sealed != Encrypted(octets[:min(len(octets), enough)]) {
			t.Errorf("more than %d octets make a difference: %q", enough, octets)
		}
		m, err := mail.ReadMessage(bytes.NewReader(octets))
		if !sealed || err != nil {
			return
		}
		for name := range m.Header { // net/mail takes names that RFC 5322 2.2 forbids
			if !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("mail with a header is taken for an encrypted object: %q", octets)
			}
		}
	})
}
