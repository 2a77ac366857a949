package edge_test

import (
	"bytes"
	"crypto/rand"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/gnupg"
)

// The text and what it becomes on its way: with the lines that say who wrote.
const (
	visitor  = "Zoë Müller-Łukasiewicz"
	message  = "Grüße aus Łódź! 🐦 你好\n\nFrom here on =\nit is \t\n-- \n" + "a long line, äöü, " + "again and again: 🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦🐦\n"
	arrived  = "Name: " + visitor + "\r\nE-mail: zoe@example.org\r\n\r\n"
	question = "Is the stall at the spring market still free?"
)

// stage is all that takes part: a page, a wire, a worker, a home.
type stage struct {
	*home
	page *page
	wire *wire // between page and worker
}

// rise builds the stage; pairs are more of the worker's environment.
func rise(tb testing.TB, on platform, like household, pairs ...string) *stage {
	tb.Helper()
	s := &stage{home: settle(tb, like), page: newPage(tb)}
	s.wire = lay(tb, on.start(tb, s.environment(s.page.origin, pairs...)))
	s.page.build(tb, s.key.file, s.wire.url)
	return s
}

// write fills the form as a visitor does.
func (t *tab) write(text string) {
	t.tb.Helper()
	t.fill("#homing-name", visitor)
	t.fill("#homing-address", "zoe@example.org")
	t.fill("#homing-text", text)
}

func (t *tab) send() {
	t.tb.Helper()
	t.click("[data-submit]")
}

// files makes files to attach: one of every octet, one with a difficult name,
// an empty one, a larger one.
func files(tb testing.TB) (paths []string) {
	tb.Helper()
	dir := tb.TempDir()
	large := make([]byte, 2_000_000)
	rand.Read(large)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, file := range []attachment{
		{name: "every.bin", octets: every},
		{name: "Grüße 🐦; \"von\" Łukasz.pdf", octets: []byte("%PDF-1.7")},
		{name: "empty.txt"},
		{name: "large.png", octets: large},
	} {
		path := filepath.Join(dir, file.name)
		if err := os.WriteFile(path, file.octets, 0o644); err != nil {
			tb.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// same checks a letter's attachments against the files.
func same(tb testing.TB, got []attachment, paths []string) {
	tb.Helper()
	if len(got) != len(paths) {
		tb.Fatalf("%d attachments arrived, want %d", len(got), len(paths))
	}
	for i, path := range paths {
		want, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		if got[i].name != filepath.Base(path) || !bytes.Equal(got[i].octets, want) {
			tb.Errorf("attachment %q (%d octets) arrived as %q (%d octets)", filepath.Base(path), len(want), got[i].name, len(got[i].octets))
		}
	}
}

// From a browser to a mail program, over each platform and each version of what
// stands at home.
func TestFromBrowserToMailbox(t *testing.T) {
	b := openBrowser(t)
	likes := []household{
		{dovecot.V23, gnupg.V22, "ed25519", "cv25519", false},
		{dovecot.V24, gnupg.V24, "ed25519", "cv25519", false},
		{dovecot.V23, gnupg.V24, "rsa3072", "rsa3072", false},
	}
	for i, on := range platforms() {
		t.Run(on.name, func(t *testing.T) {
			s := rise(t, on, likes[i], "PROOF_BITS", "18")
			tab := b.visit(t, s.page.origin, nil)
			tab.write(message)
			paths := files(t)
			tab.attach(paths...)
			tab.send()
			tab.state("sent")

			tab.click("[data-again]")
			tab.fill("#homing-text", question)
			tab.send()
			tab.state("sent")

			letters := s.letters(t, 2)
			slices.SortFunc(letters, func(a, b letter) int { return len(b.attachments) - len(a.attachments) })
			first, second := letters[0], letters[1]
			if want := arrived + strings.ReplaceAll(message, "\n", "\r\n"); first.text != want {
				t.Errorf("the text arrived as\n%q, want\n%q", first.text, want)
			}
			if want := "Message from the website: " + visitor; first.subject != want {
				t.Errorf("the subject inside is %q, want %q", first.subject, want)
			}
			if first.replyTo == nil || first.replyTo.Address != "zoe@example.org" || first.replyTo.Name != visitor {
				t.Errorf("the answer goes to %v", first.replyTo)
			}
			same(t, first.attachments, paths)
			if second.text != question || second.replyTo != nil || len(second.attachments) != 0 {
				t.Errorf("a message without a name arrived as %+v", second)
			}
			for name, values := range first.outer {
				if text := plainly(t, values); strings.Contains(text, "zoe@") || strings.Contains(text, "zoë") || strings.Contains(text, "ukasiewicz") {
					t.Errorf("everybody can read who wrote: %s: %q", name, text)
				}
			}
		})
	}
}

// plainly returns what the values of a header field say to a reader, in small
// letters: as they are, and with encoded words decoded (RFC 2047).
func plainly(t *testing.T, values []string) string {
	t.Helper()
	raw := strings.Join(values, "\n")
	decoded, err := new(mime.WordDecoder).DecodeHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ToLower(raw + "\n" + decoded)
}
