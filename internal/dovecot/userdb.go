package dovecot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func (s *Server) usersFile() string { return filepath.Join(s.dir, "users") }

// writeUsers makes the user database, which Dovecot's own user reads.
func (s *Server) writeUsers(text string) error {
	return errors.Join(os.WriteFile(s.usersFile(), []byte(text), 0o644), os.Chmod(s.usersFile(), 0o644)) // whatever the umask
}

// Away empties the user database, as happens for a moment where it is generated
// or mounted, and returns when Dovecot has noticed: it answers 550 5.1.1 for
// everybody. (An empty file does that reliably. While it was missing, Dovecot
// refused some users and answered for others from memory: seen with 2.3.19 and 2.4.1.)
func (s *Server) Away(tb testing.TB) {
	tb.Helper()
	if len(s.options.Users) == 0 || s.options.AnyUser {
		tb.Fatal("a Dovecot that knows nobody, or everybody, has no user database to take away")
	}
	if err := os.Rename(s.usersFile(), s.usersFile()+".away"); err != nil {
		tb.Fatal(err)
	}
	if err := s.writeUsers(""); err != nil {
		tb.Fatal(err)
	}
	s.awaitAnswer(tb, 550)
}

// Back puts the user database back, and returns when Dovecot knows its users again.
func (s *Server) Back(tb testing.TB) {
	tb.Helper()
	if err := os.Rename(s.usersFile()+".away", s.usersFile()); err != nil {
		tb.Fatal(err)
	}
	s.awaitAnswer(tb, 250)
}

// awaitAnswer waits until RCPT for the first user is answered with this code.
func (s *Server) awaitAnswer(tb testing.TB, want int) {
	tb.Helper()
	err := until(50*time.Millisecond, func() error {
		code, reply, err := s.askFor(s.options.Users[0].Name)
		if err == nil && code != want {
			err = fmt.Errorf("RCPT is answered %d %s", code, reply)
		}
		return err
	})
	if err != nil {
		tb.Fatalf("Dovecot %s does not notice that its user database changed: %v\n%s", s.Version, err, s.Log())
	}
}

// askFor returns the answer to RCPT for an address.
func (s *Server) askFor(address string) (code int, reply string, err error) {
	session, err := openSession("unix", s.UnixSocket)
	if err != nil {
		return 0, "", err
	}
	defer session.close()
	if code, reply := session.say("MAIL FROM:<>"); code != 250 {
		return 0, "", fmt.Errorf("MAIL: %d %s", code, reply)
	}
	code, reply = session.say("RCPT TO:<" + address + ">")
	session.say("QUIT")
	return code, reply, nil
}
