package fetcher

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/fetcher/envelope"
	"github.com/homing-mail/homing/fetcher/kms"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/gnupg"
	"github.com/homing-mail/homing/internal/kmstest"
	"github.com/homing-mail/homing/internal/s3test"
)

const letter = "Return-Path: <ann@far.test>\r\nSubject: hello\r\n\r\nNothing that others should read.\r\n"

// safe is a key pair, and what is done with the public half.
type safe struct {
	pair *pgp.Pair
	Encryption
}

func newSafe(t *testing.T) *safe {
	t.Helper()
	pair, err := pgp.Generate("me", "me@home.test", "")
	if err != nil {
		t.Fatal(err)
	}
	to, err := pgp.ReadRecipients(pair.Public)
	if err != nil {
		t.Fatal(err)
	}
	return &safe{pair, Encryption{To: to, ID: "id-1", Delivered: true,
		Envelope: &envelope.Envelope{Sender: "ann@far.test", Recipients: []string{"alice@home.test", "bob+x@home.test"}}}}
}

func (s *safe) under(prefix string) Encryption {
	e := s.Encryption
	e.Prefix = prefix
	return e
}

// open returns what an object holds, "gone" if there is none.
func (s *safe) open(t *testing.T, octets string) string {
	t.Helper()
	if octets == "gone" {
		return octets
	}
	keys, err := pgp.ReadKeys(s.pair.Secret, "")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := keys.Decrypt([]byte(octets), 1<<30, nil)
	if err != nil {
		t.Fatalf("%.50q: %v", octets, err)
	}
	e, message, err := envelope.Cut(plain)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Envelope, e); diff != "" {
		t.Error(diff)
	}
	return string(message)
}

// every returns the content of each version of each object.
func (r *rig) every(t *testing.T, bucket string) map[string][]string {
	t.Helper()
	out, err := r.direct.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, v := range out.Versions {
		ref := Ref{Bucket: bucket, Key: *v.Key, Version: aws.ToString(v.VersionId)}
		if bucket == "mail" {
			ref.Version = ""
		}
		all[*v.Key] = append(all[*v.Key], r.content(t, ref))
	}
	return all
}

// clear empties a bucket.
func (r *rig) clear(t *testing.T, bucket string) {
	t.Helper()
	out, err := r.direct.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range out.Versions {
		in := &s3.DeleteObjectInput{Bucket: &bucket, Key: v.Key, VersionId: v.VersionId}
		if bucket == "mail" {
			in.VersionId = nil
		}
		if _, err := r.direct.DeleteObject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
}

// posted is mail with everything that has to be kept.
func (r *rig) posted(t *testing.T, bucket, key string) Ref {
	t.Helper()
	return r.put(t, s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader(letter),
		Metadata:           map[string]string{"x-amz-meta-like": "1"},
		ContentType:        aws.String("message/rfc822"),
		ContentDisposition: aws.String("attachment"),
		CacheControl:       aws.String("no-store"),
		Tagging:            aws.String("a=1&b=2+3"),
	})
}

// sealedAt checks that there is the encrypted mail and nothing else in a bucket.
func (r *rig) sealedAt(t *testing.T, s *safe, bucket, key string) {
	t.Helper()
	for found, contents := range r.every(t, bucket) {
		for _, content := range contents {
			if found != key || !pgp.Encrypted([]byte(content)) {
				t.Errorf("%s/%s holds %.60q", bucket, found, content)
			}
		}
	}
	ref := Ref{Bucket: bucket, Key: key}
	if got := s.open(t, r.content(t, ref)); got != letter {
		t.Errorf("%s: the mail is %q", key, got)
	}
	out, err := r.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{aws.ToString(out.ContentType), aws.ToString(out.ContentDisposition), aws.ToString(out.CacheControl)}
	if diff := cmp.Diff([]string{"message/rfc822", "attachment", "no-store"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"x-amz-meta-like": "1", s.mark(): "id-1"}, out.Metadata); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2 3"}, r.tags(t, ref)); diff != "" {
		t.Error(diff)
	}
}

// ways are the buckets and the places in them that an object may be encrypted to.
var ways = []struct{ bucket, prefix, newKey string }{
	{"mail", "", "inbox/2026/key"},
	{"mail", "sealed/", "sealed/2026/key"},
	{"versions", "", "inbox/2026/key"},
	{"versions", "sealed/", "sealed/inbox/2026/key"},
}

