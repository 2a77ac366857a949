package debian_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/debian"
)

// settings are /etc/homing/homing.env for a homing that knows no AWS.
const settings = `AWS_REGION=eu-west-1
AWS_ENDPOINT_URL=http://127.0.0.1:1
AWS_EC2_METADATA_DISABLED=true
HOMING_BUCKETS=mail
HOMING_SNS_TOPICS=arn:aws:sns:eu-west-1:123456789012:mail
HOMING_SWEEP_INTERVAL=0
HOMING_DELIVER_TO=lmtp:/run/dovecot/lmtp
HOMING_RECIPIENTS=@example.com=alice
`

// dovecot is what Debian's Dovecot lacks for this; the listener is contrib's.
const dovecot = `mail_driver = maildir
mail_path = ~/Maildir
mail_inbox_path = ~/Maildir
protocol lmtp {
  auth_username_format = %{user | username | lower}
}
`

// demo runs homing's whole way under the service's own confinement, in which a
// system call too many is death.
const demo = `sed -e 's/^Type=.*/Type=oneshot/' -e 's/^ExecStart=.*/ExecStart=\/usr\/bin\/homing demo --to any@example.com/' \
	-e 's/^SystemCallErrorNumber=.*/SystemCallErrorNumber=kill/' -e '/^Restart/d' \
	/usr/lib/systemd/system/homing.service > /etc/systemd/system/homing-demo.service
systemctl daemon-reload
systemctl start homing-demo
find /home/alice/Maildir/new -type f | wc -l`

// The package where systemd runs: the real unit, the real Dovecot.
func (p packages) testService(t *testing.T) {
	root := debian.New(t)
	give(t, root, p.old, "srv/1.0.0.deb")
	give(t, root, p.fresh, "srv/1.1.0.deb")
	give(t, root, "../dovecot/listener.conf", "etc/dovecot/conf.d/97-homing-listener.conf")
	for at, text := range map[string]string{"etc/dovecot/conf.d/98-test.conf": dovecot, "srv/settings": settings} {
		if err := os.WriteFile(filepath.Join(root.Changes, at), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The root's policy is that packages start nothing.
	root.Run(t, "rm -f /usr/sbin/policy-rc.d; useradd -m alice; dpkg -i /srv/1.0.0.deb >/dev/null; cp /srv/settings /etc/homing/homing.env")
	m := root.Boot(t)
	m.Run(t, "systemctl start dovecot")
	steps := []struct{ what, script, want string }{
		{"socket", "stat -c '%U:%G %a' /run/dovecot/lmtp", "root:homing 660"},
		{"start", "systemctl enable --now homing 2>/dev/null; systemctl is-active homing", "active"},
		{"user", "stat -c '%U %a' /var/lib/homing/; ps -o user= -p $(systemctl show -P MainPID homing); cat /proc/$(systemctl show -P MainPID homing)/status | grep -E '^(CapEff|NoNewPrivs|Seccomp):' | tr -s '\\t' ' '",
			"homing 700\nhoming\nCapEff: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2"},
		{"secret", "stat -c %A /run/credentials/homing.service/aws; tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID homing)/environ | grep AWS_SHARED", "-r--r-----\nAWS_SHARED_CREDENTIALS_FILE=/run/credentials/homing.service/aws"},
		{"health", "set -a; . /etc/homing/homing.env; homing check --health >/dev/null; echo $?", "0"},
		{"delivery", demo, "6"},
		{"journal", "journalctl --sync; journalctl -u homing --no-pager | grep -c 'homing serves'", "1"},
		{"by root", "homing queue list >/dev/null; stat -c %U /var/lib/homing/homing.db*", "homing\nhoming\nhoming"},
		{"rules", "echo MAILCOW_URL=http://127.0.0.1:1 >> /etc/homing/homing.env; echo HOMING_RECIPIENTS_FILE=/var/lib/homing/recipients >> /etc/homing/homing.env; echo key > /etc/homing/mailcow-api-key; ! systemctl start homing-mailcow-aliases 2>/dev/null; journalctl --sync; journalctl -u homing-mailcow-aliases --no-pager | grep -c 'connection refused; the rules stay as they were'", "1"},
		{"a mistake", "cp /srv/settings /etc/homing/homing.env; echo HOMING_NONSENSE=1 >> /etc/homing/homing.env; ! systemctl restart homing 2>/dev/null; for of in ActiveState ExecMainStatus NRestarts; do systemctl show -P $of homing; done", "failed\n2\n0"},
		{"its end", "cp /srv/settings /etc/homing/homing.env; systemctl start homing; systemctl is-active homing", "active"},
		{"upgrade", "pid=$(systemctl show -P MainPID homing); dpkg -i /srv/1.1.0.deb >/dev/null; test $pid != $(systemctl show -P MainPID homing); systemctl is-active homing; /proc/$(systemctl show -P MainPID homing)/exe version | cut -d' ' -f-2",
			"active\nhoming v1.1.0"},
	}
	for _, step := range steps {
		if got := m.Run(t, step.script); got != step.want {
			t.Fatalf("%s: got\n%s\nwant\n%s", step.what, got, step.want)
		}
	}
	checkRestart(t, m)
	if got := m.Run(t, "dpkg -P homing >/dev/null 2>&1; systemctl is-active homing || true; systemctl list-unit-files --no-legend 'homing*' | grep -v demo || true; ls /var/lib/private /run/credentials"); strings.Contains(got, "homing") || !strings.HasPrefix(got, "inactive") {
		t.Errorf("after the purge: %s", got)
	}
}

// checkRestart kills homing, which systemd starts again.
func checkRestart(t *testing.T, m *debian.Machine) {
	t.Helper()
	m.Run(t, "systemctl kill -s KILL homing")
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for end := time.After(3 * time.Minute); ; {
		if got := m.Run(t, "systemctl show -P ActiveState homing; systemctl show -P NRestarts homing"); got == "active\n1" {
			return
		}
		select {
		case <-end:
			t.Fatal("homing was killed and is not started again")
		case <-again.C:
		}
	}
}
