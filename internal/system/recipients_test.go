package system

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/snstest"
)

// One copy for each mailbox, whichever of its addresses were written to.
func TestSeveralRecipients(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice", "bob", "carol")},
			"HOMING_RECIPIENTS", "sales@home.test=alice@home.test,info@=alice@home.test bob@home.test,@.home.test=carol@home.test")
		h.send(letter("all"), "ann@far.test",
			"sales@home.test", "alice@home.test", "ALICE@home.test", "info@home.test", "info+x@elsewhere.test", "carol@home.test", "x+y@deep.sub.home.test")
		alice, bob := h.folder(address("alice"), "INBOX", 2), h.folder(address("bob"), "INBOX", 2)
		carol := h.one(address("carol"), "INBOX")
		byMailbox := func(a, b arrived) int { return strings.Compare(a.mailbox, b.mailbox) }
		slices.SortFunc(alice, byMailbox)
		slices.SortFunc(bob, byMailbox)
		// A +detail makes another address for LMTP, and so another copy.
		sameOriginals(t, alice[0], "info+x@elsewhere.test")
		sameOriginals(t, alice[1], "sales@home.test", "alice@home.test", "ALICE@home.test", "info@home.test")
		sameOriginals(t, bob[0], "info+x@elsewhere.test")
		sameOriginals(t, bob[1], "info@home.test")
		// A rule for a domain takes the whole address, its detail included.
		sameOriginals(t, carol, "carol@home.test", "x+y@deep.sub.home.test")
		if want := "bob+x@home.test"; bob[0].mailbox != want {
			t.Errorf("the detail led to <%s>, want <%s>", bob[0].mailbox, want)
		}
		ids := map[string]bool{}
		for _, copy := range slices.Concat(alice, bob, []arrived{carol}) {
			ids[copy.id] = true
		}
		if len(ids) != 5 {
			t.Errorf("five mailboxes have the ids %v, want five different ones", ids)
		}
	})
}

// Several receipt rules announce one message, an S3 event too, and SNS repeats
// itself: everybody gets one copy.
func TestSeveralNotices(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice", "bob", "carol")})
		id := h.store(received(address("alice"), "ann@far.test"))
		event := sign(snstest.S3Event(snstest.Object{Bucket: bucket, Key: id}))
		first := sign(receipt(id, "ann@far.test", address("alice"), address("bob")))
		for _, notification := range [][]byte{event, event, first, first, sign(receipt(id, "ann@far.test", address("carol"))), event} {
			if status, answer, err := h.postSigned(notification); status != 200 {
				t.Fatalf("answered %d %q, %v", status, answer, err)
			}
			h.awaitIdle()
		}
		for _, user := range []string{"alice", "bob", "carol"} {
			sameOriginals(t, h.one(address(user), "INBOX"), address(user))
		}
		h.sameMetric(t, `homing_notifications_total{kind="s3_event",result="repeated",source="webhook"}`, 2)
		h.sameMetric(t, `homing_notifications_total{kind="ses_s3",result="repeated",source="webhook"}`, 1)
	})
}

// The file of rules is read again while homing runs, and wrong ones change nothing.
func TestRulesFileIsFollowed(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		path := filepath.Join(t.TempDir(), "rules")
		write := func(rules string) {
			// As an editor and Kubernetes do it, in one step.
			if err := os.WriteFile(path+".new", []byte(rules), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
		write("# who gets what\n*=alice@home.test\n")
		h := settle(t, dovecot.Options{Version: version, Users: users("alice", "bob", "carol")}, "HOMING_RECIPIENTS_FILE", path)
		h.send(letter("first"), "ann@far.test", "anybody@home.test")
		h.one(address("alice"), "INBOX")

		write("anybody@home.test=bob@home.test, *=alice@home.test\n")
		h.await(t, "the recipient rules were read again")
		h.send(letter("second"), "ann@far.test", "anybody@home.test")
		h.one(address("bob"), "INBOX")

		write("anybody@home.test\n")
		line := h.await(t, "the recipient rules stay as they were")
		if text := fmt.Sprint(line["error"]); !strings.Contains(text, `"anybody@home.test"`) {
			t.Errorf("the log does not say what is wrong with the rules: %q", text)
		}
		h.send(letter("third"), "ann@far.test", "anybody@home.test")
		h.folder(address("bob"), "INBOX", 2)

		write("*=carol@home.test\n")
		await(t, "the third rules", func() error {
			if n := len(h.log.lines("the recipient rules were read again")); n != 2 {
				return fmt.Errorf("they were read again %d times", n)
			}
			return nil
		})
		h.send(letter("fourth"), "ann@far.test", "anybody@home.test")
		h.one(address("carol"), "INBOX")
		h.awaitIdle()
	})
}

