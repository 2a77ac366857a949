package submission

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// maxHeard bounds what is read in one phase, certificates included: go-smtp
// collects reply lines without end.
const maxHeard = 256 << 10

var errFlood = errors.New("more than 256 KiB of answers")

// wire is a connection whose deadline is set by the phase. go-smtp sets and
// clears one round each command and has none while a message is written: what it
// asks for is ignored.
type wire struct {
	net.Conn
	heard atomic.Int64
}

// within gives everything until the next call this much time.
func (w *wire) within(limit time.Duration) {
	w.heard.Store(0)
	w.Conn.SetDeadline(time.Now().Add(limit))
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.heard.Add(int64(n)) > maxHeard {
		return n, errFlood
	}
	return n, err
}

// SetDeadline, and SetWriteDeadline below, do nothing: see wire.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// cut closes without ceremony: TLS would first write to a server that may not be
// reading.
func (w *wire) cut() { w.Close() }