func TestRealEncrypt(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	for _, s.Delivered = range []bool{true, false} {
		for _, way := range ways {
			ref := r.posted(t, way.bucket, "inbox/2026/key")
			for range 2 { // a repetition is success, and writes nothing
				newKey, err := r.Encrypt(t.Context(), ref, s.under(way.prefix))
				if err != nil || newKey != way.newKey {
					t.Fatalf("%+v: new key %q, %v", way, newKey, err)
				}
				r.sealedAt(t, s, way.bucket, way.newKey)
				if n := len(r.every(t, way.bucket)[way.newKey]); n != 1 {
					t.Errorf("%+v: %d versions", way, n)
				}
			}
			r.clear(t, way.bucket)
		}
	}
}

// TestRealEncryptFaults breaks off each request, before it happened and after,
// and repeats the whole: nothing may be lost at any time, and nothing be left.
func TestRealEncryptFaults(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	for _, way := range ways {
		for _, fault := range []s3test.Fault{
			{Status: 503, Code: "SlowDown"},
			{Status: 500, Code: "InternalError", Happens: true},
			{Reset: true},
			{Reset: true, Happens: true},
			{Truncate: true, After: 20},
		} {
			name := fmt.Sprintf("%s %s %+v", way.bucket, way.prefix, fault)
			steps := 0
			for broken := true; broken; steps++ {
				ref := r.posted(t, way.bucket, "inbox/2026/key")
				made := r.breakOff(steps, fault)
				_, err := r.Encrypt(t.Context(), ref, s.under(way.prefix))
				if broken = made(); broken && err == nil && !fault.Truncate {
					t.Errorf("%s: request %d failed, and nobody says so", name, steps)
				}
				r.hook.Store(nil)
				kept := r.content(t, ref)
				if kept != letter && s.open(t, r.content(t, Ref{Bucket: way.bucket, Key: way.newKey})) != letter {
					t.Fatalf("%s: request %d: the mail is lost", name, steps)
				}
				if _, err := r.Encrypt(t.Context(), ref, s.under(way.prefix)); err != nil {
					t.Fatalf("%s: request %d: again: %v", name, steps, err)
				}
				r.sealedAt(t, s, way.bucket, way.newKey)
				r.clear(t, way.bucket)
			}
			t.Logf("%s: %d requests", name, steps-1)
		}
	}
}

// breakOff lets one request fail, and reports whether it was made.
func (r *rig) breakOff(step int, fault s3test.Fault) (made func() bool) {
	var count atomic.Int64
	hook := s3test.Hook(func(*http.Request) *s3test.Fault {
		if count.Add(1) == int64(step)+1 {
			return &fault
		}
		return nil
	})
	r.hook.Store(&hook)
	return func() bool { return count.Load() > int64(step) }
}

// TestRealEncryptLies: a server that says it has written, and has not, or
// something else, destroys nothing.
func TestRealEncryptLies(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	for _, way := range ways {
		for _, lie := range []s3test.Fault{{Status: 200}, {Corrupt: true}} {
			for nth := range 2 {
				ref := r.posted(t, way.bucket, "inbox/2026/key")
				var puts, gets atomic.Int64
				hook := s3test.Hook(func(request *http.Request) *s3test.Fault {
					switch {
					case lie.Status != 0 && request.Method == http.MethodPut && puts.Add(1) == int64(nth+1),
						lie.Corrupt && request.Method == http.MethodGet && !request.URL.Query().Has("tagging") && gets.Add(1) == int64(nth+2):
						return &lie
					}
					return nil
				})
				r.hook.Store(&hook)
				_, err := r.Encrypt(t.Context(), ref, s.under(way.prefix))
				reached := puts.Load() > int64(nth) && lie.Status != 0 || gets.Load() > int64(nth+1) && lie.Corrupt
				if reached && err == nil {
					t.Errorf("%+v, lie %d: nobody noticed", way, nth)
				}
				r.hook.Store(nil)
				if _, err := r.Encrypt(t.Context(), ref, s.under(way.prefix)); err != nil {
					t.Fatalf("%+v, lie %d: again: %v", way, nth, err)
				}
				r.sealedAt(t, s, way.bucket, way.newKey)
				r.clear(t, way.bucket)
			}
		}
	}
}

// TestRealEncryptSpoiledInPlace: what the server made of the object in place is
// rubbish, and the plain one is gone. What lies aside mends it.
func TestRealEncryptSpoiledInPlace(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	ref := r.posted(t, "mail", "inbox/key")
	r.lastRead(s3test.Fault{Reset: true})
	if _, err := r.Encrypt(t.Context(), ref, s.Encryption); err == nil {
		t.Fatal("no error")
	}
	r.hook.Store(nil)
	if got := r.every(t, "mail"); len(got) != 2 || got["inbox/homing-encrypting/key"] == nil {
		t.Fatalf("the bucket holds %q", got)
	}
	out, err := r.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("mail"), Key: &ref.Key})
	if err != nil {
		t.Fatal(err)
	}
	r.put(t, s3.PutObjectInput{Bucket: aws.String("mail"), Key: &ref.Key, Metadata: out.Metadata, Body: strings.NewReader("rubbish"),
		ContentType: out.ContentType, ContentDisposition: out.ContentDisposition, CacheControl: out.CacheControl, Tagging: aws.String("a=1&b=2+3")})
	if _, err := r.Encrypt(t.Context(), ref, s.Encryption); err != nil {
		t.Fatal(err)
	}
	r.sealedAt(t, s, "mail", ref.Key)
}

