package main

import (
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
)

// TestCheckExclusive: with each limit that people have, and nothing is left behind.
func TestCheckExclusive(t *testing.T) {
	alice := []dovecot.User{{Name: "alice@example.test"}}
	for limit, want := range map[int]struct{ detail, mend string }{
		0: {"a third session for a mailbox is taken too", "lmtp_user_concurrency_limit = 2"},
		1: {"only 1 of the 2 sessions", "lmtp_user_concurrency_limit = 2"},
		2: {"a third refused", ""},
		3: {"a third session for a mailbox is taken too", "lmtp_user_concurrency_limit = 2"},
	} {
		withDovecot(t, dovecot.Options{Users: alice, UserConcurrency: limit}, func(t *testing.T, server *dovecot.Server) {
			c := &checker{patience: checkTime}
			c.configure([]string{"HOMING_DELIVER_TO=lmtp:" + server.UnixSocket, "HOMING_LMTP_EXCLUSIVE=true", "HOMING_POSTMASTER=alice@example.test"})
			lines, err := c.all(t, []group{c.destination})
			if line := lines.one(t, "exclusive"); want.mend == "" {
				wantWell(t, line, want.detail)
			} else {
				wantFailed(t, line, want.detail, want.mend)
			}
			if (err == nil) != (want.mend == "") {
				t.Errorf("limit %d: %v", limit, err)
			}
			if mails := server.Mailbox(t, "alice@example.test", "INBOX"); len(mails) != 0 {
				t.Errorf("alice got %q", mails)
			}
		})
	}
}

// TestCheckExclusiveUntried: without a mailbox, without a user, and unasked.
func TestCheckExclusiveUntried(t *testing.T) {
	server := dovecot.Start(t, dovecot.Options{Version: dovecot.V23, Users: []dovecot.User{{Name: "alice@example.test"}}})
	lines := checkDestination(t, "HOMING_DELIVER_TO=lmtp:"+server.UnixSocket, "HOMING_LMTP_EXCLUSIVE=true")
	wantWarning(t, lines.one(t, "exclusive"), "no variable names a mailbox", "HOMING_POSTMASTER")
	lines = checkDestination(t, "HOMING_DELIVER_TO=lmtp:"+server.UnixSocket, "HOMING_LMTP_EXCLUSIVE=true", "HOMING_POSTMASTER=eve@example.test")
	wantFailed(t, lines.one(t, "exclusive"), "550 5.1.1", "the lines above")
	lines = checkDestination(t, "HOMING_DELIVER_TO=lmtp:"+server.UnixSocket, "HOMING_POSTMASTER=alice@example.test")
	if extra := lines.find("exclusive"); len(extra) != 0 {
		t.Errorf("%v", extra)
	}
}
