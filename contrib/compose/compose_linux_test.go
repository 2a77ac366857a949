// Package compose_test runs the Dovecot of compose.yaml as its image does, by an
// unprivileged user, and homing as another one that only the volume's mode lets in.
package compose_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/debian"
	"github.com/homing-mail/homing/internal/program"
)

// standIn is what the image dovecot/dovecot:2.4 has around the mounted files. Its
// programs have the capability to chroot, this Debian's have not.
const standIn = `
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = /run/dovecot
state_dir = /run/dovecot
log_path = /dev/stderr
protocols = lmtp
ssl = no
default_internal_user = vmail
default_internal_group = vmail
default_login_user = vmail
mail_driver = maildir
mail_path = ~/mail
mail_home = /srv/vmail/%{user | lower}
mail_uid = vmail
mail_gid = vmail
service anvil {
  chroot =
}
service stats {
  chroot =
}
namespace inbox {
  inbox = yes
  separator = /
}
`

// The users of the two images.
const (
	vmail  = 1000
	homing = 65532
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// place is a running Dovecot.
type place struct {
	mail   string // its volume of mail
	socket string
}

// startDovecot starts it with the files that compose.yaml mounts.
func startDovecot(t *testing.T) place {
	t.Helper()
	root := debian.New(t)
	config := standIn
	mounted := regexp.MustCompile(`(?m)^ +- (\.\S+):(/etc/dovecot/\S+):ro$`).FindAllStringSubmatch(read(t, "compose.yaml"), -1)
	for _, m := range mounted {
		write(t, filepath.Join(root.Changes, m[2]), read(t, m[1]))
		if strings.HasPrefix(m[2], "/etc/dovecot/conf.d/") {
			config += "!include " + m[2] + "\n"
		}
	}
	if len(mounted) != 5 {
		t.Fatalf("compose.yaml mounts %d files for Dovecot, want 5", len(mounted))
	}
	write(t, filepath.Join(root.Changes, "etc/dovecot/dovecot.conf"), config)
	p := place{mail: volume(t, vmail, vmail, 0o700)}
	sockets := volume(t, vmail, homing, 0o750) // as driver_opts make it
	p.socket = filepath.Join(sockets, "lmtp")
	root.Bind(t, p.mail, "/srv/vmail")
	root.Bind(t, sockets, "/run/homing-lmtp")
	root.Run(t, fmt.Sprintf("useradd -u %d vmail; mkdir -p /run/dovecot; chown vmail: /run/dovecot", vmail))

	var log strings.Builder
	dovecot := root.Command(t.Context(), "chroot", "--userspec=vmail:vmail", "/", "dovecot", "-F")
	dovecot.Stdout, dovecot.Stderr = &log, &log
	dovecot.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := dovecot.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dovecot.Process.Signal(syscall.SIGTERM)
		_ = dovecot.Wait() // its log says more than its exit code
		for line := range strings.Lines(log.String()) {
			// At a user's very first mail the home is not there yet for the database.
			if strings.Contains(line, "Error:") && !strings.Contains(line, "lda-dupes) failed: No such file or directory") {
				t.Errorf("Dovecot is not content: %s", line)
			}
		}
		if t.Failed() {
			t.Logf("Dovecot says:\n%s", log.String())
		}
	})
	await(t, p.socket)
	return p
}

func volume(t *testing.T, uid, gid int, mode os.FileMode) string {
	t.Helper()
	dir := program.Open(t)
	if err := errors.Join(os.Chown(dir, uid, gid), os.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func await(t *testing.T, socket string) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.After(3 * time.Minute); ; {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return
		}
		select {
		case <-end:
			t.Fatal("Dovecot makes no socket")
		case <-again.C:
		}
	}
}

// settings are the lines of homing.env, which Docker Compose reads as they are.
func settings(t *testing.T) (environ []string) {
	for line := range strings.Lines(read(t, "homing.env")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			environ = append(environ, line)
		}
	}
	return environ
}

func TestDelivery(t *testing.T) {
	path := program.Build(t)
	p := startDovecot(t)
	demo := func(gid uint32) (string, error) {
		cmd := program.As(t, exec.CommandContext(t.Context(), path, "demo", "--to", "anything@example.com"), homing, gid)
		cmd.Env = append(settings(t), "HOMING_DELIVER_TO=lmtp:"+p.socket, "TMPDIR="+volume(t, homing, homing, 0o700))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := demo(homing + 1); err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("a user who is not homing: %v\n%s", err, out)
	}
	if out, err := demo(homing); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if mails, err := filepath.Glob(p.mail + "/you@example.com/mail/new/*"); err != nil || len(mails) < 2 {
		t.Errorf("%d mails arrived, %v", len(mails), err)
	}
}
