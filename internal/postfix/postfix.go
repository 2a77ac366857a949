// Package postfix runs real Postfix servers for tests, each in a directory of its
// own and on a port that the kernel chose.
package postfix

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// patience is how long anything may take that is waited for.
const patience = 3 * time.Minute

// services are the least that takes mail, passes it on and logs what became of
// it; none in a chroot.
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
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// base is what every server here has.
const base = `compatibility_level = 3.6
queue_directory = @DIR@/queue
data_directory = @DIR@/data
maillog_file = @DIR@/log
maillog_file_prefixes = @DIR@
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_host_lookup = native
myhostname = postfix.home.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
`

// Options say what a server is like.
type Options struct {
	// Main is added to main.cf; what it sets again wins. @DIR@ in it stands for the
	// server's directory.
	Main string
	// Files are made there, by name.
	Files map[string]string
}

// Server is a running Postfix.
type Server struct {
	Address string // of its smtpd, host:port
	dir     string
}

// Start runs a Postfix until the test ends. Where it is not installed, or not
// allowed, it ends the test as package neighbour does.
func Start(tb testing.TB, options Options) *Server {
	tb.Helper()
	if os.Geteuid() != 0 {
		neighbour.Missing(tb, "root", "only root can run Postfix")
	}
	program := neighbour.Program(tb, "postfix")
	s := &Server{}
	if err := s.lay(tb, options); err != nil {
		tb.Fatal(err)
	}
	s.run(tb, program, "start")
	tb.Cleanup(func() { s.run(tb, program, "stop") })
	return s
}

// lay makes the directory, which Postfix's own user may enter.
func (s *Server) lay(tb testing.TB, options Options) (err error) {
	s.Address = neighbour.Address(tb)
	//nolint:usetesting // a test's own directory is closed to others
	if s.dir, err = os.MkdirTemp("", "postfix-"); err != nil {
		return err
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(s.dir); err != nil {
			tb.Error(err)
		}
	})
	for _, name := range []string{"", "queue", "data"} {
		path := filepath.Join(s.dir, name)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, 0o755)); err != nil {
			return err
		}
	}
	if out, err := exec.CommandContext(tb.Context(), "chown", "postfix", filepath.Join(s.dir, "data")).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	files := map[string]string{
		"main.cf":   strings.ReplaceAll(base+options.Main, "@DIR@", s.dir),
		"master.cf": fmt.Sprintf(services, s.Address),
	}
	for _, all := range []map[string]string{files, options.Files} {
		for name, text := range all {
			if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) run(tb testing.TB, program, command string) {
	tb.Helper()
	if out, err := exec.Command(program, "-c", s.dir, command).CombinedOutput(); err != nil {
		tb.Fatalf("postfix %s: %v\n%s\n%s", command, err, out, s.Log(tb))
	}
}

// Master is the id of its first process, and of the process group of all.
func (s *Server) Master(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "queue", "pid", "master.pid"))
	if err != nil {
		tb.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		tb.Fatal(err)
	}
	return pid
}

// Log is what it has logged.
func (s *Server) Log(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		tb.Error(err)
	}
	return string(text)
}

// Await waits until the log has these words.
func (s *Server) Await(tb testing.TB, words string) {
	tb.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	limit := time.After(patience)
	for !strings.Contains(s.Log(tb), words) {
		select {
		case <-again.C:
		case <-limit:
			tb.Fatalf("Postfix never said %q:\n%s", words, s.Log(tb))
		}
	}
}
