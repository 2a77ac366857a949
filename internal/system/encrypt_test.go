package system

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	inner "github.com/homing-mail/homing/fetcher/envelope"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/gnupg"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
)

// newKey makes a key, and what tells homing to encrypt to it.
func newKey(tb testing.TB, action string) (pair *pgp.Pair, pairs []string) {
	tb.Helper()
	pair, err := pgp.Generate("me", "me@home.test", "")
	if err != nil {
		tb.Fatal(err)
	}
	return pair, []string{"HOMING_AFTER_DELIVERY", action, "HOMING_AFTER_DELIVERY_DELAY", "0", "HOMING_PGP_ENCRYPT_TO", string(pair.Public)}
}

// ways are the actions, and where an object below in/ is then.
var ways = []struct{ action, at string }{{"encrypt", "in/"}, {"encrypt:done/", "done/"}}

// homing is killed at every request that it makes while it encrypts an object,
// before S3 has carried it out and after. Nothing is lost, and in the end nothing
// is left that could be read.
func TestKilledWhileEncrypting(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		for _, versions := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, versions %v", way.action, versions), func(t *testing.T) {
				t.Parallel()
				testKilledWhileEncrypting(t, way.action, way.at, versions)
			})
		}
	}
}

func testKilledWhileEncrypting(t *testing.T, action, at string, versions bool) {
	gpg := gnupg.New(t, gnupg.V22)
	pair, pairs := newKey(t, action)
	gpg.Run(t, pair.Secret, "--import")
	c := newCloud(t, append(pairs, "HOMING_BUCKETS", bucket+"/in/ "+bucket+"/done/")...)
	if versions {
		c.versioned()
	}
	var want [][]byte
	steps := 0
	for reached := true; reached; steps++ {
		for _, after := range []bool{false, true} {
			id, message := newID(), received(address("alice"), "ann@far.test")
			want = append(want, message, message)
			reached = c.killAt(steps, after, func() {
				c.put("in/"+id, message)
				c.notify(snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "ann@far.test",
					Recipients: []string{address("alice"), address("bob+x")}, Bucket: bucket, Prefix: "in/"}))
			})
			c.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
			block := (&inner.Envelope{Sender: "ann@far.test", Recipients: []string{address("alice"), address("bob+x")}}).Block()
			if got := gpg.Run(t, c.sealed(at+id), "--decrypt"); string(got) != string(block)+string(message) {
				t.Fatalf("step %d: gpg decrypts %q", steps, got)
			}
			c.remove(at + id)
		}
	}
	t.Logf("killed at each of %d requests", steps-1)
	c.sink.expect(t, want...)
}

// killAt kills homing at a request that follows the delivery of what begin sends,
// starts it again if it was killed, and reports whether it was.
func (c *cloud) killAt(step int, after bool, begin func()) bool {
	c.tb.Helper()
	const encrypted = `homing_after_delivery_total{action="encrypt",result="ok"}`
	before, err := c.metric(encrypted)
	if err != nil {
		c.tb.Fatal(err)
	}
	var count atomic.Int64
	var killed atomic.Bool
	kill := func() {
		c.kill()
		killed.Store(true)
	}
	hook := s3test.Hook(func(r *http.Request) *s3test.Fault {
		// The first is the delivery's own.
		if count.Add(1) != int64(step)+2 {
			return nil
		}
		if after {
			return &s3test.Fault{Happens: true, Reset: true, Then: kill}
		}
		kill()
		return &s3test.Fault{Reset: true}
	})
	c.hook.Store(&hook)
	begin()
	await(c.tb, "homing to be killed, or to be done", func() error {
		if killed.Load() {
			return nil
		}
		n, err := c.metric(encrypted)
		if err == nil && n == before {
			err = fmt.Errorf("%v were encrypted before", n)
		}
		return err
	})
	c.hook.Store(nil)
	if killed.Load() {
		c.restart()
	}
	return killed.Load()
}

// sealed returns the only object there is in any version, which is encrypted.
func (c *cloud) sealed(key string) []byte {
	c.tb.Helper()
	out, err := c.client.ListObjectVersions(c.tb.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(bucket)})
	if err != nil {
		c.tb.Fatal(err)
	}
	var sealed []byte
	for _, v := range out.Versions {
		octets := c.version(v.Key, v.VersionId)
		if *v.Key != key || !pgp.Encrypted(octets) {
			c.tb.Fatalf("the bucket holds %s: %.60q", *v.Key, octets)
		}
		if aws.ToBool(v.IsLatest) {
			sealed = octets
		}
	}
	if sealed == nil {
		c.tb.Fatalf("the bucket has no %s", key)
	}
	return sealed
}

// version returns the content of one version.
func (c *cloud) version(key, version *string) []byte {
	c.tb.Helper()
	if aws.ToString(version) == "null" {
		version = nil // versitygw knows it by no name
	}
	out, err := c.client.GetObject(c.tb.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: key, VersionId: version})
	if err != nil {
		c.tb.Fatal(err)
	}
	defer out.Body.Close()
	octets, err := io.ReadAll(out.Body)
	if err != nil {
		c.tb.Fatal(err)
	}
	return octets
}

