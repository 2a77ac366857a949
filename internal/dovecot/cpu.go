package dovecot

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// CPUTime returns the processor time that the server has used since it started,
// in all its processes, those that have ended included. It is read from Linux's
// /proc, which counts in hundredths of a second.
func (s *Server) CPUTime(tb testing.TB) time.Duration {
	tb.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		tb.Fatal(err)
	}
	var ticks int64
	for _, path := range stats {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		n, err := groupTicks(string(line), s.process.master.Pid)
		if err != nil {
			tb.Fatalf("%s: %v", path, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// groupTicks returns the time in a line of /proc/PID/stat, its own and that of
// children it has waited for, if the process belongs to the group (proc_pid_stat(5)).
func groupTicks(line string, group int) (int64, error) {
	// The second field, the program's name, may hold spaces and parentheses.
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	const pgrp, utime, cstime = 5 - 3, 14 - 3, 17 - 3
	if len(fields) <= cstime {
		return 0, fmt.Errorf("only %d fields", len(fields))
	}
	if fields[pgrp] != strconv.Itoa(group) {
		return 0, nil
	}
	var sum int64
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
