package system

import (
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/prometheus"
	"github.com/homing-mail/homing/internal/snstest"
)

// A real Prometheus scrapes a homing at work, and its promtool has nothing to
// say against the metrics.
func TestPrometheusScrapes(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice")})
		server := prometheus.Start(t, h.metrics)
		// Present before anything has happened.
		server.Await(t, `homing_deliveries_total{result="held"} == 0`)
		for range 3 {
			h.send(letter("counted"), "ann@far.test", address("alice"))
		}
		h.notify(snstest.S3TestEvent(bucket))
		h.notify(`{"what": "is this"}`)
		if status, _, err := h.postSigned([]byte(`{"Type": "Notification"`)); status != 400 || err != nil {
			t.Errorf("broken JSON is answered %d, %v", status, err)
		}
		for _, expression := range []string{
			`homing_notifications_total{source="webhook",kind="ses_s3",result="accepted"} == 3`,
			`homing_notifications_total{kind="s3_test",result="ignored"} == 1`,
			`homing_notifications_total{kind="unknown",result="held"} == 1`,
			`homing_webhook_requests_total{code="200"} == 5`,
			`homing_webhook_requests_total{code="400"} == 1`,
			`homing_fetch_total{result="ok"} == 3`,
			`homing_deliveries_total{result="delivered"} == 3`,
			`homing_latency_seconds_count == 3`,
			`histogram_quantile(0.9, rate(homing_latency_seconds_bucket[1m])) < 60 or homing_latency_seconds_sum < 60`,
			`homing_messages{state="held"} == 1`,
			`homing_destination_up == 1`,
			`homing_oldest_message_seconds == 0`,
			`homing_memory_bytes == 0`,
			`sum(homing_lmtp_connections) >= 1`,
			`time() - homing_last_delivery_timestamp_seconds < 600`,
			`up{job="test"} == 1`,
		} {
			server.Await(t, expression)
		}
		if builds := server.Await(t, "homing_build_info"); len(builds) != 1 || builds[0].Labels["version"] == "" {
			t.Errorf("homing_build_info is %v", builds)
		}
		_, body, err := h.get("/metrics")
		if err != nil {
			t.Fatal(err)
		}
		prometheus.CheckMetrics(t, []byte(body))
		for path, want := range map[string]string{"/healthz": "alive\n", "/readyz": "ready\n"} {
			if status, body, err := h.get(path); status != 200 || body != want || err != nil {
				t.Errorf("%s answers %d %q, %v", path, status, body, err)
			}
		}
	})
}

// The metrics are for the house, the webhook for the world: neither shows what
// the other has.
func TestListenersAreApart(t *testing.T) {
	t.Parallel()
	h := withoutDovecot(t)
	world := &daemon{metrics: h.webhook}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/", "/debug/pprof/"} {
		if status, body, err := world.get(path); status != 404 || err != nil {
			t.Errorf("the webhook's listener answers %s with %d %.100q, %v; want 404", path, status, body, err)
		}
	}
	if status, _, err := h.get("/sns"); status != 404 || err != nil {
		t.Errorf("the metrics' listener answers /sns with %d, %v; want 404", status, err)
	}
}
