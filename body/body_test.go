package body_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/body"
	"github.com/homing-mail/homing/internal/slowpost"
)

func read(t *testing.T, r *body.Reader, in io.Reader) ([]byte, func(), error) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", in)
	return r.Read(httptest.NewRecorder(), request)
}

func TestRead(t *testing.T) {
	const largest = 10_000
	r := body.New(largest, time.Minute, largest+1)
	for _, octets := range []int{0, 1, 4095, 4096, 4097, 8192, largest - 1, largest} {
		sent := bytes.Repeat([]byte("x"), octets)
		for name, in := range map[string]io.Reader{
			"at once":      bytes.NewReader(sent),
			"one by one":   iotest.OneByteReader(bytes.NewReader(sent)),
			"with its end": iotest.DataErrReader(bytes.NewReader(sent)),
		} {
			got, release, err := read(t, r, in)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d octets, %s: %d came, %v", octets, name, len(got), err)
			}
			if cap(got) > largest+1 {
				t.Errorf("%d octets, %s: %d are held, want %d at most", octets, name, cap(got), largest+1)
			}
			release() // without which the next would be refused
		}
	}
}

func TestTooLarge(t *testing.T) {
	const largest = 10_000
	r := body.New(largest, time.Minute, largest+1)
	for name, in := range map[string]io.Reader{
		"as it says":       strings.NewReader(strings.Repeat("x", largest+1)),
		"and does not say": io.MultiReader(strings.NewReader(strings.Repeat("x", largest+1))),
		"without an end":   iotest.DataErrReader(endless{}),
	} {
		if _, _, err := read(t, r, in); !errors.Is(err, body.ErrTooLarge) {
			t.Errorf("%s: %v, want %v", name, err, body.ErrTooLarge)
		}
	}
	if _, _, err := read(t, r, strings.NewReader(strings.Repeat("x", largest))); err != nil {
		t.Errorf("what was too large still holds memory: %v", err)
	}
}

// What is a little too large is read to its end: only then is its sender sure to
// see why it is refused. What is much too large, or has no end, is not read on.
func TestReadsLittleTooLarge(t *testing.T) {
	const largest, excess = 16_000, 1_000
	r := body.New(largest, time.Minute, largest+1)
	for name, test := range map[string]struct {
		octets, least, most int64
		says                bool
	}{
		"one too many":               {largest + 1, largest + 1, largest + 1, true},
		"as many as are read":        {largest + excess, largest + excess, largest + excess, true},
		"much more":                  {largest + excess + 1, 0, 0, true},
		"one too many, unsaid":       {largest + 1, largest + 1, largest + 1, false},
		"as many as are read, quiet": {largest + excess, largest + excess, largest + excess, false},
		"endless":                    {1 << 40, largest + 1, largest + 1 + excess, false},
	} {
		in := &counter{in: io.LimitReader(endless{}, test.octets)}
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", in)
		if test.says {
			request.ContentLength = test.octets
		}
		_, _, err := r.Read(httptest.NewRecorder(), request)
		if !errors.Is(err, body.ErrTooLarge) || in.octets < test.least || in.octets > test.most {
			t.Errorf("%s: %d octets were read, %v; want %d to %d, and %v", name, in.octets, err, test.least, test.most, body.ErrTooLarge)
		}
	}
}

// counter counts what is read from it.
type counter struct {
	in     io.Reader
	octets int64
}

func (c *counter) Read(octets []byte) (int, error) {
	n, err := c.in.Read(octets)
	c.octets += int64(n)
	return n, err
}

