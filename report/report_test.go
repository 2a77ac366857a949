package report

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/spool"
)

// rig is a spool and a reporter in fake time.
type rig struct {
	t     *testing.T
	dir   string
	spool *spool.Spool
	made  []string
	stop  func()
}

func bubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: t.TempDir()}
		r.start()
		defer func() { r.stop() }()
		test(t, r)
	})
}

// start opens the spool and runs a reporter, until stop.
func (r *rig) start() {
	r.t.Helper()
	var err error
	log := slog.New(slog.NewTextHandler(r.t.Output(), nil))
	if r.spool, err = spool.Open(r.t.Context(), spool.Options{Dir: r.dir, History: 30 * 24 * time.Hour, Log: log}); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	reporter := New(Config{Spool: r.spool, Postmaster: "me@example.com", Log: log, Reported: func(kind string) { r.made = append(r.made, kind) }})
	running.Go(func() { reporter.Run(ctx) })
	r.stop = func() {
		cancel()
		running.Wait()
		if err := r.spool.Close(); err != nil {
			r.t.Error(err)
		}
	}
}

// recover takes messages as the reader of a dead-letter queue does.
func (r *rig) recover(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		_, err := r.spool.Accept(r.t.Context(), spool.Arrival{Recipients: []string{"alice@example.com"},
			Message: spool.Message{ID: id, Source: "dlq", Kind: "ses_s3", Bucket: "mail", Key: id, Receipt: true, Sender: "s@example.org"}})
		if err == nil {
			err = r.spool.Recovered(r.t.Context(), spool.Recovery{Message: id, Published: time.Date(1999, 12, 31, 20, 0, 0, 0, time.UTC), Cause: "ErrorCode 503"})
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// hold takes messages that nobody recovered, and holds them.
func (r *rig) hold(messages ...string) {
	r.t.Helper()
	for _, id := range messages {
		_, err := r.spool.Accept(r.t.Context(), spool.Arrival{Recipients: []string{"alice@example.com"},
			Message: spool.Message{ID: id, Source: "webhook", Kind: "ses_s3", Bucket: "mail", Key: id, Receipt: true, Sender: "s@example.org"}})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.finish(spool.Held, "550 no")
}

// finish works everything that is due.
func (r *rig) finish(state spool.State, reason string) {
	r.t.Helper()
	items, err := r.spool.Due(r.t.Context(), spool.All, 1000, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, item := range items {
		if item.Source != Source {
			if err := r.spool.Record(r.t.Context(), &spool.Outcome{Item: item, State: state, Reason: reason}); err != nil {
				r.t.Fatal(err)
			}
		}
		r.spool.Release(item.Number)
	}
}

// reports returns the reports in the spool, oldest first.
func (r *rig) reports() (all []string) {
	r.t.Helper()
	items, err := r.spool.List(r.t.Context(), spool.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, item := range items {
		if item.Source != Source {
			continue
		}
		if item.Sender != "" || !item.Receipt || !item.Direct || len(item.Recipients) != 1 || item.Recipients[0].Address != "me@example.com" {
			r.t.Errorf("a report is %+v", item)
		}
		octets, err := r.spool.Content(r.t.Context(), item.Number)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, string(octets))
	}
	return all
}

// wait lets time pass and wants so many reports after it.
func (r *rig) wait(d time.Duration, reports int) []string {
	r.t.Helper()
	<-time.After(d)
	synctest.Wait()
	all := r.reports()
	if len(all) != reports {
		r.t.Fatalf("%d reports, want %d", len(all), reports)
	}
	return all
}

func wants(t *testing.T, report string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(report, part) {
			t.Errorf("%q is missing in\n%s", part, report)
		}
	}
}

func TestSettledAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.recover("m1", "m2")
		r.wait(5*time.Minute, 0) // they are pending
		r.recover("m3")
		r.finish(spool.Done, "")
		r.wait(calm-time.Second, 0) // more may come
		report := r.wait(time.Minute, 1)[0]
		wants(t, report, "From: homing <me@example.com>\r\n", "To: <me@example.com>\r\n", "Auto-Submitted: auto-generated\r\n",
			"Subject: homing: 3 messages back from the dead-letter queue\r\n", "the first was published 1999-12-31 20:00:00 UTC",
			"3x ErrorCode 503", "None of them waits any more.", "delivered, item 1,", ": m2\r\n", "for alice@example.com")
		r.wait(3*time.Hour, 1)
	})
}

func TestPendingIsNamed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.recover("m1")
		r.finish(spool.Done, "")
		r.recover("m2")
		r.wait(14*time.Minute, 0)
		wants(t, r.wait(2*time.Minute, 1)[0], "1 message still pending", "pending, item 2", "delivered, item 1")
	})
}

func TestOneAnHour(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.recover("m1")
		r.finish(spool.Done, "")
		r.wait(time.Minute, 1)
		r.recover("m2", "m3")
		r.finish(spool.Done, "")
		r.wait(58*time.Minute, 1)
		wants(t, r.wait(3*time.Minute, 2)[1], "2 messages back")
	})
}

