// Package debian_test builds the Debian package and lets a Debian 13 install,
// upgrade, run, remove and purge it, with systemd and without.
package debian_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/debian"
	"github.com/homing-mail/homing/internal/neighbour"
)

// epoch is the time that all builds of the tests are from.
const epoch = "1798761600"

// build makes a package and returns its path.
func build(t *testing.T, version string) string {
	t.Helper()
	neighbour.Program(t, "bash")
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "./build", version, runtime.GOARCH, dir)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the package: %v\n%s", err, out)
	}
	return filepath.Join(dir, fmt.Sprintf("homing_%s_%s.deb", version, runtime.GOARCH))
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// packages are two versions.
type packages struct{ old, fresh string }

func TestPackage(t *testing.T) {
	p := packages{build(t, "1.0.0"), build(t, "1.1.0")}
	t.Run("reproducible", func(t *testing.T) {
		if !bytes.Equal(read(t, p.old), read(t, build(t, "1.0.0"))) {
			t.Error("two builds of one source differ")
		}
	})
	t.Run("control", p.testControl)
	t.Run("life", p.testLife)
	t.Run("service", p.testService)
}

// give puts a file into a root.
func give(t *testing.T, root *debian.Root, file, at string) {
	t.Helper()
	target := filepath.Join(root.Changes, at)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, read(t, file), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Its life without systemd, as in a chroot or while an image is made.
func (p packages) testLife(t *testing.T) {
	root := debian.New(t)
	give(t, root, p.old, "srv/1.0.0.deb")
	give(t, root, p.fresh, "srv/1.1.0.deb")
	steps := []struct{ what, script, want string }{
		{"install", "dpkg -i /srv/1.0.0.deb >/dev/null; homing version | cut -d' ' -f-2", "homing v1.0.0"},
		{"files", "stat -c '%n %U:%G %a' /usr/bin/homing /etc/homing /etc/homing/aws /etc/homing/homing.env",
			"/usr/bin/homing root:root 755\n/etc/homing root:root 755\n/etc/homing/aws root:root 600\n/etc/homing/homing.env root:root 640"},
		{"user", "getent passwd homing | cut -d: -f6-; id -gn homing", "/var/lib/homing:/usr/sbin/nologin\nhoming"},
		{"whole", "dpkg --verify homing; dpkg --audit", ""},
		{"documents", "cd /usr/share/doc/homing; zcat changelog.gz | head -1; zcat changelog.Debian.gz | head -1; ls examples/dovecot/homing.sieve; zcat /usr/share/man/man1/homing.1.gz | head -1 | cut -c-10",
			"# Changelog\nhoming (1.0.0) unstable; urgency=medium\nexamples/dovecot/homing.sieve\n.TH HOMING"},
		{"commands that the manual page leaves out", `for c in $(homing --help | awk '/^Available Commands/ { on = 1; next } /^$/ { on = 0 } on { print $1 }'); do zcat /usr/share/man/man1/homing.1.gz | grep -q "^.B $c$" || echo $c; done`, "help"},
		{"completion", "bash -c '. /usr/share/bash-completion/completions/homing && complete -p homing' | cut -c-11", "complete -o"},
		{"enable", "systemctl --quiet enable homing.service homing-mailcow-aliases.timer; find /etc/systemd -name 'homing*' | sort",
			"/etc/systemd/system/multi-user.target.wants/homing.service\n/etc/systemd/system/timers.target.wants/homing-mailcow-aliases.timer"},
		{"use", "echo HOMING_POSTMASTER=me@example.com >> /etc/homing/homing.env; echo key > /etc/homing/pgp.asc; mkdir -p /var/lib/private/homing; ln -s private/homing /var/lib/homing; echo mail > /var/lib/homing/homing.db", ""},
		{"the same again", "dpkg -i /srv/1.0.0.deb >/dev/null; tail -1 /etc/homing/homing.env", "HOMING_POSTMASTER=me@example.com"},
		// The new version brings another homing.env: dpkg asks, and by default keeps.
		{"a new version", "cd /srv; dpkg-deb -R 1.1.0.deb new; echo '# new here' >> new/etc/homing/homing.env; dpkg-deb -Zgzip -z1 -b new new.deb >/dev/null; rm -r new", ""},
		{"upgrade", "dpkg --force-confdef -i /srv/new.deb >/dev/null 2>&1; homing version | cut -d' ' -f-2; tail -1 /etc/homing/homing.env; tail -1 /etc/homing/homing.env.dpkg-dist; cat /var/lib/homing/homing.db",
			"homing v1.1.0\nHOMING_POSTMASTER=me@example.com\n# new here\nmail"},
		{"still enabled", "find /etc/systemd -name homing.service", "/etc/systemd/system/multi-user.target.wants/homing.service"},
		{"downgrade", "dpkg --force-confdef -i /srv/1.0.0.deb >/dev/null 2>&1; homing version | cut -d' ' -f-2", "homing v1.0.0"},
		{"remove", "dpkg -r homing >/dev/null; find / -xdev -name '*homing*' -not -path '/proc/*' -not -path '/srv/*' | sort",
			"/etc/homing\n/etc/homing/homing.env\n/etc/homing/homing.env.dpkg-dist\n/var/lib/dpkg/info/homing.list\n/var/lib/dpkg/info/homing.postrm\n/var/lib/homing\n/var/lib/private/homing\n/var/lib/private/homing/homing.db"},
		{"install again", "dpkg -i /srv/1.1.0.deb >/dev/null 2>&1; tail -1 /etc/homing/homing.env; cat /var/lib/homing/homing.db", "HOMING_POSTMASTER=me@example.com\nmail"},
		// A file of one's own stays, and so does the user: Dovecot may name the group.
		{"purge", "dpkg -P homing >/dev/null 2>&1; find / -xdev -name '*homing*' -not -path '/proc/*' -not -path '/srv/*'; ls /etc/homing; getent group homing | cut -d: -f1", "/etc/homing\npgp.asc\nhoming"},
		{"nothing is half done", "dpkg --audit; dpkg -l homing 2>/dev/null | grep -c ^ii || true", "0"},
	}
	for _, step := range steps {
		if got := root.Run(t, step.script); got != step.want {
			t.Fatalf("%s: got\n%s\nwant\n%s", step.what, got, step.want)
		}
	}
}

// What the package says of itself. lintian is content but for two things that are
// meant: a static program, and files of secrets that only root reads.
func (p packages) testControl(t *testing.T) {
	dpkg := neighbour.Program(t, "dpkg-deb")
	out, err := exec.CommandContext(t.Context(), dpkg, "-I", p.old).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Package: homing\n", "Version: 1.0.0\n", "Section: mail\n", "Depends: adduser, ca-certificates\n", " conffiles ", " md5sums "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