// What is refused waits for its rest no longer than others, and holds no memory
// meanwhile.
func TestTooLargeIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := body.New(slowpost.Length-1, 10*time.Second, 1<<20)
		handler := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if _, _, err := r.Read(w, request); errors.Is(err, body.ErrTooLarge) {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			}
		})
		status, after := slowpost.Post(t, handler, "/", http.Header{})
		if status != http.StatusRequestEntityTooLarge || after != 10*time.Second {
			t.Errorf("answered %d after %v, want 413 after 10s", status, after)
		}
	})

	const largest = 16_000
	r := body.New(largest, time.Minute, largest+1)
	beside := errors.New("nothing was read beside it")
	rest := readerFunc(func([]byte) (int, error) {
		_, _, beside = read(t, r, strings.NewReader(strings.Repeat("x", largest)))
		return 0, io.EOF
	})
	if _, _, err := read(t, r, io.MultiReader(io.LimitReader(endless{}, largest+1), rest)); !errors.Is(err, body.ErrTooLarge) {
		t.Error(err)
	}
	if beside != nil {
		t.Errorf("beside what is refused: %v", beside)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(octets []byte) (int, error) { return f(octets) }

// Who asks before sending is told so before.
func TestTooLargeIsNotAskedFor(t *testing.T) {
	in := &counter{in: endless{}}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", in)
	request.ContentLength = 16_001
	request.Header.Set("Expect", "100-continue")
	r := body.New(16_000, time.Minute, 1<<20)
	if _, _, err := r.Read(httptest.NewRecorder(), request); !errors.Is(err, body.ErrTooLarge) || in.octets != 0 {
		t.Errorf("%v, and %d octets were read", err, in.octets)
	}
}

// A sender that says how much comes and asks for the connection to be closed is not
// given the half second in which net/http lets others read their answer before the
// reset.
func TestTooLargeIsAnswered(t *testing.T) {
	const largest = 1 << 20
	r := body.New(largest, time.Minute, largest+1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if _, _, err := r.Read(w, request); errors.Is(err, body.ErrTooLarge) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	sent := make([]byte, largest+1)
	for name, in := range map[string]func() io.Reader{
		"as it says":       func() io.Reader { return bytes.NewReader(sent) },
		"and does not say": func() io.Reader { return io.MultiReader(bytes.NewReader(sent)) },
	} {
		for range 50 {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, in())
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatalf("%s: %v, want an answer", name, err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusRequestEntityTooLarge {
				t.Fatalf("%s: %d, want 413", name, response.StatusCode)
			}
		}
	}
}

// endless has always more.
type endless struct{}

func (endless) Read(octets []byte) (int, error) { return len(octets), nil }

// Half a body is none: its sender has to send it again.
func TestCutOff(t *testing.T) {
	r := body.New(10_000, time.Minute, 10_001)
	for _, cut := range []error{io.ErrUnexpectedEOF, errors.New("connection reset")} {
		in := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(cut))
		if octets, _, err := read(t, r, in); !errors.Is(err, cut) {
			t.Errorf("%q, %v, want %v", octets, err, cut)
		}
	}
	if _, _, err := read(t, r, strings.NewReader(strings.Repeat("x", 10_000))); err != nil {
		t.Errorf("what was cut off still holds memory: %v", err)
	}
}

func TestBusy(t *testing.T) {
	const first = 4096
	r := body.New(100_000, time.Minute, 2*first+1)
	_, releaseOne, err := read(t, r, strings.NewReader("one"))
	if err != nil {
		t.Fatal(err)
	}
	_, releaseTwo, err := read(t, r, strings.NewReader("two"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, r, strings.NewReader("three")); !errors.Is(err, body.ErrBusy) {
		t.Errorf("%v, want %v", err, body.ErrBusy)
	}
	releaseOne()
	releaseTwo()

	// One that grows while others are there is refused then, and gives back what it had.
	_, release, err := read(t, r, strings.NewReader("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, r, strings.NewReader(strings.Repeat("x", first+1))); !errors.Is(err, body.ErrBusy) {
		t.Errorf("%v, want %v", err, body.ErrBusy)
	}
	release()
	if _, _, err := read(t, r, strings.NewReader(strings.Repeat("x", first+1))); err != nil {
		t.Errorf("all was given back, and it is refused: %v", err)
	}
}

// A body that promises much takes no more than it sends.
func TestPromise(t *testing.T) {
	r := body.New(1<<20, time.Minute, 1<<20)
	in, out := io.Pipe()
	defer out.Close()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", in)
	request.ContentLength = 1 << 20
	ended := make(chan error, 1)
	go func() {
		_, _, err := r.Read(httptest.NewRecorder(), request)
		ended <- err
	}()
	if _, err := out.Write([]byte("x")); err != nil { // which waits until it is being read
		t.Fatal(err)
	}
	if _, _, err := read(t, r, strings.NewReader(strings.Repeat("x", 500_000))); err != nil {
		t.Errorf("beside a promise: %v", err)
	}
	out.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the promise was not kept: %v", err)
	}
}
