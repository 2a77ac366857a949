package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// patience is how long anything may take that is waited for. It is long because
// a busy machine is slow, and what does come never uses it up.
const patience = 3 * time.Minute

// environment is all that a homing is told.
type environment map[string]string

// with returns the environment with more variables: name, value, name, value.
func (e environment) with(pairs ...string) environment {
	e = maps.Clone(e)
	for pair := range slices.Chunk(pairs, 2) {
		e[pair[0]] = pair[1]
	}
	return e
}

func (e environment) list() []string {
	list := make([]string, 0, len(e))
	for name, value := range e {
		list = append(list, name+"="+value)
	}
	return list
}

// daemon is one run of the program as a service.
type daemon struct {
	webhook string // host:port
	metrics string
	cmd     *exec.Cmd
	log     journal
	exited  chan struct{} // closed when it has been waited for
}

// launch starts the program and does not wait for anything.
func launch(tb testing.TB, env environment, args ...string) *daemon {
	tb.Helper()
	return launchAs(tb, nil, env, args...)
}

// launchAs is launch as another user, which takes root; nil: as ourselves.
func launchAs(tb testing.TB, user *syscall.Credential, env environment, args ...string) *daemon {
	tb.Helper()
	d := &daemon{cmd: exec.Command(site.program, args...), exited: make(chan struct{})}
	d.cmd.Env = env.list()
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	neighbour.DieWithParent(d.cmd.SysProcAttr, syscall.SIGKILL)
	if err := d.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(d.exited)
		_ = d.cmd.Wait() // its state keeps the exit code
	}()
	tb.Cleanup(func() {
		d.kill()
		if tb.Failed() {
			tb.Logf("homing logged:\n%s", d.log.tail())
		}
	})
	return d
}

// serve starts the program and waits until it says where it listens.
func serve(tb testing.TB, env environment) *daemon {
	tb.Helper()
	d := launch(tb, env)
	d.awaitListeners(tb)
	return d
}

func (d *daemon) awaitListeners(tb testing.TB) {
	tb.Helper()
	line := d.await(tb, "homing serves")
	d.webhook, _ = line["webhook"].(string)
	d.metrics, _ = line["metrics"].(string)
}

// await waits until it has logged a line with this message, and returns it.
func (d *daemon) await(tb testing.TB, message string) map[string]any {
	tb.Helper()
	var line map[string]any
	await(tb, "the log line "+strconv.Quote(message), func() error {
		// Asked in this order: what it said before it ended has been read.
		ended := d.ended()
		lines := d.log.lines(message)
		if len(lines) > 0 {
			line = lines[0]
			return nil
		}
		if ended {
			return final{fmt.Errorf("homing ended with %d:\n%s", d.cmd.ProcessState.ExitCode(), d.log.tail())}
		}
		return fmt.Errorf("homing has not logged it:\n%s", d.log.tail())
	})
	return line
}

func (d *daemon) ended() bool {
	select {
	case <-d.exited:
		return true
	default:
		return false
	}
}

// kill ends it at once, as a power cut does, and waits until it is gone.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may have ended by itself
	<-d.exited
}

// stop asks it to stop, and returns its exit code and how long it took.
func (d *daemon) stop(tb testing.TB) (code int, took time.Duration) {
	tb.Helper()
	d.signal(tb, syscall.SIGTERM)
	return d.ends(tb)
}

// ends waits until it has ended by itself.
func (d *daemon) ends(tb testing.TB) (code int, took time.Duration) {
	tb.Helper()
	began := time.Now()
	select {
	case <-d.exited:
	case <-time.After(patience):
		tb.Fatalf("homing does not end:\n%s", d.log.tail())
	}
	return d.cmd.ProcessState.ExitCode(), time.Since(began)
}

func (d *daemon) signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		tb.Fatalf("homing has ended: %v\n%s", err, d.log.tail())
	}
}

// get asks its metrics listener.
func (d *daemon) get(path string) (status int, body string, err error) {
	answer, err := site.poster.Get("http://" + d.metrics + path)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// metric returns the value of one series, written as /metrics writes it.
func (d *daemon) metric(series string) (float64, error) {
	_, body, err := d.get("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("/metrics has no %s", series)
}

// awaitMetric waits until a series has at least this value.
func (d *daemon) awaitMetric(tb testing.TB, series string, least float64) {
	tb.Helper()
	await(tb, fmt.Sprintf("%s to become %v", series, least), func() error {
		got, err := d.metric(series)
		if err == nil && got < least {
			err = fmt.Errorf("it is %v", got)
		}
		return err
	})
}

// sameMetric checks a series' present value.
func (d *daemon) sameMetric(tb testing.TB, series string, want float64) {
	tb.Helper()
	if got, err := d.metric(series); err != nil || got != want {
		tb.Errorf("%s is %v (%v), want %v", series, got, err, want)
	}
}

// journal is what a program prints.
type journal struct {
	mu   sync.Mutex
	text []byte
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, p...)
	return len(p), nil
}

func (j *journal) all() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Clone(j.text)
}

// tail is its end, for a failure's message.
func (j *journal) tail() string {
	text := j.all()
	const most = 6 << 10
	if len(text) > most {
		return "[...]" + string(text[len(text)-most:])
	}
	return string(text)
}

// lines returns the log lines with this message.
func (j *journal) lines(message string) []map[string]any { return j.after(0, message) }

// after returns those among them that begin behind so many octets.
func (j *journal) after(octets int, message string) (found []map[string]any) {
	for line := range bytes.Lines(j.all()[octets:]) {
		var fields map[string]any
		if json.Unmarshal(line, &fields) == nil && fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}

// final is an error that waiting does not mend.
type final struct{ error }

// await calls try until it succeeds, and fails the test with its last error
// when that takes too long.
func await(tb testing.TB, what string, try func() error) {
	tb.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	end := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if _, hopeless := errors.AsType[final](err); hopeless {
			tb.Fatalf("waiting for %s: %v", what, err)
		}
		select {
		case <-end:
			tb.Fatalf("waiting for %s: %v", what, err)
		case <-again.C:
		}
	}
}

// command runs the program to its end.
func command(tb testing.TB, env environment, args ...string) (code int, stdout, stderr string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, site.program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // it says where it hangs
	cmd.WaitDelay = time.Minute
	cmd.Env = env.list()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil { // SIGQUIT ends a Go program as wrong usage ends homing: with 2
		tb.Fatalf("homing %s did not end:\n%s", strings.Join(args, " "), errs.String())
	}
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		tb.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
