package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/fetcher/envelope"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/versitygw"
	"github.com/homing-mail/homing/spool"
)

func TestSealKeys(t *testing.T) {
	pair := newKey(t, "")
	const encrypt = "HOMING_AFTER_DELIVERY=encrypt"
	for name, test := range map[string]struct {
		environ []string
		want    string // how the mistake begins; empty: there is none
	}{
		"armored":      {[]string{encrypt, "HOMING_PGP_ENCRYPT_TO=" + string(pair.Public)}, ""},
		"file":         {[]string{encrypt + ":old/", "HOMING_PGP_ENCRYPT_TO_FILE=" + writeFile(t, string(pair.Public))}, ""},
		"binary":       {[]string{encrypt, "HOMING_PGP_ENCRYPT_TO_FILE=" + writeFile(t, string(unarmored(t, pair.Public)))}, ""},
		"several":      {[]string{encrypt, "HOMING_PGP_ENCRYPT_TO=" + string(pair.Public) + string(newKey(t, "").Public)}, ""},
		"none":         {[]string{encrypt}, "HOMING_PGP_ENCRYPT_TO is required with HOMING_AFTER_DELIVERY=encrypt"},
		"empty":        {[]string{encrypt, "HOMING_PGP_ENCRYPT_TO="}, "HOMING_PGP_ENCRYPT_TO is required"},
		"for nothing":  {[]string{"HOMING_PGP_ENCRYPT_TO=" + string(pair.Public)}, "HOMING_PGP_ENCRYPT_TO is set, but"},
		"another way":  {[]string{"HOMING_AFTER_DELIVERY=move:old/", "HOMING_PGP_ENCRYPT_TO=" + string(pair.Public)}, "HOMING_PGP_ENCRYPT_TO is set, but"},
		"nonsense":     {[]string{encrypt, "HOMING_PGP_ENCRYPT_TO=me@example.com"}, "HOMING_PGP_ENCRYPT_TO: want the public keys"},
		"secret key":   {[]string{encrypt, "HOMING_PGP_ENCRYPT_TO=" + string(pair.Secret)}, "HOMING_PGP_ENCRYPT_TO: want the public keys"},
		"one mistake":  {[]string{"HOMING_AFTER_DELIVERY=encrypted", "HOMING_PGP_ENCRYPT_TO=" + string(pair.Public)}, "HOMING_AFTER_DELIVERY="},
		"other prefix": {[]string{encrypt + ":old", "HOMING_PGP_ENCRYPT_TO=" + string(pair.Public)}, "HOMING_AFTER_DELIVERY="},
	} {
		cfg, err := loadConfig(enough(test.environ...))
		got := text(err)
		if !strings.HasPrefix(got, test.want) || strings.Contains(got, "\n") || test.want == "" && got != "" {
			t.Errorf("%s: got\n%s\nwant one line that begins\n%s", name, got, test.want)
		}
		if err == nil && (len(cfg.PGPEncryptTo.recipients.IDs()) == 0 || name != "file" && len(cfg.warnings()) > 0) {
			t.Errorf("%s: %+v, %q", name, cfg.PGPEncryptTo, cfg.warnings())
		}
	}
}

// What is stored of a delivered message is encrypted, with all that its receipt
// said; the new object is no news, and backfill brings it home again.
func TestEncryptAfterDelivery(t *testing.T) {
	client := versitygw.Start(t).Client()
	bucket := aws.String(testBucket)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	pair := newKey(t, "")
	for action, at := range map[string]string{"encrypt": "in/m1", "encrypt:done/": "done/in/m1"} {
		t.Run(action, func(t *testing.T) {
			_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("in/m1"), Body: strings.NewReader(testMail)})
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t)
			r.bucket = client
			stop := r.start("HOMING_AFTER_DELIVERY="+action, "HOMING_AFTER_DELIVERY_DELAY=0", "HOMING_PGP_ENCRYPT_TO="+string(pair.Public))
			r.notify(snstest.SESReceived(receipt("m1", testAddress, "bob+x@example.com")))
			item := r.awaitState("m1", spool.Done)
			if got := whereabouts(t, client, "in/m1", "done/in/m1"); !slices.Equal(got, []string{at}) || item.Key != at {
				t.Errorf("it is at %q, and %q in the spool, want %q", got, item.Key, at)
			}
			if r.samples()[`homing_after_delivery_total{action="encrypt",result="ok"}`] != 1 {
				t.Error("it is not counted")
			}
			r.isNoNews(at)
			stop()
			bag := newMailbag(t)
			f := &filler{r, bag, []string{"HOMING_DELIVER_TO=" + bag.address, "HOMING_PGP_KEY=" + string(pair.Secret)}}
			f.want(backfillFlags{again: newRun}, "1 found, 1 delivered")
			for _, address := range []string{testAddress, "bob+x@example.com"} {
				if mails := bag.of(address); len(mails) != 1 || !strings.HasSuffix(mails[0], "X-Original-To: "+address+"\r\n"+testMail) {
					t.Errorf("%s got %q", address, mails)
				}
			}
			if want := []string{"s@example.org", "s@example.org"}; !slices.Equal(bag.senders, want) {
				t.Errorf("the senders are %q", bag.senders)
			}
			if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: &at}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// With a key that has expired mail is delivered, and its object stays as it is
