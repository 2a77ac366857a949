package delay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// Each part comes as much later as it should, though others are on their way.
func TestBack(t *testing.T) {
	const by, apart = time.Millisecond, 100 * time.Microsecond
	synctest.Test(t, func(t *testing.T) {
		server, in := net.Pipe()
		out, client := net.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- Line{By: by}.back(out, in)
			out.Close()
		}()
		began := time.Now()
		go func() {
			defer server.Close()
			tick := time.NewTicker(apart)
			for n := range byte(20) {
				<-tick.C
				server.Write([]byte{n})
			}
		}()
		octet := make([]byte, 1)
		for n := range byte(20) {
			if _, err := io.ReadFull(client, octet); err != nil || octet[0] != n {
				t.Fatalf("%v, %v; want %d", octet, err, n)
			}
			if took, want := time.Since(began), by+time.Duration(n+1)*apart; took != want {
				t.Errorf("%d came after %v, want %v", n, took, want)
			}
		}
		if n, err := client.Read(octet); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %d, %v", n, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// What a server said before its connection broke still arrives, and a client
// that has gone ends the reading.
func TestBackBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		from := io.MultiReader(bytes.NewReader([]byte("421 bye")), iotest.ErrReader(errors.New("reset")))
		if err := (Line{By: time.Hour}).back(&got, from); err != nil || got.String() != "421 bye" {
			t.Errorf("%q, %v", got.String(), err)
		}
		_, gone := io.Pipe()
		gone.CloseWithError(io.ErrClosedPipe)
		endless := iotest.OneByteReader(rand.NewChaCha8([32]byte{}))
		if err := (Line{By: time.Millisecond}).back(gone, endless); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a client that has gone: %v", err)
		}
	})
}

// echo is a server that says back what it hears, and ends when it was told all.
func echo(t *testing.T, network, address string) string {
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		served.Wait()
	})
	return listener.Addr().String()
}

// TestServe sends much both ways at once through real sockets.
func TestServe(t *testing.T) {
	const by = time.Millisecond
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "server")} {
		t.Run(network, func(t *testing.T) {
			through := "127.0.0.1:0"
			if network == "unix" {
				through = filepath.Join(t.TempDir(), "line")
			}
			listener, err := net.Listen(network, through)
			if err != nil {
				t.Fatal(err)
			}
			var line sync.WaitGroup
			line.Go(func() { Line{Network: network, Address: echo(t, network, address), By: by}.Serve(listener) })
			t.Cleanup(func() {
				listener.Close()
				line.Wait()
			})
			conn, err := net.Dial(network, listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			roundTrip(t, conn, by)
			muchBothWays(t, conn)
		})
	}
}

// roundTrip: one octet there and back takes its time, and not much more.
func roundTrip(t *testing.T, conn net.Conn, by time.Duration) {
	octet, least := []byte{1}, time.Hour
	for range 50 {
		began := time.Now()
		if _, err := conn.Write(octet); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, octet); err != nil {
			t.Fatal(err)
		}
		least = min(least, time.Since(began))
	}
	if least < by || least > 20*by {
		t.Errorf("the fastest of 50 round trips took %v, want %v", least, by)
	}
	t.Logf("the fastest of 50 round trips took %v", least)
}

func muchBothWays(t *testing.T, conn net.Conn) {
	sent := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(sent)
	var writing sync.WaitGroup
	writing.Go(func() {
		if _, err := conn.Write(sent); err != nil {
			t.Error(err)
		}
		closeWrite(conn)
	})
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d octets came back, or others; %v", len(got), len(sent), err)
	}
	writing.Wait()
}
