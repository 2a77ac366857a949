package system

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/gnupg"
	"github.com/homing-mail/homing/internal/kmstest"
	"github.com/homing-mail/homing/internal/moto"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/versitygw"
)

// vault is a homing with a Dovecot, a real S3 server and moto's KMS, and with a
// key that GnuPG made.
type vault struct {
	*home
	s3      *s3.Client
	kms     *kms.Client
	key     string // ARN at KMS
	gpg     *gnupg.Home
	keyFile string // the secret key, for HOMING_PGP_KEY_FILE
}

func newVault(t *testing.T, version dovecot.Version, pairs ...string) *vault {
	t.Helper()
	store, cloud := versitygw.Start(t), moto.Start(t)
	v := &vault{s3: store.Client(), kms: cloud.KMS(), key: cloud.Key(t), gpg: gnupg.New(t, gnupg.V22)}
	if _, err := v.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	v.keyFile = v.makeKey(t)
	v.home = &home{tb: t, dovecot: dovecot.Start(t, dovecot.Options{Version: version, SaveToDetail: true, Users: users("alice")})}
	v.env = bare(t, "lmtp:"+v.dovecot.UnixSocket).with("AWS_ENDPOINT_URL_S3", store.URL, "AWS_ENDPOINT_URL_KMS", cloud.URL,
		"AWS_ACCESS_KEY_ID", store.AccessKey, "AWS_SECRET_ACCESS_KEY", store.SecretKey).with(pairs...)
	return v
}

const user = "Alice <alice@home.test>"

// makeKey has GnuPG make a key and returns the file of its secret part.
func (v *vault) makeKey(t *testing.T) string {
	t.Helper()
	fingerprint := v.gpg.Key(t, user, "ed25519", "cv25519", "")
	secret := v.gpg.Run(t, nil, "--passphrase", "", "--armor", "--export-secret-keys", fingerprint)
	path := filepath.Join(t.TempDir(), "key.asc")
	if err := os.WriteFile(path, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (v *vault) put(key string, octets []byte, metadata map[string]string) {
	v.tb.Helper()
	_, err := v.s3.PutObject(v.tb.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(octets), Metadata: metadata})
	if err != nil {
		v.tb.Fatal(err)
	}
}

// seal stores a message as SES does where a receipt rule encrypts. damage, if not
// nil, is done to what is stored.
func (v *vault) seal(id string, mail []byte, damage func(octets []byte) []byte) {
	v.tb.Helper()
	object, err := kmstest.Seal(v.tb.Context(), v.kms, v.key, id, mail)
	if err != nil {
		v.tb.Fatal(err)
	}
	if damage != nil {
		object.Octets = damage(object.Octets)
	}
	v.put(id, object.Octets, object.Metadata)
}

// encrypt has GnuPG encrypt a message to the key.
func (v *vault) encrypt(mail []byte, args ...string) []byte {
	v.tb.Helper()
	return v.gpg.Run(v.tb, mail, append([]string{"--trust-model", "always", "--encrypt", "--recipient", user}, args...)...)
}

// storings are the ways in which a message may be stored.
var storings = map[string]func(v *vault, id string, mail []byte){
	"plain":       func(v *vault, id string, mail []byte) { v.put(id, mail, nil) },
	"kms":         func(v *vault, id string, mail []byte) { v.seal(id, mail, nil) },
	"pgp":         func(v *vault, id string, mail []byte) { v.put(id, v.encrypt(mail), nil) },
	"pgp-armored": func(v *vault, id string, mail []byte) { v.put(id, v.encrypt(mail, "--armor"), nil) },
	"pgp-plain":   func(v *vault, id string, mail []byte) { v.put(id, v.encrypt(mail, "--compress-algo", "none"), nil) },
	"both":        func(v *vault, id string, mail []byte) { v.seal(id, v.encrypt(mail), nil) },
}

// In one bucket lie messages as they came, encrypted by SES with KMS, with
// OpenPGP, and with both; with notifications and without. All arrive as they
// were. So does mail that was itself sent encrypted.
func TestEncryptedAtRest(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		v := newVault(t, version)
		v.env = v.env.with("HOMING_PGP_KEY_FILE", v.keyFile)
		v.daemon = serve(t, v.env)
		sent := map[string][]byte{}
		for name, store := range storings {
			sent[name] = append([]byte("Subject: "+name+"\r\n\r\n"+smuggled), everyOctet(1)...)
			id := newID()
			store(v, id, sent[name])
			v.notify(receipt(id, "ann@far.test", "alice+"+name+"@"+domain))
		}
		sent["sent-encrypted"] = []byte("From: ann@far.test\r\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\r\n\r\n--b\r\n" +
			"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n" +
			strings.ReplaceAll(string(v.encrypt([]byte("To you alone.\r\n"), "--armor")), "\n", "\r\n") + "\r\n--b--\r\n")
		sent["inline"] = append([]byte("Subject: inline\r\n\r\n"), v.encrypt([]byte("To you alone.\r\n"), "--armor")...)
		for _, name := range []string{"sent-encrypted", "inline"} {
			id := newID()
			v.put(id, sent[name], nil)
			v.notify(receipt(id, "ann@far.test", "alice+"+name+"@"+domain))
		}
		for name, mail := range sent {
			sameMessage(t, v.one(address("alice"), name).message, mail)
		}
		v.awaitIdle()
		v.sameMetric(t, `homing_decrypt_total{result="ok",scheme="kms"}`, 2)
		v.sameMetric(t, `homing_decrypt_total{result="ok",scheme="pgp"}`, 4)
	})
}

