package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/fetcher/kms"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/kmstest"
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
		{kmstest.Fault{Status: 400, Code: "AccessDeniedException"}, "denied", spool.Pending, "allow these credentials kms:Decrypt on " + kmstest.Key},
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
