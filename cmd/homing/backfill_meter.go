package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	// meterLine is how often a meter without a terminal says something.
	meterLine = 10 * time.Second
	// meterSpan is over how long the rate is taken: what the ledger has is passed
	// over a thousand times faster than what is delivered.
	meterSpan = time.Minute
)

// meter shows how a backfill goes: as a bar on a terminal, in lines elsewhere.
type meter struct {
	out      io.Writer
	terminal bool
	total    atomic.Int64             // 0: not counted yet
	bar      *progressbar.ProgressBar // nil: no terminal, or not counted yet
	now      func() time.Time

	said  time.Time // when the last line was written
	marks []mark    // of the last meterSpan, the oldest first
}

// mark is how many were done at a time.
type mark struct {
	at   time.Time
	done int64
}

func newMeter(out io.Writer) *meter {
	return &meter{out: out, terminal: isTerminal(out), now: time.Now}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// show shows the present state, where it is time to.
func (m *meter) show(t tally) {
	total := m.total.Load()
	if m.terminal && m.bar == nil && total > 0 {
		m.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(m.out), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("messages"), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(200*time.Millisecond))
	}
	if m.bar != nil {
		m.bar.Describe(strings.TrimSpace(fmt.Sprintf("%d delivered, %d held %s", t.delivered, t.held, t.why())))
		// It cannot be more than was counted, though mail may have come since. What
		// a terminal does not take is no reason to stop.
		_ = m.bar.Set64(min(t.done(), total))
		return
	}
	now := m.now()
	if m.said.IsZero() {
		m.said, m.marks = now, []mark{{now, 0}}
	}
	if now.Sub(m.said) < meterLine {
		return
	}
	m.said = now
	fmt.Fprintln(m.out, m.line(now, &t, total))
}

// line is one line of progress, with the rate of the last while.
func (m *meter) line(now time.Time, t *tally, total int64) string {
	done := t.done()
	m.marks = append(m.marks, mark{now, done})
	for len(m.marks) > 2 && now.Sub(m.marks[1].at) >= meterSpan {
		m.marks = m.marks[1:]
	}
	first := m.marks[0]
	rate := float64(done-first.done) / now.Sub(first.at).Seconds()
	text := fmt.Sprintf("%s; %.1f/s", t, rate)
	if total == 0 {
		return text + ", not all counted yet"
	}
	left := max(total-done, 0)
	text += fmt.Sprintf(", %d of %d left", left, total)
	if rate > 0 {
		text += ", about " + (time.Duration(float64(left) / rate * float64(time.Second))).Round(time.Second).String()
	}
	return text
}

// end leaves the terminal's line.
func (m *meter) end(t tally) {
	if m.bar == nil {
		return
	}
	m.show(t)
	_ = m.bar.Exit() // as in show
	fmt.Fprintln(m.out)
}
