package pgp

import (
	"bytes"
	"crypto/rand"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"
)

// armor makes armor with the library.
func inArmor(t testing.TB, octets []byte) []byte {
	t.Helper()
	out := new(bytes.Buffer)
	w, err := pgparmor.Encode(out, "PGP MESSAGE", map[string]string{"Comment": "a test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(octets); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var checksum = regexp.MustCompile(`\n=[A-Za-z0-9+/]{4}`)

// odd breaks the lines of an armor elsewhere, and leaves the checksum out.
func odd(text string, width int) string {
	head, body, _ := strings.Cut(text, "\n\n")
	body, tail, _ := strings.Cut(checksum.ReplaceAllString(body, ""), endLine)
	body = strings.ReplaceAll(body, "\n", "")
	var lines strings.Builder
	for ; len(body) > width; body = body[width:] {
		lines.WriteString(body[:width] + "\n")
	}
	return head + "\n\n" + lines.String() + body + "\n" + endLine + tail
}

func dearmored(text []byte) (octets, rest []byte, err error) {
	b, rest, err := cutBlock(text)
	if err != nil {
		return nil, nil, err
	}
	octets, err = io.ReadAll(&unarmor{text: b.text})
	return octets, rest, err
}

func TestUnarmor(t *testing.T) {
	want := make([]byte, 1000)
	rand.Read(want)
	for size := range want {
		text := string(inArmor(t, want[:size]))
		for name, text := range map[string]string{
			"as it is":        text,
			"CR LF":           strings.ReplaceAll(text, "\n", "\r\n"),
			"spaces":          "\ufeff \n" + strings.ReplaceAll(text, "\n", " \t\n"),
			"no checksum":     checksum.ReplaceAllString(text, ""),
			"wrong checksum":  checksum.ReplaceAllString(text, "\n=AAAA"),
			"odd lines":       odd(text, 61),
			"one long line":   odd(text, 1<<20),
			"short lines":     odd(text, 3),
			"line end at end": text + "\n\n",
		} {
			got, rest, err := dearmored([]byte(text))
			if err != nil || !bytes.Equal(got, want[:size]) || strings.Trim(string(rest), space) != "" {
				t.Fatalf("%d octets, %s: got %d, %v", size, name, len(got), err)
			}
		}
	}
}

func TestUnarmorRefuses(t *testing.T) {
	good := string(inArmor(t, []byte("some octets that need more than one line of sixty-four characters")))
	for name, text := range map[string]string{
		"nothing":              "",
		"no armor":             "hello\n",
		"first line only":      "-----BEGIN PGP MESSAGE-----\n",
		"first line cut":       "-----BEGIN PGP MESSAGE---\n\nAAAA\n-----END PGP MESSAGE-----\n",
		"one line":             strings.ReplaceAll(good, "\n", " "),
		"no empty line":        strings.Replace(good, "\n\n", "\n", 1),
		"cut off":              good[:len(good)/2],
		"last line cut":        good[:len(good)-3],
		"other last line":      strings.Replace(good, "END PGP MESSAGE", "END PGP SIGNATURE", 1),
		"no base64":            strings.Replace(good, "=", "*", 1),
		"a space in it":        strings.Replace(good, "\n\n", "\n\nAA AA", 1),
		"padding in it":        strings.Replace(good, "\n\n", "\n\nAA==\n", 1),
		"padding in a line":    strings.Replace(good, "\n\n", "\n\nAA==", 1),
		"padding over lines":   strings.Replace(good, "\n\n", "\n\nA\nA==\n", 1),
		"single character":     "-----BEGIN PGP MESSAGE-----\n\nA\n-----END PGP MESSAGE-----\n",
		"padding only":         "-----BEGIN PGP MESSAGE-----\n\n====\n-----END PGP MESSAGE-----\n",
		"armor within":         strings.Replace(good, "\n\n", "\n\n"+good, 1),
		"headers without end":  "-----BEGIN PGP MESSAGE-----\nComment: x\nComment: y",
		"no line for checksum": strings.Replace(good, "\n=", "=", 1),
	} {
		if got, rest, err := dearmored([]byte(text)); err == nil {
			t.Errorf("%s: %q, %q", name, got, rest)
		}
	}
}

// TestUnarmorReader reads in all the ways that a reader may be read.
func TestUnarmorReader(t *testing.T) {
	want := make([]byte, 5000)
	rand.Read(want)
	b, _, err := cutBlock(inArmor(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(&unarmor{text: b.text}, want); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(iotest.OneByteReader(&unarmor{text: b.text})); err != nil || !bytes.Equal(got, want) {
		t.Error(err)
	}
}

// FuzzUnarmor compares with the library's reader: what both accept is the same,
// and what is well formed both accept.
func FuzzUnarmor(f *testing.F) {
	for _, seed := range []string{"", "AAAA\n", "AA==\n=AAAA\n", "A\nA\nAA", "AAAA=\n", "====\n", "AAAA\n=twTO\n", " AAAA \r\n"} {
		f.Add([]byte("-----BEGIN PGP MESSAGE-----\n\n" + seed + "-----END PGP MESSAGE-----\n"))
	}
	f.Add([]byte("-----BEGIN PGP MESSAGE-----\nVersion: 1\n\nAAAA\n-----END PGP MESSAGE-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, _, err := dearmored(text)
		theirs, libraryErr := libraryUnarmor(text)
		if err == nil && libraryErr == nil && !bytes.Equal(ours, theirs) {
			t.Errorf("%q is %q, not %q", text, ours, theirs)
		}
		again, _, err := dearmored(inArmor(t, text))
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q came back as %q, %v", text, again, err)
		}
	})
}

func libraryUnarmor(text []byte) ([]byte, error) {
	block, err := pgparmor.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(block.Body)
}

func BenchmarkUnarmor(b *testing.B) {
	text := inArmor(b, random(20<<20))
	b.SetBytes(20 << 20)
	for b.Loop() {
		block, _, err := cutBlock(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, &unarmor{text: block.text}); err != nil {
			b.Fatal(err)
		}
	}
}
