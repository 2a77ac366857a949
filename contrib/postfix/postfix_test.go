// Package postfix_test runs what contrib/postfix ships in a real Postfix.
package postfix_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/sessmtp"
)

const (
	user     = "AKIAIOSFODNN7EXAMPLE"
	password = "BLp0/kxM1+sTu9vW=="
	letter   = "Date: Sun, 22 Nov 2026 05:00:00 +0000\r\nMessage-ID: <1@home.test>\r\nSubject: relay\r\nFrom: alice@home.test\r\nTo: bob@far.test\r\n\r\nGrüße\r\n.\r\n..\r\n.dot\r\n"
)

// services are the least that takes mail, relays it and logs what became of it;
// none in a chroot.
const services = `%s inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// relay is a running Postfix.
type relay struct{ dir, address string }

// start runs one with the fragment, changed only in where SES is and where the
// files are.
func start(t *testing.T, ses *sessmtp.Server, authority []byte, secret string) *relay {
	t.Helper()
	if os.Geteuid() != 0 {
		neighbour.Missing(t, "root", "only root can run Postfix")
	}
	program := neighbour.Program(t, "postfix")
	dir := outOfTheWay(t)
	fragment, err := os.ReadFile("ses-relay.cf")
	if err != nil {
		t.Fatal(err)
	}
	config := string(fragment)
	for from, to := range map[string]string{
		"\nrelayhost = [email-smtp.eu-west-1.amazonaws.com]:587\n":            "\nrelayhost = [" + ses.Host + "]:" + ses.Port + "\n",
		"\nsmtp_sasl_password_maps = texthash:/etc/postfix/ses-credentials\n": "\nsmtp_sasl_password_maps = texthash:" + dir + "/ses-credentials\n",
		"\nsmtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt\n":            "\nsmtp_tls_CAfile = " + dir + "/authority.pem\n",
	} {
		if strings.Count(config, from) != 1 {
			t.Fatalf("the fragment does not say %q once", from)
		}
		config = strings.Replace(config, from, to, 1)
	}
	r := &relay{dir: dir}
	if r.address, err = neighbour.Address(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_host_lookup = native
myhostname = relay.home.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
`, dir)+config)
	write(t, dir, "master.cf", fmt.Sprintf(services, r.address))
	write(t, dir, "authority.pem", string(authority))
	write(t, dir, "ses-credentials", "["+ses.Host+"]:"+ses.Port+" "+user+":"+secret+"\n")
	r.run(t, program, "start")
	t.Cleanup(func() { r.run(t, program, "stop") })
	return r
}

// outOfTheWay is a directory that Postfix's own user may enter.
func outOfTheWay(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"", "queue", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "chown", "postfix", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func (r *relay) run(t *testing.T, program, command string) {
	t.Helper()
	if out, err := exec.Command(program, "-c", r.dir, command).CombinedOutput(); err != nil {
		t.Fatalf("postfix %s: %v\n%s\n%s", command, err, out, r.log(t))
	}
}

func (r *relay) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	return string(text)
}

// await waits until the log says so.
func (r *relay) await(t *testing.T, words string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	limit := time.After(time.Minute)
	for !strings.Contains(r.log(t), words) {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("Postfix never said %q:\n%s", words, r.log(t))
		}
	}
}

func (r *relay) send(t *testing.T, from string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "letter")
	write(t, filepath.Dir(file), "letter", letter)
	swaks := neighbour.Program(t, "swaks")
	cmd := exec.CommandContext(t.Context(), swaks, "--server", r.address, "--from", from, "--to", "bob@far.test", "--data", "@"+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, r.log(t))
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func known() sessmtp.Config {
	return sessmtp.Config{User: user, Password: password, Verified: []string{"home.test"}}
}

func TestRelayThroughSES(t *testing.T) {
	ses := sessmtp.Start(t, known())
	r := start(t, ses, ses.Authority, password)

	r.send(t, "alice@home.test")
	r.await(t, "status=sent")
	got := ses.Messages()
	if len(got) != 1 || got[0].Sender != "alice@home.test" || !bytes.Contains(got[0].Octets, []byte("\r\n"+letter)) {
		t.Errorf("SES got %q", got)
	}

	r.send(t, "alice@elsewhere.test")
	r.await(t, "status=bounced")
	if !strings.Contains(r.log(t), "Email address is not verified") {
		t.Errorf("SES's words are not in the log:\n%s", r.log(t))
	}
}

// What is wrong with the relay leaves mail in the queue, and no mail or password
// goes to a stranger.
func TestRelayRefused(t *testing.T) {
	t.Run("credentials", func(t *testing.T) {
		ses := sessmtp.Start(t, known())
		r := start(t, ses, ses.Authority, "another")
		r.send(t, "alice@home.test")
		r.await(t, "status=deferred")
	})
	t.Run("certificate", func(t *testing.T) {
		ses, stranger := sessmtp.Start(t, known()), sessmtp.Start(t, sessmtp.Config{})
		r := start(t, ses, stranger.Authority, password)
		r.send(t, "alice@home.test")
		r.await(t, "status=deferred")
		if ses.Sessions() > 0 {
			t.Error("the password was shown to a server that nobody vouches for")
		}
	})
}
