package courier

import (
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/spool"
)

const sealed = "encrypted:" + mail

func TestEncrypted(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		r.take("m1", sealed, "a@example.org")
		r.pass(time.Second)
		r.wantState("m1", spool.Done)
		r.wantCopies("a@example.org", 1)
		if got := r.dovecot.box("a@example.org")[0]; !strings.HasSuffix(got, "\r\n"+mail) || strings.Contains(got, "encrypted:") {
			t.Errorf("delivered %q", got)
		}
		if r.bucket.fetches != 1 || r.bucket.released != 1 {
			t.Errorf("%d fetches, %d released", r.bucket.fetches, r.bucket.released)
		}
		if size := r.item("m1").Size; size != int64(len(sealed)) {
			t.Errorf("the spool thinks that %d octets are stored, they are %d", size, len(sealed))
		}
	})
}

// TestAddressedInside: sender and recipient of an object without a receipt are
// in what it encrypts.
func TestAddressedInside(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		r.find("swept", "sweep", false)
		r.bucket.objects["in/swept"].Octets = []byte("encrypted:" + stored)
		r.pass(time.Minute)
		r.wantState("swept", spool.Done)
		r.wantCopies("alice@example.com", 1)
		if r.dovecot.senders[0] != "bob@example.org" {
			t.Errorf("the sender is %q", r.dovecot.senders[0])
		}
	})
}

// TestMissingKey: it is held, and delivered once the key is there.
func TestMissingKey(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.bucket.locked = true
		defer r.start()()
		r.take("m1", sealed, "a@example.org")
		r.pass(time.Hour)
		if item := r.wantState("m1", spool.Held); !strings.Contains(item.Reason, "no key") {
			t.Errorf("held because %q", item.Reason)
		}
		r.wantCopies("a@example.org", 0)
		if r.bucket.decrypted != 1 || r.bucket.released != 1 {
			t.Errorf("%d attempts, %d released", r.bucket.decrypted, r.bucket.released)
		}
		r.bucket.mu.Lock()
		r.bucket.locked = false
		r.bucket.mu.Unlock()
		if n, err := r.spool.Retry(r.t.Context(), r.item("m1").Number); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		r.pass(time.Second)
		r.wantState("m1", spool.Done)
		r.wantCopies("a@example.org", 1)
	})
}

// TestOwnObjectWithoutKey: the copy that homing encrypted is no news, and what
// opens it may be elsewhere.
func TestOwnObjectWithoutKey(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.bucket.locked = true
		defer r.start()()
		r.find("swept", "sweep", true)
		r.bucket.objects["in/swept"].Octets = []byte(sealed)
		r.find("asked", spool.SourceBackfill, true)
		r.bucket.objects["in/asked"].Octets = []byte(sealed)
		r.pass(time.Minute)
		r.wantState("swept", spool.Done)
		r.wantState("asked", spool.Held)
		if r.bucket.decrypted != 1 {
			t.Errorf("%d attempts to decrypt", r.bucket.decrypted)
		}
	})
}

// TestSwells: a message that needs more memory than there is gives back what it
// has, and comes again with enough.
func TestSwells(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.bucket.swells = 10 * int64(len(sealed))
		defer r.start()()
		r.take("m1", sealed, "a@example.org")
		r.pass(time.Second)
		r.wantState("m1", spool.Done)
		r.wantCopies("a@example.org", 1)
		if r.bucket.fetches != 2 || r.bucket.released != 2 {
			t.Errorf("%d fetches, %d released", r.bucket.fetches, r.bucket.released)
		}
	})
}

// TestSwellsForEver: what never fits is tried again another time.
func TestSwellsForEver(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.bucket.swells, r.bucket.swelling = 10*int64(len(sealed)), 1
		defer r.start()()
		r.take("m1", sealed, "a@example.org")
		r.pass(time.Second)
		if item := r.wantState("m1", spool.Pending); !strings.Contains(item.Reason, "more memory each time") {
			t.Errorf("it waits because %q", item.Reason)
		}
		if r.bucket.fetches != grown || r.bucket.released != grown {
			t.Errorf("%d fetches, %d released", r.bucket.fetches, r.bucket.released)
		}
	})
}

func TestEncryptedInline(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.bucket.swells = 10 * int64(len(sealed))
		defer r.start()()
		_, err := r.spool.Accept(r.t.Context(), spool.Arrival{
			Message:    spool.Message{ID: "m1", Receipt: true, Sender: "s@example.org", Kind: "ses_sns"},
			Recipients: []string{"a@example.org"}, Content: []byte(sealed),
		})
		if err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.wantState("m1", spool.Done)
		r.wantCopies("a@example.org", 1)
		if r.bucket.fetches != 0 || r.bucket.released != 2 {
			t.Errorf("%d fetches, %d released", r.bucket.fetches, r.bucket.released)
		}
	})
}
