// Package body reads the bodies of requests that anybody may send. Memory is
// given only for what has come: whoever promises much and sends little takes
// none from others.
package body

import (
	"errors"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// firstRoom is what a body is given before any of it has come, in octets.
const firstRoom = 4 << 10

var (
	// ErrTooLarge says that a body has more octets than it may.
	ErrTooLarge = errors.New("the body is too large")
	// ErrBusy says that the bodies in memory are at their limit.
	ErrBusy = errors.New("the bodies in memory are at their limit")
)

// Reader reads bodies. Its methods may be called concurrently.
type Reader struct {
	largest  int64
	patience time.Duration
	memory   *semaphore.Weighted
}

// New returns a Reader of bodies that have at most so many octets and take at
// most so long to arrive, and that together hold at most so much memory, in octets.
func New(largest int64, patience time.Duration, memory int64) *Reader {
	return &Reader{largest: largest, patience: patience, memory: semaphore.NewWeighted(memory)}
}

// Read returns the body of a request. The caller calls release when it is out of
// use. The error is ErrTooLarge, ErrBusy, or of a body that did not arrive whole
// in time.
func (b *Reader) Read(w http.ResponseWriter, r *http.Request) (octets []byte, release func(), err error) {
	// An error means that this writer cannot set deadlines; the server's holds.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(b.patience))
	if r.ContentLength > b.largest {
		// Who expects to be told beforehand has sent nothing yet.
		if r.ContentLength <= b.largest+b.excess() && r.Header.Get("Expect") == "" {
			discard(r.Body, r.ContentLength)
		}
		return nil, nil, ErrTooLarge
	}
	in := http.MaxBytesReader(w, r.Body, b.largest)
	var held int64
	release = func() { b.memory.Release(held) }
	for room := int64(firstRoom); ; room = min(2*held, b.largest+1) {
		if !b.memory.TryAcquire(room - held) {
			release()
			return nil, nil, ErrBusy
		}
		held = room
		octets = append(make([]byte, 0, room), octets...)
		n, err := fill(in, octets[len(octets):room])
		octets = octets[:len(octets)+n]
		switch _, large := errors.AsType[*http.MaxBytesError](err); {
		case large:
			release()
			discard(r.Body, b.excess())
			return nil, nil, ErrTooLarge
		case errors.Is(err, io.EOF):
			return octets, release, nil
		case err != nil:
			release()
			return nil, nil, err
		}
	}
}

// excess is how much more than the largest body is read all the same, in octets.
func (b *Reader) excess() int64 { return b.largest / 16 }

// discard reads the rest of a body that is a little too large, of so many octets
// at most. A connection that is closed before all was read is reset, and its
// sender may never see the answer that says why (RFC 9112, section 9.6).
func discard(rest io.Reader, most int64) {
	// What cannot be read, or is larger still, is answered too, if that arrives.
	_, _ = io.CopyN(io.Discard, rest, most)
}

// fill reads until the buffer is full, or an error. io.ReadFull would make one
// error of a body that ends (io.EOF) and one that was cut off
// (io.ErrUnexpectedEOF).
func fill(in io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var read int
		read, err = in.Read(buffer[n:])
		n += read
	}
	return n, err
}
