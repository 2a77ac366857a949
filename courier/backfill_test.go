package courier

import (
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/spool"
)

const stored = "Return-Path: <bob@example.org>\r\n" +
	"Received: from mail.example.org (mail.example.org [192.0.2.25]) by inbound-smtp.us-east-1.amazonaws.com with SMTP id x for alice@example.com; Sun, 22 Nov 2026 01:00:00 +0000\r\n" + mail

// find accepts a message of which only the object is known.
func (r *rig) find(id, source string, own bool, to ...string) {
	r.t.Helper()
	r.accept(id, source, &Object{Octets: []byte(stored), Own: own}, to...)
}

// findSealed is find for one that homing has encrypted.
func (r *rig) findSealed(id, source string, e *Envelope, to ...string) {
	r.t.Helper()
	r.accept(id, source, &Object{Octets: []byte("encrypted:" + stored), Own: true, Envelope: e}, to...)
}

func (r *rig) accept(id, source string, object *Object, to ...string) {
	r.t.Helper()
	r.bucket.mu.Lock()
	r.bucket.objects["in/"+id] = object
	r.bucket.mu.Unlock()
	_, err := r.spool.Accept(r.t.Context(), spool.Arrival{
		Message:    spool.Message{ID: id, Source: source, Kind: "object", Bucket: "mail", Key: "in/" + id, Direct: len(to) > 0},
		Recipients: to,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// What homing wrote itself is no news, unless a person asks for it; then it
// stays where it is.
func TestOwnObjectIsDeliveredWhenAskedFor(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.After = After{Action: Move, Prefix: "done/"}
		defer r.start()()
		r.find("swept", "sweep", true)
		r.find("asked", spool.SourceBackfill, true)
		r.find("first", spool.SourceBackfill, false)
		r.pass(time.Minute)
		for _, id := range []string{"swept", "asked", "first"} {
			r.wantState(id, spool.Done)
		}
		r.wantCopies("alice@example.com", 2)
		if _, moved := r.bucket.moved["in/first"]; len(r.bucket.moved) != 1 || !moved {
			t.Errorf("moved %v, want in/first alone", r.bucket.moved)
		}
	})
}

// A mailbox that a person names is no address: no rule maps it, at no try, and
// the sender is the message's.
func TestDirect(t *testing.T) {
	inBubble(t, func(r *rig) {
		rules, err := ParseRules("*=me@example.com")
		if err != nil {
			t.Fatal(err)
		}
		r.config.Rules = rules
		r.dovecot.answers(func(_ string, try int) (bool, error) {
			if try == 1 {
				return false, reply(451, "later")
			}
			return false, nil
		})
		defer r.start()()
		r.find("m1", spool.SourceBackfill, false, "archive")
		r.pass(time.Minute)
		item := r.wantState("m1", spool.Done)
		r.wantCopies("archive", 1)
		r.wantCopies("me@example.com", 0)
		if got := r.dovecot.box("archive"); !strings.Contains(strings.Join(got, ""), "X-Original-To: archive\r\nReturn-Path") {
			t.Errorf("archive got %q", got)
		}
		if line, _ := item.Delivery("archive"); line.State != spool.Delivered || r.dovecot.senders[1] != "bob@example.org" {
			t.Errorf("the ledger says %+v, the sender was %q", line, r.dovecot.senders)
		}
	})
}

// A receipt that comes later names addresses, which the rules map.
func TestReceiptAfterDirect(t *testing.T) {
	inBubble(t, func(r *rig) {
		rules, err := ParseRules("alice@example.com=me@example.com")
		if err != nil {
			t.Fatal(err)
		}
		r.config.Rules = rules
		defer r.start()()
		r.find("m1", spool.SourceBackfill, false, "archive")
		r.pass(time.Second)
		r.take("m1", stored, "alice@example.com")
		r.pass(time.Second)
		r.wantState("m1", spool.Done)
		r.wantCopies("archive", 1)
		r.wantCopies("me@example.com", 1)
		r.wantCopies("alice@example.com", 0)
	})
}
