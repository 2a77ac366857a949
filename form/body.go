package form

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"time"
)

const (
	// maxBody is room for an attachment of 5 MB and more, twice encoded in base64:
	// by its MIME part, and by the armor.
	maxBody = 10 << 20
	// maxMemory bounds the bodies that are in memory at a time; each is there three
	// times over at worst.
	maxMemory = 4 * maxBody
	// firstRoom is what a body is given before any of it has come.
	firstRoom = 16 << 10
	// bodyTime is how long a body may take to arrive.
	bodyTime = 20 * time.Second
)

// body reads the body of a request. Anybody may send one, so memory is given only
// for what has come: whoever says much and sends little takes none from others.
// The caller calls release when the body is out of use.
func (h *receiver) body(w http.ResponseWriter, r *http.Request) (octets []byte, release func(), err error) {
	if r.ContentLength > maxBody {
		return nil, nil, errTooLarge()
	}
	// An error means that this writer cannot set deadlines; the server's holds.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	in := http.MaxBytesReader(w, r.Body, maxBody)
	var held int64
	release = func() { h.memory.Release(held) }
	for room := int64(firstRoom); ; room = 2 * held {
		if !h.memory.TryAcquire(room - held) {
			release()
			return nil, nil, errors.New("the messages being taken are at their limit")
		}
		held = room
		octets = slices.Grow(octets, int(room)-len(octets))
		n, err := io.ReadFull(in, octets[len(octets):room])
		octets = octets[:len(octets)+n]
		switch _, large := errors.AsType[*http.MaxBytesError](err); {
		case large:
			release()
			return nil, nil, errTooLarge()
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return octets, release, nil
		case err != nil:
			release()
			return nil, nil, err
		}
	}
}