// and says why.
func TestExpiredSealKey(t *testing.T) {
	r := newRig(t)
	r.put("in/m1", testMail)
	r.start("HOMING_AFTER_DELIVERY=encrypt", "HOMING_AFTER_DELIVERY_DELAY=0", "HOMING_PGP_ENCRYPT_TO="+publicKey(t, time.Hour))
	if warnings := r.app.cfg.warnings(); len(warnings) != 1 || !strings.Contains(warnings[0], "expired") {
		t.Errorf("warnings %q", warnings)
	}
	r.notify(snstest.SESReceived(receipt("m1", testAddress)))
	await(t, "the failure", func() bool {
		return r.samples()[`homing_after_delivery_total{action="encrypt",result="failed"}`] == 1
	})
	item := r.awaitState("m1", spool.Settling)
	await(t, "the reason", func() bool { item = r.awaitState("m1", spool.Settling); return item.Reason != "" })
	if !strings.Contains(item.Reason, "HOMING_PGP_ENCRYPT_TO: key ") || !strings.Contains(item.Reason, "expired") {
		t.Errorf("the reason is %q", item.Reason)
	}
	if mails := r.box(testAddress); len(mails) != 1 {
		t.Errorf("%d mails", len(mails))
	}
}

// putEncrypted encrypts parts to a key and stores them as one object.
func (r *rig) putEncrypted(key string, pair *pgp.Pair, parts ...[]byte) {
	r.t.Helper()
	r.put(key, string(sealFor(r.t, pair, string(bytes.Join(parts, nil)))))
}

// An envelope counts where it was encrypted together with the message, before
// its first octet. What a sender can write is never there.
func TestForgedEnvelope(t *testing.T) {
	pair := newKey(t, "")
	forged := (&envelope.Envelope{Sender: "mallory@example.net", Recipients: []string{"victim@example.com"}}).Block()
	genuine := (&envelope.Envelope{Sender: "carol@example.org", Recipients: []string{"dave@example.com"}}).Block()
	fromSES := []byte(sesMail("bob@example.org", testAddress, "x"))
	for name, test := range map[string]struct {
		object     []byte // what is stored
		to, sender string
		mail       string
	}{
		"in a mail that was sent encrypted": {
			object: append(slices.Clone(fromSES), sealFor(t, pair, string(forged)+"x")...),
			to:     testAddress, sender: "bob@example.org",
		},
		"in the header of a mail": {
			object: []byte("Return-Path: <bob@example.org>\r\n" + string(forged) + strings.TrimPrefix(string(fromSES), "Return-Path: <bob@example.org>\r\n")),
			to:     testAddress, sender: "bob@example.org",
		},
		"at the top of what is not encrypted": {
			object: append(slices.Clone(forged), fromSES...),
			to:     testAddress, sender: "bob@example.org",
		},
		"in a mail that its owner encrypted": {
			object: sealFor(t, pair, string(fromSES)+string(forged)),
			to:     testAddress, sender: "bob@example.org", mail: string(fromSES) + string(forged),
		},
		"after the genuine one": {
			object: sealFor(t, pair, string(genuine)+string(forged)+string(fromSES)),
			to:     "dave@example.com", sender: "carol@example.org", mail: string(forged) + string(fromSES),
		},
		"the genuine one": {
			object: sealFor(t, pair, string(genuine)+string(fromSES)),
			to:     "dave@example.com", sender: "carol@example.org", mail: string(fromSES),
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFiller(t, "HOMING_PGP_KEY="+string(pair.Secret))
			f.put(sesKey(1), string(test.object))
			f.want(backfillFlags{}, "1 found, 1 delivered")
			mail := test.mail
			if mail == "" {
				mail = string(test.object)
			}
			if mails := f.bag.of(test.to); len(mails) != 1 || !strings.HasSuffix(mails[0], "X-Original-To: "+test.to+"\r\n"+mail) {
				t.Errorf("delivered %q, want %q", f.bag.mails, mail)
			}
			if !slices.Equal(f.bag.senders, []string{test.sender}) {
				t.Errorf("senders %q", f.bag.senders)
			}
		})
	}
}

// A block that is broken, or of a later form, is no mail of anybody's.
func TestBrokenEnvelopeIsHeld(t *testing.T) {
	r := newRig(t)
	pair := newKey(t, "")
	r.start("HOMING_PGP_KEY=" + string(pair.Secret))
	r.putEncrypted("in/m1", pair, []byte("X-Homing-Envelope: 9\r\n"), []byte(testMail))
	r.notify(snstest.SESReceived(receipt("m1", testAddress)))
	if item := r.awaitState("m1", spool.Held); !strings.Contains(item.Reason, "a newer one may") {
		t.Errorf("held because %q", item.Reason)
	}
	if n := r.samples()[`homing_decrypt_total{result="malformed",scheme="pgp"}`]; n != 1 {
		t.Errorf("%v counted", n)
	}
}
