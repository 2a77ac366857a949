package dovecot_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/sessmtp"
)

const (
	relayUser     = "AKIAIOSFODNN7EXAMPLE"
	relayPassword = "BLp0/kxM1+sTu9vW==x#y" // base64 has most of these
)

// letter is hard on a relay: dots, long lines, octets beyond ASCII.
var letter = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: alice@home.test\r\nTo: bob@far.test\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
	"Grüße\r\n.\r\n..\r\n.leading dot\r\n" + strings.Repeat("long ", 180) + "\r\nFrom the end\r\n"

// relaying is a Dovecot that takes submissions and hands them to endpoint.
type relaying struct {
	address string
}

// submission starts one with the fragment for its version, changed only in
// where SES is, who vouches for it, and where the credentials are.
func submission(t *testing.T, version dovecot.Version, endpoint *sessmtp.Server, authority []byte, password, mode string) relaying {
	t.Helper()
	address := neighbour.Address(t)
	_, port, _ := net.SplitHostPort(address)
	fragment := read(t, fmt.Sprintf("submission-%s.conf", version))
	for _, change := range []struct{ from, to string }{
		{"= email-smtp.eu-west-1.amazonaws.com\n", "= " + endpoint.Host + "\n"},
		{"\nsubmission_relay_port = 587\n", "\nsubmission_relay_port = " + endpoint.Port + "\n"},
		{"\nsubmission_relay_ssl = starttls\n", "\nsubmission_relay_ssl = " + mode + "\n"},
		{"\nssl_client_ca_dir = /etc/ssl/certs\n", "\nssl_client_ca_file = @DIR@/authority.pem\n"},
		{"\n!include /etc/dovecot/ses-credentials\n", "\n!include @DIR@/ses-credentials\n"},
	} {
		if strings.Count(fragment, change.from) != 1 {
			t.Fatalf("the fragment does not say %q once", change.from)
		}
		fragment = strings.Replace(fragment, change.from, change.to, 1)
	}
	listeners := `
protocols = lmtp imap submission
service submission-login {
  inet_listener submission {
    port = ` + port + `
  }
  inet_listener submissions {
    port = 0
  }
}
`
	dovecot.Start(t, dovecot.Options{
		Version: version, Users: []dovecot.User{{Name: "alice@home.test"}},
		Config: listeners + fragment,
		Files: map[string]string{
			"authority.pem":   string(authority),
			"ses-credentials": "submission_relay_user = " + relayUser + "\nsubmission_relay_password = \"" + password + "\"\n",
		},
	})
	return relaying{address}
}

// send sends a letter as a mail program would, and returns what was said.
func (r relaying) send(t *testing.T, from string) (dialogue string, sent bool) {
	t.Helper()
	swaks := neighbour.Program(t, "swaks")
	file := filepath.Join(t.TempDir(), "letter")
	if err := os.WriteFile(file, []byte(letter), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), swaks, "--server", r.address, "--auth", "PLAIN", "--auth-user", "alice@home.test",
		"--auth-password", dovecot.Password, "--from", from, "--to", "bob@far.test,carol@far.test", "--data", "@"+file)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func TestSubmissionThroughSES(t *testing.T) {
	for _, version := range dovecot.Versions() {
		for mode, implicit := range map[string]bool{"starttls": false, "smtps": true} {
			t.Run(string(version)+"/"+mode, func(t *testing.T) {
				ses := sessmtp.Start(t, sessmtp.Config{User: relayUser, Password: relayPassword, Verified: []string{"home.test"}, Implicit: implicit})
				r := submission(t, version, ses, ses.Authority, relayPassword, mode)

				if dialogue, sent := r.send(t, "alice@home.test"); !sent {
					t.Fatalf("not sent:\n%s", dialogue)
				}
				got := ses.Messages()
				if len(got) != 1 || got[0].Sender != "alice@home.test" || !slices.Equal(got[0].Recipients, []string{"bob@far.test", "carol@far.test"}) {
					t.Fatalf("SES got %+v", got)
				}
				// swaks ends what it sends with one more line end.
				if !bytes.HasSuffix(got[0].Octets, []byte("\r\n"+letter+"\r\n")) {
					t.Errorf("SES got\n%q, want at its end\n%q", got[0].Octets, letter)
				}

				dialogue, sent := r.send(t, "alice@elsewhere.test")
				if sent || !strings.Contains(dialogue, "554 ") || !strings.Contains(dialogue, "not verified") {
					t.Errorf("SES's refusal did not reach the client:\n%s", dialogue)
				}
				if n := len(ses.Messages()); n != 1 {
					t.Errorf("SES has %d messages, want 1", n)
				}
			})
		}
	}
}

// What is wrong with the relay reaches the client, and no mail or password goes
// to a stranger.
func TestSubmissionRefusedBySES(t *testing.T) {
	for _, version := range dovecot.Versions() {
		t.Run(string(version)+"/credentials", func(t *testing.T) {
			ses := sessmtp.Start(t, sessmtp.Config{User: relayUser, Password: relayPassword, Verified: []string{"home.test"}})
			r := submission(t, version, ses, ses.Authority, "another", "starttls")
			if dialogue, sent := r.send(t, "alice@home.test"); sent || len(ses.Messages()) > 0 {
				t.Errorf("sent with wrong credentials:\n%s", dialogue)
			}
		})
		t.Run(string(version)+"/certificate", func(t *testing.T) {
			ses := sessmtp.Start(t, sessmtp.Config{User: relayUser, Password: relayPassword, Verified: []string{"home.test"}})
			stranger := sessmtp.Start(t, sessmtp.Config{})
			r := submission(t, version, ses, stranger.Authority, relayPassword, "starttls")
			if dialogue, sent := r.send(t, "alice@home.test"); sent || ses.Sessions() > 0 {
				t.Errorf("sent to a server that nobody vouches for:\n%s", dialogue)
			}
		})
	}
}
