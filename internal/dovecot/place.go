package dovecot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
)

// program is where Debian puts Dovecot, in the chroot too.
const program = "/usr/sbin/dovecot"

// locate returns the root directory that holds this version of Dovecot, empty
// for the machine's own.
func locate(tb testing.TB, version Version) string {
	tb.Helper()
	switch version {
	case V23:
		requireHost(tb)
		return ""
	case V24:
		return neighbour.Trixie(tb, "Dovecot 2.4", program)
	}
	tb.Fatalf("no such version of Dovecot: %q", version)
	return ""
}

func requireHost(tb testing.TB) {
	tb.Helper()
	const hint = "on Debian 12, ./test.sh as root installs it"
	if _, err := os.Stat(program); err != nil {
		neighbour.Missing(tb, "Dovecot 2.3", hint)
	}
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		tb.Fatalf("%s --version: %v", program, err)
	}
	if !strings.HasPrefix(string(out), string(V23)) {
		neighbour.Missing(tb, fmt.Sprintf("Dovecot 2.3 (%s is %s)", program, strings.TrimSpace(string(out))), hint)
	}
}

// lay makes the server's directory. Its path is short, and not the test's own
// temporary directory, because a unix socket's path has at most 107 bytes.
func (s *Server) lay() error {
	base := "/tmp"
	if s.root != "" {
		base = filepath.Join(s.root, "srv")
	}
	dir, err := os.MkdirTemp(base, "dovecot-")
	if err != nil {
		return err
	}
	s.dir, s.inside = dir, strings.TrimPrefix(dir, s.root)
	s.MailRoot = filepath.Join(dir, "mail")
	s.UnixSocket = filepath.Join(dir, "run", "lmtp")
	if len(s.UnixSocket) > 107 {
		return fmt.Errorf("the path of the LMTP socket is too long, choose a shorter NEIGHBOUR_TRIXIE: %s", s.UnixSocket)
	}
	// Dovecot's unprivileged processes have to pass through.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"run", "state"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	// Dovecot keeps a script's compiled form beside it, hence "sieve" here.
	for _, name := range []string{"mail", "tmp", "sieve"} {
		if err := s.makeOwned(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return s.writeFiles()
}

func (s *Server) writeFiles() error {
	if err := s.writeUsers(s.passwd()); err != nil {
		return err
	}
	for name, content := range s.options.Files {
		if err := s.writeOwned(filepath.Join(s.dir, name), content); err != nil {
			return err
		}
	}
	if s.options.SieveBefore != "" {
		if err := s.writeOwned(filepath.Join(s.dir, "sieve", "before.sieve"), s.options.SieveBefore); err != nil {
			return err
		}
	}
	for _, user := range s.options.Users {
		if err := s.writeSieve(user); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) writeSieve(user User) error {
	if user.Sieve == "" {
		return nil
	}
	local, domain, _ := strings.Cut(user.Name, "@")
	home := filepath.Join(s.MailRoot, domain, local)
	for _, dir := range []string{filepath.Dir(home), home} {
		if err := s.makeOwned(dir); err != nil {
			return err
		}
	}
	return s.writeOwned(filepath.Join(home, ".dovecot.sieve"), user.Sieve)
}

// makeOwned makes a directory that Dovecot's mail processes may write.
func (s *Server) makeOwned(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chown(dir, s.mailUID(), s.mailGID())
}

// writeOwned writes a file that belongs to the mail user.
func (s *Server) writeOwned(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Chown(path, s.mailUID(), s.mailGID())
}

// mailUID is the user whom all mail belongs to: one without a name when we are
// root, ourselves otherwise.
func (s *Server) mailUID() int {
	if s.rootless() {
		return os.Geteuid()
	}
	return 5000
}

func (s *Server) mailGID() int {
	if s.rootless() {
		return os.Getegid()
	}
	return 5000
}

func (s *Server) rootless() bool { return os.Geteuid() != 0 }
