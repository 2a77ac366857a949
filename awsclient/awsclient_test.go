package awsclient

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	most   = 1 << 20 // octets of an answer
	flood  = 2 * most
	answer = `<?xml version="1.0"?><ListBucketResult><Name>`
)

// x is a text of one letter without an end.
type x struct{}

func (x) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// load leaves nothing of the machine's own configuration.
func load(t *testing.T, endpoint, streamed string) *s3.Client {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	nothing := filepath.Join(t.TempDir(), "nothing")
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": nothing, "AWS_SHARED_CREDENTIALS_FILE": nothing, "AWS_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	cfg, err := Load(t.Context(), Options{Silence: time.Minute, Idle: time.Second, Connections: 1, Answer: most, Streamed: streamed})
	if err != nil {
		t.Fatal(err)
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &endpoint, true })
}

// Whoever answers without an end is not listened to for ever, and what his answer
// becomes when it is decompressed counts.
func TestAnswersAreBounded(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		begin  string
		length int64 // 0: without an end
		zipped bool
		want   string // in the error
	}{
		{"an answer", http.StatusOK, answer, 0, false, "more than 1048576 octets"},
		{"a refusal", http.StatusForbidden, "<Error><Code>", 0, false, "more than 65536 octets"},
		{"a compressed answer", http.StatusOK, answer, flood, true, "more than 1048576 octets"},
		{"a failure", http.StatusInternalServerError, "", 0, false, "more than 65536 octets"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var out io.Writer = w
				if test.zipped {
					w.Header().Set("Content-Encoding", "gzip")
					zip := gzip.NewWriter(w)
					defer zip.Close()
					out = zip
				}
				w.WriteHeader(test.status)
				io.WriteString(out, test.begin)
				if test.length == 0 {
					io.Copy(out, x{}) // until the client goes
					return
				}
				io.Copy(out, io.LimitReader(x{}, test.length))
			}))
			defer server.Close()
			client := load(t, server.URL, "GetObject")
			_, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("mail")}, acceptZipped)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestHeadersAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-amz-meta-a", strings.Repeat("a", maxHeader))
	}))
	defer server.Close()
	_, err := load(t, server.URL, "").HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("mail"), Key: aws.String("key")})
	if err == nil || !strings.Contains(err.Error(), "exceeded 65536 bytes") {
		t.Errorf("error %v", err)
	}
}

// acceptZipped lets Go's transport decompress, as it does for SQS and KMS.
func acceptZipped(o *s3.Options) { o.HTTPClient = zipping{o.HTTPClient} }

type zipping struct{ aws.HTTPClient }

func (z zipping) Do(r *http.Request) (*http.Response, error) {
	r.Header.Del("Accept-Encoding")
	return z.HTTPClient.Do(r)
}

// What is streamed has no bound here, unless it is a refusal.
func TestStreamed(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.Copy(w, io.LimitReader(x{}, flood))
	}))
	defer server.Close()
	get := func(streamed string) (int64, error) {
		t.Helper()
		out, err := load(t, server.URL, streamed).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("mail"), Key: aws.String("key")})
		if err != nil {
			return 0, err
		}
		defer out.Body.Close()
		return io.Copy(io.Discard, out.Body)
	}
	if n, err := get("GetObject"); err != nil || n != flood {
		t.Errorf("%d octets of %d, %v", n, flood, err)
	}
	if n, err := get(""); err == nil {
		t.Errorf("%d octets", n)
	}
	status = http.StatusForbidden
	if _, err := get("GetObject"); err == nil || !strings.Contains(err.Error(), "more than 65536 octets") {
		t.Errorf("error %v", err)
	}
}

// A redirection would have this machine ask what its sender cannot reach, such as
// the metadata of a cloud's virtual machine, and take the answer for mail.
func TestRedirectionsAreNotFollowed(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was asked for", r.Method, r.URL)
	}))
	defer inside.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(inside.URL, status))
		_, err := load(t, server.URL, "GetObject").GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("mail"), Key: aws.String("key")})
		if err == nil {
			t.Errorf("%d: no error", status)
		}
		server.Close()
	}
}
