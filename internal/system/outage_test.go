package system

import (
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
)

var crowd = []string{"alice", "bob", "carol", "dave"}

// Dovecot is restarted while mail pours in: nothing is lost, and with the rule
// from contrib/dovecot nothing comes twice.
func TestDovecotRestartsUnderLoad(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		for name, options := range map[string]dovecot.Options{
			"alone":   {Version: version, Users: users(crowd...)},
			"contrib": shipped(t, version, users(crowd...)),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := settle(t, options)
				l := h.begin(400, crowd...)
				h.awaitMetric(t, `homing_deliveries_total{result="delivered"}`, 60)
				h.dovecot.Stop(t)
				before, err := h.metric(`homing_deliveries_total{result="delivered"}`)
				if err != nil || before >= 400 {
					t.Fatalf("%v of 400 messages were delivered before Dovecot was stopped, %v", before, err)
				}
				h.dovecot.Restart(t)
				l.wait()
				h.awaitIdle()
				t.Logf("%d messages, %v before Dovecot was stopped, %d copies too many", len(l.acked), before, l.verify(name == "contrib"))
				h.sameMetric(t, `homing_deliveries_total{result="held"}`, 0)
			})
		}
	})
}

// More connections than Dovecot has processes for are accepted and hear nothing.
// They must not take mail along.
func TestProcessLimit(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users(crowd...), ProcessLimit: 2}, "HOMING_LMTP_CONNECTIONS", "4")
		began := time.Now()
		l := h.begin(120, crowd...)
		l.wait()
		h.awaitIdle()
		l.verify(true)
		if log := h.readDovecot("dovecot.log"); !strings.Contains(log, "process_limit (2) reached") {
			t.Error("Dovecot did not reach its limit")
		}
		t.Logf("120 messages took %v", time.Since(began).Round(time.Millisecond))
		h.sameMetric(t, `homing_deliveries_total{result="delivered"}`, 120)
		h.sameMetric(t, `homing_deliveries_total{result="retry"}`, 0)
	})
}

// While the user database is away Dovecot says of everybody that there is no
// such user. Those who have had mail are believed to exist.
func TestUserDatabaseIsAway(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users(crowd...)}, "HOMING_FALLBACK_MAILBOX", address("dave"))
		for _, user := range crowd {
			h.send(letter("before"), "ann@far.test", address(user))
		}
		h.awaitIdle()

		h.dovecot.Away(t)
		var ids []string
		for range 5 {
			for _, user := range crowd {
				ids = append(ids, h.send(letter("meanwhile"), "ann@far.test", address(user)))
			}
		}
		for _, id := range ids {
			it := h.awaitItem(id, "refused", func(it item) bool { return len(it.Deliveries) == 1 && it.Deliveries[0].Attempts > 0 })
			if it.State != "pending" {
				t.Errorf("it is %+v, want it pending", it)
			}
		}
		h.dovecot.Back(t)
		// Nobody says anything: the retry comes by itself.
		h.awaitIdle()
		for _, user := range crowd {
			h.folder(address(user), "INBOX", 6)
		}
		h.sameMetric(t, `homing_deliveries_total{result="held"}`, 0)
		h.sameMetric(t, `homing_deliveries_total{result="fallback"}`, 0)
	})
}

// A Dovecot that is not there yet costs no attempt, and mail is taken meanwhile.
func TestDovecotComesLater(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		server := dovecot.Start(t, dovecot.Options{Version: version, Users: users("alice")})
		server.Stop(t)
		s3 := memoryS3(t)
		h := &home{tb: t, dovecot: server, s3: s3}
		h.env = bare(t, "lmtp:"+server.UnixSocket).with("AWS_ENDPOINT_URL_S3", s3.URL())
		h.daemon = serve(t, h.env)
		id := h.send(letter("early"), "ann@far.test", address("alice"))
		line := h.await(t, "the destination does not answer; mail is taken and kept meanwhile")
		if line["level"] != "WARN" {
			t.Errorf("it is logged as %v", line)
		}
		h.sameMetric(t, "homing_destination_up", 0)
		if status, _, err := h.get("/readyz"); status != 200 || err != nil {
			t.Errorf("/readyz answers %d, %v; want 200: mail is taken", status, err)
		}
		server.Restart(t)
		h.one(address("alice"), "INBOX")
		it := h.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
		if it.Attempts != 0 || it.Deliveries[0].Attempts != 1 {
			t.Errorf("it took attempts to find nobody: %+v", it)
		}
		h.awaitMetric(t, "homing_destination_up", 1)
		h.sameMetric(t, `homing_deliveries_total{result="retry"}`, 0)
	})
}
