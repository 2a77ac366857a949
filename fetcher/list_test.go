package fetcher

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/s3test"
)

// listed collects a listing.
func listed(t *testing.T, f *Fetcher, place Place) (keys []string, pages int, err error) {
	t.Helper()
	for page, err := range f.List(t.Context(), place) {
		if err != nil {
			return keys, pages, err
		}
		pages++
		if age := time.Since(page.Time); age < -time.Minute || age > time.Minute {
			t.Errorf("the page is of %v", page.Time)
		}
		for _, o := range page.Objects {
			if o.ETag == "" || time.Since(o.Stored) > time.Hour {
				t.Errorf("%+v", o)
			}
			keys = append(keys, fmt.Sprintf("%s %d", o.Key, o.Size))
		}
	}
	return keys, pages, nil
}

func TestRealList(t *testing.T) {
	r := startReal(t)
	for _, key := range []string{"a b", "a+b", "a%41b", "in/x&<y>", "in/ä", "out/key"} {
		r.at(t, "mail", key, "octets")
	}
	r.at(t, "versions", "key", "first")
	r.at(t, "versions", "key", "second one")
	gone := r.at(t, "versions", "gone", "octets")
	if err := r.Delete(t.Context(), Ref{Bucket: gone.Bucket, Key: gone.Key}); err != nil { // leaves a marker
		t.Fatal(err)
	}
	for _, test := range []struct {
		place Place
		want  []string
	}{
		{Place{Bucket: "mail"}, []string{"a b 6", "a%41b 6", "a+b 6", "in/x&<y> 6", "in/ä 6", "out/key 6"}},
		{Place{Bucket: "mail", Prefix: "in/"}, []string{"in/x&<y> 6", "in/ä 6"}},
		{Place{Bucket: "mail", Prefix: "none"}, nil},
		{Place{Bucket: "versions"}, []string{"key 10"}},
	} {
		got, _, err := listed(t, r.Fetcher, test.place)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%+v: %v (-want +got):\n%s", test.place, err, diff)
		}
	}
	if _, _, err := listed(t, r.Fetcher, Place{Bucket: "nosuch"}); reason(err) != configuration {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

func TestRealHeadAndTagged(t *testing.T) {
	r := startReal(t)
	ref := r.put(t, s3.PutObjectInput{Bucket: aws.String("versions"), Key: aws.String("key"), Metadata: map[string]string{"Homing-Id": "x"}})
	head, err := r.Head(t.Context(), Ref{Bucket: ref.Bucket, Key: ref.Key, ETag: ref.ETag})
	if diff := cmp.Diff(Head{Version: ref.Version, Metadata: map[string]string{"homing-id": "x"}}, head); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := r.Head(t.Context(), Ref{Bucket: ref.Bucket, Key: ref.Key, ETag: "another"}); reason(err) != gone {
		t.Errorf("another object in its place: %v", err)
	}
	if _, err := r.Head(t.Context(), Ref{Bucket: "mail", Key: "nosuch"}); reason(err) != gone {
		t.Errorf("no object: %v", err)
	}
	plain := r.at(t, "mail", "plain", "octets")
	for range 2 { // before and after
		tagged, err := r.Tagged(t.Context(), plain)
		if want := len(r.tags(t, plain)) > 0; tagged != want || err != nil {
			t.Errorf("tagged: %v, %v; want %v", tagged, err, want)
		}
		if err := r.Tag(t.Context(), plain); err != nil {
			t.Fatal(err)
		}
	}
	for _, outside := range []Ref{{Bucket: "foreign", Key: "key"}, {Bucket: "mail", Key: "../key"}} {
		if _, err := r.Head(t.Context(), outside); reason(err) != "outside" {
			t.Errorf("%+v: %v", outside, err)
		}
		if _, err := r.Tagged(t.Context(), outside); reason(err) != "outside" {
			t.Errorf("%+v: %v", outside, err)
		}
	}
}

// TestListPages lists more than one page, and then has the second one fail in
// all ways.
func TestListPages(t *testing.T) {
	server, f := start(t)
	var want []string
	for n := range 1001 {
		key := fmt.Sprintf("in/%04d", n)
		put(t, server, key, []byte("x"))
		want = append(want, key+" 1")
	}
	got, pages, err := listed(t, f, Place{Bucket: "mail", Prefix: "in/"})
	if diff := cmp.Diff(want, got); diff != "" || pages != 2 || err != nil {
		t.Errorf("%d pages, %v (-want +got):\n%s", pages, err, diff)
	}
	for _, test := range []struct {
		fault s3test.Fault
		want  string
	}{
		{s3test.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}, denied},
		{s3test.Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}, throttled},
		{s3test.Fault{Reset: true}, network},
		{s3test.Fault{Truncate: true, After: 200}, network},
	} {
		server.Inject(func(r *http.Request) *s3test.Fault {
			if r.URL.Query().Has("continuation-token") {
				return &test.fault
			}
			return nil
		})
		got, pages, err := listed(t, f, Place{Bucket: "mail", Prefix: "in/"})
		if reason(err) != test.want || pages != 1 || len(got) != 1000 {
			t.Errorf("%+v: %d pages with %d keys, then %v", test.fault, pages, len(got), err)
		}
	}
}

