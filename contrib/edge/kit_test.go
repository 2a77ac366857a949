// Package edge_test tests the contact form as a visitor meets it: a real browser
// on the real page, the edge worker on the platforms it is made for, a real
// homing and a real Dovecot behind it, and GnuPG to read what arrived.
package edge_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// patience is how long anything may take that is waited for. It is long because
// a busy machine is slow, and what does come never uses it up.
const patience = 3 * time.Minute

// pictures is where screenshots go, a directory; docs/contact-form has them.
var pictures = flag.String("pictures", "", "directory to save a picture of each state in")

// modules returns the directory with the npm packages of package-lock.json.
func modules(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("NEIGHBOUR_EDGE")
	if dir == "" {
		dir = "/var/cache/homing-test/edge"
	}
	installed, err := os.ReadFile(filepath.Join(dir, ".complete"))
	if errors.Is(err, os.ErrNotExist) {
		neighbour.Missing(tb, "the contact form's npm packages in "+dir, "./test.sh as root installs them")
	} else if err != nil {
		tb.Fatal(err)
	}
	wanted, err := os.ReadFile("package-lock.json")
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(installed, wanted) {
		neighbour.Missing(tb, "the npm packages of this package-lock.json; others are in "+dir, "./test.sh as root installs them")
	}
	return dir
}

// inModules returns the one file in the npm packages that matches a pattern: the
// directory of a program names the machine's architecture.
func inModules(tb testing.TB, pattern string) string {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(modules(tb), "node_modules", pattern))
	if err != nil || len(found) != 1 {
		tb.Fatalf("%s: %q, %v; want one file", pattern, found, err)
	}
	return found[0]
}

func denoProgram(tb testing.TB) string {
	tb.Helper()
	return inModules(tb, "@deno/*/deno")
}

// deno runs Deno to its end and returns what it printed.
func deno(tb testing.TB, dir, stdin string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), denoProgram(tb), args...)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewBufferString(stdin)
	cmd.Env = denoEnvironment(tb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("deno %q: %v\n%s%s", args, err, out, stderr.Bytes())
	}
	return string(out)
}

func denoEnvironment(tb testing.TB) []string {
	tb.Helper()
	return []string{"DENO_DIR=" + filepath.Join(built.dir, "deno"), "DENO_NO_UPDATE_CHECK=1", "NO_COLOR=1", "HOME=" + tb.TempDir()}
}

// process is a program that runs until the test ends.
type process struct {
	cmd    *exec.Cmd
	log    journal
	exited chan struct{} // closed when it has been waited for
}

// start starts a program; what it prints is in its log.
func start(tb testing.TB, cmd *exec.Cmd) *process {
	tb.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stderr = &p.log
	if cmd.Stdout == nil {
		cmd.Stdout = &p.log
	}
	cmd.SysProcAttr = new(syscall.SysProcAttr)
	neighbour.DieWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // its state keeps the exit code
	}()
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			tb.Logf("%s printed:\n%s", filepath.Base(cmd.Path), p.log.text())
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.exited
}

// await waits until try succeeds while the program runs.
func (p *process) await(tb testing.TB, what string, try func() error) {
	tb.Helper()
	await(tb, what, func() error {
		select {
		case <-p.exited:
			return final{fmt.Errorf("it ended by itself:\n%s", p.log.text())}
		default:
			return try()
		}
	})
}

// journal is what a program prints.
type journal struct {
	mu  sync.Mutex
	all []byte
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, p...)
	return len(p), nil
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.all)
}

var errNotYet = errors.New("not yet")

// final is an error that waiting does not mend.
type final struct{ error }

// await calls try until it succeeds, and fails the test with its last error when
// that takes too long.
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
