package lmtp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// BenchmarkDeliver is the client's own cost: the server throws all away. (Its
// reading is in the figure, for one cannot tell them apart.)
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{4 << 10, 50 << 10, 1 << 20, 25 << 20} {
		for _, mailboxes := range []int{1, 4} {
			b.Run(fmt.Sprintf("%dKiB/mailboxes=%d", size>>10, mailboxes), func(b *testing.B) {
				path := discard(b)
				c := New(Config{Network: "unix", Address: path, Connections: mailboxes})
				defer c.Close()
				octets := [][]byte{make([]byte, 100), make([]byte, size-100)}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				deliverMany(b, c, mailboxes, octets)
			})
		}
	}
}

// deliverMany keeps sixteen deliveries to each mailbox on their way.
func deliverMany(b *testing.B, c *Client, mailboxes int, octets [][]byte) {
	work := make(chan struct{})
	var senders sync.WaitGroup
	for i := range 16 * mailboxes {
		senders.Go(func() {
			mailbox := "user" + strconv.Itoa(i%mailboxes) + "@y.test"
			for range work {
				if err := c.Deliver(b.Context(), "a@x.test", mailbox, octets); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	senders.Wait()
}

// discard starts a server that says yes to everything and keeps nothing.
func discard(b *testing.B) (path string) {
	path = filepath.Join(b.TempDir(), "lmtp")
	listener, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer conn.Close()
				sayYes(conn)
			})
		}
	})
	b.Cleanup(func() {
		listener.Close()
		sessions.Wait()
	})
	return path
}

func sayYes(conn net.Conn) {
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	io.WriteString(w, "220 Dovecot\r\n")
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch string(line[:4]) {
		case "LHLO":
			io.WriteString(w, "250-mx\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
		case "QUIT":
			io.WriteString(w, "221 bye\r\n")
		case "BDAT":
			n, err := strconv.Atoi(strings.Fields(string(line))[1])
			if err != nil {
				return
			}
			if _, err := r.Discard(n); err != nil {
				return
			}
			io.WriteString(w, "250 2.0.0 saved\r\n")
		default:
			io.WriteString(w, "250 2.0.0 OK\r\n")
		}
	}
}
