package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/homing-mail/homing/fetcher/kms"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/gnupg"
	"github.com/homing-mail/homing/internal/kmstest"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/spool"
)

// withKMS gives the rig a KMS of its own.
func (r *rig) withKMS() *rig {
	r.t.Helper()
	var err error
	if r.kms, err = kmstest.New(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.kms.Close() })
	return r
}

// sesNames are ids as SES makes them.
func sesName(n int) string { return strings.TrimPrefix(sesKey(n), "in/") }

// putSealed stores a message as SES does where a receipt rule encrypts, and
// returns its id.
func (r *rig) putSealed(n int, mail string) (id string) {
	r.t.Helper()
	object, err := kmstest.Seal(r.t.Context(), r.kms.Client(), kmstest.Key, sesName(n), []byte(mail))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.s3.Put(testBucket, sesKey(n), object.Octets, object.Metadata); err != nil {
		r.t.Fatal(err)
	}
	return sesName(n)
}

// TestKMSDenied: mail waits for the permission, and for KMS.
func TestKMSDenied(t *testing.T) {
	for _, test := range []struct {
		fault  kmstest.Fault
		result string
		state  spool.State
		reason string
	}{
		{kmstest.Fault{Status: 400, Code: "AccessDeniedException"}, "denied", spool.Pending, "allow these credentials kms:Decrypt on the key that " + kmstest.Key},
		{kmstest.Fault{}, "network", spool.Pending, "no answer"},
		{kmstest.Fault{Status: 400, Code: "InvalidCiphertextException"}, "wrong_key", spool.Held, "has been changed"},
	} {
		t.Run(test.result, func(t *testing.T) {
			r := newRig(t).withKMS()
			r.start()
			id := r.putSealed(1, testMail)
			r.kms.Fail(&test.fault)
			r.notify(snstest.SESReceived(receipt(id, testAddress)))
			series := `homing_decrypt_total{result="` + test.result + `",scheme="kms"}`
			await(t, "the failure", func() bool { return r.samples()[series] == 1 })
			item := r.awaitState(id, test.state)
			await(t, "the reason", func() bool { item = r.awaitState(id, test.state); return item.Reason != "" })
			if !strings.Contains(item.Reason, test.reason) || !strings.Contains(item.Reason, `decrypt "`+sesKey(1)+`" of bucket "mail": KMS: `) {
				t.Errorf("the reason is %q, want %q", item.Reason, test.reason)
			}
			r.kms.Fail(nil)
			if code, _, stderr := r.queue("", "retry", id); code != exitDone {
				t.Error(stderr)
			}
			r.awaitState(id, spool.Done)
			if mails := r.box(testAddress); len(mails) != 1 || !strings.HasSuffix(mails[0], testMail) {
				t.Errorf("delivered %q", mails)
			}
			if n := r.samples()[`homing_decrypt_total{result="ok",scheme="kms"}`]; n != 1 {
				t.Errorf("%v decrypted", n)
			}
		})
	}
}

// TestKMSBackfill: the envelope is in what is encrypted; a mixed bucket is
// delivered whole.
func TestKMSBackfill(t *testing.T) {
	f := newFiller(t)
	f.withKMS()
	f.fill(1)
	f.putSealed(1, sesMail("carol@example.org", testAddress, "sealed"))
	f.want(backfillFlags{}, "2 found, 2 delivered")
	mails := f.bag.of(testAddress)
	if len(mails) != 2 || !slices.ContainsFunc(mails, func(m string) bool { return strings.Contains(m, "Subject: sealed\r\n") }) {
		t.Errorf("delivered %q", mails)
	}
	if !slices.Contains(f.bag.senders, "carol@example.org") {
		t.Errorf("the senders are %q", f.bag.senders)
	}
}

// TestReasonsHaveSeries: no reason of either package counts as "other".
func TestReasonsHaveSeries(t *testing.T) {
	for _, row := range metrics.New("test").Table() {
		if row.Name != "homing_decrypt_total" {
			continue
		}
		results := row.Labels[1].Values
		for _, reason := range slices.Concat(kms.Reasons(), pgp.Reasons()) {
			if !slices.Contains(results, reason) {
				t.Errorf("homing_decrypt_total has no result %q", reason)
			}
		}
		return
	}
	t.Error("there is no homing_decrypt_total")
}

