package fetcher

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/s3test"
)

func TestRealDelete(t *testing.T) {
	r := startReal(t)
	ref := r.at(t, "mail", "key", "old")
	other := r.at(t, "mail", "key", "new") // has taken its place
	other.ETag = strings.Trim(other.ETag, `"`)
	if err := r.Delete(t.Context(), ref); err != nil || r.content(t, other) != "new" {
		t.Errorf("another object was deleted, or: %v", err)
	}
	for range 2 { // a repetition is success
		if err := r.Delete(t.Context(), other); err != nil || r.content(t, other) != "gone" {
			t.Errorf("not deleted: %v", err)
		}
	}
	first, second := r.at(t, "versions", "key", "first"), r.at(t, "versions", "key", "second")
	for range 2 {
		if err := r.Delete(t.Context(), first); err != nil || r.content(t, first) != "gone" || r.content(t, second) != "second" {
			t.Errorf("not this version: %v", err)
		}
	}
	// Without a version nothing is destroyed: S3 sets a marker.
	for range 2 {
		if err := r.Delete(t.Context(), Ref{Bucket: "versions", Key: "key"}); err != nil || r.content(t, second) != "second" {
			t.Errorf("the version was destroyed: %v", err)
		}
	}
}

// TestDeleteNull is about buckets whose versioning was suspended: there the
// version "null" is one object after another. versitygw finds no such version,
// so AWS's answers are scripted.
func TestDeleteNull(t *testing.T) {
	for _, test := range []struct {
		etag string
		want []string
	}{
		{`"same"`, []string{"HEAD null", "DELETE null"}},
		{`"another"`, []string{"HEAD null"}},
	} {
		var requests []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests = append(requests, r.Method+" "+r.URL.Query().Get("versionId"))
			w.Header().Set("ETag", test.etag)
			w.Header().Set("x-amz-version-id", "null")
		}))
		f := fetcherOf(plainClient(server.URL))
		if err := f.Delete(t.Context(), Ref{Bucket: "mail", Key: "key", Version: "null", ETag: "same"}); err != nil {
			t.Error(err)
		}
		server.Close()
		if !slices.Equal(requests, test.want) {
			t.Errorf("%s: requests %q, want %q", test.etag, requests, test.want)
		}
	}
}

func (r *rig) tags(t *testing.T, ref Ref) map[string]string {
	t.Helper()
	out, err := r.direct.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{
		Bucket: &ref.Bucket, Key: &ref.Key, VersionId: optional(ref.Version)})
	if err != nil {
		t.Fatal(err)
	}
	tags := make(map[string]string)
	for _, tag := range out.TagSet {
		tags[*tag.Key] = *tag.Value
	}
	return tags
}

func TestRealTag(t *testing.T) {
	r := startReal(t)
	for _, bucket := range []string{"mail", "versions"} {
		ref := r.put(t, s3.PutObjectInput{Bucket: &bucket, Key: aws.String("key"), Tagging: aws.String("a=1&homing=new&b=2")})
		if bucket == "versions" {
			r.at(t, bucket, "key", "a later version")
		}
		for range 2 {
			if err := r.Tag(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"a": "1", "b": "2", "homing": "delivered"}
			if diff := cmp.Diff(want, r.tags(t, ref)); diff != "" {
				t.Errorf("%s: %s", bucket, diff)
			}
		}
	}
	ten := r.put(t, s3.PutObjectInput{Bucket: aws.String("mail"), Key: aws.String("ten"),
		Tagging: aws.String("a=&b=&c=&d=&e=&f=&g=&h=&i=&j=")})
	err := r.Tag(t.Context(), ten)
	if failure, ok := errors.AsType[*Error](err); !ok || !failure.Permanent() || len(r.tags(t, ten)) != 10 {
		t.Errorf("ten tags and one: %v, now %v", err, r.tags(t, ten))
	}
	r.at(t, "mail", "ten", "another")
	for _, ref := range []Ref{ten, {Bucket: "mail", Key: "nothing"}} { // replaced, and never there
		if err := r.Tag(t.Context(), ref); reason(err) != gone {
			t.Errorf("%+v: %v", ref, err)
		}
	}
}

func TestRealTagFaults(t *testing.T) {
	for _, happens := range []bool{false, true} {
		r := startReal(t)
		ref := r.put(t, s3.PutObjectInput{Bucket: aws.String("mail"), Key: aws.String("key"), Tagging: aws.String("a=1")})
		r.spoil(http.MethodPut, false, s3test.Fault{Happens: happens, Status: 500, Code: "InternalError"})
		if err := r.Tag(t.Context(), ref); reason(err) != serverFault {
			t.Fatal(err)
		}
		if err := r.Tag(t.Context(), ref); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(map[string]string{"a": "1", "homing": "delivered"}, r.tags(t, ref)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRealDeleteFaults(t *testing.T) {
	r := startReal(t)
	for _, happens := range []bool{false, true} {
		ref := r.at(t, "mail", "key", "octets")
		r.spoil(http.MethodDelete, false, s3test.Fault{Happens: happens, Reset: true})
		if err := r.Delete(t.Context(), ref); reason(err) != network {
			t.Fatal(err)
		}
		if err := r.Delete(t.Context(), ref); err != nil || r.content(t, ref) != "gone" {
			t.Errorf("not deleted: %v", err)
		}
	}
}
