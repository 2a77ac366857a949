// Package dms_test runs what contrib/docker-mailserver ships: the fragments in
// real Dovecots, the aliases through awk.
package dms_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/program"
)

// homing is the user of its image.
const homing = 65532

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// homing delivers through the socket, its directory being as compose.override.yaml
// makes it, and somebody else does not.
func TestSocket(t *testing.T) {
	path := program.Build(t)
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			s := dovecot.Start(t, dovecot.Options{
				Version: version,
				Users:   []dovecot.User{{Name: "me@example.com"}},
				Config:  strings.ReplaceAll(read(t, fmt.Sprintf("dovecot-%s.cf", version)), "/run/homing-lmtp/", "@DIR@/state/"),
			})
			volume := filepath.Join(filepath.Dir(s.UnixSocket), "../state")
			if err := errors.Join(os.Chown(volume, 0, homing), os.Chmod(volume, 0o750)); err != nil {
				t.Fatal(err)
			}
			socket := filepath.Join(volume, "lmtp")
			demo := func(uid uint32) (string, error) {
				home := program.Open(t)
				if err := os.Chown(home, int(uid), int(uid)); err != nil {
					t.Fatal(err)
				}
				cmd := program.As(t, exec.CommandContext(t.Context(), path, "demo", "--to", "me@example.com"), uid, uid)
				cmd.Env = []string{"TMPDIR=" + home, "HOMING_DELIVER_TO=lmtp:" + socket}
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			if out, err := demo(homing + 1); err == nil || !strings.Contains(out, "permission denied") {
				t.Errorf("somebody else: %v\n%s", err, out)
			}
			if out, err := demo(homing); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := len(s.Mailbox(t, "me@example.com", "INBOX")); n == 0 {
				t.Error("no mail arrived")
			}
		})
	}
}

func TestRecipients(t *testing.T) {
	awk := neighbour.Program(t, "awk")
	file := filepath.Join(t.TempDir(), "postfix-virtual.cf")
	const aliases = `# mail aliases
@example.org me@example.com
Info@example.com me@example.com,you@example.com
sales@example.com   info@example.com, far@far.example

me@example.org me@example.org
a@example.com b@example.com
b@example.com a@example.com
ann@family.example ann@family.example,bea@family.example,cleo@family.example
bea@family.example ann@family.example,bea@family.example,cleo@family.example
cleo@family.example ann@family.example,bea@family.example,cleo@family.example
`
	if err := os.WriteFile(file, []byte(aliases), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), awk, "-f", "recipients.awk", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(out) > 2*len(aliases) {
		t.Errorf("%d bytes of rules are made of %d: what leads in a circle is followed more than once", len(out), len(aliases))
	}
	rules, err := courier.ParseRules(string(out))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for address, want := range map[string]string{
		"info@example.com":      "me@example.com you@example.com",
		"sales@example.com":     "me@example.com you@example.com far@far.example",
		"me@example.org":        "me@example.org",
		"me+work@example.org":   "me+work@example.org",
		"anything@example.org":  "me@example.com",
		"me@example.com":        "me@example.com",
		"untouched@example.com": "untouched@example.com",
		"a@example.com":         "a@example.com",
		"bea@family.example":    "ann@family.example cleo@family.example bea@family.example",
	} {
		if got := strings.Join(rules.Map(address), " "); got != want {
			t.Errorf("%s goes to %q, want %q\n%s", address, got, want, out)
		}
	}
}
