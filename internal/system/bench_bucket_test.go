package system

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/ledger"
	"github.com/homing-mail/homing/internal/sample"
	"github.com/homing-mail/homing/spool"
)

const (
	keys    = 1_000_000 // objects in a bucket that has been kept for years
	perPage = 1000      // of them in a page of a listing
)

// BenchmarkBucket shows what a bucket of a million delivered messages, all of them
// in the ledger, costs. "message" compares the processor time that homing takes
// for a message of 4 KB, in "ratio", with that of a homing whose bucket and ledger
// were empty at first. "sweep" is what looking at all the keys takes; a repetition
// is a tenth of that.
//
// Listings are made up as they are asked for: they show homing's side, not S3's.
func BenchmarkBucket(b *testing.B) {
	b.Run("message", func(b *testing.B) {
		full, _ := forBucket(b, keys, "1h")
		empty, _ := forBucket(b, 0, "1h")
		var fulls, empties, ratios []float64
		for b.Loop() {
			cost := map[*home]float64{}
			order := []*home{full, empty}
			if len(ratios)%2 == 1 {
				order = []*home{empty, full}
			}
			for _, h := range order {
				batch := h.prepare(fmt.Sprint("bucket", len(ratios)), *messages, 4<<10)
				before := h.cpu(b)
				h.deliver(batch, 16)
				cost[h] = perMessage(h.cpu(b)-before, *messages)
				h.discard(batch)
			}
			fulls, empties = append(fulls, cost[full]), append(empties, cost[empty])
			ratios = append(ratios, cost[full]/cost[empty])
		}
		sample.ReportRatios(b, ratios)
		b.ReportMetric(sample.Median(fulls), "full-cpu-ms/msg")
		b.ReportMetric(sample.Median(empties), "empty-cpu-ms/msg")
		b.ReportMetric(full.peak(b), "full-rss-MiB")
		b.ReportMetric(empty.peak(b), "empty-rss-MiB")
	})
	b.Run("sweep", func(b *testing.B) {
		h, listed := forBucket(b, keys, "1ms")
		listed.await(b, 1)
		known, requests := h.sweepMetrics(b)
		used, began := h.cpu(b), time.Now()
		part := 0.0 // of a million
		for ; b.Loop(); part += 0.1 {
			listed.await(b, keys/10/perPage)
		}
		took, cpu := time.Since(began).Seconds(), (h.cpu(b) - used).Seconds()
		knownAfter, requestsAfter := h.sweepMetrics(b)
		// What is on a page is counted later than the page.
		if known = knownAfter - known; known < part*keys-2*perPage {
			b.Errorf("%v of %v keys were known", known, part*keys)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(took/part, "s")
		b.ReportMetric(cpu/part, "cpu-s")
		b.ReportMetric((requestsAfter-requests)/part, "LIST-requests")
		b.ReportMetric(h.peak(b), "rss-MiB")
	})
}

// forBucket starts a homing with so many delivered messages in its bucket and in
// its ledger, and returns when it has looked at all of them once.
func forBucket(b *testing.B, n int, interval string) (*home, *listing) {
	b.Helper()
	h := &home{tb: b, dovecot: dovecot.Start(b, dovecot.Options{Version: dovecot.V23, AnyUser: true}), s3: memoryS3(b)}
	listed := listKeys(b, n, h.s3.URL())
	h.env = bare(b, "lmtp:"+h.dovecot.UnixSocket).with("AWS_ENDPOINT_URL_S3", listed.url,
		"HOMING_SWEEP_INTERVAL", interval, "HOMING_SWEEP_GRACE", "0s")
	if n > 0 {
		h.remember(n)
	}
	h.daemon = serve(b, h.env)
	h.awaitMetric(b, `homing_sweeps_total{result="ok"}`, 1)
	h.warm()
	return h, listed
}

// remember gives homing, which is not running, a past.
func (h *home) remember(n int) {
	h.tb.Helper()
	dir := h.env["HOMING_STATE_DIR"]
	made, err := spool.Open(h.tb.Context(), spool.Options{Dir: dir})
	if err != nil {
		h.tb.Fatal(err)
	}
	if err := made.Close(); err != nil {
		h.tb.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "homing.db"))
	if err != nil {
		h.tb.Fatal(err)
	}
	defer db.Close()
	if err := ledger.Fill(h.tb.Context(), db, n); err != nil {
		h.tb.Fatal(err)
	}
}

// listing is a server of listings before an S3 server.
type listing struct {
	url   string
	pages atomic.Int64 // that were asked for
}

// listKeys serves listings of so many keys, and passes all else on.
func listKeys(b *testing.B, n int, s3 string) *listing {
	b.Helper()
	to, err := url.Parse(s3)
	if err != nil {
		b.Fatal(err)
	}
	l, proxy := &listing{}, httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("list-type") != "2" {
			proxy.ServeHTTP(w, r)
			return
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continuation-token"))
		l.pages.Add(1)
		writePage(w, from, n)
	}))
	b.Cleanup(server.Close)
	l.url = server.URL
	return l
}

// await waits until so many more pages were asked for. It asks homing nothing, for
// that would cost it time.
func (l *listing) await(b *testing.B, pages int64) {
	b.Helper()
	until := l.pages.Load() + pages
	await(b, "the sweep", func() error {
		if n := l.pages.Load(); n < until {
			return fmt.Errorf("%d of %d pages were asked for", n, until)
		}
		return nil
	})
}

// writePage writes a page of n keys, all stored just now.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
func writePage(w io.Writer, from, n int) {
	to := min(from+perPage, n)
	fmt.Fprintf(w, "<ListBucketResult><IsTruncated>%t</IsTruncated>", to < n)
	if to < n {
		fmt.Fprintf(w, "<NextContinuationToken>%d</NextContinuationToken>", to)
	}
	at := time.Now().UTC().Format(time.RFC3339)
	for i := from; i < to; i++ {
		fmt.Fprintf(w, `<Contents><Key>in/%s</Key><LastModified>%s</LastModified><ETag>"0123456789abcdef0123456789abcdef"</ETag><Size>4096</Size></Contents>`, ledger.ID(i), at)
	}
	io.WriteString(w, "</ListBucketResult>")
}

// sweepMetrics are how many of the objects that homing has looked at were in its
// ledger, and how many listings it has asked for.
func (h *home) sweepMetrics(b *testing.B) (known, requests float64) {
	b.Helper()
	known, err := h.metric(`homing_sweep_objects_total{result="known"}`)
	if err != nil {
		b.Fatal(err)
	}
	requests, err = h.metric(`homing_sweep_requests_total{op="list"}`)
	if err != nil {
		b.Fatal(err)
	}
	return known, requests
}