// Nobody announced these, and to whom they are is written inside what is
// encrypted.
func TestEncryptedBackfill(t *testing.T) {
	t.Parallel()
	v := newVault(t, dovecot.V23)
	v.env = v.env.with("HOMING_PGP_KEY_FILE", v.keyFile)
	sent := map[string][]byte{}
	for name, store := range storings {
		sent[name] = received("alice+"+name+"@"+domain, name+"@far.test")
		store(v, newID(), sent[name])
	}
	v.run("backfill")
	for name, mail := range sent {
		got := v.one(address("alice"), name)
		sameMessage(t, got.message, mail)
		if got.sender != name+"@far.test" {
			t.Errorf("%s: the sender is %q", name, got.sender)
		}
	}
}

// A message for which the key is missing, or its passphrase, is held and says
// so. Once it is there, after a restart, a retry delivers.
func TestMissingKey(t *testing.T) {
	t.Parallel()
	const passphrase = "correct horse battery staple"
	locked, err := pgp.Generate("Alice", address("alice"), passphrase)
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := pgp.ReadRecipients(locked.Public)
	if err != nil {
		t.Fatal(err)
	}
	message := letter("sealed")
	sealed, err := recipients.Encrypt(message)
	if err != nil {
		t.Fatal(err)
	}
	c := newCloud(t)
	id := newID()
	c.put(id, sealed)
	c.notify(receipt(id, "ann@far.test", address("alice")))
	c.heldFor(t, id, "pgp", "no_key", locked.Subkey, "HOMING_PGP_KEY")

	c.stop(t)
	c.env = c.env.with("HOMING_PGP_KEY", string(locked.Secret), "HOMING_PGP_PASSPHRASE", "wrong")
	c.restart()
	c.run("queue", "retry", id)
	c.heldFor(t, id, "pgp", "passphrase", locked.Subkey, "HOMING_PGP_PASSPHRASE")
	if text := c.log.tail(); strings.Contains(text, "wrong\"") || strings.Contains(text, "PRIVATE") {
		t.Errorf("a secret is logged:\n%s", text)
	}
	c.sink.expect(t)

	c.stop(t)
	c.env = c.env.with("HOMING_PGP_PASSPHRASE", passphrase)
	c.restart()
	c.run("queue", "retry", id)
	c.sink.expect(t, message)
	c.awaitIdle()
}

