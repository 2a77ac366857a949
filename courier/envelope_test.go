package courier

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/spool"
)

// What receipts said goes into the encrypted object, all of it by the time it is
// written; what was not said does not.
func TestEnvelopeIsEncrypted(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.After = After{Action: Encrypt, Delay: time.Hour}
		defer r.start()()
		r.take("m1", stored, "alice@example.com")
		r.find("m2", "sweep", false)
		r.find("m3", spool.SourceBackfill, false, "archive")
		r.pass(time.Minute)
		r.take("m1", stored, "alice@example.com", "bob+x@example.com")
		r.pass(2 * time.Hour)
		for _, id := range []string{"m1", "m2", "m3"} {
			r.wantState(id, spool.Done)
		}
		want := map[string]*Envelope{"in/m2": nil, "in/m3": nil,
			"in/m1": {Sender: r.item("m1").Sender, Recipients: []string{"alice@example.com", "bob+x@example.com"}}}
		if diff := cmp.Diff(want, r.bucket.sealed); diff != "" {
			t.Error(diff)
		}
	})
}

// A message that comes back from an encrypted object has the envelope that was
// encrypted with it, at every try, and not what its header lines say. It stays
// where it is.
func TestEnvelopeComesBack(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.After = After{Action: Delete}
		r.dovecot.answers(func(mailbox string, try int) (bool, error) {
			if mailbox == "bob+x@example.com" && try < 3 {
				return false, reply(451, "later")
			}
			return false, nil
		})
		defer r.start()()
		r.findSealed("m1", spool.SourceBackfill, &Envelope{Recipients: []string{"carol@example.com", "bob+x@example.com", "carol@example.com"}})
		r.pass(time.Hour)
		r.wantState("m1", spool.Done)
		r.wantCopies("carol@example.com", 1)
		r.wantCopies("bob+x@example.com", 1)
		r.wantCopies("alice@example.com", 0) // whom SES's line names
		if slices.ContainsFunc(r.dovecot.senders, func(s string) bool { return s != "" }) {
			t.Errorf("senders %q, want the null sender", r.dovecot.senders)
		}
		if len(r.bucket.deleted) != 0 {
			t.Errorf("deleted %q", r.bucket.deleted)
		}
	})
}

// What a receipt says, or a person, counts more than what the object holds.
func TestEnvelopeIsSecond(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		e := &Envelope{Sender: "ann@example.net", Recipients: []string{"carol@example.com"}}
		r.take("m1", stored, "dave@example.com")
		r.findSealed("m2", spool.SourceBackfill, e, "archive")
		r.pass(time.Minute)
		r.seal("in/m1", e)
		r.take("m1", stored, "erin@example.com") // a second rule's, afterwards
		r.pass(time.Minute)
		r.wantCopies("dave@example.com", 1)
		r.wantCopies("erin@example.com", 1)
		r.wantCopies("archive", 1)
		r.wantCopies("carol@example.com", 0)
		if want := []string{r.item("m1").Sender, "ann@example.net", r.item("m1").Sender}; !slices.Equal(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(r.dovecot.senders))) {
			t.Errorf("senders %q, want %q", r.dovecot.senders, want)
		}
	})
}

// An object of homing's own is no news, also where there is no key to it.
func TestOwnEncryptedObjectIsNoNews(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.bucket.locked = true
		defer r.start()()
		r.findSealed("m1", "webhook", nil)
		r.findSealed("m2", spool.SourceBackfill, nil)
		r.pass(time.Minute)
		r.wantState("m1", spool.Done)
		r.wantState("m2", spool.Held)
	})
}

// seal encrypts an object that lies there.
func (r *rig) seal(key string, e *Envelope) {
	r.t.Helper()
	r.bucket.mu.Lock()
	defer r.bucket.mu.Unlock()
	object := r.bucket.objects[key]
	object.Octets, object.Envelope = append([]byte("encrypted:"), object.Octets...), e
}
