package main

import (
	"fmt"
	"strings"
	"time"
)

// mostReasons is how many reasons a summary gives.
const mostReasons = 5

// tally counts what has become of the messages of a backfill.
type tally struct {
	found     int64 // listed, of those that the task is about
	passed    int64 // known to the ledger, or dropped by a person
	gone      int64 // listed, and then not there under this key
	delivered int64
	held      int64
	failed    int64 // could not be looked at
	waiting   int64 // in the spool
	proposed  int64 // a dry run's
	bytes     int64 // likewise

	heldBefore int64    // of those passed over
	reasons    []string // the first ones of what is held or failed
	reason     string   // why something waits; empty: nothing has failed
}

func (t *tally) hold(id, reason string) {
	t.held++
	t.explain(id + ": " + reason)
}

func (t *tally) fail(err error) {
	t.failed++
	t.explain(err.Error())
}

func (t *tally) explain(text string) {
	if len(t.reasons) < mostReasons {
		t.reasons = append(t.reasons, clean(text))
	}
}

// done is how many need nothing more.
func (t *tally) done() int64 { return t.passed + t.gone + t.delivered + t.held + t.failed + t.proposed }

// String says it in one line.
func (t *tally) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d found, %d passed over, %d delivered, %d held, %d waiting %s",
		t.found, t.passed, t.delivered, t.held, t.waiting, t.why()))
}

// why is in brackets, or nothing.
func (t *tally) why() string {
	if t.reason == "" {
		return ""
	}
	return "(" + shorten(clean(t.reason), 80) + ")"
}

// propose says what would be delivered.
func (b *backfiller) propose(finds []backfillFind) error {
	for _, f := range finds {
		_, err := fmt.Fprintf(b.out, "s3://%s/%s  %d bytes  %s\n", clean(f.Bucket), clean(f.Key), f.Size, f.Stored.UTC().Format(time.RFC3339))
		if err != nil {
			return err
		}
		b.tally.proposed++
		b.tally.bytes += f.Size
	}
	return nil
}

// summarize says what came of it all, and how to go on after err.
func (b *backfiller) summarize(err error) {
	t := &b.tally
	var text strings.Builder
	line := func(n int64, what string) {
		if n > 0 {
			fmt.Fprintf(&text, "%9d %s\n", n, what)
		}
	}
	fmt.Fprintf(&text, "%9d found\n", t.found)
	known := "passed over: the ledger has them"
	if t.heldBefore > 0 {
		known += fmt.Sprintf(" (%d are held from before)", t.heldBefore)
	}
	line(t.passed, known)
	line(t.gone, "are not there although they were listed")
	if b.dryRun {
		fmt.Fprintf(&text, "%9d would be delivered, %d bytes\n", t.proposed, t.bytes)
	} else {
		fmt.Fprintf(&text, "%9d delivered\n", t.delivered)
	}
	line(t.held, "held for a person")
	line(t.failed, "could not be looked at")
	line(t.waiting, "still wait in the spool, where homing goes on with them")
	for _, reason := range t.reasons {
		fmt.Fprintf(&text, "          %s\n", reason)
	}
	if more := t.held + t.failed - int64(len(t.reasons)); more > 0 {
		fmt.Fprintf(&text, "          and %d more\n", more)
	}
	if err != nil {
		fmt.Fprintln(&text, b.goOn())
	}
	fmt.Fprint(b.out, text.String())
}

// goOn says how a run that ended early is continued.
func (b *backfiller) goOn() string {
	if b.run != "" {
		return "Not all was looked at. Run it again with --again=" + b.run + ": what is done is passed over."
	}
	return "Not all was looked at. Run it again: what is done is passed over."
}
