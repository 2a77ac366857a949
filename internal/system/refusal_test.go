package system

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to turn the spool's clock

	"github.com/homing-mail/homing/internal/dovecot"
)

// off stops homing and starts it again as if it had been off meanwhile: the
// spool notes the wall clock, from which a start takes how long that was.
func (h *home) off(meanwhile time.Duration) {
	h.tb.Helper()
	if code, _ := h.stop(h.tb); code != 0 {
		h.tb.Fatalf("homing stopped with exit code %d\n%s", code, h.log.tail())
	}
	db, err := sql.Open("sqlite", filepath.Join(h.env["HOMING_STATE_DIR"], "homing.db"))
	if err != nil {
		h.tb.Fatal(err)
	}
	result, err := db.Exec("UPDATE meta SET value = value - ? WHERE name = 'wall'", meanwhile.Milliseconds())
	if err != nil {
		h.tb.Fatal(err)
	}
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		h.tb.Fatalf("the spool notes the wall clock in %d rows, %v; want one", n, err)
	}
	if err := db.Close(); err != nil {
		h.tb.Fatal(err)
	}
	h.restart()
}

// waits checks that an item is tried again within the last tenth before this.
func waits(tb testing.TB, it item, wait time.Duration) {
	tb.Helper()
	// What has passed since the attempt is at most what this test has waited.
	if it.Next == nil || *it.Next > wait.Seconds() || *it.Next < wait.Seconds()/2 {
		tb.Errorf("it is tried again in %v s, want about %v: %+v", it.Next, wait, it)
	}
}

// A mailbox that nobody knows is asked four times before its mail is held, for
// Dovecot says 550 5.1.1 for valid users, too, while its database is away.
func TestUnknownUserIsHeldInTheEnd(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice")})
		id := h.send(letter("to nobody"), "ann@far.test", address("alice"), address("nobody"))
		tried := func(times int) item {
			return h.awaitItem(id, fmt.Sprintf("tried %d times", times), func(it item) bool {
				return len(it.Deliveries) == 2 && it.Deliveries[1].Attempts == times
			})
		}
		for i, wait := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute} {
			it := tried(i + 1)
			if it.State != "pending" || !strings.Contains(it.Deliveries[1].Reply, "550 5.1.1") {
				t.Fatalf("after %d refusals it is %+v, want it pending with Dovecot's reply", i+1, it)
			}
			waits(t, it, wait)
			h.off(wait)
		}
		it := tried(4)
		if it.State != "held" || !strings.Contains(it.Reason, "550 5.1.1") || it.Deliveries[0].State != "delivered" {
			t.Errorf("after four refusals it is %+v, want it held for one mailbox, with Dovecot's reply", it)
		}
		h.one(address("alice"), "INBOX")
		if table := h.run("queue", "list"); !strings.Contains(table, "nobody@home.test") || !strings.Contains(table, "held") {
			t.Errorf("`homing queue list` shows %q", table)
		}
		h.awaitMetric(t, `homing_messages{state="held"}`, 1)
		sameOctets(t, []byte(h.run("queue", "export", id)), letter("to nobody"))

		// The operator makes the mailbox, and says so.
		h.addUser("nobody")
		if said := h.run("queue", "retry", "--all"); !strings.HasPrefix(said, "1 of 1") {
			t.Errorf("`homing queue retry --all` said %q", said)
		}
		h.one(address("nobody"), "INBOX")
		h.one(address("alice"), "INBOX")
		h.awaitIdle()
	})
}

// With a fallback mailbox nothing waits for a person.
func TestUnknownUserFallsBack(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("postmaster")}, "HOMING_FALLBACK_MAILBOX", address("postmaster"))
		id := h.send(letter("to nobody"), "ann@far.test", address("nobody"))
		for i, wait := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute} {
			h.awaitItem(id, "refused again", func(it item) bool { return len(it.Deliveries) == 1 && it.Deliveries[0].Attempts == i+1 })
			h.off(wait)
		}
		sameOriginals(t, h.one(address("postmaster"), "INBOX"), address("nobody"))
		h.awaitIdle()
		h.sameMetric(t, `homing_deliveries_total{result="fallback"}`, 1)
		h.sameMetric(t, `homing_deliveries_total{result="delivered"}`, 1)
	})
}

// A full mailbox is emptied one day, or given more room.
func TestOverQuota(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: []dovecot.User{
			{Name: address("alice")}, {Name: address("small"), QuotaBytes: 20_000},
		}})
		id := h.send(attachment(100_000), "ann@far.test", address("small"), address("alice"))
		it := h.awaitItem(id, "refused", func(it item) bool { return len(it.Deliveries) == 2 && it.Deliveries[1].Attempts == 1 })
		if it.State != "pending" || !strings.Contains(it.Deliveries[1].Reply, "552 5.2.2") {
			t.Errorf("over quota it is %+v, want it pending with Dovecot's reply", it)
		}
		waits(t, it, 10*time.Second)
		h.editUsers(func(file string) string {
			return regexp.MustCompile(`(?m)^(small@.*::::::).*$`).ReplaceAllString(file, "$1")
		})
		if said := h.run("queue", "retry", id); !strings.HasPrefix(said, "1 of 1") {
			t.Errorf("`homing queue retry` said %q", said)
		}
		sameMessage(t, h.one(address("small"), "INBOX").message, attachment(100_000))
		h.one(address("alice"), "INBOX")
		h.awaitIdle()
	})
}

func (h *home) addUser(name string) {
	h.tb.Helper()
	h.editUsers(func(file string) string {
		return file + address(name) + ":{PLAIN}" + dovecot.Password + "::::::\n"
	})
}

// editUsers changes Dovecot's file of users as an administrator does.
func (h *home) editUsers(edit func(string) string) {
	h.tb.Helper()
	h.editDovecot("users", edit)
}

// editDovecot changes a file in Dovecot's directory, and reloads Dovecot.
func (h *home) editDovecot(name string, edit func(string) string) {
	h.tb.Helper()
	text := h.readDovecot(name)
	edited := edit(text)
	if edited == text {
		h.tb.Fatalf("nothing to change in %q", text)
	}
	path := filepath.Join(filepath.Dir(h.dovecot.MailRoot), name)
	if err := os.WriteFile(path, []byte(edited), 0o644); err != nil {
		h.tb.Fatal(err)
	}
	h.dovecot.Reload(h.tb)
}

// readDovecot reads a file in Dovecot's directory.
func (h *home) readDovecot(name string) string {
	h.tb.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(h.dovecot.MailRoot), name))
	if err != nil {
		h.tb.Fatal(err)
	}
	return string(text)
}
