// Package program builds homing for tests that run it as a user does, and gives
// them users of little rights to run it as.
package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
)

// Build makes the program, static as it is released, in a directory that every
// user may enter, and returns its path.
func Build(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(Open(tb), "homing")
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-o", path, "github.com/homing-mail/homing/cmd/homing")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("building homing: %v\n%s", err, out)
	}
	return path
}

// Open makes a directory that every user may enter; testing's own are for one.
func Open(tb testing.TB) string {
	tb.Helper()
	dir, err := open()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// open makes the directory at a short path, for it may hold a socket, whose own
// has at most 107 octets.
func open() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "homing-test-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// As has a command run by another user, whose groups are its first and these. It
// ends the test through [neighbour.Missing] where that takes rights.
func As(tb testing.TB, cmd *exec.Cmd, uid, gid uint32, groups ...uint32) *exec.Cmd {
	tb.Helper()
	if os.Geteuid() != 0 {
		neighbour.Missing(tb, "the right to become another user", "run the tests as root")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	return cmd
}