// heldFor waits until a message is held, counted, and gives its reason.
func (h *home) heldFor(t *testing.T, id, scheme, result string, reasons ...string) {
	t.Helper()
	h.awaitMetric(t, `homing_decrypt_total{result="`+result+`",scheme="`+scheme+`"}`, 1)
	it := h.awaitItem(id, "held", func(it item) bool { return it.State == "held" && it.Reason != "" })
	for _, reason := range reasons {
		if !strings.Contains(it.Reason, reason) {
			t.Errorf("held because %q, want %q", it.Reason, reason)
		}
	}
}

// What is damaged, or has no proof that it is not, never arrives; nor does what
// grows beyond the limit.
func TestDamagedNeverArrives(t *testing.T) {
	t.Parallel()
	v := newVault(t, dovecot.V23)
	v.env = v.env.with("HOMING_PGP_KEY_FILE", v.keyFile, "HOMING_MAX_MESSAGE", "1MiB")
	v.daemon = serve(t, v.env)
	flip := func(from int) func([]byte) []byte {
		return func(octets []byte) []byte { octets[len(octets)-from] ^= 1; return octets }
	}
	message := letter("damaged")
	sealed := v.encrypt(message)
	for _, test := range []struct {
		name, scheme, result string
		store                func(id string)
		reason               string
	}{
		{"tag", "kms", "broken", func(id string) { v.seal(id, message, flip(1)) }, "tag"},
		{"content", "kms", "broken", func(id string) { v.seal(id, message, flip(40)) }, "tag"},
		{"cut", "kms", "broken", func(id string) { v.seal(id, message, func(octets []byte) []byte { return octets[:len(octets)-1] }) }, "tag"},
		{"context", "kms", "wrong_key", func(id string) { v.lie(id, message) }, "InvalidCiphertext"},
		{"mdc", "pgp", "broken", func(id string) { v.put(id, flip(1)(bytes.Clone(sealed)), nil) }, "integrity"},
		{"pgp-cut", "pgp", "broken", func(id string) { v.put(id, sealed[:len(sealed)-1], nil) }, "cut off"},
		{"no-mdc", "pgp", "no_integrity", func(id string) { v.put(id, v.encrypt(message, "--rfc2440"), nil) }, "integrity"},
		{"bomb", "pgp", "too_large", func(id string) { v.put(id, v.encrypt(make([]byte, 4<<20)), nil) }, "HOMING_MAX_MESSAGE"},
		{"password", "pgp", "password", func(id string) {
			v.put(id, v.gpg.Run(t, message, "--passphrase", "x", "--symmetric"), nil)
		}, "password"},
	} {
		id := newID()
		test.store(id)
		v.notify(receipt(id, "ann@far.test", address("alice")))
		v.heldFor(t, id, test.scheme, test.result, test.reason)
	}
	if arrived := v.dovecot.Mailbox(t, address("alice"), "INBOX"); len(arrived) > 0 {
		t.Errorf("%d messages arrived: %q", len(arrived), arrived)
	}
	// The queue goes on.
	id := newID()
	v.seal(id, message, nil)
	v.notify(receipt(id, "ann@far.test", address("alice")))
	sameMessage(t, v.one(address("alice"), "INBOX").message, message)
}

// lie stores a message whose encryption context says something else than what it
// was encrypted with.
func (v *vault) lie(id string, mail []byte) {
	v.tb.Helper()
	object, err := kmstest.Seal(v.tb.Context(), v.kms, v.key, id, mail)
	if err != nil {
		v.tb.Fatal(err)
	}
	object.Metadata["x-amz-matdesc"] = strings.Replace(object.Metadata["x-amz-matdesc"], "to-homing", "to-another", 1)
	v.put(id, object.Octets, object.Metadata)
}