// lastRead lets the reading back of what is in place fail.
func (r *rig) lastRead(fault s3test.Fault) {
	var puts atomic.Int64
	hook := s3test.Hook(func(request *http.Request) *s3test.Fault {
		if request.Method == http.MethodPut {
			puts.Add(1)
		}
		if request.Method == http.MethodGet && puts.Load() == 2 {
			return &fault
		}
		return nil
	})
	r.hook.Store(&hook)
}

func TestRealEncryptRefused(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	permanent := func(what string, err error) {
		t.Helper()
		if failure, ok := errors.AsType[*Error](err); !ok || !failure.Permanent() {
			t.Errorf("%s: %v", what, err)
		}
	}
	ref := r.at(t, "mail", "inbox/key", letter)
	taken := r.at(t, "mail", "sealed/key", "somebody's")
	_, err := r.Encrypt(t.Context(), ref, s.under("sealed/"))
	permanent("taken", err)
	_, err = r.Encrypt(t.Context(), ref, s.under("inbox/"))
	permanent("the same key", err)
	foreign := s.under("")
	r.at(t, "mail", "inbox/homing-encrypting/key", "somebody's")
	_, err = r.Encrypt(t.Context(), ref, foreign)
	permanent("aside is taken", err)
	if got := r.content(t, taken) + ", " + r.content(t, ref) + ", " + r.content(t, Ref{Bucket: "mail", Key: "inbox/homing-encrypting/key"}); got != "somebody's, "+letter+", somebody's" {
		t.Errorf("left: %q", got)
	}
	old := r.at(t, "versions", "inbox/key", letter)
	newer := r.at(t, "versions", "inbox/key", "another")
	_, err = r.Encrypt(t.Context(), old, s.under(""))
	permanent("a newer version", err)
	if got := r.content(t, newer) + ", " + r.content(t, old); got != "another, "+letter {
		t.Errorf("left: %q", got)
	}
	if key, err := r.Encrypt(t.Context(), old, s.under("sealed/")); err != nil || s.open(t, r.content(t, Ref{Bucket: "versions", Key: key})) != letter {
		t.Errorf("an old version under a prefix: %v", err)
	}
	if got := r.content(t, newer) + ", " + r.content(t, old); got != "another, gone" {
		t.Errorf("left: %q", got)
	}
}

// What is gone, or another object by now, is said to be gone, and another's
// octets are not touched.
func TestRealEncryptGone(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	for _, prefix := range []string{"", "sealed/"} {
		ref := r.at(t, "mail", "inbox/key", letter)
		other := r.at(t, "mail", "inbox/key", "another")
		hidden := r.at(t, "versions", "inbox/gone", letter)
		if err := r.Delete(t.Context(), hidden); err != nil {
			t.Fatal(err)
		}
		for _, lost := range []Ref{ref, hidden, {Bucket: "mail", Key: "inbox/nothing"}} {
			if _, err := r.Encrypt(t.Context(), lost, s.under(prefix)); reason(err) != gone {
				t.Errorf("%q: %+v: %v", prefix, lost, err)
			}
		}
		if got := r.content(t, other); got != "another" {
			t.Errorf("left: %q", got)
		}
	}
	ref := r.at(t, "versions", "inbox/key", letter)
	if err := r.Delete(t.Context(), Ref{Bucket: "versions", Key: "inbox/key"}); err != nil { // a marker
		t.Fatal(err)
	}
	if _, err := r.Encrypt(t.Context(), ref, s.under("")); reason(err) != gone {
		t.Errorf("hidden by a deletion: %v", err)
	}
}

// What is encrypted already stays as it is.
func TestRealEncryptEncrypted(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	sealed, err := s.To.Encrypt([]byte(letter))
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range ways {
		ref := r.at(t, way.bucket, "inbox/2026/key", string(sealed))
		if key, err := r.Encrypt(t.Context(), ref, s.under(way.prefix)); err != nil || key != "" {
			t.Errorf("key %q, %v", key, err)
		}
		if diff := cmp.Diff(map[string][]string{"inbox/2026/key": {string(sealed)}}, r.every(t, way.bucket)); diff != "" {
			t.Error("touched")
		}
		r.clear(t, way.bucket)
	}
}

