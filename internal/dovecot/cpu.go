package dovecot

import (
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/usage"
)

// CPUTime returns the processor time that the server has used since it started,
// in all its processes, those that have ended included. It is read from Linux's
// /proc, which counts in hundredths of a second.
func (s *Server) CPUTime(tb testing.TB) time.Duration {
	tb.Helper()
	pids, err := usage.Group(s.process.master.Pid)
	if err != nil {
		tb.Fatal(err)
	}
	used, err := usage.Processor(pids...)
	if err != nil {
		tb.Fatal(err)
	}
	return used
}
