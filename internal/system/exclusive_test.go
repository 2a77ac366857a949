package system

import (
	"fmt"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
)

// HOMING_LMTP_EXCLUSIVE with the limit for a single homing: that is said, and the
// mail waits until the limit is mended.
func TestExclusiveNeedsItsLimit(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, shipped(t, version, users("alice")), "HOMING_LMTP_EXCLUSIVE", "true")
		h.send(letter("patient"), "ann@far.test", address("alice"))
		line := h.await(t, "no mail is delivered, it waits: Dovecot refuses every second session for a mailbox, which HOMING_LMTP_EXCLUSIVE needs")
		if mend := fmt.Sprint(line["mend"]); !strings.Contains(mend, "lmtp_user_concurrency_limit = 2") {
			t.Errorf("the mend is %q", mend)
		}
		if early := h.dovecot.Mailbox(t, address("alice"), "INBOX"); len(early) != 0 {
			t.Errorf("alice has %q", early)
		}
		h.sameMetric(t, `homing_deliveries_total{result="retry"}`, 0) // to be refused for others is no try
		h.editDovecot("dovecot.conf", func(text string) string {
			return strings.Replace(text, "\nlmtp_user_concurrency_limit = 1\n", "\nlmtp_user_concurrency_limit = 2\n", 1)
		})
		sameMessage(t, h.one(address("alice"), "INBOX").message, letter("patient"))
		h.awaitIdle()
		h.sameMetric(t, `homing_deliveries_total{result="delivered"}`, 1)
		// Nor did the refusals count since; the reload may have ended one session amid its RCPT.
		if tries, err := h.metric(`homing_deliveries_total{result="retry"}`); err != nil || tries > 1 {
			t.Errorf("%v tries failed (%v), want at most the one that the reload cut", tries, err)
		}
	})
}

// And with no limit: that is said, and the mail is delivered.
func TestExclusiveWithoutLimit(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice")}, "HOMING_LMTP_EXCLUSIVE", "true")
		h.send(letter("anyhow"), "ann@far.test", address("alice"))
		h.await(t, "HOMING_LMTP_EXCLUSIVE keeps nothing apart: Dovecot accepts a third session for a mailbox")
		sameMessage(t, h.one(address("alice"), "INBOX").message, letter("anyhow"))
		h.awaitIdle()
	})
}
