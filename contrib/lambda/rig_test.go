package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/homing-mail/homing/fetcher/envelope"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/internal/lambdatest"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/versitygw"
	"github.com/homing-mail/homing/notice"
)

const (
	bucket   = "mail"
	id       = "d6iitobk75ur44p8kdnnp7g2n800ac2r6ksk"
	letter   = "Return-Path: <ann@far.test>\r\nSubject: hello\r\n\r\nNothing that others should read.\r\n"
	patience = 3 * time.Minute
)

// program is the built function. Only TestMain writes it.
var program string

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "homing-lambda-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "bootstrap")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	// As README.md says, but for this machine.
	out, err := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-o", program, ".").CombinedOutput()
	if err != nil {
		return 1, fmt.Errorf("building the function: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// rig is the function between a real S3 server and an SNS.
type rig struct {
	t        *testing.T
	function *lambdatest.Function
	direct   *s3.Client
	pair     *pgp.Pair
	topic    string
	hook     atomic.Pointer[s3test.Hook] // of every request to S3 and SNS

	mu        sync.Mutex
	published []snstest.Published
}

// newRig has a bucket, with versions or without. more are variables beside the
// usual ones.
func newRig(t *testing.T, versions bool, more ...string) *rig {
	t.Helper()
	gateway := versitygw.Start(t)
	r := &rig{t: t, direct: gateway.Client(), topic: snstest.Topic("mail")}
	if _, err := r.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	if versions {
		_, err := r.direct.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String(bucket),
			VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if r.pair, err = pgp.Generate("me", "me@home.test", ""); err != nil {
		t.Fatal(err)
	}
	signer, err := snstest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(signer.Close)
	sns := r.front(signer.Publisher(r.topic, r.hear))
	r.function = lambdatest.New(t, program, append([]string{
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=" + gateway.AccessKey, "AWS_SECRET_ACCESS_KEY=" + gateway.SecretKey,
		"AWS_ENDPOINT_URL_S3=" + r.front(behind(t, gateway.URL)), "AWS_ENDPOINT_URL_SNS=" + sns, "AWS_MAX_ATTEMPTS=1",
		varStyle + "=true", varBucket + "=" + bucket + "/in/", varTopic + "=" + r.topic, varKeys + "=" + string(r.pair.Public),
	}, more...)...)
	return r
}

// behind is a proxy to a server.
func behind(t *testing.T, address string) http.Handler {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(target)
		p.Out.Host = p.In.Host // it is signed
	}}
}

// front puts the hook before a server.
func (r *rig) front(server http.Handler) (address string) {
	front := httptest.NewServer(s3test.Faulty(server, func(request *http.Request) *s3test.Fault {
		if hook := r.hook.Load(); hook != nil && *hook != nil {
			return (*hook)(request)
		}
		return nil
	}))
	r.t.Cleanup(front.Close)
	return front.URL
}

// inject lets hook decide about every request from now on.
func (r *rig) inject(hook s3test.Hook) { r.hook.Store(&hook) }

func (r *rig) hear(p snstest.Published, _ []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = append(r.published, p)
	return nil
}

// said returns what was published, and forgets it.
func (r *rig) said() []snstest.Published {
	r.mu.Lock()
	defer r.mu.Unlock()
	said := r.published
	r.published = nil
	return said
}

// arrive stores a message as SES does.
func (r *rig) arrive(body string) {
	r.t.Helper()
	_, err := r.direct.PutObject(r.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("in/" + id), Body: strings.NewReader(body), ContentType: aws.String("text/plain")})
	if err != nil {
		r.t.Fatal(err)
	}
}

// called is SES's event.
func called(recipients ...string) []byte {
	return snstest.SESLambda(snstest.Receipt{MessageID: id, Sender: "ann@far.test", Recipients: recipients, Content: []byte(letter)})
}

