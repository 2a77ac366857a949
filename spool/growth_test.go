package spool

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/ledger"
	"github.com/homing-mail/homing/internal/sample"
	"github.com/homing-mail/homing/internal/usage"
)

// remember gives a ledger so many rows of messages that are done.
func remember(tb testing.TB, s *Spool, rows int) {
	tb.Helper()
	if err := ledger.Fill(tb.Context(), s.db, rows); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkGrowth compares what a message costs, from its notice to its line in
// the ledger, when the ledger has a million with what it costs when it is empty.
func BenchmarkGrowth(b *testing.B) {
	const rows, messages = 1_000_000, 500
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
	var empty, full, ratios []float64
	for b.Loop() {
		name := fmt.Sprint("r", len(ratios))
		empty = append(empty, pass(b, spools[0], name, messages))
		full = append(full, pass(b, spools[1], name, messages))
		ratios = append(ratios, full[len(full)-1]/empty[len(empty)-1])
	}
	sample.ReportRatios(b, ratios)
	b.ReportMetric(sample.Median(full), "cpu-ms/msg")
	b.ReportMetric(sample.Median(empty), "empty-cpu-ms/msg")
}

// pass takes messages in through 16 writers and through to the ledger, and
// returns how many milliseconds of processor time each took.
func pass(b *testing.B, s *Spool, name string, messages int) float64 {
	before := usage.Self(b)
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
	return (usage.Self(b) - before).Seconds() * 1e3 / float64(messages)
}
