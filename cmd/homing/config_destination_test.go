package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseDestination(t *testing.T) {
	unix := func(path string) destination { return destination{network: "unix", address: path} }
	tcp := func(address string) destination { return destination{network: "tcp", address: address} }
	longest := "/" + strings.Repeat("x", maxSocketPath-1)
	checkParser(t, parseDestination, append(bad[destination](
		"", "lmtp", "dovecot:24", "/run/dovecot/lmtp", "smtp://dovecot:25", "LMTP://dovecot:24", "unix:/run/dovecot/lmtp", "lmtps:/run/dovecot/lmtp",
		"lmtp:", "lmtp:run/lmtp", "lmtp:/run/\x00", "lmtp:/run/lmtp\n", "lmtp:"+longest+"x",
		"lmtp://", "lmtp://dovecot", "lmtp://:24", "lmtp://dovecot:", "lmtp://dovecot:0", "lmtp://dovecot:65536", "lmtp://dovecot:lmtp", "lmtp://dovecot:+24",
		"lmtp://dovecot:24/", "lmtp://dovecot:24/x", "lmtp://user@dovecot:24", "lmtp://do vecot:24", "lmtp://::1:24", "lmtp://[::1]", "lmtp://[::1]24",
		"lmtp://[dovecot:24", "lmtp://do\nvecot:24", "lmtp://-x:24", "lmtp:///run/dovecot/lmtp", "lmtps://", "lmtps://dovecot",
		"lmtp://"+strings.Repeat("x", 254)+":24",
		"maildir:", "maildir:mail/%n", "maildir:~/Maildir", "maildir:/mail/%", "maildir:/mail/%x", "maildir:/mail/%%n", "maildir:/mail/../%n", "maildir:/mail/%n/..",
		"maildir:/mail/\n%n", "\xff"),
		good("lmtp:/run/dovecot/lmtp", unix("/run/dovecot/lmtp")),
		good("lmtp:"+longest, unix(longest)),
		good("lmtp://dovecot:24", tcp("dovecot:24")),
		good("lmtp://dovecot_1:1", tcp("dovecot_1:1")),
		good("lmtp://mail.example.com:65535", tcp("mail.example.com:65535")),
		good("lmtp://127.0.0.1:24", tcp("127.0.0.1:24")),
		good("lmtp://[::1]:24", tcp("[::1]:24")),
		good("lmtp://[fe80::1%eth0]:24", tcp("[fe80::1%eth0]:24")),
		good("lmtps://dovecot:2424", destination{network: "tcp", address: "dovecot:2424", tls: true}),
		good("maildir:/var/mail/%d/%n", destination{maildir: "/var/mail/%d/%n"}),
		good("maildir:/var/mail//%u/", destination{maildir: "/var/mail/%u"}),
		good("maildir:/home/me/..Maildir", destination{maildir: "/home/me/..Maildir"}),
	)...)
}

func TestMissingPortIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"lmtp://dovecot":           "lmtp://dovecot:24",
		"lmtps://dovecot":          "lmtps://dovecot:24",
		"lmtp://::1":               "lmtp://[::1]:24",
		"lmtp:///run/dovecot/lmtp": "one slash",
	} {
		if _, err := parseDestination(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a hint with %s", text, err, want)
		}
	}
}

func TestDestinationString(t *testing.T) {
	for _, text := range []string{"lmtp:/run/dovecot/lmtp", "lmtp://dovecot:24", "lmtps://[::1]:24", "maildir:/mail/%d/%n"} {
		if d, err := parseDestination(text); err != nil || d.String() != text {
			t.Errorf("%s is shown as %v, %v", text, d, err)
		}
	}
}

func FuzzParseDestination(f *testing.F) {
	for _, seed := range []string{"lmtp:/run/dovecot/lmtp", "lmtp://dovecot:24", "lmtps://[::1]:24", "maildir:/mail/%d/%n", "lmtp://a:b:24", "maildir:/%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDestination(text)
		if err != nil {
			return
		}
		if hasControl(d.address) || hasControl(d.maildir) {
			t.Errorf("%q has control characters: %+v", text, d)
		}
		switch d.network {
		case "unix":
			if !filepath.IsAbs(d.address) || d.tls || d.maildir != "" {
				t.Errorf("%q: %+v", text, d)
			}
		case "tcp":
			host, port, err := net.SplitHostPort(d.address)
			if err != nil || host == "" || port == "" || d.maildir != "" {
				t.Errorf("%q: %+v: %v", text, d, err)
			}
		default:
			if !filepath.IsAbs(d.maildir) || d.tls || d.address != "" {
				t.Errorf("%q: %+v", text, d)
			}
		}
		if again, err := parseDestination(d.String()); err != nil || d != again {
			t.Errorf("%q: %v, and that again is %v, %v", text, d, again, err)
		}
	})
}
