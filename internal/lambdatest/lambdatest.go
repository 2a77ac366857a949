// Package lambdatest runs a Lambda function's binary in tests, as Lambda does:
// it serves the runtime API that the binary asks for its events.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
package lambdatest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

const (
	api = "/2018-06-01/runtime/"
	// arn is the function's.
	arn = "arn:aws:lambda:us-east-1:123456789012:function:homing"
	// maxAnswer is what Lambda takes of a function's answer.
	maxAnswer = 6 << 20
)

// Function is a function that is deployed. Its methods are for one goroutine.
type Function struct {
	program string
	environ []string
	server  *httptest.Server
	log     journal
	process *process // nil: none runs

	events  chan invocation // to whoever asks for the next one
	answers chan answer
	pending string // id of the event that was handed out; only the server's handlers
	mu      sync.Mutex
}

type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
}

type answer struct {
	id   string
	body []byte
	err  error
}

// process is one sandbox.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has been waited for
}

// ErrDied says that the process ended before it answered.
var ErrDied = errors.New("the function's process ended before it answered")

// New deploys a program with an environment; it is started with the first event,
// and again when it has died. What it printed is logged when the test fails.
func New(tb testing.TB, program string, environ ...string) *Function {
	f := &Function{program: program, environ: environ, events: make(chan invocation), answers: make(chan answer, 8)}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	tb.Cleanup(func() {
		f.Kill()
		f.server.Close()
		if tb.Failed() {
			tb.Logf("the function printed:\n%s", f.Log())
		}
	})
	return f
}

// Log is what all its processes have printed.
func (f *Function) Log() string { return f.log.String() }

// Kill ends the process at once. It may be called from another goroutine while
// an event is worked.
func (f *Function) Kill() {
	f.mu.Lock()
	p := f.process
	f.mu.Unlock()
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.exited
}

// Invoke has an event worked, once, and returns what the function returned. The
// error is what the function reports, or wraps ErrDied, or says that it did not
// answer within the timeout, after which Lambda, too, ends it.
func (f *Function) Invoke(tb testing.TB, event []byte, timeout time.Duration) ([]byte, error) {
	tb.Helper()
	p, err := f.run()
	if err != nil {
		tb.Fatalf("start the function: %v", err)
	}
	late := time.NewTimer(timeout)
	defer late.Stop()
	in := invocation{id: rand.Text(), payload: event, deadline: time.Now().Add(timeout)}
	select {
	case f.events <- in:
	case <-p.exited:
		return nil, fmt.Errorf("%w: it asked for no event:\n%s", ErrDied, f.Log())
	case <-late.C:
		f.Kill()
		return nil, fmt.Errorf("it asked for no event within %v:\n%s", timeout, f.Log())
	}
	for {
		select {
		case a := <-f.answers:
			if a.id == in.id { // else the last word of one that was killed
				return a.body, a.err
			}
		case <-p.exited:
			return nil, ErrDied
		case <-late.C:
			f.Kill()
			return nil, fmt.Errorf("no answer within %v", timeout)
		}
	}
}

// run returns the process, a new one where none lives.
func (f *Function) run() (*process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.process != nil {
		select {
		case <-f.process.exited:
		default:
			return f.process, nil
		}
	}
	f.pending = ""
	p := &process{cmd: exec.Command(f.program), exited: make(chan struct{})}
	p.cmd.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(f.server.URL, "http://"),
		"AWS_LAMBDA_FUNCTION_NAME=homing", "_HANDLER=bootstrap", "PATH=/usr/bin:/bin"}, f.environ...)
	p.cmd.Stdout, p.cmd.Stderr = &f.log, &f.log
	p.cmd.SysProcAttr = new(syscall.SysProcAttr)
	neighbour.DieWithParent(p.cmd.SysProcAttr, syscall.SIGKILL)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // its state is not asked for
	}()
	f.process = p
	return p, nil
}

func (f *Function) serve(w http.ResponseWriter, r *http.Request) {
	route := strings.Split(strings.TrimPrefix(r.URL.Path, api), "/")
	switch {
	case !strings.HasPrefix(r.URL.Path, api):
		http.NotFound(w, r)
	case r.Method == http.MethodGet && len(route) == 2 && route[0] == "invocation" && route[1] == "next":
		f.next(w, r)
	case r.Method == http.MethodPost && len(route) == 3 && route[0] == "invocation":
		f.take(w, r, route[1], route[2])
	default:
		http.NotFound(w, r)
	}
}

func (f *Function) next(w http.ResponseWriter, r *http.Request) {
	select {
	case in := <-f.events:
		f.mu.Lock()
		f.pending = in.id
		f.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", in.id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(in.deadline.UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", arn)
		_, _ = w.Write(in.payload) // a process that died asks again
	case <-r.Context().Done():
	}
}

// take takes the answer to the event that is pending, and no other.
func (f *Function) take(w http.ResponseWriter, r *http.Request, id, kind string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAnswer))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	f.mu.Lock()
	known := f.pending == id
	if known {
		f.pending = ""
	}
	f.mu.Unlock()
	switch {
	case !known:
		http.Error(w, "no such invocation", http.StatusForbidden)
		return
	case kind == "response":
		f.answers <- answer{id: id, body: body}
	case kind == "error":
		f.answers <- answer{id: id, err: reported(body)}
	default:
		http.NotFound(w, r)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// reported is the error that a function reports.
func reported(body []byte) error {
	var e struct{ ErrorMessage, ErrorType string }
	if err := json.Unmarshal(body, &e); err != nil || e.ErrorMessage == "" {
		return fmt.Errorf("the function reports an error in a form that Lambda does not know: %.200q", body)
	}
	return fmt.Errorf("%s: %s", e.ErrorType, e.ErrorMessage)
}

// journal is what is printed.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
