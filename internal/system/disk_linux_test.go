package system

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
)

// disk mounts a small file system of its own for the state directory.
func disk(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("homing-test", dir, "tmpfs", 0, "mode=0700,size="+size)
	if errors.Is(err, syscall.EPERM) {
		neighbour.Missing(t, "the right to mount a tmpfs", "run the tests as root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Before the directory is removed, and after homing has ended: it may be in use.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until so many bytes are left, and returns its path.
func fill(t *testing.T, dir string, leave int64) (path string) {
	t.Helper()
	path = filepath.Join(dir, "ballast")
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	size := int64(st.Bavail)*st.Bsize - leave
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for ; size > 0; size -= int64(len(block)) {
		if _, err := f.Write(block[:min(int64(len(block)), size)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A disk that fills up turns notifications away, and one that has room again
// takes them.
func TestDiskIsNearlyFull(t *testing.T) {
	t.Parallel()
	dir := disk(t, "300m")
	h := withoutDovecot(t, "HOMING_STATE_DIR", dir)
	h.send(letter("before"), "ann@far.test", address("alice"))
	h.awaitIdle()

	ballast := fill(t, dir, 200<<20)
	id := h.store(letter("after"))
	notification := sign(receipt(id, "ann@far.test", address("alice")))
	answer, err := site.poster.Post("http://"+h.webhook+"/sns", "text/plain", strings.NewReader(string(notification)))
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a full disk is answered %s with Retry-After %q, want 503", answer.Status, answer.Header.Get("Retry-After"))
	}
	if status, body, err := h.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "MiB") {
		t.Errorf("/readyz answers %d %q, %v; want 503 and why", status, body, err)
	}
	if status, _, err := h.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d, %v; want 200: a restart mends nothing", status, err)
	}
	h.sameMetric(t, `homing_notifications_total{kind="ses_s3",result="failed",source="webhook"}`, 1)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if status, body, err := h.get("/readyz"); status != http.StatusOK {
		t.Errorf("with room again /readyz answers %d %q, %v", status, body, err)
	}
	if status, answer, err := h.postSigned(notification); status != http.StatusOK {
		t.Fatalf("with room again the webhook answers %d %q, %v", status, answer, err)
	}
	h.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
}

// A disk that others fill to the last byte while mail waits: what is delivered
// cannot be recorded. It must not be delivered over and over.
func TestDiskIsFull(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		dir := disk(t, "300m")
		h := settle(t, dovecot.Options{Version: version, Users: users("alice")}, "HOMING_STATE_DIR", dir)
		h.dovecot.Stop(t)
		id := h.send(letter("waiting"), "ann@far.test", address("alice"))
		h.await(t, "the destination does not answer; mail is taken and kept meanwhile")
		ballast := fill(t, dir, 0)
		if status, _, err := h.get("/readyz"); status != http.StatusServiceUnavailable {
			t.Errorf("/readyz answers %d, %v; want 503", status, err)
		}
		h.dovecot.Restart(t)
		h.awaitMetric(t, "homing_destination_up", 1)
		// It says so about once a second: several times, to see what becomes of the message meanwhile.
		await(t, "several complaints", func() error {
			if n := strings.Count(string(h.log.all()), "database or disk is full"); n < 3 {
				return fmt.Errorf("%d complaints", n)
			}
			return nil
		})
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		h.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
		if n := len(h.dovecot.Mailbox(t, address("alice"), "INBOX")); n != 1 {
			t.Errorf("the message was delivered %d times", n)
		}
	})
}
