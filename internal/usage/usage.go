// Package usage tells tests and benchmarks what processes use of the machine,
// as Linux's /proc counts it (proc(5)).
package usage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The fields of /proc/PID/stat after the program's name, which may hold spaces
// and parentheses.
const pgrp, utime, cstime = 5 - 3, 14 - 3, 17 - 3

// tick is the unit of time there: USER_HZ is 100 on all that Linux runs on.
const tick = 10 * time.Millisecond

// Group returns the ids of the processes of a process group.
func Group(id int) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, errors.New("there is no /proc: only Linux tells what processes use")
	}
	var pids []int
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		fields, err := stat(pid)
		if err != nil {
			return nil, err
		}
		if fields != nil && fields[pgrp] == strconv.Itoa(id) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Processor returns the processor time that processes have used, and children
// of theirs that have ended. A process that has ended itself counts nothing.
func Processor(pids ...int) (time.Duration, error) {
	var sum int64
	for _, pid := range pids {
		fields, err := stat(pid)
		if err != nil {
			return 0, err
		}
		n, err := ticks(fields)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// Self returns the processor time that this process has used.
func Self(tb testing.TB) time.Duration { tb.Helper(); return used(tb, syscall.RUSAGE_SELF) }

// Children returns the processor time of those children of this process, and of
// theirs, that it has waited for.
func Children(tb testing.TB) time.Duration { tb.Helper(); return used(tb, syscall.RUSAGE_CHILDREN) }

func used(tb testing.TB, who int) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(who, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// stat returns the fields of /proc/PID/stat, none of a process that has ended.
func stat(pid int) ([]string, error) {
	line, err := read(pid, "stat")
	if line == "" || err != nil {
		return nil, err
	}
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) <= cstime {
		return nil, fmt.Errorf("/proc/%d/stat has only %d fields after the name", pid, len(fields))
	}
	return fields, nil
}

// ticks are a process's own and those of children it has waited for.
func ticks(fields []string) (sum int64, err error) {
	if fields == nil {
		return 0, nil
	}
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// Memory returns how many octets processes have resident; what several of them
// share counts once (the proportional set size).
func Memory(pids ...int) (octets int64, err error) {
	for _, pid := range pids {
		n, err := value(pid, "smaps_rollup", "Pss:")
		if err != nil {
			return 0, err
		}
		octets += n
	}
	return octets, nil
}

// Peak returns the most octets that a process has ever had resident.
func Peak(pid int) (octets int64, err error) { return value(pid, "status", "VmHWM:") }

// value returns the number that follows a name in a file of /proc/PID, in octets;
// 0 where the process has ended.
func value(pid int, file, name string) (int64, error) {
	text, err := read(pid, file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, nil // a process that is about to end has no memory left to tell of
}

// read returns a file of /proc/PID, nothing where the process has ended.
func read(pid int, file string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		_, err = os.Stat("/proc/self/stat") // where that is not there, either, this is no Linux
		return "", err
	}
	return string(text), err
}
