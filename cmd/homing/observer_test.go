package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/metrics"
)

// TestObserverOfAForm: where there is nothing but a form, its server is the
// destination, and both metrics speak of it.
func TestObserverOfAForm(t *testing.T) {
	for _, form := range []bool{false, true} {
		m := metrics.New("test")
		observer{m, form}.DestinationUp(true)
		answer := httptest.NewRecorder()
		m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		if text := answer.Body.String(); !strings.Contains(text, "homing_destination_up 1\n") || strings.Contains(text, "homing_form_destination_up 1\n") != form {
			t.Errorf("with a form alone (%v):\n%s", form, text)
		}
	}
}

// TestObserver: only what was accepted has a latency and moves the time of the
// last delivery.
func TestObserver(t *testing.T) {
	for _, test := range []struct {
		result  string
		latency time.Duration
		want    []string
		moved   bool
	}{
		{"delivered", time.Minute, []string{`homing_deliveries_total{result="delivered"} 1`, "homing_delivery_seconds_sum 0.5", "homing_latency_seconds_sum 60"}, true},
		{"delivered", 0, []string{`homing_deliveries_total{result="delivered"} 1`, "homing_latency_seconds_count 0"}, true},
		{"retry", 0, []string{`homing_deliveries_total{result="retry"} 1`, "homing_delivery_seconds_sum 0.5", "homing_latency_seconds_count 0"}, false},
		{"held", 0, []string{`homing_deliveries_total{result="held"} 1`, `homing_deliveries_total{result="delivered"} 0`}, false},
	} {
		m := metrics.New("test")
		observer{Metrics: m}.Delivery(test.result, time.Second/2, test.latency)
		connections{m}.Connections("idle", 3)
		answer := httptest.NewRecorder()
		m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		for _, want := range append(test.want, `homing_lmtp_connections{state="idle"} 3`) {
			if !strings.Contains(answer.Body.String(), want+"\n") {
				t.Errorf("%s after %v: %q is missing", test.result, test.latency, want)
			}
		}
		if moved := !strings.Contains(answer.Body.String(), "homing_last_delivery_timestamp_seconds 0\n"); moved != test.moved {
			t.Errorf("%s: the time of the last delivery has moved: %v, want %v", test.result, moved, test.moved)
		}
	}
}
