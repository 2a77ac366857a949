// Package slowpost is a client whose request takes a minute to arrive, for
// handlers that must not wait so long.
package slowpost

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// length is the body's, in octets.
const length = 60

// Post sends a request, an octet of its body each second, and returns the status
// of the answer and after how long it came. It is for a bubble of
// testing/synctest, where the seconds pass at once.
func Post(tb testing.TB, handler http.Handler, path string, header http.Header) (status int, after time.Duration) {
	tb.Helper()
	here, there := net.Pipe()
	listener := &single{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	listener.conns <- there
	server := &http.Server{Handler: handler} // without any limits of its own
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { server.Serve(listener) })
	defer server.Close()
	begun := time.Now()
	working.Go(func() { trickle(here, path, header) })
	defer here.Close()
	answer, err := http.ReadResponse(bufio.NewReader(here), nil)
	if err != nil {
		tb.Fatalf("no answer after %v: %v", time.Since(begun), err)
	}
	defer answer.Body.Close()
	after = time.Since(begun)
	io.Copy(io.Discard, here) // until the server has closed the connection, too
	return answer.StatusCode, after
}

// trickle writes until the connection is closed.
func trickle(conn net.Conn, path string, header http.Header) {
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: homing.test\r\nConnection: close\r\nContent-Length: %d\r\n", path, length)
	header.Write(conn)
	fmt.Fprint(conn, "\r\n")
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for range length {
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
		<-seconds.C
	}
}

// single is a listener for one connection.
type single struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (l *single) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *single) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *single) Addr() net.Addr { return &net.TCPAddr{} }
