package lmtp

import (
	"errors"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name, address string
		fine          bool
	}{
		{"plain", "alice@example.com", true},
		{"detail", "alice+work@example.com", true},
		{"no domain", "alice", true},
		{"odd but harmless", "prvs=1234/x!#$%&'*{}|~^`?@example.com", true},
		{"literal", "alice@[192.0.2.1]", true},
		{"two ats", `"a@b"@example.com`, true},
		{"longer than RFC 5321 has to allow", strings.Repeat("v", 100) + "@example.com", true},
		{"longest", strings.Repeat("v", 64) + "@" + long[:255], true},
		{"too long", strings.Repeat("v", 65) + "@" + long[:255], false},
		{"domain too long", "v@" + long[:256], false},
		{"too long without domain", long + long, false},
		{"CR LF and a command", "alice@example.com>\r\nRCPT TO:<mallory@example.com", false},
		{"LF", "alice\n@example.com", false},
		{"CR", "alice\r@example.com", false},
		{"NUL", "alice\x00@example.com", false},
		{"DEL", "alice\x7f@example.com", false},
		{"tab", "alice\t@example.com", false},
		{"space and a parameter", "alice@example.com> SIZE=1", false},
		{"space", "alice smith@example.com", false},
		{"quoted space", `"alice smith"@example.com`, false},
		{"closing bracket", "alice>@example.com", false},
		{"opening bracket", "<alice@example.com", false},
		{"UTF-8", "ålice@example.com", false},
		{"Latin-1", "\xe5lice@example.com", false},
		{"nothing before @", "@example.com", false},
		{"source route", "@a.test,@b.test:alice@example.com", false},
		{"nothing after @", "alice@", false},
		{"only @", "@", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, err := range []error{checkEnvelope(tt.address, "bob"), checkEnvelope("", tt.address)} {
				if (err == nil) != tt.fine {
					t.Errorf("got %v", err)
				}
				if err != nil && (!isPermanent(err) || strings.ContainsAny(err.Error(), "\r\n\x00")) {
					t.Errorf("got %q", err)
				}
			}
		})
	}
}

func TestEmptyAddresses(t *testing.T) {
	if err := checkEnvelope("", ""); !isPermanent(err) {
		t.Errorf("an empty mailbox: got %v", err)
	}
	if err := checkEnvelope("", "alice"); err != nil {
		t.Errorf("the null sender: got %v", err)
	}
}

// Nothing is dialled, let alone written, for an address that cannot be said.
func TestDeliverRefusesAddresses(t *testing.T) {
	play(t, nil, func(t *testing.T, th *theatre) {
		for _, envelope := range [][2]string{{"a@x.test", "bob>\r\nDATA"}, {"a\n@x.test", "bob"}, {"", ""}} {
			err := th.Deliver(t.Context(), envelope[0], envelope[1], mail())
			if _, ok := errors.AsType[*AddressError](err); !ok || th.dials > 0 {
				t.Errorf("%q: got %v after %d dials", envelope, err, th.dials)
			}
		}
	})
}

func TestLaneKey(t *testing.T) {
	tests := []struct{ mailbox, want string }{
		{"alice@example.com", "alice@example.com"},
		{"Alice@Example.COM", "alice@example.com"},
		{"alice+work@example.com", "alice@example.com"},
		{"alice+a+b@example.com", "alice@example.com"},
		{"+work@example.com", "+work@example.com"},
		{"alice", "alice"},
		{"ALICE+work", "alice"},
		{`"a@b"+c@example.com`, `"a@b"@example.com`},
		{"alice@a+b.example", "alice@a+b.example"},
	}
	for _, tt := range tests {
		if got := laneKey(tt.mailbox); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.mailbox, got, tt.want)
		}
	}
}

// Whatever address passes, the envelope is three lines that say what they should.
func FuzzAddress(f *testing.F) {
	f.Add("a@x.test", "bob@y.test")
	f.Add("", "bob")
	f.Add("a\r\nRSET", "bob>\nDATA\n")
	f.Add(`"a b"@x`, "b@")
	f.Fuzz(func(t *testing.T, sender, mailbox string) {
		if checkEnvelope(sender, mailbox) != nil {
			return
		}
		tr := &transaction{sender: sender, mailbox: mailbox}
		got := string(tr.appendEnvelope(nil, true))
		lines := strings.SplitAfter(got, "\r\n")
		if len(lines) != 4 || lines[3] != "" || strings.Count(got, "\n") != 3 || strings.Count(got, "\r") != 3 {
			t.Fatalf("not three lines: %q", got)
		}
		if strings.Count(got, "<") != 2 || strings.Count(got, ">") != 2 || strings.Count(got, " ") != 3 {
			t.Fatalf("an address left its brackets: %q", got)
		}
		for _, line := range lines {
			if len(line) > 512 { // RFC 5321, 4.5.3.1.4
				t.Fatalf("a command of %d octets", len(line))
			}
		}
	})
}
