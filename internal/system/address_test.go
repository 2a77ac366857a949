package system

import (
	"fmt"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
)

// Addresses from a notification are anybody's: what cannot be said to Dovecot is
// held, and says nothing else in its place.
func TestHostileAddresses(t *testing.T) {
	hostile := []string{
		"alice@home.test>\r\nRCPT TO:<bob@home.test",
		"alice@home.test\r\nX-Homing-Verdict: virus=PASS",
		"alice@home.test> NOTIFY=NEVER",
		"<alice@home.test>",
		"al ice@home.test",
		"alice\x00@home.test",
		"älice@home.test",
		"@home.test",
		"alice@",
		"",
		strings.Repeat("a", 400) + "@home.test",
	}
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice", "bob")})
		var ids []string
		for _, address := range hostile {
			// One bad address keeps the mail from nobody else.
			ids = append(ids, h.send(letter("recipient"), "ann@far.test", address, "alice@home.test"))
			if address != "" {
				ids = append(ids, h.send(letter("sender"), address, "bob@home.test"))
			}
		}
		var senders int
		for _, id := range ids {
			it := h.awaitItem(id, "held", func(it item) bool { return it.State == "held" || it.State == "done" })
			if len(it.Recipients) == 1 {
				senders++
			}
			if it.State != "held" && len(it.Recipients) == 2 {
				t.Errorf("a hostile recipient is not held: %+v", it)
			}
		}
		h.folder(address("alice"), "INBOX", len(hostile))
		for _, message := range h.dovecot.Mailbox(t, address("bob"), "INBOX") {
			// Some of them can be a sender's: then they are it, as they are.
			if a := open(t, message); !strings.Contains(strings.Join(hostile, "\n"), a.sender) || a.mailbox != "bob@home.test" {
				t.Errorf("bob got a message from <%s> for <%s>", a.sender, a.mailbox)
			}
		}
		if senders != len(hostile)-1 {
			t.Errorf("%d messages of hostile senders were settled, want %d", senders, len(hostile)-1)
		}
		// Nor into the log or the terminal.
		for _, text := range []string{string(h.log.all()), h.run("queue", "list", "--all")} {
			if strings.ContainsAny(strings.ReplaceAll(text, "\n", ""), "\r\x00") {
				t.Errorf("control characters came through: %q", text)
			}
		}
	})
}

// Senders that mailing lists and bounce handlers make are long and odd, and
// their mail is as welcome as any.
func TestUnusualSenders(t *testing.T) {
	senders := []string{
		"",
		"prvs=0123456789=ann@far.test",
		"bounce-mc.us1_12345.678-alice=home.test@mail1.far.test",
		"0100018c8e5b3f2a-1b2c3d4e-5f6a-7b8c-9d0e-1f2a3b4c5d6e-000000@amazonses.com",
		"SRS0=aBcD=XY=far.test=" + strings.Repeat("very-long-local-part.", 4) + "ann@forwarder.test",
		"bounces+12345-abcd-alice=home.test=" + strings.Repeat("x", 60) + "@em.far.test",
		`o'neill+!#$%&*/?^_{|}~@far.test`,
		"ann@[192.0.2.1]",
		"ann@xn--bcher-kva.test",
	}
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice")})
		seen := map[string]bool{}
		for i, sender := range senders {
			id := h.send(letter(fmt.Sprint(i)), sender, address("alice"))
			it := h.awaitItem(id, "settled", func(it item) bool { return it.State != "pending" || it.Reason != "" })
			if it.State != "done" {
				t.Errorf("mail from <%s> is %s: %s", sender, it.State, it.Reason)
			}
		}
		for _, message := range h.dovecot.Mailbox(t, address("alice"), "INBOX") {
			seen[open(t, message).sender] = true
		}
		for _, sender := range senders {
			if !seen[sender] {
				t.Errorf("Dovecot saw no message from <%s>; it saw %v", sender, seen)
			}
		}
	})
}