// Large encrypted messages pass, one and many at a time, in the memory that
// there is for them. Those that were compressed need room for both, and wait for
// it without holding any.
func TestLargeEncrypted(t *testing.T) {
	t.Parallel()
	const size, mib = 40 << 20, 1 << 20
	server, err := kmstest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	pair, err := pgp.Generate("Alice", address("alice"), "")
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := pgp.ReadRecipients(pair.Public)
	if err != nil {
		t.Fatal(err)
	}
	h := &home{tb: t, s3: memoryS3(t)}
	mail := attachment(size)
	sealed, err := recipients.Encrypt(mail)
	if err != nil {
		t.Fatal(err)
	}
	byKMS, err := kmstest.Seal(t.Context(), server.Client(), kmstest.Key, "", mail)
	if err != nil {
		t.Fatal(err)
	}
	gpg := gnupg.New(t, gnupg.V22)
	gpg.Run(t, pair.Public, "--import")
	packed := gpg.Run(t, mail, "--trust-model", "always", "--compress-algo", "zip", "--encrypt", "--recipient", address("alice"))
	armored := gpg.Run(t, mail, "--trust-model", "always", "--compress-algo", "none", "--armor", "--encrypt", "--recipient", address("alice"))
	if len(packed) > size*9/10 {
		t.Fatalf("%d octets: it is not compressed", len(packed))
	}
	objects := []kmstest.Object{byKMS, {Octets: sealed}, {Octets: packed}, {Octets: armored}}
	for i, stored := range objects {
		if err := h.s3.Put(bucket, []string{"kms", "pgp", "packed", "armored"}[i], stored.Octets, stored.Metadata); err != nil {
			t.Fatal(err)
		}
	}
	boxes := t.TempDir()
	h.env = bare(t, "maildir:"+boxes+"/%n").with("AWS_ENDPOINT_URL_S3", h.s3.URL(), "AWS_ENDPOINT_URL_KMS", server.Endpoint(),
		"HOMING_PGP_KEY", string(pair.Secret), "HOMING_MEMORY", "128MiB")
	for _, key := range []string{"kms", "pgp", "armored", "packed"} {
		h.restart()
		before := h.peak(t)
		h.notify(stored(newID(), key, address(key)))
		sameFiles(t, filepath.Join(boxes, key, "new"), mail, 1)
		grown := h.peak(t) - before
		t.Logf("%s: %.0f MiB more were resident for one message of %d MiB", key, grown, size/mib)
		if grown > 2.5*size/mib {
			t.Error("that is more than 2.5 times its size")
		}
		h.stop(t)
	}
	h.restart()
	for range 2 {
		for _, key := range []string{"packed", "kms", "packed", "pgp", "armored"} {
			h.notify(stored(newID(), key, address("many")))
		}
	}
	sameFiles(t, filepath.Join(boxes, "many", "new"), mail, 10)
	h.awaitIdle()
	t.Logf("%.0f MiB were resident at most, with 128 MiB for messages", h.peak(t))
	if h.peak(t) > 128+80 {
		t.Error("that is more than HOMING_MEMORY and what homing takes itself")
	}
	h.sameMetric(t, "homing_memory_bytes", 0)
}

// sameFiles waits until a Maildir has so many messages, and compares each with
// what was sent.
func sameFiles(t *testing.T, dir string, sent []byte, many int) {
	t.Helper()
	var names []string
	await(t, fmt.Sprintf("%d messages in %s", many, dir), func() (err error) {
		names, err = filepath.Glob(filepath.Join(dir, "*"))
		if err == nil && len(names) < many {
			err = fmt.Errorf("there are %d", len(names))
		}
		return err
	})
	for _, name := range names {
		octets, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(octets, sent) {
			t.Errorf("%s is another message", name)
		}
	}
}

// stored is the receipt of a message under any key.
func stored(id, key string, recipient string) string {
	return snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "ann@far.test", Recipients: []string{recipient}, Bucket: bucket, Key: key})
}
