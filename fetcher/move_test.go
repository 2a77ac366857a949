package fetcher

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/s3test"
)

// dressed is an object with everything that a move has to keep.
func (r *rig) dressed(t *testing.T, bucket, key string) Ref {
	t.Helper()
	return r.put(t, s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader(key),
		Metadata:           map[string]string{"x-amz-meta-like": "1", "matdesc": "{}"},
		ContentType:        aws.String("message/rfc822"),
		ContentEncoding:    aws.String("identity"),
		ContentDisposition: aws.String("attachment"),
		ContentLanguage:    aws.String("de"),
		CacheControl:       aws.String("no-store"),
		Tagging:            aws.String("a=1&b=2"),
	})
}

func TestRealMove(t *testing.T) {
	r := startReal(t)
	for _, bucket := range []string{"mail", "versions"} {
		ref := r.dressed(t, bucket, "inbox/2026/key")
		var later Ref
		if bucket == "versions" {
			later = r.at(t, bucket, "inbox/2026/key", "later")
		}
		for range 2 { // a repetition is success
			newKey, err := r.Move(t.Context(), ref, "done/", "id-1")
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"mail": "done/2026/key", "versions": "done/inbox/2026/key"}[bucket]
			if newKey != want {
				t.Errorf("moved to %q, want %q", newKey, want)
			}
			r.stillDressed(t, Ref{Bucket: bucket, Key: newKey})
			if got := r.content(t, ref); got != "gone" {
				t.Errorf("%s: the original is still there: %q", bucket, got)
			}
		}
		if bucket == "versions" && r.content(t, later) != "later" {
			t.Error("a later version is gone")
		}
	}
}

func (r *rig) stillDressed(t *testing.T, ref Ref) {
	t.Helper()
	out, err := r.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &ref.Bucket, Key: &ref.Key})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{
		"type": aws.ToString(out.ContentType), "encoding": aws.ToString(out.ContentEncoding),
		"disposition": aws.ToString(out.ContentDisposition), "language": aws.ToString(out.ContentLanguage),
		"cache": aws.ToString(out.CacheControl), "content": r.content(t, ref),
	}
	want := map[string]string{"type": "message/rfc822", "encoding": "identity", "disposition": "attachment",
		"language": "de", "cache": "no-store", "content": "inbox/2026/key"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"x-amz-meta-like": "1", "matdesc": "{}", "homing-id": "id-1"}, out.Metadata); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, r.tags(t, ref)); diff != "" {
		t.Error(diff)
	}
}

func (r *rig) versions(t *testing.T, ref Ref) int {
	t.Helper()
	out, err := r.direct.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &ref.Bucket, Prefix: &ref.Key})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Versions)
}

func TestRealMoveRefused(t *testing.T) {
	r := startReal(t)
	taken := r.at(t, "mail", "done/key", "somebody's")
	ref := r.at(t, "mail", "inbox/key", "octets")
	for _, prefix := range []string{"done/", "inbox/"} {
		_, err := r.Move(t.Context(), ref, prefix, "id")
		failure, ok := errors.AsType[*Error](err)
		if !ok || !failure.Permanent() || !strings.Contains(err.Error(), "choose another") {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	if got := r.content(t, taken) + ", " + r.content(t, ref); got != "somebody's, octets" {
		t.Errorf("left: %s", got)
	}
	other := r.at(t, "mail", "inbox/key", "another")
	for _, lost := range []Ref{ref, {Bucket: "mail", Key: "inbox/nothing"}} { // replaced, and never there
		if _, err := r.Move(t.Context(), lost, "elsewhere/", "id"); reason(err) != gone {
			t.Errorf("%+v: %v", lost, err)
		}
	}
	if r.content(t, other) != "another" || r.content(t, Ref{Bucket: "mail", Key: "elsewhere/key"}) != "gone" {
		t.Error("the other object was touched")
	}
}

// What takes the object's place just before it is copied is not moved for it.
func TestRealMoveReplacedMeanwhile(t *testing.T) {
	r := startReal(t)
	ref := r.at(t, "mail", "inbox/key", "octets")
	hook := s3test.Hook(func(request *http.Request) *s3test.Fault {
		if request.Header.Get("X-Amz-Copy-Source") != "" {
			r.at(t, "mail", "inbox/key", "another")
		}
		return nil
	})
	r.hook.Store(&hook)
	if key, err := r.Move(t.Context(), ref, "done/", "id"); err == nil {
		t.Errorf("moved to %q", key)
	}
	if got := r.content(t, ref) + ", " + r.content(t, Ref{Bucket: "mail", Key: "done/key"}); got != "another, gone" {
		t.Errorf("left: %s", got)
	}
}

// TestRealMoveFaults breaks off each step of a move, before it happened and
// after, and repeats the move: nothing may be lost at any time.
func TestRealMoveFaults(t *testing.T) {
	r := startReal(t)
	for _, step := range []struct {
		name   string
		method string
		copied bool
	}{{"look", http.MethodHead, false}, {"copy", http.MethodPut, true}, {"delete", http.MethodDelete, false}} {
		for _, fault := range []s3test.Fault{
			{Status: 503, Code: "SlowDown"},
			{Status: 500, Code: "InternalError", Happens: true},
			{Reset: true},
			{Reset: true, Happens: true},
		} {
			for _, bucket := range []string{"mail", "versions"} {
				t.Run(step.name, func(t *testing.T) {
					ref := r.dressed(t, bucket, "inbox/2026/key")
					moved := Ref{Bucket: bucket, Key: "done/inbox/2026/key"}
					if bucket == "mail" {
						moved.Key = "done/2026/key"
					}
					r.spoil(step.method, step.copied, fault)
					if _, err := r.Move(t.Context(), ref, "done/", "id-1"); err == nil {
						t.Fatal("no error")
					}
					if r.content(t, ref) == "gone" && r.content(t, moved) == "gone" {
						t.Fatal("the message is lost")
					}
					if _, err := r.Move(t.Context(), ref, "done/", "id-1"); err != nil {
						t.Fatal(err)
					}
					r.stillDressed(t, moved)
					if got := r.content(t, ref); got != "gone" {
						t.Errorf("the original is still there: %q", got)
					}
					if n := r.versions(t, moved); step.name == "delete" && n != 1 {
						t.Errorf("%d versions of the copy: it was made again", n)
					}
					out, err := r.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &moved.Bucket, Key: &moved.Key})
					if err != nil {
						t.Fatal(err)
					}
					moved.Version = aws.ToString(out.VersionId)
					if err := r.Delete(t.Context(), moved); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}
