package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// patience is how long systemd may take to come up or to go, on a busy machine.
const patience = 2 * time.Minute

// Machine is a Root whose systemd runs, as the first process of namespaces of its
// own: processes, mounts, control groups, and a network that has only a loopback.
// Nothing runs in it that a test does not start.
type Machine struct {
	systemd *exec.Cmd
	exited  chan struct{} // closed when it has been waited for
	console bytes.Buffer  // read it after exited
	cgroup  string
}

// boot starts systemd. What is in no namespace, the kernel's settings, it can only
// read, and so leaves alone. The root is pivoted to, for the kernel makes no user
// namespaces (PrivateUsers=) in a chroot, and shared, as systemd itself makes it
// only outside of containers and needs it for credentials.
const boot = "mount --make-rprivate /\n" + overlay + `mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/zero" c 1 5
mknod -m 666 "$root/dev/full" c 1 7
mknod -m 666 "$root/dev/random" c 1 8
mknod -m 666 "$root/dev/urandom" c 1 9
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
` + binds + `cd "$root"
pivot_root . .
umount -l .
cd /
mount --make-rshared /
exec env -i container=other LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"`

// Boot starts systemd in the root and returns when it takes commands. Until the
// test's end the root has no other use. It ends the test through
// [neighbour.Missing] where there is no control group to be had.
func (r *Root) Boot(tb testing.TB) *Machine {
	tb.Helper()
	m := &Machine{exited: make(chan struct{})}
	group, err := m.makeGroup()
	if err != nil {
		neighbour.Missing(tb, "the right to make a control group", fmt.Sprint(err, "; systemd needs cgroup2"))
	}
	defer group.Close()
	tb.Cleanup(func() { m.stop(tb) })
	script := r.script(boot, "/lib/systemd/systemd", "--unit=basic.target", "--log-target=console", "--show-status=no")
	m.systemd = exec.Command("unshare", append([]string{"--cgroup"}, script...)...)
	m.systemd.Stdout, m.systemd.Stderr = &m.console, &m.console
	m.systemd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		UseCgroupFD: true, CgroupFD: int(group.Fd()), Pdeathsig: syscall.SIGKILL,
	}
	if err := m.systemd.Start(); err != nil {
		m.systemd = nil
		neighbour.Missing(tb, "the right to make namespaces", err.Error())
	}
	go func() {
		defer close(m.exited)
		_ = m.systemd.Wait() // its console says more
	}()
	m.await(tb)
	return m
}

// makeGroup makes a control group below this process's own and opens it.
func (m *Machine) makeGroup() (*os.File, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if words := strings.Fields(line); len(words) > 2 && words[2] == "cgroup2" {
			m.cgroup = words[1]
		}
	}
	for line := range strings.Lines(string(own)) {
		if path, unified := strings.CutPrefix(strings.TrimSpace(line), "0::"); unified && m.cgroup != "" {
			m.cgroup = filepath.Join(m.cgroup, path)
		}
	}
	if m.cgroup == "" {
		return nil, errors.New("no cgroup2 is mounted")
	}
	if m.cgroup, err = os.MkdirTemp(m.cgroup, "homing-test-"); err != nil {
		return nil, err
	}
	return os.Open(m.cgroup)
}

func (m *Machine) await(tb testing.TB) {
	tb.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for end := time.After(patience); ; {
		// Degraded is enough: modules cannot be loaded here.
		state, _ := m.Command("systemctl", "is-system-running").Output()
		if s := strings.TrimSpace(string(state)); s == "running" || s == "degraded" {
			return
		}
		select {
		case <-m.exited:
			tb.Fatalf("systemd ended\n%s", m.console.String())
		case <-end:
			tb.Fatalf("systemd does not come up: %q", state)
		case <-again.C:
		}
	}
}

// Command makes a command that runs in the machine, as root.
func (m *Machine) Command(command ...string) *exec.Cmd {
	target := fmt.Sprint(m.systemd.Process.Pid)
	cmd := exec.Command("nsenter", append([]string{"--target", target, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"}, command...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// Try runs a shell script and returns what it printed, and whether it succeeded.
func (m *Machine) Try(script string) (string, error) {
	out, err := m.Command("sh", "-euc", script).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Run is Try for a script that must succeed.
func (m *Machine) Run(tb testing.TB, script string) string {
	tb.Helper()
	out, err := m.Try(script)
	if err != nil {
		why, _ := m.Try("systemctl --no-pager --lines=0 status --state=failed,activating || journalctl --no-pager -n 40")
		tb.Fatalf("%s\n%v\n%s\n%s", script, err, out, why)
	}
	return out
}

// stop ends all processes of the machine, and removes its control groups.
func (m *Machine) stop(tb testing.TB) {
	tb.Helper()
	if m.systemd != nil {
		_ = m.systemd.Process.Kill() // with the first process all of its namespace end
		<-m.exited
	}
	var groups []string
	_ = filepath.WalkDir(m.cgroup, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	slices.Reverse(groups)
	for _, group := range groups {
		// rmdir, for nothing else removes a control group.
		if err := syscall.Rmdir(group); err != nil {
			tb.Errorf("removing the control group %s: %v", group, err)
		}
	}
}
