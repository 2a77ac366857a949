package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// dial connects to a listener of the rig.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// A server that does not cut us off must not hang the test.
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestSlowClientsAreCutOff: whoever does not finish a header, or sends no next
// request, loses the connection. The timeouts are shortened here, but all are
// set. How long a body may take is the webhook's own affair.
func TestSlowClientsAreCutOff(t *testing.T) {
	r := newRig(t)
	r.prepare()
	for _, s := range r.app.servers {
		for _, timeout := range []*time.Duration{&s.http.ReadHeaderTimeout, &s.http.ReadTimeout, &s.http.WriteTimeout, &s.http.IdleTimeout} {
			if *timeout <= 0 || *timeout > 2*time.Minute {
				t.Errorf("%s: a timeout is %v", s.variable, *timeout)
			}
			*timeout = 50 * time.Millisecond
		}
	}
	r.run()
	for _, test := range []struct{ name, sends string }{
		{"nothing", ""},
		{"half a header", "POST /sns HTTP/1.1\r\nHost: homing\r\nX-Half: "},
		{"no second request", "GET /healthz HTTP/1.1\r\nHost: homing\r\n\r\n"},
	} {
		for _, address := range []string{r.app.webhookAddress(), r.app.metricsAddress()} {
			t.Run(test.name, func(t *testing.T) {
				conn := dial(t, address)
				if _, err := io.WriteString(conn, test.sends); err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("after 30 s the connection is still open")
				}
			})
		}
	}
}

func TestLargeHeader(t *testing.T) {
	r := newRig(t)
	r.start()
	conn := dial(t, r.app.webhookAddress())
	if _, err := io.WriteString(conn, "POST /sns HTTP/1.1\r\nHost: homing\r\nX-Large: "+strings.Repeat("x", 32<<10)+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %s", response.Status)
	}
}

// TestConnectionsAreBounded: whoever comes when there are too many is turned away,
// and taken once there is room.
func TestConnectionsAreBounded(t *testing.T) {
	r := newRig(t)
	r.prepare()
	for _, s := range r.app.servers {
		if s.http.ConnState == nil {
			t.Errorf("%s: connections are not counted", s.variable)
		}
		s.http.ConnState = atMost(3)
	}
	r.run()
	answered := func() bool {
		conn := dial(t, r.app.webhookAddress())
		defer conn.Close()
		_, err := io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: homing\r\n\r\n")
		answer, _ := io.ReadAll(conn) // it may be reset
		return err == nil && strings.HasPrefix(string(answer), "HTTP/1.1 404")
	}
	await(t, "a first answer", answered)
	idle := []net.Conn{dial(t, r.app.webhookAddress()), dial(t, r.app.webhookAddress()), dial(t, r.app.webhookAddress())}
	await(t, "the others to count", func() bool { return !answered() })
	idle[1].Close()
	await(t, "room", answered)
}

// TestNothingIsSmuggled: a request with two lengths is answered once, and what
// follows it is nobody's, for the webhook and for the form.
func TestNothingIsSmuggled(t *testing.T) {
	r := newRig(t)
	r.start(formEnvironment(t)...)
	for _, path := range []string{"/sns", "/form", "/elsewhere"} {
		conn := dial(t, r.app.webhookAddress())
		const twice = " HTTP/1.1\r\nHost: homing\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: homing\r\n\r\n"
		if _, err := io.WriteString(conn, "POST "+path+twice); err != nil {
			t.Fatal(err)
		}
		answers, err := io.ReadAll(conn)
		if n := strings.Count(string(answers), "HTTP/1.1 4"); n != 1 {
			t.Errorf("%s: %d answers, %v:\n%s", path, n, err, answers)
		}
	}
}

// TestStopWaitsForRequests: what was begun is answered when homing is told to
// stop, but whoever takes too long is not waited for, and that is no failure.
func TestStopWaitsForRequests(t *testing.T) {
	for _, test := range []struct {
		name  string
		grace time.Duration
		rest  string // of the body, once homing is told to stop
		want  string // the beginning of the answer
	}{
		{"in time", 30 * time.Second, "}", "HTTP/1.1 400 "},
		{"too late", 10 * time.Millisecond, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.prepare()
			begun := make(chan struct{}, 1)
			hook := r.app.servers[0].http.Handler
			r.app.servers[0].grace = test.grace
			r.app.servers[0].http.Handler = http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
				begun <- struct{}{}
				hook.ServeHTTP(w, request)
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- r.app.run(ctx) }()

			conn := dial(t, r.app.webhookAddress())
			if _, err := io.WriteString(conn, "POST /sns HTTP/1.1\r\nHost: homing\r\nContent-Length: 2\r\n\r\n{"); err != nil {
				t.Fatal(err)
			}
			<-begun
			cancel()
			await(t, "the listener to close", func() bool {
				other, err := net.Dial("tcp", r.app.webhookAddress())
				if err == nil {
					other.Close()
				}
				return err != nil
			})
			if _, err := io.WriteString(conn, test.rest); err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(conn) // how it ends is the server's choice
			if !strings.HasPrefix(string(answer), test.want) || test.want == "" && len(answer) > 0 {
				t.Errorf("answered %q, want %q", answer, test.want)
			}
			if err := <-ended; err != nil {
				t.Errorf("homing ended with %v", err)
			}
		})
	}
}

// TestServerThatFails: a listener that breaks ends homing, with its error.
func TestServerThatFails(t *testing.T) {
	r := newRig(t)
	r.prepare()
	if err := r.app.servers[1].listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.app.run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("homing ended with %v, want the listener's error", err)
	}
}
