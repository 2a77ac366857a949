package spool

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// childDir, set in the environment, makes the test binary a process that only
// accepts, to be killed.
const childDir = "SPOOL_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(acceptForever(dir))
	}
	os.Exit(m.Run())
}

// acceptForever prints the id of each message once it has been accepted.
func acceptForever(dir string) int {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: dir, History: time.Hour, Free: plenty})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i)
				if _, err := s.Accept(ctx, arrival(id, "a@example.org")); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				out.Lock()
				fmt.Println(id)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return 1
}

// TestKillLosesNothingAcknowledged kills a process with SIGKILL while it
// accepts, many times over on one spool, and looks for each message that it had
// acknowledged.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	dir := t.TempDir()
	total := 0
	for range rounds {
		acknowledged := killOne(t, dir)
		s := openTest(t, Options{Dir: dir})
		for _, id := range acknowledged {
			if it, err := s.Find(t.Context(), id); err != nil || len(it.Recipients) != 1 {
				t.Fatalf("acknowledged and lost: %v", err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s.db, s.writer, s.lock = nil, nil, nil // for the cleanup
		total += len(acknowledged)
	}
	if total == 0 {
		t.Fatal("nothing was ever acknowledged")
	}
	t.Logf("%d kills, %d acknowledged, none lost", rounds, total)
}

// killOne runs the child, kills it at a random message, and returns what it had
// acknowledged.
func killOne(t *testing.T, dir string) (acknowledged []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	last := 1 + rand.N(200)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if acknowledged = append(acknowledged, line[:len(line)-1]); len(acknowledged) == last {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return acknowledged
}

func BenchmarkAccept(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s, err := Open(b.Context(), Options{Dir: b.TempDir(), History: time.Hour, Free: plenty, MaxItems: 1 << 40})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var wg sync.WaitGroup
			next := make(chan int)
			for range writers {
				wg.Go(func() {
					for i := range next {
						if _, err := s.Accept(b.Context(), arrival(fmt.Sprintf("m%d", i), "a@example.org")); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				next <- i
			}
			close(next)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
