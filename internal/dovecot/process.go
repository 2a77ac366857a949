package dovecot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// process is one run of Dovecot's master. Its children are in its process group.
type process struct {
	master *os.Process
	exited chan struct{} // closed when the master has been waited for
}

// start runs Dovecot and waits until it greets.
func (s *Server) start() error {
	stderr, err := os.Create(filepath.Join(s.dir, "stderr"))
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd := exec.Command(program, "-F", "-c", s.inside+"/dovecot.conf")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = stderr, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.root, Setpgid: true}
	neighbour.DieWithParent(cmd.SysProcAttr, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		return err
	}
	run := &process{master: cmd.Process, exited: make(chan struct{})}
	s.process = run
	go func() {
		defer close(run.exited)
		// Its exit code tells nothing that its log does not.
		_ = cmd.Wait()
	}()
	if err := s.awaitGreetings(); err != nil {
		return errors.Join(err, s.halt())
	}
	return nil
}

func (s *Server) awaitGreetings() error {
	ended := false
	err := until(10*time.Millisecond, func() error {
		select {
		case <-s.process.exited:
			ended = true
			return nil
		default:
			return s.greets()
		}
	})
	if ended {
		return errors.New("it ended at once")
	}
	return err
}

// halt stops all of Dovecot's processes at once, as systemd does: a master told
// alone waits for its children in whole seconds. It does nothing if there is
// no server.
func (s *Server) halt() error {
	run := s.process
	if run == nil {
		return nil
	}
	s.process = nil
	group := -run.master.Pid
	err := until(10*time.Millisecond, func() error {
		if errors.Is(syscall.Kill(group, syscall.SIGTERM), syscall.ESRCH) {
			return nil
		}
		return fmt.Errorf("processes of group %d are left", -group)
	})
	if err != nil {
		_ = syscall.Kill(group, syscall.SIGKILL)
	}
	<-run.exited
	return err
}

// Stop stops the server; its addresses and its mail stay for [Server.Restart].
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if err := s.halt(); err != nil {
		tb.Fatalf("stopping Dovecot %s: %v\n%s", s.Version, err, s.Log())
	}
}

// Restart stops the server if it runs, and starts it on the same addresses, which
// a child of the old one may have for a moment more.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Stop(tb)
	var failed error
	err := until(10*time.Millisecond, func() error {
		before := s.taken()
		if failed = s.start(); failed == nil || s.taken() == before {
			return nil
		}
		return failed
	})
	if err = errors.Join(err, failed); err != nil {
		tb.Fatalf("starting Dovecot %s again: %v\n%s", s.Version, err, s.Log())
	}
}

// taken is how often Dovecot complained of a port that another has.
func (s *Server) taken() int { return strings.Count(s.all(), "Address already in use") }

// Reload makes Dovecot read its configuration again, which ends the LMTP
// sessions it has with 421, and returns when it greets again.
func (s *Server) Reload(tb testing.TB) {
	tb.Helper()
	before := s.reloads(tb)
	if err := s.process.master.Signal(syscall.SIGHUP); err != nil {
		tb.Fatalf("reloading Dovecot %s: %v", s.Version, err)
	}
	err := until(10*time.Millisecond, func() error {
		if s.reloads(tb) == before {
			return errors.New("the log does not speak of it")
		}
		return s.greets()
	})
	if err != nil {
		tb.Fatalf("reloading Dovecot %s: %v\n%s", s.Version, err, s.Log())
	}
}

func (s *Server) reloads(tb testing.TB) int {
	tb.Helper()
	log, err := os.ReadFile(filepath.Join(s.dir, "dovecot.log"))
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Count(string(log), "SIGHUP received")
}

// until calls try again and again until it succeeds, and returns its last error
// when patience is at an end.
func until(pause time.Duration, try func() error) error {
	again := time.NewTicker(pause)
	defer again.Stop()
	end := time.After(patience)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-end:
			return err
		case <-again.C:
		}
	}
}
