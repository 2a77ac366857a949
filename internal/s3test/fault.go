package s3test

import (
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// A Hook decides about one request before it is carried out. Nil lets it pass.
// It is called concurrently.
type Hook func(*http.Request) *Fault

// Fault is what goes wrong with one request. The zero value changes nothing.
type Fault struct {
	// Delay passes before anything else happens.
	Delay time.Duration
	// Happens carries the request out although the answer is Status or Reset:
	// what the client takes for a failure was none.
	Happens bool
	// Then, if not nil, is called after that, before anything is answered.
	Then func()
	// Status, when not 0, is answered with Code as S3's error code.
	Status int
	Code   string
	// Reset breaks the connection instead of an answer.
	Reset bool

	// The rest changes the body of the answer.

	// Pause passes before each piece of it, of at most 32 KiB.
	Pause time.Duration
	// Corrupt inverts the first octet.
	Corrupt bool
	// NoLength leaves the Content-Length out.
	NoLength bool
	// After this many octets, if Truncate or Stall is set, the connection is
	// closed, or nothing more is sent until the client goes away.
	After           int64
	Truncate, Stall bool
}

// Faulty puts a hook before a handler, which may be a proxy to a real server.
func Faulty(next http.Handler, hook Hook) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := hook(r)
		if fault == nil {
			next.ServeHTTP(w, r)
			return
		}
		if !wait(r, fault.Delay) {
			return
		}
		if fault.Status == 0 && !fault.Reset {
			next.ServeHTTP(&faultyWriter{ResponseWriter: w, fault: fault, request: r}, r)
			return
		}
		if fault.Happens {
			next.ServeHTTP(discard{header: http.Header{}}, r)
			if fault.Then != nil {
				fault.Then()
			}
		}
		if fault.Reset {
			hangUp(w, true)
			return
		}
		writeError(w, r, fault.Status, fault.Code)
	})
}

// wait reports whether the client is still there after the delay.
func wait(r *http.Request, delay time.Duration) bool {
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// hangUp ends the connection below an answer; abruptly means by a TCP reset.
func hangUp(w http.ResponseWriter, abruptly bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // gone already
	}
	if tcp, ok := conn.(*net.TCPConn); ok && abruptly {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// writeError answers as S3 does: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func writeError(w http.ResponseWriter, r *http.Request, status int, code string) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: "injected: " + http.StatusText(status)})
}

// discard carries a request out without an answer.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// faultyWriter spoils the body of an answer.
type faultyWriter struct {
	http.ResponseWriter
	request *http.Request
	fault   *Fault
	started bool
	sent    int64
}

func (w *faultyWriter) WriteHeader(status int) {
	w.started = true
	if w.fault.NoLength {
		w.Header().Del("Content-Length")
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if !w.started {
		w.WriteHeader(http.StatusOK)
	}
	if !wait(w.request, w.fault.Pause) {
		return 0, w.request.Context().Err()
	}
	if w.fault.Corrupt && w.sent == 0 && len(p) > 0 {
		p = append([]byte{^p[0]}, p[1:]...)
	}
	whole := len(p)
	if w.fault.Truncate || w.fault.Stall {
		p = p[:min(int64(whole), w.fault.After-w.sent)]
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	if err == nil && n < whole {
		err = w.stop()
	}
	return n, err
}

// stop ends an answer before its end.
func (w *faultyWriter) stop() error {
	if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
		return err
	}
	if w.fault.Stall {
		<-w.request.Context().Done()
	}
	hangUp(w.ResponseWriter, false)
	return errors.New("injected: the answer ends here")
}
