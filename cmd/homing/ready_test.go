package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// systemd hears when homing listens, not before, and when it stops.
func TestManagerIsTold(t *testing.T) {
	alone(t)
	t.Setenv("AWS_REGION", "eu-west-1")
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	hear := func() string {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 100)
		n, err := manager.Read(said)
		if err != nil {
			t.Fatal(err)
		}
		return string(said[:n])
	}
	s := startServing(t, listening(t.TempDir(), "NOTIFY_SOCKET="+socket))
	if got := hear(); got != "READY=1" {
		t.Errorf("first it said %q", got)
	}
	if code := s.stop(t); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("then it said %q", got)
	}
}

// A service of Type=notify that cannot say so would be killed after a while,
// without a reason.
func TestManagerIsAway(t *testing.T) {
	alone(t)
	t.Setenv("AWS_REGION", "eu-west-1")
	code, _, said := command(t, listening(t.TempDir(), "NOTIFY_SOCKET=/nonexistent/notify"), "")
	if code != exitFailed || !strings.Contains(said, "telling systemd READY=1: ") {
		t.Errorf("exit code %d, said %q", code, said)
	}
}