// holds waits until a message is held, and wants its reason and counter.
func (r *rig) holds(id, result, reason string) {
	r.t.Helper()
	item := r.awaitState(id, spool.Held)
	if !strings.Contains(item.Reason, reason) {
		r.t.Errorf("held because %q, want %q", item.Reason, reason)
	}
	if n := r.samples()[`homing_decrypt_total{result="`+result+`",scheme="pgp"}`]; n != 1 {
		r.t.Errorf("%v failures count as %s", n, result)
	}
	if mails := r.box(testAddress); len(mails) != 0 {
		r.t.Errorf("delivered %q", mails)
	}
}

// TestPGPHeld: whatever cannot be decrypted is held with its own reason.
func TestPGPHeld(t *testing.T) {
	pair, other, locked := newKey(t, ""), newKey(t, ""), newKey(t, "right")
	mail := sesMail("bob@example.org", testAddress, "sealed")
	broken := sealFor(t, pair, mail)
	broken[len(broken)-30] ^= 1
	for _, test := range []struct {
		result  string
		octets  []byte
		environ []string
		reason  string
	}{
		{"no_key", sealFor(t, other, mail), []string{"HOMING_PGP_KEY=" + string(pair.Secret)}, "encrypted to " + other.Subkey},
		{"no_key", sealFor(t, other, mail), nil, "add the secret key to HOMING_PGP_KEY"},
		{"passphrase", sealFor(t, locked, mail), []string{"HOMING_PGP_KEY=" + string(locked.Secret), "HOMING_PGP_PASSPHRASE=wrong"}, "correct HOMING_PGP_PASSPHRASE"},
		{"broken", broken, []string{"HOMING_PGP_KEY=" + string(pair.Secret)}, "integrity"},
		{"broken", sealFor(t, pair, mail)[:300], []string{"HOMING_PGP_KEY=" + string(pair.Secret)}, "cut off"},
	} {
		t.Run(test.result, func(t *testing.T) {
			r := newRig(t)
			r.start(test.environ...)
			r.put("in/m1", string(test.octets))
			r.notify(snstest.SESReceived(receipt("m1", testAddress)))
			r.holds("m1", test.result, test.reason)
		})
	}
}

// TestPGP: armored and binary, in the bucket and inside a notification, and what
// SES encrypted once more.
func TestPGP(t *testing.T) {
	pair := newKey(t, "")
	mail := sesMail("bob@example.org", testAddress, "sealed")
	r := newRig(t).withKMS()
	r.start("HOMING_PGP_KEY=" + string(pair.Secret))
	r.put("in/m1", string(sealFor(t, pair, mail)))
	r.notify(snstest.SESReceived(receipt("m1", testAddress)))
	r.notify(inline("m2", string(sealFor(t, pair, mail)), testAddress))
	r.notify(snstest.SESReceived(receipt(r.putSealed(3, string(sealFor(t, pair, mail))), testAddress)))
	r.put("in/m4", "Subject: pgp/mime\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n")
	r.notify(snstest.SESReceived(receipt("m4", testAddress)))
	for _, id := range []string{"m1", "m2", sesName(3), "m4"} {
		r.awaitState(id, spool.Done)
	}
	whole := 0
	for _, got := range r.box(testAddress) {
		if strings.HasSuffix(got, "\r\n"+mail) {
			whole++
		}
	}
	if whole != 3 || len(r.box(testAddress)) != 4 {
		t.Errorf("%d of 3 decrypted mails in %q", whole, r.box(testAddress))
	}
	samples := r.samples()
	if samples[`homing_decrypt_total{result="ok",scheme="pgp"}`] != 3 || samples[`homing_decrypt_total{result="ok",scheme="kms"}`] != 1 ||
		samples["homing_decrypt_seconds_count"] != 4 || samples["homing_memory_bytes"] != 0 {
		t.Errorf("counted %v", samples)
	}
}

