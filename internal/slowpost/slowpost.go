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

	"github.com/homing-mail/homing/internal/pipe"
)

// Length is the body's, in octets.
const Length = 60

// Post sends a request, an octet of its body each second, and returns the status
// of the answer and after how long it came. It is for a bubble of
// testing/synctest, where the seconds pass at once.
func Post(tb testing.TB, handler http.Handler, path string, header http.Header) (status int, after time.Duration) {
	tb.Helper()
	listener := pipe.Listen()
	server := &http.Server{Handler: handler} // without any limits of its own
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { server.Serve(listener) })
	defer server.Close()
	here, err := listener.Dial(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
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
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: homing.test\r\nConnection: close\r\nContent-Length: %d\r\n", path, Length)
	header.Write(conn)
	fmt.Fprint(conn, "\r\n")
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for range Length {
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
		<-seconds.C
	}
}
