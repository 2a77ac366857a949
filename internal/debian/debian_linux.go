// Package debian gives tests a whole Debian 13 of their own: the root that
// test.sh makes, with what the test changes laid over it, so that packages can be
// installed and images built without anything staying behind.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
)

// Root is one such Debian. Its mounts exist only while a command runs in it, in
// that command's own mount namespace.
type Root struct {
	// Changes is where everything is that was changed or added, by its path in
	// the root. It may be added to, not while a command runs.
	Changes string

	lower, work, merged string
	binds               []string // outside, inside, outside, inside
}

// New makes a root. It ends the test through [neighbour.Missing] where that is
// not possible.
func New(tb testing.TB) *Root {
	tb.Helper()
	r := &Root{lower: neighbour.Trixie(tb, "a Debian 13", "etc/debian_version")}
	if err := r.lay(tb.Context(), tb.TempDir()); err == nil {
		return r
	}
	// An overlay cannot lie upon an overlay, which a container's files are: let it
	// lie in memory.
	dir := tb.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		neighbour.Missing(tb, "the right to mount", err.Error())
	}
	tb.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			tb.Errorf("unmounting %s: %v", dir, err)
		}
	})
	if err := r.lay(tb.Context(), dir); err != nil {
		neighbour.Missing(tb, "the right to mount an overlay", err.Error())
	}
	return r
}

// lay makes the directories of an overlay, and tries it.
func (r *Root) lay(ctx context.Context, dir string) error {
	r.Changes, r.work, r.merged = filepath.Join(dir, "changes"), filepath.Join(dir, "work"), filepath.Join(dir, "merged")
	for _, one := range []string{r.Changes, r.work, r.merged} {
		if err := os.Mkdir(one, 0o755); err != nil {
			return err
		}
	}
	// Nothing of it stays, so dpkg need not wait for the disk.
	quick := "echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/quick"
	if out, err := r.Command(ctx, "sh", "-euc", quick).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Bind shows a directory or file of the machine at a path in the root, for
// commands that are made afterwards.
func (r *Root) Bind(tb testing.TB, outside, inside string) {
	tb.Helper()
	info, err := os.Stat(outside)
	if err != nil {
		tb.Fatal(err)
	}
	at := filepath.Join(r.Changes, inside)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		tb.Fatal(err)
	}
	if info.IsDir() {
		err = os.MkdirAll(at, 0o755)
	} else {
		err = os.WriteFile(at, nil, 0o644)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		tb.Fatal(err)
	}
	r.binds = append(r.binds, outside, inside)
}

// The scripts' arguments are lower, upper, work, merged, then pairs of binds up to
// "--", then the command. They run in a mount namespace that ends with it.
const (
	overlay = `set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
root=$4
shift 4
mount -t proc proc "$root/proc"
`
	binds = `while [ "$1" != -- ]; do
	mount --bind "$1" "$root$2"
	shift 2
done
shift
`
	enter = overlay + `mount --rbind /dev "$root/dev"
` + binds + `exec chroot "$root" "$@"`
)

// Command makes a command that runs in the root, as root, with a plain
// environment.
func (r *Root) Command(ctx context.Context, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--propagation", "private"}, r.script(enter, command...)...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// Run runs a shell script that must succeed and returns what it printed.
func (r *Root) Run(tb testing.TB, script string) string {
	tb.Helper()
	out, err := r.Command(tb.Context(), "sh", "-euc", script).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// script is one of the scripts with its arguments.
func (r *Root) script(text string, command ...string) []string {
	return slices.Concat([]string{"sh", "-c", text, "sh", r.lower, r.Changes, r.work, r.merged}, r.binds, []string{"--"}, command)
}
