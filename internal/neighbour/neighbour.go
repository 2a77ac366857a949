// Package neighbour finds the real programs that integration tests run against:
// Dovecot, an S3 server, Prometheus.
//
// A test whose neighbour is not installed is skipped, and says what is missing.
// Where the environment variable CI is set it fails instead: there the
// neighbours are installed, and a skip would hide that one has gone.
package neighbour

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Missing ends the test because what (a program, a service, a permission) is
// not here; hint says how to get it.
func Missing(tb testing.TB, what, hint string) {
	tb.Helper()
	if inCI() {
		tb.Fatalf("missing: %s (%s); in CI every neighbour must be there", what, hint)
	}
	tb.Skipf("missing: %s (%s)", what, hint)
}

// Program returns the absolute path of an installed program, or ends the test
// with Missing. It looks in the directory named by NEIGHBOUR_TOOLS, in .tools/bin
// beside go.mod, where test.sh puts what it builds, in PATH, and in the sbin
// directories, where Debian keeps daemons.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, ok := find(name, directories())
	if !ok {
		Missing(tb, name, "./test.sh installs it")
	}
	return path
}

// Directory returns the absolute path of a directory that test.sh makes beside
// the programs it builds, as .tools/typings, or ends the test with Missing.
func Directory(tb testing.TB, name string) string {
	tb.Helper()
	for _, programs := range []string{os.Getenv("NEIGHBOUR_TOOLS"), builtTools()} {
		path := filepath.Join(filepath.Dir(programs), name)
		if info, err := os.Stat(path); filepath.IsAbs(path) && err == nil && info.IsDir() {
			return path
		}
	}
	Missing(tb, ".tools/"+name, "./test.sh makes it")
	return ""
}

func inCI() bool {
	ci := os.Getenv("CI")
	return ci != "" && ci != "false"
}

func directories() []string {
	dirs := []string{os.Getenv("NEIGHBOUR_TOOLS"), builtTools()}
	dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	dirs = append(dirs, "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
	return slices.DeleteFunc(dirs, func(dir string) bool { return !filepath.IsAbs(dir) })
}

// builtTools is the directory of the programs built for the tests. A test runs
// in its package's directory, so the module's root is somewhere above.
func builtTools() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".tools", "bin")
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

func find(name string, dirs []string) (string, bool) {
	for _, dir := range dirs {
		// With a separator in it LookPath checks this one file, and that it may be run.
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}