// A digest counts as a report, too.
func TestOneAnHourOfAnyKind(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.hold("m1")
		r.wait(patience+time.Minute, 1)
		r.recover("m2")
		r.finish(spool.Done, "")
		r.wait(58*time.Minute, 1)
		wants(t, r.wait(3*time.Minute, 2)[1], "1 message back")
	})
}

// What is to be reported, and when the last report was, outlives the process.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.recover("m1", "m2")
		r.stop()
		r.start()
		r.finish(spool.Done, "")
		wants(t, r.wait(time.Minute, 1)[0], "2 messages back")
		r.stop()
		r.start()
		r.recover("m3")
		r.finish(spool.Done, "")
		r.wait(30*time.Minute, 1)
		r.wait(31*time.Minute, 2)
	})
}

func TestHeldDaily(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.recover("m1")
		r.finish(spool.Held, "550 5.1.1 no\nsuch \u00fcser")
		wants(t, r.wait(time.Minute, 1)[0], "held, item 1", "550 5.1.1 no?such ?ser")
		// The digest waits for its hour after that report, and then for its day.
		wants(t, r.wait(61*time.Minute, 2)[1], "Subject: homing: 1 message held\r\n", "homing queue retry", "held, item 1")
		r.wait(23*time.Hour, 2)
		r.wait(time.Hour, 3)
		if fmt.Sprint(r.made) != "[dlq held held]" {
			t.Errorf("counted %v", r.made)
		}
	})
}

// A report that cannot be delivered is not reported.
func TestNoneAboutReports(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.recover("m1")
		r.finish(spool.Done, "")
		r.wait(time.Minute, 1)
		items, err := r.spool.Due(t.Context(), spool.All, 10, 10)
		if err != nil || len(items) != 1 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		if err := r.spool.Record(t.Context(), &spool.Outcome{Item: items[0], State: spool.Held, Reason: "550"}); err != nil {
			t.Fatal(err)
		}
		r.spool.Release(items[0].Number)
		r.wait(3*time.Hour, 1)
	})
}

// Much is counted and some of it named; a report stays small, and is mail whatever
// is quoted in it.
func TestBounded(t *testing.T) {
	const evil = "\r\nEvil: header \x1b\u009b"
	long := evil + strings.Repeat("\u20ac\x00", 400)
	bubble(t, func(t *testing.T, r *rig) {
		for i := range 300 {
			arrival := spool.Arrival{Message: spool.Message{ID: fmt.Sprint("m", i, long), Source: "dlq", Kind: "ses_s3", Bucket: "mail", Key: "k", Receipt: true, Sender: "s" + long}}
			for n := range 20 {
				arrival.Recipients = append(arrival.Recipients, fmt.Sprint("r", n, long))
			}
			_, err := r.spool.Accept(t.Context(), arrival)
			if err == nil {
				err = r.spool.Recovered(t.Context(), spool.Recovery{Message: arrival.ID, Cause: fmt.Sprint("cause ", i, long)})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		r.finish(spool.Held, "reason"+long)
		report := small(t, r.wait(time.Minute, 1)[0])
		wants(t, report, "300 messages back", "and 250 more")
		if n := strings.Count(report, "1x cause "); n != 5 {
			t.Errorf("%d causes", n)
		}
		wants(t, small(t, r.wait(61*time.Minute, 2)[1]), "300 messages held", "and 250 more")
	})
}

// small checks that a report is short mail with short lines of printable ASCII.
func small(t *testing.T, report string) string {
	t.Helper()
	if len(report) > 64<<10 {
		t.Errorf("a report of %d bytes", len(report))
	}
	m, err := mail.ReadMessage(strings.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil || m.Header.Get("Evil") != "" || strings.Contains(string(body), "\nEvil") {
		t.Errorf("%v: %v\n%.2000s", err, m.Header, body)
	}
	for line := range strings.Lines(report) {
		text, whole := strings.CutSuffix(line, "\r\n")
		if !whole || len(text) > maxLine || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("the line %q", line)
		}
	}
	return report
}

func TestPostmasterWithoutDomain(t *testing.T) {
	report := string(compose("me", "report-x", "s", "t\n", time.Unix(0, 0)))
	wants(t, report, "From: homing <me@localhost>\r\n", "Message-ID: <report-x@localhost>\r\n")
}

// TestCauseIsOneLine: an attribute of a message in a queue, which nobody has signed,
// cannot pass for the report's own words.
func TestCauseIsOneLine(t *testing.T) {
	_, text := describeRecoveries(&spool.Digest{Total: 1, Causes: map[string]int64{"ErrorCode 503\r\nNone of them waits any more.": 1}})
	if want := "What AWS says of the cause:\n  1x ErrorCode 503??None of them waits any more.\n\n"; !strings.Contains(text, want) {
		t.Errorf("the report says\n%s\nwithout\n%s", text, want)
	}
}
