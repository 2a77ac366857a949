package system

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/versitygw"
)

// cloud is a homing with a real S3 server behind a proxy that can fail, and an
// LMTP server in this process.
type cloud struct {
	*home
	sink   *sink
	client *s3.Client
	fault  atomic.Pointer[s3test.Fault] // of each request for an object; nil: none
	hook   atomic.Pointer[s3test.Hook]  // decides about each of them instead
	asked  atomic.Int64                 // how many there were
}

func newCloud(t *testing.T, pairs ...string) *cloud {
	t.Helper()
	server := versitygw.Start(t)
	c := &cloud{sink: newSink(t), client: server.Client()}
	if _, err := c.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The host's name is part of what is signed.
	behind := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	proxy := httptest.NewServer(s3test.Faulty(behind, func(r *http.Request) *s3test.Fault {
		if strings.Trim(r.URL.Path, "/") == bucket {
			return nil // the bucket, not an object
		}
		c.asked.Add(1)
		if hook := c.hook.Load(); hook != nil && *hook != nil {
			return (*hook)(r)
		}
		return c.fault.Load()
	}))
	t.Cleanup(proxy.Close)
	c.home = &home{tb: t}
	c.env = bare(t, c.sink.url()).with("AWS_ENDPOINT_URL_S3", proxy.URL,
		"AWS_ACCESS_KEY_ID", server.AccessKey, "AWS_SECRET_ACCESS_KEY", server.SecretKey).with(pairs...)
	c.daemon = serve(t, c.env)
	return c
}

// put stores an object with its checksum, and returns its version.
func (c *cloud) put(key string, message []byte) (version string) {
	c.tb.Helper()
	out, err := c.client.PutObject(c.tb.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(message), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		c.tb.Fatal(err)
	}
	return aws.ToString(out.VersionId)
}

// keys lists the bucket.
func (c *cloud) keys() (keys []string) {
	c.tb.Helper()
	out, err := c.client.ListObjectsV2(c.tb.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, object := range out.Contents {
		keys = append(keys, aws.ToString(object.Key))
	}
	return keys
}

// Whatever S3 does, the message waits, and arrives whole in the end. Nothing of
// it arrives before.
func TestS3Fails(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name   string
		fault  s3test.Fault
		reason string // what the queue says, any of them with | between
	}{
		{"denied", s3test.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}, "credentials"},
		{"not there", s3test.Fault{Status: http.StatusNotFound, Code: "NoSuchKey"}, "NoSuchKey"},
		{"throttled", s3test.Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}, "SlowDown"},
		{"broken", s3test.Fault{Status: http.StatusInternalServerError, Code: "InternalError"}, "InternalError"},
		{"hangs up", s3test.Fault{Reset: true}, "reset"},
		{"truncated", s3test.Fault{Truncate: true, After: 150_000}, "broke off after"},
		{"corrupt", s3test.Fault{Corrupt: true}, "not those that were stored"},
		{"no length, truncated", s3test.Fault{NoLength: true, Truncate: true, After: 100_000}, "broke off|EOF|not those that were stored"},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			// The SDK's own attempts would only make it last longer.
			c := newCloud(t, "AWS_MAX_ATTEMPTS", "1")
			id, message := newID(), attachment(300_000)
			c.put(id, message)
			c.fault.Store(&f.fault)
			c.notify(receipt(id, "ann@far.test", address("alice")))
			it := c.awaitItem(id, "tried", func(it item) bool { return it.Attempts > 0 })
			if it.State != "pending" || !containsAny(it.Reason, strings.Split(f.reason, "|")) {
				t.Errorf("it is %+v, want it pending and the reason to say %q", it, f.reason)
			}
			waits(t, it, 10*time.Second)
			c.fault.Store(nil)
			c.run("queue", "retry", id)
			c.sink.expect(t, message)
			c.awaitIdle()
		})
	}
}

func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// Where nobody says anything homing tries again by itself, after ten seconds.
func TestS3IsAbsentForAWhile(t *testing.T) {
	t.Parallel()
	c := newCloud(t, "AWS_MAX_ATTEMPTS", "1")
	id, message := newID(), letter("patience")
	c.put(id, message)
	endpoint := c.env["AWS_ENDPOINT_URL_S3"]
	if code, _ := c.stop(t); code != 0 {
		t.Fatalf("homing ended with %d", code)
	}
	c.env["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:1"
	c.restart()
	c.notify(receipt(id, "ann@far.test", address("alice")))
	it := c.awaitItem(id, "tried", func(it item) bool { return it.Attempts > 0 })
	if it.State != "pending" || !strings.Contains(it.Reason, "refused") {
		t.Errorf("it is %+v, want it pending", it)
	}
	if code, _ := c.stop(t); code != 0 {
		t.Fatalf("homing ended with %d", code)
	}
	c.env["AWS_ENDPOINT_URL_S3"] = endpoint
	c.restart()
	c.sink.expect(t, message)
	c.awaitIdle()
}

// A slow answer is no failure.
func TestS3IsSlow(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.fault.Store(&s3test.Fault{Delay: time.Second, Pause: 50 * time.Millisecond})
	id, message := newID(), attachment(1_000_000)
	c.put(id, message)
	c.notify(receipt(id, "ann@far.test", address("alice")))
	c.sink.expect(t, message)
	c.awaitIdle()
	if n := c.asked.Load(); n != 1 {
		t.Errorf("S3 was asked %d times, want once", n)
	}
	c.sameMetric(t, `homing_fetch_total{result="ok"}`, 1)
}

// The version that the event names is delivered, not the one that came after it.
func TestVersionOfTheEvent(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"keep", "delete"} {
		t.Run(after, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, "HOMING_AFTER_DELIVERY", after, "HOMING_AFTER_DELIVERY_DELAY", "1s")
			c.versioned()
			const key = "in box/a+b=ü"
			first, second := received(address("alice"), "one@far.test"), append(received(address("alice"), "two@far.test"), "More.\r\n"...)
			version := c.put(key, first)
			newest := c.put(key, second)
			c.notify(snstest.S3Event(snstest.Object{Bucket: bucket, Key: key, Version: version, Size: int64(len(first))}))
			c.sink.expect(t, first)
			c.awaitIdle()
			if after == "delete" {
				c.awaitMetric(t, `homing_after_delivery_total{action="delete",result="ok"}`, 1)
			}
			for wanted, there := range map[string]bool{version: after == "keep", newest: true} {
				_, err := c.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(key), VersionId: &wanted})
				if (err == nil) != there {
					t.Errorf("version %s (the event's: %t): %v; want it there: %t", wanted, wanted == version, err, there)
				}
			}
		})
	}
}

func (c *cloud) versioned() {
	c.tb.Helper()
	_, err := c.client.PutBucketVersioning(c.tb.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String(bucket), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		c.tb.Fatal(err)
	}
}
