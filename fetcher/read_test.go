package fetcher

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// scripted returns a fetcher of a server that answers one body after the other,
// without checksums.
func scripted(t *testing.T, header map[string]string, bodies ...string) *Fetcher {
	t.Helper()
	var n int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range header {
			w.Header().Set(name, value)
		}
		if n < len(bodies) {
			fmt.Fprint(w, bodies[n])
		}
		n++
	}))
	t.Cleanup(func() {
		server.Close()
		if n != len(bodies) {
			t.Errorf("%d requests, want %d", n, len(bodies))
		}
	})
	return fetcherOf(plainClient(server.URL))
}

func plainClient(endpoint string) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &endpoint, UsePathStyle: true, Region: "us-east-1",
		Credentials:                credentials.NewStaticCredentialsProvider("a", "b", ""),
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		Retryer:                    aws.NopRetryer{}, DisableLogOutputChecksumValidationSkipped: true,
	})
}

// lying is S3, or a proxy before it, with a length in its header that HTTP/2 does
// not need and so does not look at.
type lying struct{ length string }

func (l lying) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, ContentLength: -1, Body: io.NopCloser(strings.NewReader("good")), Request: r,
		Header: http.Header{"Content-Length": {l.length}},
	}, nil
}

func TestFetchNegativeLength(t *testing.T) {
	for _, length := range []string{"-1", "-5", "-9223372036854775808"} {
		f := fetcherOf(s3.New(plainClient("http://s3.test").Options(), func(o *s3.Options) { o.HTTPClient = lying{length} }))
		object, err := f.Fetch(t.Context(), Ref{Bucket: "mail", Key: "key"})
		if err != nil || string(object.Octets) != "good" {
			t.Fatalf("%s: %v", length, err)
		}
		object.Release()
		if n := f.budget.InUse(); n != 0 {
			t.Errorf("%s: %d bytes in use", length, n)
		}
	}
}

func TestFetchWithoutChecksum(t *testing.T) {
	sum := md5.Sum([]byte("good"))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	for _, test := range []struct {
		name   string
		header map[string]string
		bodies []string
		want   string // empty: an error for its checksum
	}{
		{"right", map[string]string{"ETag": etag}, []string{"good"}, "good"},
		{"without quotes", map[string]string{"ETag": etag[1:33]}, []string{"good"}, "good"},
		{"damaged once", map[string]string{"ETag": etag}, []string{"gOod", "good"}, "good"},
		{"damaged differently", map[string]string{"ETag": etag}, []string{"gOod", "goOd"}, ""},
		{"not an MD5", map[string]string{"ETag": etag}, []string{"other", "other"}, "other"},
		{"no ETag", nil, []string{"any"}, "any"},
		{"in parts", map[string]string{"ETag": etag[:33] + `-2"`}, []string{"any"}, "any"},
		{"a short ETag", map[string]string{"ETag": `"abcdef"`}, []string{"any"}, "any"},
		{"a word", map[string]string{"ETag": `"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"`}, []string{"any"}, "any"},
		{"SSE-S3", map[string]string{"ETag": etag, "x-amz-server-side-encryption": "AES256"}, []string{"gOod", "good"}, "good"},
		{"SSE-KMS", map[string]string{"ETag": etag, "x-amz-server-side-encryption": "aws:kms"}, []string{"any"}, "any"},
		{"SSE-C", map[string]string{"ETag": etag, "x-amz-server-side-encryption-customer-algorithm": "AES256"}, []string{"any"}, "any"},
		{"composite checksum", map[string]string{"x-amz-checksum-crc32": "AAAAAA==-2"}, []string{"any"}, "any"},
		{"wrong checksum", map[string]string{"x-amz-checksum-crc32": "AAAAAA==", "ETag": etag}, []string{"good"}, ""},
		{"a checksum of the future", map[string]string{"x-amz-checksum-xxhash3": "AAAAAA==", "ETag": etag}, []string{"gOod", "good"}, "good"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := scripted(t, test.header, test.bodies...)
			object, err := f.Fetch(t.Context(), Ref{Bucket: "mail", Key: "key"})
			if test.want == "" {
				if reason(err) != checksum {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(object.Octets) != test.want {
				t.Errorf("got %q", object.Octets)
			}
			object.Release()
		})
	}
}
