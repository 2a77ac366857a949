package fetcher

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/versitygw"
)

// rig is a fetcher of a real server, through a proxy that can spoil requests.
type rig struct {
	*Fetcher
	direct *s3.Client // past the proxy
	hook   atomic.Pointer[s3test.Hook]
}

// startReal has the buckets "mail", and "versions" with versions.
func startReal(t *testing.T) *rig {
	t.Helper()
	gateway := versitygw.Start(t)
	r := &rig{direct: gateway.Client()}
	for _, bucket := range []string{"mail", "versions"} {
		if _, err := r.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.direct.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("versions"),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(gateway.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host // it is signed
	}, Transport: &http.Transport{DisableKeepAlives: true}}
	front := httptest.NewServer(s3test.Faulty(proxy, func(request *http.Request) *s3test.Fault {
		if hook := r.hook.Load(); hook != nil {
			return (*hook)(request)
		}
		return nil
	}))
	t.Cleanup(front.Close)
	client := s3.New(r.direct.Options(), func(o *s3.Options) {
		o.BaseEndpoint = &front.URL
		o.Retryer = aws.NopRetryer{}
		// On a connection that was used before, net/http itself repeats a HEAD.
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	r.Fetcher = New(Config{Client: client, MaxMessage: 64 << 20, Budget: NewBudget(256 << 20),
		Places: []Place{{Bucket: "mail"}, {Bucket: "mail", Prefix: "inbox/"}, {Bucket: "versions"}}})
	return r
}

// spoil lets the first request of this method fail, and says whether it is
// carried out all the same. Later ones pass.
func (r *rig) spoil(method string, copied bool, fault s3test.Fault) {
	var done atomic.Bool
	hook := s3test.Hook(func(request *http.Request) *s3test.Fault {
		isCopy := request.Header.Get("X-Amz-Copy-Source") != ""
		if request.Method == method && isCopy == copied && done.CompareAndSwap(false, true) {
			return &fault
		}
		return nil
	})
	r.hook.Store(&hook)
}

func (r *rig) put(t *testing.T, in s3.PutObjectInput) Ref {
	t.Helper()
	if in.Body == nil {
		in.Body = strings.NewReader("octets")
	}
	out, err := r.direct.PutObject(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	return Ref{Bucket: *in.Bucket, Key: *in.Key, Version: aws.ToString(out.VersionId), ETag: aws.ToString(out.ETag)}
}

// at puts a plain object.
func (r *rig) at(t *testing.T, bucket, key, body string) Ref {
	t.Helper()
	return r.put(t, s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
}

// content is what is stored under a key, or "gone".
func (r *rig) content(t *testing.T, ref Ref) string {
	t.Helper()
	out, err := r.direct.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &ref.Bucket, Key: &ref.Key, VersionId: optional(ref.Version)})
	if reasonOf(err) == gone {
		return "gone"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func (r *rig) fetch(t *testing.T, ref Ref) string {
	t.Helper()
	object, err := r.Fetch(t.Context(), ref)
	if err != nil {
		t.Fatalf("%+v: %v", ref, err)
	}
	defer object.Release()
	return string(object.Octets)
}

func TestRealChecksums(t *testing.T) {
	r := startReal(t)
	body := octets(100000)
	for _, algorithm := range []types.ChecksumAlgorithm{"", types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c,
		types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256} {
		ref := r.put(t, s3.PutObjectInput{Bucket: aws.String("mail"), Key: aws.String("key" + string(algorithm)),
			Body: bytes.NewReader(body), ChecksumAlgorithm: algorithm})
		if got := r.fetch(t, ref); got != string(body) {
			t.Errorf("%s: other octets", algorithm)
		}
		out, err := r.get(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		out.Body.Close()
		if _, verified := s3.GetChecksumValidationMetadata(out.ResultMetadata); !verified && algorithm != "" {
			t.Errorf("%s: the checksum is not verified", algorithm)
		}
	}
}

// TestRealMultipart is about checksums of checksums, which nothing can be
// compared with.
func TestRealMultipart(t *testing.T) {
	r := startReal(t)
	body := octets(6 << 20)
	bucket, key := aws.String("mail"), aws.String("key")
	upload, err := r.direct.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key,
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumType: types.ChecksumTypeComposite})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for i, part := range [][]byte{body[:5<<20], body[5<<20:]} {
		number := aws.Int32(int32(i + 1))
		out, err := r.direct.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: upload.UploadId,
			PartNumber: number, Body: bytes.NewReader(part), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: number, ETag: out.ETag, ChecksumSHA256: out.ChecksumSHA256})
	}
	_, err = r.direct.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key,
		UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.fetch(t, Ref{Bucket: "mail", Key: "key"}); got != string(body) {
		t.Error("other octets")
	}
}

func TestRealVersions(t *testing.T) {
	r := startReal(t)
	first := r.at(t, "versions", "key", "first")
	second := r.at(t, "versions", "key", "second")
	newest := Ref{Bucket: "versions", Key: "key"}
	if got := r.fetch(t, first) + " " + r.fetch(t, second) + " " + r.fetch(t, newest); got != "first second second" {
		t.Errorf("got %s", got)
	}
	marker, err := r.direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("versions"), Key: aws.String("key")})
	if err != nil {
		t.Fatal(err)
	}
	marked, never := newest, newest
	marked.Version, never.Version = *marker.VersionId, "01JD0000000000000000000000"
	for _, ref := range []Ref{newest, marked, never, {Bucket: "versions", Key: "nothing"}} {
		if _, err := r.Fetch(t.Context(), ref); reason(err) != gone {
			t.Errorf("%+v: %v", ref, err)
		}
	}
	if got := r.fetch(t, first); got != "first" {
		t.Errorf("got %s", got)
	}
	if _, err := r.Fetch(t.Context(), Ref{Bucket: "mail", Key: "nothing"}); reason(err) != gone {
		t.Errorf("a missing key: %v", err)
	}
	stranger := s3.New(r.client.Options(), func(o *s3.Options) { o.Credentials = aws.AnonymousCredentials{} })
	if _, err := fetcherOf(stranger).Fetch(t.Context(), Ref{Bucket: "mail", Key: "nothing"}); reason(err) != denied {
		t.Errorf("without credentials: %v", err)
	}
}

