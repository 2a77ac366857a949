package spool

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// remember gives a ledger so many rows of messages that are done.
func remember(tb testing.TB, s *Spool, rows int) {
	tb.Helper()
	for _, fill := range []string{
		`INSERT INTO item (message, source, kind, bucket, object, version, etag, size, receipt, direct, sender, verdicts, received, lane, created, noticed, since, state, next)
		SELECT printf('%040d', n * 7919 % ?1), 'webhook', 'ses_s3', 'mail', printf('in/%040d', n), '', '', 4096, 1, 0, 's@example.org', '', 0, 'a@example.com', 0, 0, 0, 'done', n FROM n`,
		`INSERT INTO recipient SELECT n + 1, 'a@example.com', 1 FROM n WHERE n < ?1`,
		`INSERT INTO delivery SELECT n + 1, 'a@example.com', 'delivered', 0, 0, 0, '250 2.0.0 <a@example.com> Saved' FROM n WHERE n < ?1`,
	} {
		if _, err := s.db.ExecContext(tb.Context(), `WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < ?1 - 1) `+fill, rows); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkGrowth compares what a message costs, from its notice to its line in
// the ledger, when the ledger has a million with what it costs when it is empty.
func BenchmarkGrowth(b *testing.B) {
	const rows, rounds, messages = 1_000_000, 15, 500
	var spools []*Spool
	for _, n := range []int{0, rows} {
		s, err := Open(b.Context(), Options{Dir: b.TempDir(), History: 30 * 24 * time.Hour, Free: plenty})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		if n > 0 {
			remember(b, s, n)
		}
		pass(b, s, "warm", messages)
		spools = append(spools, s)
	}
	for b.Loop() {
		var empty, full, ratios []float64
		for round := range rounds {
			name := fmt.Sprint("r", round)
			empty = append(empty, pass(b, spools[0], name, messages))
			full = append(full, pass(b, spools[1], name, messages))
			ratios = append(ratios, full[round]/empty[round])
		}
		b.Logf("processor time for a message: %.0f us with an empty ledger, %.0f us with %d rows", middle(empty), middle(full), rows)
		b.ReportMetric(middle(ratios), "full/empty")
	}
}

// pass takes messages in through 16 writers and through to the ledger, and
// returns how many microseconds of processor time each took.
func pass(b *testing.B, s *Spool, name string, messages int) float64 {
	before := processorTime(b)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < messages; i += 16 {
				if _, err := s.Accept(b.Context(), arrival(fmt.Sprintf("%s-%d", name, i), "a@example.com")); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for done := 0; done < messages; {
		items, err := s.Due(b.Context(), All, 128, 128)
		if err != nil || len(items) == 0 {
			b.Fatalf("%d of %d are due, %v", done, messages, err)
		}
		for _, it := range items {
			wg.Go(func() {
				o := &Outcome{Item: it, State: Done, Deliveries: []Delivery{{Mailbox: "a@example.com", State: Delivered}}, Settled: []string{"a@example.com"}}
				if err := s.Record(b.Context(), o); err != nil {
					b.Error(err)
				}
				s.Release(it.Number)
			})
		}
		wg.Wait()
		done += len(items)
	}
	return float64((processorTime(b) - before).Microseconds()) / float64(messages)
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func middle(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }
