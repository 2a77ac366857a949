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

// Trixie returns the directory of that root, for what (a program, with its
// version) that is there at this path of it. It ends the test with Missing where
// it is not, or where we may not chroot to it.
func Trixie(tb testing.TB, what, path string) string {
	tb.Helper()
	root := filepath.Clean(cmp.Or(os.Getenv("NEIGHBOUR_TRIXIE"), defaultTrixie))
	if _, err := os.Stat(filepath.Join(root, path)); err != nil {
		Missing(tb, what+" in "+root, "./test.sh as root makes it")
	}
	if os.Geteuid() != 0 {
		Missing(tb, "the right to chroot to "+what, "run the tests as root")
	}
	return root
}
