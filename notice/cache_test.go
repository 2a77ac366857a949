package notice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
)

// held is an SNS that answers when it is let go, with what is in body.
type held struct {
	body []byte
	open chan struct{}

	mu    sync.Mutex
	calls int
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.calls++
	h.mu.Unlock()
	select {
	case <-h.open:
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(h.body)), Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestOneFetchForAll(t *testing.T) {
	s := newSigner(t)
	e := mustParse(t, s.Notification(topic, nil, "hello", "2"))
	synctest.Test(t, func(t *testing.T) {
		h := &held{body: s.CertPEM(), open: make(chan struct{})}
		v := NewVerifier(VerifierConfig{Transport: h})
		ctx, leave := context.WithCancel(t.Context())
		errs := make(chan error, 50)
		first := make(chan error, 1)
		go func() { first <- v.Verify(ctx, e) }()
		synctest.Wait()
		for range cap(errs) {
			go func() { errs <- v.Verify(t.Context(), e) }()
		}
		synctest.Wait()
		// The caller that started the fetch leaves; the others still get it.
		leave()
		if err := <-first; reason(err) != "unavailable" || !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that left got %v", err)
		}
		close(h.open)
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if h.calls != 1 {
			t.Errorf("%d fetches, want 1", h.calls)
		}
	})
}

func TestFetchTakesNoLongerThanItMay(t *testing.T) {
	s := newSigner(t)
	e := mustParse(t, s.Notification(topic, nil, "hello", "2"))
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(VerifierConfig{Transport: &held{open: make(chan struct{})}})
		start := time.Now()
		err := v.Verify(t.Context(), e)
		if reason(err) != "unavailable" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != fetchTimeout {
			t.Errorf("it took %v, want %v", took, fetchTimeout)
		}
	})
}

// TestInventedURLs: strangers who name certificates that nobody has can make us
// ask for only a few at a time, and nothing is kept of them for long.
func TestInventedURLs(t *testing.T) {
	s := newSigner(t)
	genuine := mustParse(t, s.Notification(topic, nil, "hello", "2"))
	synctest.Test(t, func(t *testing.T) {
		h := &held{body: s.CertPEM(), open: make(chan struct{})}
		v := NewVerifier(VerifierConfig{Transport: h})
		done := make(chan error, maxFetches)
		for i := range maxFetches {
			go func() { done <- v.Verify(t.Context(), invented(genuine, i)) }()
		}
		synctest.Wait()
		for i := range 100 {
			if got := reason(v.Verify(t.Context(), invented(genuine, maxFetches+i))); got != "unavailable" {
				t.Fatalf("beyond the limit: got %q, want unavailable", got)
			}
		}
		if h.calls != maxFetches {
			t.Errorf("%d fetches, want %d", h.calls, maxFetches)
		}
		close(h.open)
		for range maxFetches {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		// What was turned away for want of room was not remembered as a fault.
		if err := v.Verify(t.Context(), genuine); err != nil {
			t.Error(err)
		}
	})
}

func invented(e *Envelope, i int) *Envelope {
	other := *e
	other.SigningCertURL = fmt.Sprintf("https://%s/SimpleNotificationService-%032x.pem", snstest.Host, i)
	return &other
}

func TestCacheIsBounded(t *testing.T) {
	s := newSigner(t)
	genuine := mustParse(t, s.Notification(topic, nil, "hello", "2"))
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	if err := v.Verify(t.Context(), genuine); err != nil {
		t.Fatal(err)
	}
	// Certificates that are not there crowd out one another, but no certificate.
	for i := range 3 * maxCached {
		if got := reason(v.Verify(t.Context(), invented(genuine, i))); got != "unavailable" {
			t.Fatalf("got %q, want unavailable", got)
		}
	}
	before := s.CertFetches()
	if err := v.Verify(t.Context(), genuine); err != nil || s.CertFetches() != before {
		t.Errorf("got %v and %d fetches, want the certificate from the cache", err, s.CertFetches()-before)
	}
	if n := len(v.faults.values); n != maxCached || len(v.faults.order) != n {
		t.Errorf("%d faults in %d places are remembered, want %d", n, len(v.faults.order), maxCached)
	}
}

func TestRecent(t *testing.T) {
	r := newRecent[int](2)
	r.put("a", 1)
	r.put("b", 2)
	r.put("a", 3) // now the newest
	r.put("c", 4)
	if _, ok := r.get("b"); ok {
		t.Error("the oldest entry is still there")
	}
	for key, want := range map[string]int{"a": 3, "c": 4} {
		if got, ok := r.get(key); !ok || got != want {
			t.Errorf("%s: got %d, %v, want %d", key, got, ok, want)
		}
	}
}

// TestClockSetBack: a fault does not last longer because the clock jumped.
func TestClockSetBack(t *testing.T) {
	s := newSigner(t)
	now := time.Now()
	v := NewVerifier(VerifierConfig{Transport: s.Transport(), Now: func() time.Time { return now }})
	e := mustParse(t, s.Notification(topic, nil, "hello", "2"))
	s.FailCertificate(snstest.Fault{Status: http.StatusBadGateway})
	if got := reason(v.Verify(t.Context(), e)); got != "unavailable" {
		t.Fatalf("got %q, want unavailable", got)
	}
	s.FailCertificate(snstest.Fault{})
	now = now.Add(-24 * time.Hour)
	if err := v.Verify(t.Context(), e); err != nil {
		t.Error(err)
	}
}