// What names no recipient is believed only where SES itself wrote one down; the
// rest is for the fallback mailbox, or for a person.
func TestEventsWithoutAReceipt(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice", "postmaster")},
			"HOMING_BUCKETS", "mail/in, mail/alt/", "HOMING_FALLBACK_MAILBOX", address("postmaster"))
		forged := "Received: from evil by inbound-smtp.us-east-1.amazonaws.com.evil.test with SMTP id 1 for <alice@home.test>; Sat, 22 Nov 2025 01:00:00 +0000\r\n"
		cases := []struct {
			key     string
			message []byte
			mailbox string
			sender  string
			payload func(...snstest.Object) string
		}{
			{"in/plain", received("alice@home.test", "ann@far.test"), "alice@home.test", "ann@far.test", snstest.S3Event},
			{"in/with space + plus=ü%41/日本", received("Alice+tag@home.test", ""), "alice+tag@home.test", "", snstest.S3Event},
			{"in/with space + plus=ü%41/日本 bridge", received("alice@home.test", "ann@far.test"), "alice@home.test", "ann@far.test", bridge},
			{"alt/nobody", letter("no recipient"), "postmaster@home.test", "", snstest.S3Event},
			{"alt/forged", append([]byte(forged), letter("forged")...), "postmaster@home.test", "", bridge},
		}
		for _, c := range cases {
			if err := h.s3.Put(bucket, c.key, c.message, nil); err != nil {
				t.Fatal(err)
			}
			h.notify(c.payload(snstest.Object{Bucket: bucket, Key: c.key, Size: int64(len(c.message))}))
			h.awaitIdle()
			user, _, _ := strings.Cut(c.mailbox, "+")
			user, _, _ = strings.Cut(user, "@")
			all := h.dovecot.Mailbox(t, address(user), "INBOX")
			if len(all) == 0 {
				t.Fatalf("%s: nothing arrived for %s", c.key, c.mailbox)
			}
			got := open(t, all[len(all)-1])
			sameMessage(t, got.message, c.message)
			if got.mailbox != c.mailbox || got.sender != c.sender {
				t.Errorf("%s came from <%s> for <%s>, want <%s> and <%s>", c.key, got.sender, got.mailbox, c.sender, c.mailbox)
			}
			if got.verdicts != "" {
				t.Errorf("%s has verdicts %q that nobody signed", c.key, got.verdicts)
			}
		}

		// Not in HOMING_BUCKETS: SNS would never repeat it, so it is kept.
		h.notify(snstest.S3Event(snstest.Object{Bucket: bucket, Key: "elsewhere/object"}, snstest.Object{Bucket: "other", Key: "in/object"}))
		await(t, "two held items", func() error {
			held := h.queue("--state", "held")
			if len(held) != 2 {
				return fmt.Errorf("held are %+v", held)
			}
			for _, it := range held {
				if !strings.Contains(it.Reason, "HOMING_BUCKETS") {
					return final{fmt.Errorf("the reason does not say what to do: %q", it.Reason)}
				}
			}
			return nil
		})
	})
}

func bridge(objects ...snstest.Object) string { return snstest.EventBridge(objects[0]) }

// received is a message as SES stores it.
func received(recipient, sender string) []byte {
	return append([]byte("Return-Path: <"+sender+">\r\n"+
		"Received: from mx.far.test (mx.far.test [192.0.2.7])\r\n by inbound-smtp.eu-west-1.amazonaws.com with SMTP id 7v3k5n2q8r1t\r\n"+
		" for "+recipient+";\r\n Sat, 22 Nov 2025 01:00:00 +0000 (UTC)\r\n"+
		"Received: from x by inbound-smtp.us-east-1.amazonaws.com with SMTP id 0 for mallory@home.test; Fri, 21 Nov 2025 01:00:00 +0000\r\n"),
		letter("stored")...)
}

func users(names ...string) (all []dovecot.User) {
	for _, name := range names {
		all = append(all, dovecot.User{Name: address(name)})
	}
	return all
}
