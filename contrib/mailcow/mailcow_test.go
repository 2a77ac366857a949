// Package mailcow_test runs what contrib/mailcow ships for Dovecot in a real one
// that has mailcow's settings around it, and shows its nginx the way to homing.
package mailcow_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/lmtp"
)

// settings are those of mailcow's dovecot.conf that meet extra.conf, with MySQL's
// dictionary of the users' filters as a file.
const settings = `
mail_location = maildir:~/
service dict {
  unix_listener dict {
    mode = 0666
  }
}
dict {
  sieve_before = file:@DIR@/state/sieve_before.dict
}
plugin {
  sieve_extensions = +notify +imapflags +vacation-seconds +editheader
  sieve_max_redirects = 100
  sieve_max_actions = 101
  sieve_before = /var/vmail/sieve/global_sieve_before.sieve
  sieve_before2 = dict:proxy::sieve_before;name=active;bindir=/var/vmail/sieve_before_bindir
  sieve_duplicate_default_period = 1m
  sieve_duplicate_max_period = 7d
}
`

// globalBefore files mail before any user's script, as mailcow's own does.
const globalBefore = `require ["mailbox", "fileinto"];
if header :contains ["Chat-Version"] [""] {
  fileinto :create "DeltaChat";
  stop;
}
`

// userFilter is a filter of the UI, in the file dictionary's format: a key and
// its value on a line each.
const userFilter = `priv/sieve/name/active
1
priv/sieve/data/1
require ["fileinto"]; if header :is "Subject" "filtered" { fileinto "Filtered"; stop; }
`

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func start(t *testing.T) *dovecot.Server {
	t.Helper()
	places := strings.NewReplacer("/etc/dovecot/", "@DIR@/sieve/", "/var/vmail/sieve_before_bindir", "@DIR@/tmp/bin", "/var/vmail/sieve/", "@DIR@/sieve/")
	return dovecot.Start(t, dovecot.Options{
		Version: dovecot.V23,
		Users:   []dovecot.User{{Name: "alice@example.com"}},
		Config:  places.Replace(settings + read(t, "extra.conf")),
		Files: map[string]string{
			"sieve/homing.sieve":              read(t, "../dovecot/homing.sieve"),
			"sieve/homing-spam.sieve":         read(t, "../dovecot/homing-spam.sieve"),
			"sieve/global_sieve_before.sieve": globalBefore,
			"state/sieve_before.dict":         userFilter,
		},
	})
}

// A repetition is turned away before any filter of mailcow's files it, and these
// filters still do their work.
func TestRepetitions(t *testing.T) {
	s := start(t)
	client := lmtp.New(lmtp.Config{Network: "unix", Address: s.UnixSocket, Name: "homing.test", Connections: 1})
	defer client.Close()
	deliver := func(id, header string) {
		t.Helper()
		mail := fmt.Sprintf("X-Homing-Id: %s\r\n%s\r\n\r\nbody\r\n", id, header)
		if err := client.Deliver(t.Context(), "", "alice@example.com", [][]byte{[]byte(mail)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		deliver("1", "Subject: plain")
		deliver("2", "Chat-Version: 1.0")
		deliver("3", "Subject: filtered")
		deliver("4", "X-Homing-Verdict: spam=FAIL")
	}
	for _, folder := range []string{"INBOX", "DeltaChat", "Filtered", "Junk"} {
		if n := len(s.Mailbox(t, "alice@example.com", folder)); n != 1 {
			t.Errorf("%s has %d mails, want 1\n%s", folder, n, s.Log())
		}
	}
	for line := range strings.Lines(s.Log()) {
		first := strings.Contains(line, "lda-dupes) failed: No such file or directory")
		if !first && (strings.Contains(line, "Error:") || strings.Contains(line, "Fatal:")) {
			t.Errorf("Dovecot is not content: %s", line)
		}
	}
}

// nginx takes the snippet inside a server, which is where mailcow includes it.
func TestNginx(t *testing.T) {
	nginx := neighbour.Program(t, "nginx")
	dir := t.TempDir()
	snippet, err := filepath.Abs("site.homing.custom")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("pid %[1]s/pid;\nerror_log %[1]s/log;\nevents {}\nhttp {\n\taccess_log off;\n\tserver {\n\t\tlisten unix:%[1]s/socket;\n\t\tinclude %[2]s;\n\t}\n}\n", dir, snippet)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), nginx, "-t", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