// remove deletes every version of an object.
func (c *cloud) remove(key string) {
	c.tb.Helper()
	out, err := c.client.ListObjectVersions(c.tb.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(bucket), Prefix: &key})
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, v := range out.Versions {
		version := v.VersionId
		if aws.ToString(version) == "null" {
			version = nil
		}
		if _, err := c.client.DeleteObject(c.tb.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: v.Key, VersionId: version}); err != nil {
			c.tb.Fatal(err)
		}
	}
}

// S3 announces each object that homing writes while it encrypts, whatever its
// name. None is news, with or without the key to it.
func TestEncryptedObjectsAreNoNews(t *testing.T) {
	t.Parallel()
	for _, way := range ways {
		for _, versions := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, versions %v", way.action, versions), func(t *testing.T) {
				t.Parallel()
				_, pairs := newKey(t, way.action)
				c := newCloud(t, append(pairs, "HOMING_BUCKETS", bucket+"/in/ "+bucket+"/done/")...)
				if versions {
					c.versioned()
				}
				const name = "a b+c/mail.eml"
				message := received(address("alice"), "ann@far.test")
				var mu sync.Mutex
				var written []snstest.Object
				hook := s3test.Hook(func(r *http.Request) *s3test.Fault {
					if r.Method == http.MethodPut {
						key, _ := strings.CutPrefix(r.URL.Path, "/"+bucket+"/")
						mu.Lock()
						defer mu.Unlock()
						written = append(written, snstest.Object{Bucket: bucket, Key: key})
					}
					return nil
				})
				c.hook.Store(&hook)
				version := c.put("in/"+name, message)
				c.notify(snstest.S3Event(snstest.Object{Bucket: bucket, Key: "in/" + name, Version: version}))
				c.awaitOnly("done", func(it item) bool { return it.State == "done" })
				c.sealed(way.at + name)
				mu.Lock()
				defer mu.Unlock()
				if len(written) == 0 || written[len(written)-1].Key != way.at+name {
					t.Fatalf("written %+v", written)
				}
				if versions {
					head, err := c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(way.at + name)})
					if err != nil {
						t.Fatal(err)
					}
					written[len(written)-1].Version = aws.ToString(head.VersionId)
				}
				for _, object := range written {
					c.notify(snstest.S3Event(object))
					c.notify(snstest.EventBridge(object))
				}
				c.awaitIdle()
				c.sink.expect(t, message) // once, as before
				c.sealed(way.at + name)
			})
		}
	}
}

// What was encrypted after its delivery comes home again, to a state directory
// that knows nothing of it: with its sender and all its recipients, octet for
// octet.
func TestRestoredFromEncrypted(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		for _, way := range ways {
			t.Run(way.action, func(t *testing.T) {
				t.Parallel()
				testRestored(t, version, way.action)
			})
		}
	})
}

func testRestored(t *testing.T, version dovecot.Version, action string) {
	pair, pairs := newKey(t, action)
	h := settle(t, dovecot.Options{Version: version, SaveToDetail: true, Users: users("alice", "bob", "carol")}, pairs...)
	cases := map[string]struct {
		sender     string
		recipients []string
		message    []byte
	}{
		"several": {"ann@far.test", []string{address("alice"), address("bob"), address("carol+several")}, letter("several")},
		"bounce":  {"", []string{address("carol+bounce")}, received(address("alice"), "mallory@far.test")},
		"forged":  {"prvs=1=ann@far.test", []string{address("carol+forged")}, append((&inner.Envelope{Recipients: []string{address("alice")}}).Block(), letter("forged")...)},
		"octets":  {"ann@far.test", []string{address("carol+octets")}, append([]byte(plain), everyOctet(1)...)},
		"large":   {"ann@far.test", []string{address("carol+large")}, attachment(2_000_000)},
	}
	for _, c := range cases {
		h.send(c.message, c.sender, c.recipients...)
	}
	h.awaitMetric(t, `homing_after_delivery_total{action="encrypt",result="ok"}`, float64(len(cases)))
	h.stop(t)
	h.env = h.env.with("HOMING_STATE_DIR", t.TempDir(), "HOMING_AFTER_DELIVERY", "keep", "HOMING_PGP_ENCRYPT_TO", "",
		"HOMING_PGP_KEY", string(pair.Secret))
	if out := h.run("backfill"); !strings.Contains(out, fmt.Sprintf("%d delivered", len(cases))) {
		t.Errorf("backfill says %s", out)
	}
	for name, c := range cases {
		for _, recipient := range c.recipients {
			user, folder := recipient, "INBOX"
			if local, _, isDetail := strings.Cut(recipient, "+"); isDetail {
				user, folder = local+"@"+domain, name
			}
			for _, got := range h.folder(user, folder, 2) {
				if got.sender != c.sender || got.mailbox != recipient {
					t.Errorf("%s came from <%s> for <%s>, want <%s> and <%s>", name, got.sender, got.mailbox, c.sender, recipient)
				}
				sameOriginals(t, got, recipient)
				sameMessage(t, got.message, c.message)
			}
		}
	}
}
