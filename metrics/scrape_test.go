package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scrape asks as Prometheus does, for the format in accept if there is one.
func scrape(t *testing.T, m *Metrics, accept string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Errorf("status %d: %s", answer.Code, answer.Body)
	}
	return answer
}

func TestHandlerFormats(t *testing.T) {
	const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	m := New("test")
	m.Latency(time.Second)
	for _, test := range []struct {
		name, accept, mediaType string
		contains                []string
	}{
		{"text", "", "text/plain", []string{"# TYPE homing_latency_seconds histogram", `homing_latency_seconds_bucket{le="1"} 1`,
			`homing_deliveries_total{result="delivered"} 0`, "# TYPE process_start_time_seconds gauge", "# TYPE go_goroutines gauge"}},
		{"OpenMetrics", "application/openmetrics-text;version=1.0.0", "application/openmetrics-text",
			[]string{`homing_latency_seconds_bucket{le="1.0"} 1`, "# TYPE homing_deliveries counter", "# EOF\n"}},
		{"protobuf", protobuf, "application/vnd.google.protobuf", []string{"homing_latency_seconds"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := scrape(t, m, test.accept)
			if got := answer.Header().Get("Content-Type"); !strings.HasPrefix(got, test.mediaType) {
				t.Errorf("Content-Type %q, want %q", got, test.mediaType)
			}
			for _, want := range test.contains {
				if !strings.Contains(answer.Body.String(), want) {
					t.Errorf("%q is missing in\n%s", want, answer.Body)
				}
			}
		})
	}
}

func TestHistogramsAreClassicAndNative(t *testing.T) {
	m := New("test")
	m.Latency(3 * time.Second)
	m.DeliveryTime(3 * time.Millisecond)
	m.Fetched("ok", 1, 30*time.Millisecond)
	m.Decrypted("pgp", "ok", 3*time.Millisecond)
	m.Swept("ok", 2*time.Second)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, family := range families {
		histogram := family.GetMetric()[0].GetHistogram()
		if histogram == nil || !strings.HasPrefix(family.GetName(), "homing_") {
			continue
		}
		seen++
		if len(histogram.GetBucket()) < 10 {
			t.Errorf("%s has %d classic buckets", family.GetName(), len(histogram.GetBucket()))
		}
		// Schema 3 is the widest whose factor, 2^(2^-3) = 1.09, is not above 1.1.
		if len(histogram.GetPositiveSpan()) == 0 || histogram.GetSchema() != 3 {
			t.Errorf("%s has no native buckets of the right width: %v", family.GetName(), histogram)
		}
	}
	if seen != 5 {
		t.Errorf("%d histograms, want 5", seen)
	}
}

func TestQueueAndMemory(t *testing.T) {
	m := New("test")
	before := samples(t, m)
	states := map[string]int64{"due": 1, "waiting": 20, "active": 3, "held": 400, "lost": 5, "found": 6}
	oldest := 90 * time.Second
	var failure error
	m.Queue(func(context.Context) (map[string]int64, time.Duration, error) { return states, oldest, failure })
	m.Memory(func() int64 { return 1 << 20 })

	want := map[string]float64{
		`homing_messages{state="due"}`: 1, `homing_messages{state="waiting"}`: 20, `homing_messages{state="active"}`: 3,
		`homing_messages{state="held"}`: 400, `homing_messages{state="other"}`: 11,
		`homing_oldest_message_seconds{}`: 90, `homing_memory_bytes{}`: 1 << 20,
	}
	scrape(t, m, "")
	if diff := cmp.Diff(want, changed(before, samples(t, m))); diff != "" {
		t.Errorf("first scrape (-want +got):\n%s", diff)
	}

	failure, states, oldest = errors.New("database is locked"), nil, 0
	want[`homing_messages_read_errors_total{}`] = 1
	scrape(t, m, "")
	if diff := cmp.Diff(want, changed(before, samples(t, m))); diff != "" {
		t.Errorf("a failing scrape must keep the last values (-want +got):\n%s", diff)
	}

	failure, states, oldest = nil, map[string]int64{"held": 2}, -time.Hour
	scrape(t, m, "")
	want = map[string]float64{`homing_messages{state="held"}`: 2, `homing_memory_bytes{}`: 1 << 20,
		`homing_messages_read_errors_total{}`: 1}
	if diff := cmp.Diff(want, changed(before, samples(t, m))); diff != "" {
		t.Errorf("states that are gone must be 0 again (-want +got):\n%s", diff)
	}
}

