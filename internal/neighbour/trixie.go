package neighbour

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"
)

// defaultTrixie is where test.sh makes the Debian 13 root unless the environment
// variable NEIGHBOUR_TRIXIE says otherwise.
const defaultTrixie = "/var/cache/homing-test/trixie"

// TrixiePath is where that root is, if it was made.
func TrixiePath() string {
	return filepath.Clean(cmp.Or(os.Getenv("NEIGHBOUR_TRIXIE"), defaultTrixie))
}

// Trixie returns TrixiePath for the sake of what (a program, with its version),
// which is at path in there. It ends the test with Missing where it is not, or
// where we may not chroot to it.
func Trixie(tb testing.TB, what, path string) string {
	tb.Helper()
	root := TrixiePath()
	if _, err := os.Stat(filepath.Join(root, path)); err != nil {
		Missing(tb, what+" in "+root, "./test.sh as root makes it")
	}
	if os.Geteuid() != 0 {
		Missing(tb, "the right to chroot to "+what, "run the tests as root")
	}
	return root
}
