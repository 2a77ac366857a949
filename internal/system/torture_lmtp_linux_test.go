package system

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// lossy stands between homing and Dovecot's LMTP, and now and then loses what
// Dovecot says of a message that it has been given whole.
type lossy struct {
	listener net.Listener
	dovecot  string // path of its socket
	off      atomic.Bool
	lost     atomic.Int64
	done     sync.WaitGroup

	mu    sync.Mutex
	rng   *rand.Rand
	conns map[net.Conn]bool
}

// oneIn is how many deliveries there are for each that is cut off.
const oneIn = 40

func newLossy(tb testing.TB, seed uint64, dovecot string) *lossy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	l := &lossy{listener: listener, dovecot: dovecot, rng: rand.New(rand.NewPCG(seed, 1<<40)), conns: map[net.Conn]bool{}}
	l.done.Go(l.serve)
	tb.Cleanup(func() {
		_ = listener.Close() // nothing more is accepted, whatever it says
		l.cutAll()
		l.done.Wait()
	})
	return l
}

// url is what HOMING_DELIVER_TO says.
func (l *lossy) url() string { return "lmtp://" + l.listener.Addr().String() }

func (l *lossy) serve() {
	for {
		homing, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.done.Go(func() { l.join(homing) })
	}
}

// join passes on what both say. A Dovecot that is away is a connection that
// ends at once, as with Docker's proxy.
func (l *lossy) join(homing net.Conn) {
	defer l.keep(homing)()
	dovecot, err := net.Dial("unix", l.dovecot)
	if err != nil {
		return
	}
	defer l.keep(dovecot)()
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		l.requests(dovecot, homing)
		_ = dovecot.(*net.UnixConn).CloseWrite() // Dovecot works what it has
	})
	l.replies(homing, dovecot)
	_ = homing.Close()
}

// keep notes a connection, and returns what ends it.
func (l *lossy) keep(c net.Conn) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = true
	return func() {
		_ = c.Close() // it may have ended by itself
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, c)
	}
}

func (l *lossy) cutAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close()
	}
}

func (l *lossy) cuts() bool {
	if l.off.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.IntN(2*oneIn) == 0
}

// requests passes homing's commands on. It may end both connections when the
// last octet of a message has gone, while Dovecot is at work (RFC 3030, BDAT).
func (l *lossy) requests(dovecot, homing net.Conn) {
	in, out := bufio.NewReaderSize(homing, 64<<10), bufio.NewWriterSize(dovecot, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = out.WriteString(line) // Flush says what went wrong
		if size, last := chunk(line); size > 0 || last {
			if _, err := io.CopyN(out, in, size); err != nil {
				return
			}
			if last && l.cuts() {
				_ = out.Flush() // Dovecot may be gone as well
				l.lost.Add(1)
				_ = homing.Close()
				return
			}
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

// chunk reads a BDAT command.
func chunk(line string) (size int64, last bool) {
	words := strings.Fields(strings.ToUpper(line))
	if len(words) < 2 || words[0] != "BDAT" {
		return 0, false
	}
	size, err := strconv.ParseInt(words[1], 10, 64)
	return size, err == nil && len(words) == 3 && words[2] == "LAST"
}

// replies passes Dovecot's replies back. It may end the connection instead of
// passing back that a message is stored.
func (l *lossy) replies(homing, dovecot net.Conn) {
	in, out := bufio.NewReader(dovecot), bufio.NewWriter(homing)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "250 2.0.0 ") && strings.HasSuffix(line, " Saved\r\n") && l.cuts() {
			l.lost.Add(1)
			return
		}
		_, _ = out.WriteString(line) // Flush says what went wrong
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}