func TestDiskAndCertificate(t *testing.T) {
	m := New("test")
	before := samples(t, m)
	var failure error
	m.Disk(func(context.Context) (int64, error) { return 5 << 30, failure })
	m.Queue(func(context.Context) (map[string]int64, time.Duration, error) { return nil, 0, failure })
	m.Certificate(func() time.Time { return time.Unix(1_800_000_000, 0) })
	want := map[string]float64{`homing_disk_free_bytes{}`: 5 << 30, `homing_tls_certificate_expiry_timestamp_seconds{}`: 1_800_000_000}
	scrape(t, m, "")
	if diff := cmp.Diff(want, changed(before, samples(t, m))); diff != "" {
		t.Errorf("first scrape (-want +got):\n%s", diff)
	}
	failure = errors.New("stale file handle")
	want[`homing_messages_read_errors_total{}`] = 1 // one scrape, though it can read neither
	scrape(t, m, "")
	if diff := cmp.Diff(want, changed(before, samples(t, m))); diff != "" {
		t.Errorf("a failing scrape must keep the last values (-want +got):\n%s", diff)
	}
}

// TestQueueThatHangs: a spool that does not answer delays a scrape by two
// seconds and spoils nothing else, and scrapes that come meanwhile wait no
// longer than the first.
func TestQueueThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("test")
		m.Queue(func(ctx context.Context) (map[string]int64, time.Duration, error) {
			<-ctx.Done()
			return nil, 0, ctx.Err()
		})
		var took [3]time.Duration
		var wg sync.WaitGroup
		for i := range took {
			wg.Go(func() {
				began := time.Now()
				if body := scrape(t, m, "").Body.String(); !strings.Contains(body, "homing_deliveries_total") {
					t.Errorf("the scrape shows\n%s", body)
				}
				took[i] = time.Since(began)
			})
		}
		wg.Wait()
		if slowest := slices.Max(took[:]); slowest != readTimeout {
			t.Errorf("the scrapes took up to %v, want %v", slowest, readTimeout)
		}
		if got := samples(t, m)[`homing_messages_read_errors_total{}`]; got != 3 {
			t.Errorf("%v errors counted, want 3", got)
		}
	})
}

func TestOneScrapeReadsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("test")
		var readers, most atomic.Int32
		entered, leave := make(chan struct{}, 2), make(chan struct{})
		m.Queue(func(context.Context) (map[string]int64, time.Duration, error) {
			most.Store(max(most.Load(), readers.Add(1)))
			defer readers.Add(-1)
			entered <- struct{}{}
			<-leave
			return nil, 0, nil
		})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { scrape(t, m, "") })
		}
		for range 2 {
			<-entered
			leave <- struct{}{}
		}
		wg.Wait()
		if got := most.Load(); got != 1 {
			t.Errorf("%d readers at once, want 1", got)
		}
	})
}

// TestReaderThatPanics: net/http survives a handler's panic, and so must the
// next scrape.
func TestReaderThatPanics(t *testing.T) {
	m := New("test")
	m.Queue(func(context.Context) (map[string]int64, time.Duration, error) { panic("broken") })
	func() {
		defer func() {
			if fmt.Sprint(recover()) != "broken" {
				t.Error("the panic was hidden")
			}
		}()
		scrape(t, m, "")
	}()
	m.Queue(func(context.Context) (map[string]int64, time.Duration, error) {
		return map[string]int64{"due": 7}, 0, nil
	})
	scrape(t, m, "")
	if got := samples(t, m)[`homing_messages{state="due"}`]; got != 7 {
		t.Errorf("due is %v, want 7", got)
	}
}
