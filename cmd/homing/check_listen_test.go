package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// checkListeners runs the listeners' group alone.
func checkListeners(t *testing.T, environ ...string) collected {
	t.Helper()
	c := &checker{patience: checkTime}
	c.configure(environ)
	lines, _ := c.all(t, []group{c.listeners})
	return lines
}

func TestCheckPorts(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		conn, err := silent.Accept()
		if err == nil {
			conn.Close()
		}
	}()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.1/elsewhere", http.StatusFound)
	}))
	defer other.Close()
	lines := checkListeners(t, "HOMING_LISTEN="+silent.Addr().String(), "HOMING_METRICS_LISTEN="+strings.TrimPrefix(other.URL, "http://"))
	wantFailed(t, lines.one(t, "webhook"), "not homing", "set HOMING_LISTEN to another port")
	wantFailed(t, lines.one(t, "metrics"), "not homing", "set HOMING_METRICS_LISTEN to another port")
	<-hung

	lines = checkListeners(t, "HOMING_LISTEN=192.0.2.1:8025", "HOMING_METRICS_LISTEN=127.0.0.1:0")
	wantFailed(t, lines.one(t, "webhook"), "cannot assign requested address", "an address of this machine")
	wantWell(t, lines.one(t, "metrics"), "free")
	if lines := checkListeners(t, "HOMING_LISTEN=", "HOMING_METRICS_LISTEN="); len(lines) != 0 {
		t.Errorf("listeners that are off:\n%s", lines)
	}
}

// TestCheckHTTPS: a homing that serves HTTPS is known too.
func TestCheckHTTPS(t *testing.T) {
	p := newPair(t)
	p.issue(t, "a")
	r := newRig(t)
	tls := []string{"HOMING_TLS_CERT_PATH=" + p.cert, "HOMING_TLS_KEY_PATH=" + p.key}
	r.start(tls...)
	lines := checkListeners(t, append(tls, "HOMING_LISTEN="+r.app.webhookAddress(), "HOMING_METRICS_LISTEN=")...)
	wantWell(t, lines.one(t, "webhook"), "taken by a homing that runs")
}

func TestLocal(t *testing.T) {
	for at, want := range map[listenAddress]string{
		":9025": "127.0.0.1:9025", "0.0.0.0:9025": "127.0.0.1:9025", "[::]:9025": "[::1]:9025",
		"192.0.2.1:1": "192.0.2.1:1", "[2001:db8::1]:1": "[2001:db8::1]:1", "localhost:1": "localhost:1",
	} {
		if got := at.local(); got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
}
