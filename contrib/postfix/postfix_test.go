// Package postfix_test runs what contrib/postfix ships in a real Postfix.
package postfix_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/postfix"
	"github.com/homing-mail/homing/internal/sessmtp"
)

const (
	user     = "AKIAIOSFODNN7EXAMPLE"
	password = "BLp0/kxM1+sTu9vW=="
	letter   = "Date: Sun, 22 Nov 2026 05:00:00 +0000\r\nMessage-ID: <1@home.test>\r\nSubject: relay\r\nFrom: alice@home.test\r\nTo: bob@far.test\r\n\r\nGrüße\r\n.\r\n..\r\n.dot\r\n"
)

// start runs a Postfix with the fragment, changed only in where SES is and where
// the files are.
func start(t *testing.T, ses *sessmtp.Server, authority []byte, secret string) *postfix.Server {
	t.Helper()
	fragment, err := os.ReadFile("ses-relay.cf")
	if err != nil {
		t.Fatal(err)
	}
	config := string(fragment)
	for from, to := range map[string]string{
		"\nrelayhost = [email-smtp.eu-west-1.amazonaws.com]:587\n":            "\nrelayhost = [" + ses.Host + "]:" + ses.Port + "\n",
		"\nsmtp_sasl_password_maps = texthash:/etc/postfix/ses-credentials\n": "\nsmtp_sasl_password_maps = texthash:@DIR@/ses-credentials\n",
		"\nsmtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt\n":            "\nsmtp_tls_CAfile = @DIR@/authority.pem\n",
	} {
		if strings.Count(config, from) != 1 {
			t.Fatalf("the fragment does not say %q once", from)
		}
		config = strings.Replace(config, from, to, 1)
	}
	return postfix.Start(t, postfix.Options{Main: config, Files: map[string]string{
		"authority.pem":   string(authority),
		"ses-credentials": "[" + ses.Host + "]:" + ses.Port + " " + user + ":" + secret + "\n",
	}})
}

func send(t *testing.T, r *postfix.Server, from string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "letter")
	if err := os.WriteFile(file, []byte(letter), 0o644); err != nil {
		t.Fatal(err)
	}
	swaks := neighbour.Program(t, "swaks")
	cmd := exec.CommandContext(t.Context(), swaks, "--server", r.Address, "--from", from, "--to", "bob@far.test", "--data", "@"+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, r.Log(t))
	}
}

func known() sessmtp.Config {
	return sessmtp.Config{User: user, Password: password, Verified: []string{"home.test"}}
}

func TestRelayThroughSES(t *testing.T) {
	ses := sessmtp.Start(t, known())
	r := start(t, ses, ses.Authority, password)

	send(t, r, "alice@home.test")
	r.Await(t, "status=sent")
	got := ses.Messages()
	if len(got) != 1 || got[0].Sender != "alice@home.test" || !bytes.Contains(got[0].Octets, []byte("\r\n"+letter)) {
		t.Errorf("SES got %q", got)
	}

	send(t, r, "alice@elsewhere.test")
	r.Await(t, "status=bounced")
	if !strings.Contains(r.Log(t), "Email address is not verified") {
		t.Errorf("SES's words are not in the log:\n%s", r.Log(t))
	}
}

// What is wrong with the relay leaves mail in the queue, and no mail or password
// goes to a stranger.
func TestRelayRefused(t *testing.T) {
	t.Run("credentials", func(t *testing.T) {
		ses := sessmtp.Start(t, known())
		r := start(t, ses, ses.Authority, "another")
		send(t, r, "alice@home.test")
		r.Await(t, "status=deferred")
	})
	t.Run("certificate", func(t *testing.T) {
		ses, stranger := sessmtp.Start(t, known()), sessmtp.Start(t, sessmtp.Config{})
		r := start(t, ses, stranger.Authority, password)
		send(t, r, "alice@home.test")
		r.Await(t, "status=deferred")
		if ses.Sessions() > 0 {
			t.Error("the password was shown to a server that nobody vouches for")
		}
	})
}
