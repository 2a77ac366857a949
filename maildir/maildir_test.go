package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	gomaildir "github.com/emersion/go-maildir"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns the Maildirs of a pattern below a fresh directory.
func open(t testing.TB, pattern string) (*Maildir, string) {
	t.Helper()
	base := t.TempDir()
	m, err := New(filepath.Join(base, pattern))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, base
}

func deliver(t *testing.T, m *Maildir, mailbox string, parts ...string) error {
	t.Helper()
	var octets [][]byte
	for _, part := range parts {
		octets = append(octets, []byte(part))
	}
	return m.Deliver(t.Context(), "sender@example.org", mailbox, octets)
}

// messages reads a Maildir as go-maildir does.
func messages(t *testing.T, dir string) []string {
	t.Helper()
	unseen, err := gomaildir.Dir(dir).Unseen()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, message := range unseen {
		r, err := message.Open()
		if err != nil {
			t.Fatal(err)
		}
		octets, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(octets))
	}
	return all
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

func permanent(err error) bool {
	p, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && p.Permanent()
}

func isAway(err error) bool {
	a, ok := errors.AsType[interface {
		error
		Away() bool
	}](err)
	return ok && a.Away()
}

func TestDeliver(t *testing.T) {
	for _, test := range []struct {
		parts []string
		want  string
	}{
		{[]string{"Subject: x\r\n", "\r\nbody\r\n"}, "Return-Path: <sender@example.org>\r\nDelivered-To: alice+work@example.com\r\nSubject: x\r\n\r\nbody\r\n"},
		{[]string{"Subject: x\n\nbody\n"}, "Return-Path: <sender@example.org>\nDelivered-To: alice+work@example.com\nSubject: x\n\nbody\n"},
		{[]string{"Subject: x\r", "\n\nbody"}, "Return-Path: <sender@example.org>\r\nDelivered-To: alice+work@example.com\r\nSubject: x\r\n\nbody"},
		{[]string{"no\x00end\xff", ""}, "Return-Path: <sender@example.org>\r\nDelivered-To: alice+work@example.com\r\nno\x00end\xff"},
		{nil, "Return-Path: <sender@example.org>\r\nDelivered-To: alice+work@example.com\r\n"},
	} {
		m, base := open(t, "%d/%n")
		if err := deliver(t, m, "alice+work@example.com", test.parts...); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(base, "example.com", "alice")
		names := entries(t, filepath.Join(dir, "new"))
		if got := messages(t, dir); !slices.Equal(got, []string{test.want}) {
			t.Errorf("got %q, want %q", got, test.want)
		}
		if want := fmt.Sprintf(",S=%d", len(test.want)); len(names) != 1 || !strings.HasSuffix(names[0], want) {
			t.Errorf("named %q, want the size %s", names, want)
		}
		if left := entries(t, filepath.Join(dir, "tmp")); len(left) != 0 {
			t.Errorf("left in tmp: %q", left)
		}
	}
}

func TestDeliverModes(t *testing.T) {
	m, base := open(t, "%d/%n")
	if err := deliver(t, m, "alice@example.com", "octets"); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Join(base, "example.com"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if info.Mode() != want {
			t.Errorf("%s: %v, want %v", path, info.Mode(), want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDeliverManyAtOnce(t *testing.T) {
	const boxes, each = 10, 100
	m, base := open(t, "%d/%n")
	var wg sync.WaitGroup
	for i := range boxes * each {
		wg.Go(func() {
			if err := deliver(t, m, fmt.Sprintf("user%d@example.com", i%boxes), fmt.Sprintf("message %d\n", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for box := range boxes {
		got := messages(t, filepath.Join(base, "example.com", fmt.Sprint("user", box)))
		if len(got) != each {
			t.Errorf("mailbox %d has %d messages, want %d", box, len(got), each)
		}
		for _, message := range got {
			seen[message[strings.LastIndex(message, "message"):]] = true
		}
	}
	if len(seen) != boxes*each {
		t.Errorf("%d different messages, want %d", len(seen), boxes*each)
	}
}

func TestDeliverHostileEnvelope(t *testing.T) {
	m, base := open(t, "%n")
	for _, address := range []string{"a\r\nX: y@b", "a\nb", "a\x00b", "a>b", "<a", "a\x7f", "a\u2028b", "a\u0085", "\xff@b", strings.Repeat("a", 1000)} {
		for _, err := range []error{
			m.Deliver(t.Context(), address, "alice@example.com", nil),
			m.Deliver(t.Context(), "", address, nil),
		} {
			if !permanent(err) {
				t.Errorf("%q: %v", address, err)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00") {
				t.Errorf("%q: the error could forge a line of a log", address)
			}
		}
	}
	if names := entries(t, base); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
	if err := m.Deliver(t.Context(), "", "alice@example.com", nil); err != nil {
		t.Fatal(err)
	}
	if got := messages(t, filepath.Join(base, "alice")); !strings.HasPrefix(got[0], "Return-Path: <>\r\n") {
		t.Errorf("null sender: %q", got)
	}
}

// TestDeliverLink is about links that somebody with an account on the machine
// may have made.
func TestDeliverLink(t *testing.T) {
	m, base := open(t, "%d/%n")
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(base, "example.com")); err != nil {
		t.Fatal(err)
	}
	if err := deliver(t, m, "alice@example.com", "octets"); err == nil {
		t.Error("no error")
	}
	for user, link := range map[string]string{"ann": ".", "bea": "tmp", "cleo": "new"} {
		if err := deliver(t, m, user+"@example.org", "octets"); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(base, "example.org", user, link)
		if err := errors.Join(os.RemoveAll(at), os.Symlink(outside, at)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // with the Maildir remembered, and looked at anew
			if err := deliver(t, m, user+"@example.org", "octets"); err == nil {
				t.Errorf("no error with a link in the place of %s", link)
			}
		}
	}
	if names := entries(t, outside); len(names) != 0 {
		t.Errorf("written outside: %q", names)
	}
}

func TestRemembersLittle(t *testing.T) {
	m, _ := open(t, "%n")
	for i := range maxReady + 1 {
		m.remember(fmt.Sprint(i))
	}
	if len(m.ready) != 1 || !m.isReady(fmt.Sprint(maxReady)) {
		t.Errorf("%d Maildirs are remembered", len(m.ready))
	}
}

func BenchmarkDeliver(b *testing.B) {
	m, _ := open(b, "%d/%n")
	octets := [][]byte{bytes.Repeat([]byte("0123456\r\n"), 455)}
	for b.Loop() {
		if err := m.Deliver(b.Context(), "sender@example.org", "alice@example.com", octets); err != nil {
			b.Fatal(err)
		}
	}
}
