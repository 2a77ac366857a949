package lmtp

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// maxWrite is how much one write deadline is for: 2 MiB in three minutes is
	// less than any line carries that one would put before a Dovecot.
	maxWrite = 2 << 20
	// maxAnswer bounds what go-smtp may read after each of its writes: it
	// collects reply lines without end.
	maxAnswer = 64 << 10
	// drainTime is how long a reply is waited for, after a write has failed,
	// that may have been on its way.
	drainTime = 2 * time.Second
)

var errFlood = errors.New("more than 64 KiB in answer to one command")

// wire is a connection on which every read and every write arms its own
// deadline: go-smtp arms one round each command, clears it afterwards, and has
// none while a body is written.
type wire struct {
	net.Conn // raw, or TLS over it
	raw      net.Conn
	writeFor time.Duration
	piece    net.Buffers   // what is being written; a field only to spare an allocation
	gather   *bufio.Writer // makes TLS records of small pieces; nil without TLS
	written  int64

	// While capped, reads are counted from write to write. Both belong to the
	// goroutine that runs the session.
	capped bool
	heard  int

	mu       sync.Mutex
	readFor  time.Duration
	draining bool
	wrote    time.Time // when a write was last begun or ended
}

// newWire wraps raw, or the TLS connection over it if that is not nil.
func newWire(raw net.Conn, secure *tls.Conn, limits Timeouts) *wire {
	w := &wire{Conn: raw, raw: raw, capped: true, readFor: limits.Greeting, writeFor: limits.Write}
	if secure != nil {
		w.Conn = secure
		w.gather = bufio.NewWriterSize(w, 16<<10)
	}
	return w
}

// within sets how long reads wait from now on.
func (w *wire) within(limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.draining {
		w.readFor = limit
	}
}

// drain makes the limit short for good, also for a read that is already waiting.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readFor, w.draining = drainTime, true
	w.raw.SetReadDeadline(time.Now().Add(drainTime))
}

// until returns when a read begun at start has waited long enough: the limit
// runs from its start or from the last write, for nobody owes us a reply while
// a large message is still being written.
func (w *wire) until(start time.Time, arm bool) (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrote.After(start) {
		start = w.wrote
	}
	deadline := start.Add(w.readFor)
	if !arm {
		return deadline, nil
	}
	return deadline, w.SetReadDeadline(deadline)
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	start := time.Now()
	for {
		deadline, err := w.until(start, true)
		if err != nil {
			return 0, err
		}
		n, err := w.Conn.Read(p)
		if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			if later, _ := w.until(start, false); later.After(deadline) {
				continue
			}
		}
		return n, w.count(n, err)
	}
}

// count refuses an answer without end.
func (w *wire) count(n int, err error) error {
	if !w.capped {
		return err
	}
	if w.heard += n; w.heard > maxAnswer {
		return errFlood
	}
	return err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	if w.capped {
		w.heard = 0
	}
	total := 0
	for {
		if err := w.armWrite(); err != nil {
			return total, err
		}
		n, err := w.Conn.Write(p[:min(len(p), maxWrite)])
		w.writeEnded()
		w.written += int64(n)
		total += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return total, err
		}
	}
}

// armWrite gives the next write its time.
func (w *wire) armWrite() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote = time.Now()
	return w.SetWriteDeadline(w.wrote.Add(w.writeFor))
}

// writeEnded lets reads count from here.
func (w *wire) writeEnded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote = time.Now()
}

// send writes buffers with as few system calls as possible and returns how many
// octets went out. It uses up the slice, but not what its elements point to.
func (w *wire) send(buffers net.Buffers) (int64, error) {
	w.written = 0
	err := w.writeAll(buffers)
	return w.written, err
}

func (w *wire) writeAll(buffers net.Buffers) error {
	if w.gather == nil {
		return w.writeVector(buffers)
	}
	for _, b := range buffers {
		if _, err := w.gather.Write(b); err != nil {
			return err
		}
	}
	return w.gather.Flush()
}

// writeVector writes maxWrite octets at a time, each under its own deadline.
func (w *wire) writeVector(buffers net.Buffers) error {
	for len(buffers) > 0 {
		last, room := 0, maxWrite
		for last < len(buffers)-1 && len(buffers[last]) <= room {
			room -= len(buffers[last])
			last++
		}
		whole := buffers[last]
		part := min(len(whole), room)
		buffers[last] = whole[:part]
		if err := w.writePiece(buffers[:last+1]); err != nil {
			return err
		}
		if buffers[last] = whole[part:]; part == len(whole) {
			last++
		}
		buffers = buffers[last:]
	}
	return nil
}

func (w *wire) writePiece(buffers net.Buffers) error {
	if err := w.armWrite(); err != nil {
		return err
	}
	w.piece = buffers
	n, err := w.piece.WriteTo(w.Conn)
	w.writeEnded()
	w.written += n
	return err
}

// cut closes without ceremony: TLS would first write an alert, to a server that
// may not be reading.
func (w *wire) cut() { w.raw.Close() }
