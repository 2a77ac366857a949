package maildir

import (
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, mailbox string
		base, dir        string
	}{
		{"/srv/mail/%d/%n", "alice@example.com", "/srv/mail", "example.com/alice"},
		{"/srv/mail/%d/%n", "alice+work@example.com", "/srv/mail", "example.com/alice"},
		{"/srv/mail/%u", "alice+work+more@example.com", "/srv/mail", "alice@example.com"},
		{"/srv/mail/%u/Maildir", "alice", "/srv/mail", "alice/Maildir"},
		{"/home/%n/Maildir/", "alice@example.com", "/home", "alice/Maildir"},
		{"/home/%n/.mail", "alice@example.com", "/home", "alice/.mail"},
		{"/%d-%n", "alice@example.com", "/", "example.com-alice"},
		{"//srv//%n", "alice@example.com", "/srv", "alice"},
		{"/srv/mail", "alice@example.com", "/srv", "mail"},
		{"/mail", "alice@example.com", "/", "mail"},
		{"/srv/100%%/%n%%", "alice@example.com", "/srv/100%", "alice%"},
		{"/srv/%n", `"a b"@example.com`, "/srv", `"a b"`},
		{"/srv/%n", "grüße@example.com", "/srv", "grüße"},
		{"/srv/%n@%d", "a@b@example.com", "/srv", "a@b@example.com"},
		{"/srv/%n", "a..b@example.com", "/srv", "a..b"},
		{"/srv/%n", strings.Repeat("a", 255) + "@example.com", "/srv", strings.Repeat("a", 255)},
	} {
		base, parts, err := parse(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		dir, err := parts.expand(test.mailbox)
		if err != nil || base != test.base || dir != test.dir {
			t.Errorf("%s, %s: %q below %q, want %q below %q: %v", test.pattern, test.mailbox, dir, base, test.dir, test.base, err)
		}
	}
}

func TestPatternWrong(t *testing.T) {
	for _, pattern := range []string{"", "/", "//", "mail/%n", "%n", "/srv/../%n", "/srv/./%n", "/srv/%x", "/srv/%", "/srv/%n\n", "/srv/\x00"} {
		if _, err := New(pattern); err == nil || !strings.HasPrefix(err.Error(), "maildir pattern") {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func TestHostileMailboxes(t *testing.T) {
	_, parts, err := parse("/srv/%d/%n/%u")
	if err != nil {
		t.Fatal(err)
	}
	for _, mailbox := range []string{
		"", "@", "a@", "@b", "+x@b", "a", "..@b", "a@..", ".@b", ".a@b", "a@.b", "../x@b", "a/b@c", "/a@b", "a@/b", "a@b/..",
		"a\x00@b", "a\n@b", "a@b\r", "a\x7f@b", "a\u202e@b", "a\u00a0@b", "a\xff@b", "...@b",
		strings.Repeat("a", 256) + "@b", "a@" + strings.Repeat("b", 256), strings.Repeat("a", 200) + "@" + strings.Repeat("b", 200),
	} {
		if dir, err := parts.expand(mailbox); !permanent(err) {
			t.Errorf("%q became %q: %v", mailbox, dir, err)
		}
	}
}

// FuzzPath is about what a mailbox may do with a path: be one name in it.
func FuzzPath(f *testing.F) {
	for _, mailbox := range []string{"alice+work@example.com", "alice", "../..@..", "a/b@c", ".@.", "\x00@\n", "ü@ü", "a@b@c"} {
		f.Add("/srv/mail/%d/%n", mailbox)
		f.Add("/%u", mailbox)
		f.Add("/a/%n%%/.%d/b", mailbox)
	}
	f.Fuzz(func(t *testing.T, pattern, mailbox string) {
		base, parts, err := parse(pattern)
		if err != nil {
			return
		}
		if !filepath.IsAbs(base) || path.Clean(base) != base {
			t.Fatalf("%q: base %q", pattern, base)
		}
		dir, err := parts.expand(mailbox)
		if err != nil {
			if !permanent(err) {
				t.Fatalf("%q: %v may pass?", mailbox, err)
			}
			return
		}
		if !filepath.IsLocal(dir) || path.Clean(dir) != dir || !printable(dir) || len(strings.Split(dir, "/")) != len(parts) {
			t.Fatalf("%q, %q: %q", pattern, mailbox, dir)
		}
		for name := range strings.SplitSeq(dir, "/") {
			if len(name) > maxName {
				t.Fatalf("%q, %q: a name of %d bytes", pattern, mailbox, len(name))
			}
		}
	})
}
