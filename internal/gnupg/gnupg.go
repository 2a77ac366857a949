// Package gnupg runs the real gpg for tests: GnuPG 2.2 of Debian 12, and 2.4 in
// the Debian 13 root that test.sh makes.
package gnupg

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// Version is a version of GnuPG.
type Version string

// The versions that there are.
const (
	V22 Version = "2.2"
	V24 Version = "2.4"
)

// Versions lists them all.
func Versions() []Version { return []Version{V22, V24} }

const (
	// program is where Debian puts it, in the root too.
	program = "/usr/bin/gpg"
	// patience is how long one run may take on a slow machine.
	patience = 2 * time.Minute
)

// Home is a GNUPGHOME of its own, with a gpg to use it.
type Home struct {
	// Dir may be used for files; inside the root its path is the one that Path gives.
	Dir  string
	root string // empty for the machine's own
}

// New makes an empty home, which lives until the test ends. Where this version
// is not installed it ends the test as package neighbour does.
func New(tb testing.TB, version Version) *Home {
	tb.Helper()
	h := &Home{root: locate(tb, version)}
	if err := h.makeDir(); err != nil {
		tb.Fatal(err)
	}
	h.File(tb, "gpg-agent.conf", []byte("s2k-count 65536\n")) // a passphrase is to protect nothing, and quickly
	tb.Cleanup(func() {
		// Without its socket the agent would notice only within a minute.
		if out, err := h.command(context.Background(), "/usr/bin/gpgconf", "--kill", "all").CombinedOutput(); err != nil {
			tb.Errorf("gpgconf --kill all: %v\n%s", err, out)
		}
		os.RemoveAll(h.Dir)
	})
	return h
}

// makeDir makes a directory with a short path, and not the test's own, because
// the agent's socket in it has a path of at most 107 octets.
func (h *Home) makeDir() (err error) {
	base := "/tmp"
	if h.root != "" {
		base = filepath.Join(h.root, "srv")
	}
	h.Dir, err = os.MkdirTemp(base, "gnupg-")
	return err
}

// Path is the path of a file in Dir as gpg sees it.
func (h *Home) Path(name string) string {
	return filepath.Join(strings.TrimPrefix(h.Dir, h.root), name)
}

// File makes a file in Dir.
func (h *Home) File(tb testing.TB, name string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(h.Dir, name), content, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// Run runs gpg with this on its standard input, and returns its standard
// output. It never asks anything.
func (h *Home) Run(tb testing.TB, stdin []byte, args ...string) []byte {
	tb.Helper()
	out, err := h.Try(tb, stdin, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Try is Run where gpg may fail; the error has what it said.
func (h *Home) Try(tb testing.TB, stdin []byte, args ...string) ([]byte, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	cmd := h.command(ctx, program, append([]string{"--batch", "--yes", "--no-tty", "--trust-model", "always", "--pinentry-mode", "loopback"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("gpg %q: %w\n%s", args, err, &errs)
	}
	return out.Bytes(), nil
}

// Key makes a key that never expires, with a primary key that signs and a subkey
// that decrypts, of algorithms such as "ed25519" and "cv25519", and returns the
// fingerprint of the primary. An empty passphrase is none.
func (h *Home) Key(tb testing.TB, user, signs, decrypts, passphrase string) (fingerprint string) {
	tb.Helper()
	h.Run(tb, nil, "--passphrase", passphrase, "--quick-generate-key", user, signs, "sign,cert", "never")
	listed := h.Run(tb, nil, "--with-colons", "--list-secret-keys", "="+user)
	found := fingerprints.FindSubmatch(listed)
	if found == nil {
		tb.Fatalf("no fingerprint in %s", listed)
	}
	fingerprint = string(found[1])
	h.Run(tb, nil, "--passphrase", passphrase, "--quick-add-key", fingerprint, decrypts, "encr", "never")
	return fingerprint
}

var fingerprints = regexp.MustCompile(`(?m)^fpr:.*:([0-9A-F]{40}):$`)

func (h *Home) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"GNUPGHOME=" + h.Path(""), "PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	if h.root != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: h.root}
	}
	return cmd
}

func locate(tb testing.TB, version Version) (root string) {
	tb.Helper()
	switch version {
	case V22:
		requireHost(tb)
		return ""
	case V24:
		return neighbour.Trixie(tb, "GnuPG 2.4", program)
	}
	tb.Fatalf("no such version of GnuPG: %q", version)
	return ""
}

func requireHost(tb testing.TB) {
	tb.Helper()
	const hint = "on Debian 12, ./test.sh as root installs it"
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		neighbour.Missing(tb, "GnuPG 2.2", hint)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	if !strings.HasPrefix(first, "gpg (GnuPG) "+string(V22)) {
		neighbour.Missing(tb, fmt.Sprintf("GnuPG 2.2 (%s is %s)", program, first), hint)
	}
}
