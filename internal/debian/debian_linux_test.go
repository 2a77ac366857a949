package debian

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRoot(t *testing.T) {
	r := New(t)
	outside := filepath.Join(t.TempDir(), "given")
	if err := os.WriteFile(outside, []byte("from outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Bind(t, outside, "/srv/given/file")
	if got := r.Run(t, "cat /srv/given/file; rm /etc/hostname; echo mine > /etc/new; cut -d. -f1 /etc/debian_version"); got != "from outside13" {
		t.Errorf("printed %q", got)
	}
	if got := r.Run(t, "ls /etc/hostname 2>&1 || cat /etc/new; ls /proc/self/exe"); got != "ls: cannot access '/etc/hostname': No such file or directory\nmine\n/proc/self/exe" {
		t.Errorf("what was changed is not there: %q", got)
	}
	if _, err := os.Stat(filepath.Join(r.lower, "etc/new")); !os.IsNotExist(err) {
		t.Errorf("the root below was changed: %v", err)
	}
	if got := New(t).Run(t, "ls /etc/new 2>/dev/null || echo none"); got != "none" {
		t.Errorf("another root has %q", got)
	}
}

func TestMachine(t *testing.T) {
	r := New(t)
	r.Run(t, `printf '[Service]\nExecStart=/bin/sh -c "echo hello from $$$$; exec tail -f /dev/null"\n' > /etc/systemd/system/hello.service`)
	m := r.Boot(t)
	if got := m.Run(t, "systemctl start hello; systemctl is-active hello; cat /proc/1/comm"); got != "active\nsystemd" {
		t.Errorf("printed %q", got)
	}
	if got, err := m.Try("systemctl start nothing"); err == nil {
		t.Errorf("a unit that does not exist starts: %s", got)
	}
	if got := m.Run(t, "ls /sys/class/net; test -w /proc/sys/kernel/hostname || echo read-only"); got != "lo\nread-only" {
		t.Errorf("printed %q", got)
	}
}
