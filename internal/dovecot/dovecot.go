// Package dovecot runs real Dovecot servers for tests and benchmarks: 2.3, as
// Debian 12 has it, and 2.4, from a Debian 13 root that test.sh makes.
//
// A server lives in a directory of its own with a configuration of its own,
// listens only there and on loopback ports that the kernel chose, and sends no
// mail: Sieve's redirect and reject meet a closed port. Several may run at once.
package dovecot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// Version is a release series of Dovecot. The two differ in their
// configuration's language and in some of their answers.
type Version string

// The series that mail servers run today.
const (
	V23 Version = "2.3"
	V24 Version = "2.4"
)

// Versions returns every version a test should run against, one subtest each:
// [Start] skips, or fails in CI, the one that is not installed.
func Versions() []Version { return []Version{V23, V24} }

// Password is the password of every user.
const Password = "secret"

// patience is how long a server may take for anything asked of it. It is long
// because a busy machine with the race detector is slow, and a server that does
// answer never uses it up.
const patience = 3 * time.Minute

// User is one mailbox.
type User struct {
	Name          string // as in RCPT and LOGIN: alice@example.test, or alice
	QuotaBytes    int64  // 0: none
	QuotaMessages int    // 0: none
	Sieve         string // the user's own script; empty: none
}

// Options say what a server is like; only Version is required.
type Options struct {
	Version Version
	Users   []User

	// AnyUser makes every address exist, beside Users: for benchmarks.
	AnyUser bool

	// SieveBefore is a script that runs before each user's own.
	SieveBefore string

	// SaveToDetail files mail for user+detail in the folder of that name.
	SaveToDetail bool

	// ProcessLimit is how many LMTP connections are served at a time: one more
	// is accepted and hears nothing. 0: Dovecot's default, 100.
	ProcessLimit int

	// UserConcurrency is lmtp_user_concurrency_limit. 0: Dovecot's default,
	// which is no limit in 2.3 and ten in 2.4.
	UserConcurrency int

	// MailFsync is mail_fsync: optimized, always or never. Empty: optimized.
	MailFsync string

	// Config is added to the configuration; what it sets again wins. Write it
	// for Version. @DIR@ in it stands for the server's directory.
	Config string

	// Files are made in the server's directory, by name: Sieve scripts in "sieve/".
	Files map[string]string
}

// Server is a running Dovecot.
type Server struct {
	Version    Version
	UnixSocket string // the LMTP socket, under 108 bytes
	TCPAddr    string // LMTP, host:port
	IMAPAddr   string // without TLS, host:port
	MailRoot   string // a user's home is MailRoot/domain/local-part

	options Options
	root    string // what to chroot into; empty: nothing
	dir     string // the server's directory as we see it
	inside  string // the same as Dovecot sees it
	process *process
}

// Start runs a Dovecot and returns when it greets on every listener. The test's
// cleanup stops it and removes all that it left. It ends the test through
// [neighbour.Missing] if that version is not installed.
func Start(tb testing.TB, options Options) *Server {
	tb.Helper()
	s := &Server{Version: options.Version, options: options}
	s.root = locate(tb, options.Version)
	tb.Cleanup(func() { s.remove(tb) })
	if err := s.lay(); err != nil {
		tb.Fatalf("preparing Dovecot %s: %v", s.Version, err)
	}
	s.TCPAddr, s.IMAPAddr = neighbour.Address(tb), neighbour.Address(tb)
	if err := s.configure(); err != nil {
		tb.Fatalf("configuring Dovecot %s: %v", s.Version, err)
	}
	if err := s.start(); err != nil {
		tb.Fatalf("starting Dovecot %s: %v\n%s", s.Version, err, s.Log())
	}
	return s
}

// Log returns the end of what Dovecot logged, for a failure's message.
func (s *Server) Log() string {
	const most = 8 << 10
	text := s.all()
	if cut := len(text) - most; cut > 0 {
		return "[...]" + text[cut:]
	}
	return text
}

// all is what the server said since it was first started, and what the master
// printed since it was last.
func (s *Server) all() string {
	var all strings.Builder
	for _, name := range []string{"dovecot.log", "stderr"} {
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(&all, err)
		}
		all.Write(text)
	}
	return all.String()
}

// remove stops the server and deletes its directory.
func (s *Server) remove(tb testing.TB) {
	tb.Helper()
	if tb.Failed() {
		tb.Logf("Dovecot %s logged:\n%s", s.Version, s.Log())
	}
	if err := s.halt(); err != nil {
		tb.Errorf("stopping Dovecot %s: %v", s.Version, err)
	}
	if s.dir == "" {
		return
	}
	if err := os.RemoveAll(s.dir); err != nil {
		tb.Errorf("removing what Dovecot %s left: %v", s.Version, err)
	}
}