// TestExportEncrypted writes what would be delivered, or what is stored.
func TestExportEncrypted(t *testing.T) {
	pair := newKey(t, "")
	mail := sesMail("bob@example.org", testAddress, "sealed")
	r := newRig(t)
	stop := r.start()
	stored := string(sealFor(t, pair, mail))
	r.put("in/m1", stored)
	r.notify(snstest.SESReceived(receipt("m1", testAddress)))
	r.notify(inline("m2", stored, testAddress))
	for _, id := range []string{"m1", "m2"} {
		r.awaitState(id, spool.Held)
	}
	stop()
	t.Setenv("AWS_ENDPOINT_URL_S3", r.s3.URL())
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	base := []string{"HOMING_STATE_DIR=" + r.state, "HOMING_BUCKETS=" + testBucket, "HOMING_S3_PATH_STYLE=true"}
	for _, id := range []string{"m1", "m2"} {
		if code, _, stderr := command(t, base, "", "queue", "export", id); code != exitFailed || !strings.Contains(stderr, "add the secret key to HOMING_PGP_KEY") {
			t.Errorf("%s without a key: %d %s", id, code, stderr)
		}
		if code, stdout, _ := command(t, base, "", "queue", "export", "--stored", id); code != exitDone || stdout != stored {
			t.Errorf("%s as it is stored: %d, %d octets of %d", id, code, len(stdout), len(stored))
		}
		if code, stdout, stderr := command(t, append(base, "HOMING_PGP_KEY="+string(pair.Secret)), "", "queue", "export", id); code != exitDone || stdout != mail {
			t.Errorf("%s: %d %q %s", id, code, stdout, stderr)
		}
	}
}

// compressed seals a mail of 32 KB to a key in a few hundred octets.
func compressed(t *testing.T, to *pgp.Pair) (mail, stored string) {
	t.Helper()
	gpg := gnupg.New(t, gnupg.V22)
	gpg.Run(t, to.Public, "--import")
	mail = sesMail("bob@example.org", testAddress, "swells") + strings.Repeat("All the same.\r\n", 2000)
	stored = string(gpg.Run(t, []byte(mail), "--trust-model", "always", "--compress-algo", "zip", "--encrypt", "--recipient", testAddress))
	if len(stored) > len(mail)/10 {
		t.Fatalf("%d octets for %d: it is not compressed", len(stored), len(mail))
	}
	return mail, stored
}

// TestBombIsHeld: the limit is for what is unpacked, too, in the daemon and in what
// a person calls.
func TestBombIsHeld(t *testing.T) {
	pair := newKey(t, "")
	_, stored := compressed(t, pair)
	f := newFiller(t, "HOMING_PGP_KEY="+string(pair.Secret), "HOMING_MAX_MESSAGE=10KB")
	f.put(sesKey(1), stored)
	stdout, _, err := f.backfill(t.Context(), backfillFlags{})
	if err == nil || counts(stdout) != "1 found, 0 delivered, 1 held" || !strings.Contains(stdout, "raise HOMING_MAX_MESSAGE") {
		t.Errorf("%v\n%s", err, stdout)
	}
	environ := []string{"HOMING_PGP_KEY=" + string(pair.Secret), "HOMING_MAX_MESSAGE=10KB"}
	if code, _, stderr := command(t, environ, stored, "pgp", "inspect", "-"); code != exitFailed || !strings.Contains(stderr, "raise HOMING_MAX_MESSAGE") {
		t.Errorf("inspect ends with %d: %s", code, stderr)
	}
}

// TestManyCompressed: each needs more memory than it was fetched with, all at
// once, and there is little. Nobody waits for ever.
func TestManyCompressed(t *testing.T) {
	const many = 200
	pair := newKey(t, "")
	mail, stored := compressed(t, pair)
	f := newFiller(t, "HOMING_PGP_KEY="+string(pair.Secret), "HOMING_MEMORY=40KB")
	for i := range many {
		f.put(sesKey(i), stored)
	}
	var fetches atomic.Int64
	f.s3.Inject(func(r *http.Request) *s3test.Fault {
		if r.Method == http.MethodGet && !isList(r) {
			fetches.Add(1)
		}
		return nil
	})
	f.want(backfillFlags{}, fmt.Sprintf("%d found, %d delivered", many, many))
	mails := f.bag.of(testAddress)
	if len(mails) != many || !strings.HasSuffix(mails[0], mail) {
		t.Errorf("%d mails, want %d", len(mails), many)
	}
	if n := fetches.Load(); n <= many {
		t.Errorf("%d fetches for %d messages: none had to come again", n, many)
	} else {
		t.Logf("%d fetches for %d messages", n, many)
	}
}