func (r *rig) invoke() error {
	r.t.Helper()
	_, err := r.function.Invoke(r.t, called("alice@home.test", "bob+x@home.test"), patience)
	return err
}

// every returns the content of each version of each object.
func (r *rig) every() map[string][]string {
	r.t.Helper()
	out, err := r.direct.ListObjectVersions(r.t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(bucket)})
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string][]string{}
	for _, v := range out.Versions {
		in := &s3.GetObjectInput{Bucket: aws.String(bucket), Key: v.Key}
		if version := aws.ToString(v.VersionId); version != "null" {
			in.VersionId = v.VersionId
		}
		object, err := r.direct.GetObject(r.t.Context(), in)
		if err != nil {
			r.t.Fatal(err)
		}
		content, err := io.ReadAll(object.Body)
		object.Body.Close()
		if err != nil {
			r.t.Fatal(err)
		}
		all[*v.Key] = append(all[*v.Key], string(content))
	}
	return all
}

// sealed checks that there is the encrypted message and nothing else, and
// returns it.
func (r *rig) sealed() (content string) {
	r.t.Helper()
	for key, contents := range r.every() {
		for _, content := range contents {
			if key != "encrypted/"+id || !pgp.Encrypted([]byte(content)) {
				r.t.Errorf("%s holds %.60q", key, content)
			}
		}
	}
	out, err := r.direct.GetObject(r.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("encrypted/" + id)})
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Body.Close()
	if out.Metadata["homing-id"] != "" || aws.ToString(out.ContentType) != "text/plain" {
		r.t.Errorf("metadata %v, content type %s", out.Metadata, aws.ToString(out.ContentType))
	}
	sealed, err := io.ReadAll(out.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	r.opens(sealed)
	return string(sealed)
}

// opens decrypts a message and compares it with what was sent.
func (r *rig) opens(sealed []byte) {
	r.t.Helper()
	keys, err := pgp.ReadKeys(r.pair.Secret, "")
	if err != nil {
		r.t.Fatal(err)
	}
	plain, err := keys.Decrypt(slices.Clone(sealed), 1<<20, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	e, message, err := envelope.Cut(plain)
	if err != nil || string(message) != letter {
		r.t.Errorf("decrypted to %q, %v", message, err)
	}
	want := &envelope.Envelope{Sender: "ann@far.test", Recipients: []string{"alice@home.test", "bob+x@home.test"}}
	if diff := cmp.Diff(want, e); diff != "" {
		r.t.Error(diff)
	}
}

// announces checks that what was published is SES's notification of the new place.
func (r *rig) announces(said []snstest.Published) {
	r.t.Helper()
	if len(said) == 0 {
		r.t.Error("nothing was published")
	}
	for _, p := range said {
		kind, notices := notice.Parse(p.Message)
		want := []notice.Notice{{MessageID: id, Bucket: bucket, Key: "encrypted/" + id, Receipt: true, Sender: "ann@far.test",
			Recipients: []string{"alice@home.test", "bob+x@home.test"}, Verdicts: "spam=PASS virus=PASS spf=PASS dkim=PASS dmarc=PASS"}}
		if diff := cmp.Diff(want, notices, cmpopts.IgnoreFields(notice.Notice{}, "Received")); diff != "" || kind != notice.KindSESS3 {
			r.t.Errorf("%s: %s", kind, diff)
		}
		if p.Subject != subject || p.Topic != r.topic {
			r.t.Errorf("published %+v", p)
		}
	}
}

// clear empties the bucket.
func (r *rig) clear() {
	r.t.Helper()
	out, err := r.direct.ListObjectVersions(r.t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(bucket)})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, v := range out.Versions {
		in := &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: v.Key}
		if version := aws.ToString(v.VersionId); version != "null" {
			in.VersionId = v.VersionId
		}
		if _, err := r.direct.DeleteObject(r.t.Context(), in); err != nil {
			r.t.Fatal(err)
		}
	}
}
