package system

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/versitygw"
)

// skies are the kinds of bad weather in S3.
var skies = []string{"calm", "errors", "slow", "truncated"}

// weather is a real S3 server that homing reaches through bad weather.
type weather struct {
	client *s3.Client // reaches it undisturbed
	env    []string   // what a homing is told of it: name, value
	faults atomic.Int64

	mu  sync.Mutex
	rng *rand.Rand
	sky string
}

func newWeather(tb testing.TB, seed uint64) *weather {
	tb.Helper()
	server := versitygw.Start(tb)
	w := &weather{client: server.Client(), rng: rand.New(rand.NewPCG(seed, 2<<40)), sky: skies[0]}
	if _, err := w.client.CreateBucket(tb.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		tb.Fatal(err)
	}
	target, err := url.Parse(server.URL)
	if err != nil {
		tb.Fatal(err)
	}
	// The host's name is part of what is signed.
	behind := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // a killed homing's
	}
	proxy := httptest.NewServer(s3test.Faulty(behind, w.fault))
	tb.Cleanup(proxy.Close)
	w.env = []string{"AWS_ENDPOINT_URL_S3", proxy.URL, "AWS_ACCESS_KEY_ID", server.AccessKey, "AWS_SECRET_ACCESS_KEY", server.SecretKey}
	return w
}

// turn changes the weather.
func (w *weather) turn(sky string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sky = sky
}

// fault is the s3test.Hook.
func (w *weather) fault(*http.Request) *s3test.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sky == skies[0] || w.rng.IntN(2) == 0 {
		return nil
	}
	w.faults.Add(1)
	answers := []s3test.Fault{
		{Status: http.StatusServiceUnavailable, Code: "SlowDown"},
		{Status: http.StatusInternalServerError, Code: "InternalError"},
		{Status: http.StatusForbidden, Code: "AccessDenied"},
		{Status: http.StatusNotFound, Code: "NoSuchKey"},
		{Reset: true},
	}
	switch w.sky {
	case "errors":
		return &answers[w.rng.IntN(len(answers))]
	case "slow":
		return &s3test.Fault{Delay: time.Duration(w.rng.IntN(1500)) * time.Millisecond}
	}
	return &s3test.Fault{Truncate: true, After: w.rng.Int64N(3000), NoLength: w.rng.IntN(2) == 0}
}

// put stores an object with its checksum.
func (w *weather) put(ctx context.Context, key string, octets []byte) error {
	_, err := w.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(octets), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	return err
}
