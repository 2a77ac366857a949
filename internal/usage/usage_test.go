package usage

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ourselves returns our process, and skips where there is no /proc.
func ourselves(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has it")
	}
	return os.Getpid()
}

func TestProcessor(t *testing.T) {
	pid := ourselves(t)
	before, err := Processor(pid)
	if err != nil {
		t.Fatal(err)
	}
	spent := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); spent++ {
		after, err := Processor(pid)
		if err != nil {
			t.Fatal(err)
		}
		if after-before >= 5*tick {
			return
		}
	}
	t.Errorf("%d looks into /proc took less than %v of processor time", spent, 5*tick)
}

func TestSelf(t *testing.T) {
	before := Self(t)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if Self(t) > before {
			return
		}
	}
	t.Error("ten seconds of looking took no processor time")
}

func TestChildren(t *testing.T) {
	before := Children(t)
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got, want := Children(t)-before, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(); got <= 0 || (got-want).Abs() > time.Millisecond { // both are rounded
		t.Errorf("a child took %v, want %v", got, want)
	}
}

func TestGroup(t *testing.T) {
	ourselves(t)
	cmd := exec.Command("sh", "-c", "cat & cat; wait") // they end with their input
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids, err := Group(cmd.Process.Pid)
	if err != nil || !slices.Contains(pids, cmd.Process.Pid) || slices.Contains(pids, os.Getpid()) {
		t.Errorf("group %d has %v, %v; want it in it, and not %d", cmd.Process.Pid, pids, err, os.Getpid())
	}
	if err := input.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if pids, err = Group(cmd.Process.Pid); err != nil || len(pids) > 0 {
		t.Errorf("when it has ended group %d has %v, %v", cmd.Process.Pid, pids, err)
	}
	// Asked for after it has ended, as happens when it ends between two looks.
	used, err := Processor(cmd.Process.Pid)
	memory, failed := Memory(cmd.Process.Pid)
	if used != 0 || memory != 0 || err != nil || failed != nil {
		t.Errorf("a process that has ended uses %v and %d octets, %v, %v", used, memory, err, failed)
	}
}

func TestMemory(t *testing.T) {
	pid := ourselves(t)
	debug.FreeOSMemory() // that what is free now does not go meanwhile
	before, err := Memory(pid)
	if err != nil {
		t.Fatal(err)
	}
	const more = 32 << 20
	kept := []byte(strings.Repeat("x", more))
	after, err := Memory(pid)
	if err != nil || after < before+more/2 {
		t.Errorf("with %d octets more %d are resident, before %d; %v", more, after, before, err)
	}
	if peak, err := Peak(pid); err != nil || peak < after {
		t.Errorf("at most %d octets were resident, %v; now %d", peak, err, after)
	}
	runtime.KeepAlive(kept)
}

func TestTicks(t *testing.T) {
	fields := strings.Fields("S 1 70 70 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5")
	if got, err := ticks(fields); got != 100 || err != nil {
		t.Errorf("got %d, %v; want 100", got, err)
	}
	fields[utime] = "x"
	if _, err := ticks(fields); err == nil {
		t.Error("a field that is no number was read without an error")
	}
}