// Somebody stores another object while this one is encrypted.
func TestRealEncryptReplacedMeanwhile(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	for _, way := range ways {
		for step := range 8 {
			ref := r.at(t, way.bucket, "inbox/2026/key", letter)
			var count atomic.Int64
			var replaced atomic.Bool
			hook := s3test.Hook(func(request *http.Request) *s3test.Fault {
				// Before a deletion see find.
				if count.Add(1) == int64(step)+1 && request.Method != http.MethodDelete {
					r.at(t, way.bucket, "inbox/2026/key", "another")
					replaced.Store(true)
				}
				return nil
			})
			r.hook.Store(&hook)
			r.Encrypt(t.Context(), ref, s.under(way.prefix)) // however it ends
			r.hook.Store(nil)
			if replaced.Load() && !slices.Contains(r.every(t, way.bucket)["inbox/2026/key"], "another") {
				t.Errorf("%+v: before request %d: the other object is lost", way, step+1)
			}
			r.clear(t, way.bucket)
		}
	}
}

// GnuPG reads what is stored.
func TestRealEncryptGnuPG(t *testing.T) {
	for _, version := range gnupg.Versions() {
		t.Run(string(version), func(t *testing.T) {
			home := gnupg.New(t, version)
			home.Key(t, "me", "ed25519", "cv25519", "")
			home.Key(t, "also me", "rsa2048", "rsa2048", "")
			to, err := pgp.ReadRecipients(home.Run(t, nil, "--armor", "--export", "me"))
			if err != nil || len(to.IDs()) != 2 {
				t.Fatalf("keys %v, %v", to, err)
			}
			r, s := startReal(t), newSafe(t)
			s.To = to
			for _, way := range ways {
				newKey, err := r.Encrypt(t.Context(), r.posted(t, way.bucket, "inbox/2026/key"), s.under(way.prefix))
				if err != nil {
					t.Fatal(err)
				}
				got := home.Run(t, []byte(r.content(t, Ref{Bucket: way.bucket, Key: newKey})), "--decrypt")
				if want := string(s.Envelope.Block()) + letter; string(got) != want {
					t.Errorf("gpg decrypts %q, want %q", got, want)
				}
			}
		})
	}
}

func TestRealEncryptLarge(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	body := append([]byte("Subject: large\r\n\r\n"), octets(20<<20)...)
	ref := r.put(t, s3.PutObjectInput{Bucket: aws.String("mail"), Key: aws.String("key"), Body: bytes.NewReader(body)})
	if _, err := r.Encrypt(t.Context(), ref, s.under("sealed/")); err != nil {
		t.Fatal(err)
	}
	if got := s.open(t, r.content(t, Ref{Bucket: "mail", Key: "sealed/key"})); got != string(body) {
		t.Error("other octets")
	}
	if n := r.budget.InUse(); n != 0 {
		t.Errorf("%d bytes of the budget are held", n)
	}
}

// What SES encrypted with KMS is encrypted to the user's key alone.
func TestRealEncryptKMS(t *testing.T) {
	r, s := startReal(t), newSafe(t)
	keeper, err := kmstest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	for _, way := range ways {
		sealed, err := kmstest.Seal(t.Context(), keeper.Client(), kmstest.Key, "key", []byte(letter))
		if err != nil {
			t.Fatal(err)
		}
		sealed.Metadata["another"] = "1"
		in := s3.PutObjectInput{Bucket: &way.bucket, Key: aws.String("inbox/2026/key"), Body: bytes.NewReader(sealed.Octets), Metadata: sealed.Metadata}
		ref := r.put(t, in)
		_, err = r.Encrypt(t.Context(), ref, s.under(way.prefix))
		if failure, ok := errors.AsType[*Error](err); !ok || !failure.Permanent() {
			t.Errorf("without KMS: %v", err)
		}
		e := s.under(way.prefix)
		e.KMS = kms.New(keeper.Client()).Decrypt
		newKey, err := r.Encrypt(t.Context(), ref, e)
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &way.bucket, Key: &newKey})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"another": "1", marker: "id-1"}, out.Metadata); diff != "" {
			t.Error(diff)
		}
		if got := s.open(t, r.content(t, Ref{Bucket: way.bucket, Key: newKey})); got != letter {
			t.Errorf("the mail is %q", got)
		}
		if all := r.every(t, way.bucket); len(all) != 1 || len(all[newKey]) != 1 {
			t.Errorf("the bucket holds %q", all)
		}
		r.clear(t, way.bucket)
	}
}