// TestTaggedErrors: a server without tags has none tagged, a denial is told.
func TestTaggedErrors(t *testing.T) {
	server, f := start(t)
	ref := put(t, server, "key", []byte("x"))
	if tagged, err := f.Tagged(t.Context(), ref); tagged || err != nil {
		t.Errorf("no tags: %v, %v", tagged, err)
	}
	server.Inject(func(*http.Request) *s3test.Fault {
		return &s3test.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
	})
	if _, err := f.Tagged(t.Context(), ref); reason(err) != denied {
		t.Errorf("denied: %v", err)
	}
}

// result is the answer to a ListObjectsV2, as AWS gives it.
type result struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	EncodingType          string   `xml:",omitempty"`
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []content
}

type content struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
}

// listing serves listings; the token says where a page begins.
func listing(t testing.TB, answer func(from int) result) *Fetcher {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("continuation-token"))
		if err := xml.NewEncoder(w).Encode(answer(from)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return fetcherOf(plainClient(server.URL))
}

// TestListEncoded: AWS encodes keys that XML cannot hold.
func TestListEncoded(t *testing.T) {
	now := time.Now().UTC().Format(time.RFC3339)
	keys := []string{"a b", "a+b", "a%41b", "ctrl\x01", "ä/x", "up/../x"}
	f := listing(t, func(int) result {
		r := result{EncodingType: "url"}
		for _, key := range keys {
			r.Contents = append(r.Contents, content{strings.ReplaceAll(url.QueryEscape(key), "%2F", "/"), now, `"e"`, 1})
		}
		return r
	})
	got, _, err := listed(t, f, Place{Bucket: "mail"})
	if diff := cmp.Diff([]string{"a b 1", "a+b 1", "a%41b 1", "ctrl\x01 1", "ä/x 1"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	f = listing(t, func(int) result {
		return result{EncodingType: "url", Contents: []content{{"%zz", now, `"e"`, 1}}}
	})
	if _, _, err := listed(t, f, Place{Bucket: "mail"}); err == nil || !strings.Contains(err.Error(), "is not encoded") {
		t.Errorf("a wrong encoding: %v", err)
	}
}

// TestListOdd: a listing without its end is no whole one, and one that turns in
// circles ends.
func TestListOdd(t *testing.T) {
	f := listing(t, func(int) result { return result{IsTruncated: true} })
	if _, _, err := listed(t, f, Place{Bucket: "mail"}); err == nil || !strings.Contains(err.Error(), "says that there is more") {
		t.Errorf("no token: %v", err)
	}
	f = listing(t, func(int) result { return result{IsTruncated: true, NextContinuationToken: "7"} })
	if _, pages, _ := listed(t, f, Place{Bucket: "mail"}); pages != 2 {
		t.Errorf("%d pages of a circle, want 2", pages)
	}
	f = listing(t, func(int) result {
		return result{Contents: []content{{"in/a", "2026-11-22T00:00:00Z", `"0"`, -5}}}
	})
	for page, err := range f.List(t.Context(), Place{Bucket: "mail"}) {
		if err != nil || len(page.Objects) != 1 || page.Objects[0].Size != 0 {
			t.Errorf("a negative size: %v, %v", page.Objects, err)
		}
	}
}

// BenchmarkListMillion lists a million keys over HTTP. grown-MiB is by how much
// the heap was larger than before, at most; a few of it are the server's.
func BenchmarkListMillion(b *testing.B) {
	const keys = 1_000_000
	at := time.Now().UTC().Format(time.RFC3339)
	f := listing(b, func(from int) result {
		r := result{EncodingType: "url", IsTruncated: from+1000 < keys, NextContinuationToken: strconv.Itoa(from + 1000)}
		for n := from; n < from+1000; n++ {
			r.Contents = append(r.Contents, content{fmt.Sprintf("in/%040d", n), at, `"0123456789abcdef0123456789abcdef"`, 4096})
		}
		return r
	})
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most, n := m.HeapInuse, uint64(0), 0
	for b.Loop() {
		for page, err := range f.List(b.Context(), Place{Bucket: "mail"}) {
			if err != nil {
				b.Fatal(err)
			}
			n += len(page.Objects)
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
	}
	if n != b.N*keys {
		b.Errorf("%d keys", n)
	}
	b.ReportMetric(float64(most-min(before, most))/(1<<20), "grown-MiB")
}