var specialKeys = []string{"a b", "a+b", "a%2Bb", "a%20b", "日本/Grüße", "a&b=c?d#e", "a..b/c...", "it's \"it\"", "~a!*'()", "a\tb", "inbox/a+b c"}

func TestRealKeys(t *testing.T) {
	r := startReal(t)
	for _, key := range specialKeys {
		for _, bucket := range []string{"mail", "versions"} {
			ref := r.at(t, bucket, key, key)
			if got := r.fetch(t, ref); got != key {
				t.Errorf("%q: fetched %q", key, got)
			}
			newKey, err := r.Move(t.Context(), ref, "done/", "id")
			if err != nil {
				t.Errorf("%q: %v", key, err)
				continue
			}
			if want := "done/" + strings.TrimPrefix(key, "inbox/"); bucket == "mail" && newKey != want {
				t.Errorf("%q: moved to %q, want %q", key, newKey, want)
			}
			moved := Ref{Bucket: bucket, Key: newKey}
			if got := r.content(t, moved) + " " + r.content(t, ref); got != key+" gone" {
				t.Errorf("%q: after the move: %q", key, got)
			}
			if err := r.Tag(t.Context(), moved); err != nil {
				t.Errorf("%q: %v", key, err)
			}
			if err := r.Delete(t.Context(), moved); err != nil || r.content(t, moved) != "gone" {
				t.Errorf("%q: not deleted: %v", key, err)
			}
		}
	}
}
