package fetcher

import (
	"encoding/xml"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/versitygw"
)

// wire is an answer of S3 in its own words.
type wire struct {
	status        int
	code, message string
	region        string // x-amz-bucket-region
}

// answering returns a client of a server that answers every request so.
func answering(t *testing.T, a wire) *s3.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if a.region != "" {
			w.Header().Set("x-amz-bucket-region", a.region)
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(a.status)
		xml.NewEncoder(w).Encode(struct {
			XMLName       xml.Name `xml:"Error"`
			Code, Message string
		}{Code: a.code, Message: a.message})
	}))
	t.Cleanup(server.Close)
	return clientOf(server.URL, "test", "test")
}

func clientOf(url, key, secret string) *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: &url, UsePathStyle: true, Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")})
}

// names is AWS's message about an action that is not allowed.
func names(action string) string {
	return "User: arn:aws:iam::123456789012:user/homing is not authorized to perform: " + action +
		` on resource: "arn:aws:s3:::mail" because no identity-based policy allows the ` + action + " action"
}

func TestTrialErrors(t *testing.T) {
	const list, get = "s3:ListBucket", "s3:GetObject"
	for name, test := range map[string]struct {
		answer     wire
		permission [2]string // of List and of Get
		sure       bool
		mend       string // contained in both
	}{
		"denied, named":        {wire{403, "AccessDenied", names("s3:Both"), ""}, [2]string{"s3:Both", "s3:Both"}, true, "allow these credentials s3:Both, which"},
		"denied":               {wire{403, "AccessDenied", "Access Denied", ""}, [2]string{list, get}, false, "allow these credentials s3:"},
		"unknown key":          {wire{403, "InvalidAccessKeyId", "no such key", ""}, [2]string{}, false, "AWS_ACCESS_KEY_ID"},
		"wrong secret":         {wire{403, "SignatureDoesNotMatch", "no", ""}, [2]string{}, false, "AWS_SECRET_ACCESS_KEY"},
		"expired token":        {wire{400, "ExpiredToken", "no", ""}, [2]string{}, false, "AWS_SESSION_TOKEN"},
		"no bucket":            {wire{404, "NoSuchBucket", "no", ""}, [2]string{}, false, "correct HOMING_BUCKETS"},
		"another region":       {wire{301, "PermanentRedirect", "no", "eu-west-1"}, [2]string{}, false, "set AWS_REGION=eu-west-1,"},
		"another, unnamed":     {wire{400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong", ""}, [2]string{}, false, "set AWS_REGION to the region"},
		"a region that is not": {wire{400, "AuthorizationHeaderMalformed", "no", "x; rm -rf /"}, [2]string{}, false, "set AWS_REGION to the region"},
		"clock":                {wire{403, "RequestTimeTooSkewed", "no", ""}, [2]string{}, false, "clock"},
		"too many":             {wire{503, "SlowDown", "no", ""}, [2]string{}, false, "fewer requests"},
		"failing":              {wire{500, "InternalError", "no", ""}, [2]string{}, false, "failing"},
		"no S3":                {wire{404, "", "", ""}, [2]string{}, false, "is this an S3 server"},
	} {
		t.Run(name, func(t *testing.T) {
			trial := NewTrial(answering(t, test.answer))
			place := Place{Bucket: "mail", Prefix: "in/"}
			heardList, errList := trial.List(t.Context(), place)
			heardGet, errGet := trial.Get(t.Context(), place, "in/key")
			for i, err := range []error{errList, errGet} {
				e, ok := errors.AsType[*TrialError](err)
				if !ok {
					t.Fatalf("%d: error %v", i, err)
				}
				if e.Permission != test.permission[i] || e.Sure != test.sure || !strings.Contains(e.Mend(), test.mend) {
					t.Errorf("%d: permission %q, sure %v, mend %q of %v", i, e.Permission, e.Sure, e.Mend(), e)
				}
			}
			for _, heard := range []Answer{heardList, heardGet} {
				if off := heard.Heard.Sub(heard.Date); off < 0 || off > 30*time.Second {
					t.Errorf("S3's clock is %v off", off)
				}
			}
		})
	}
}

// TestTrialWithoutKey: an object that does not exist tells whether it could be read.
func TestTrialWithoutKey(t *testing.T) {
	for _, test := range []struct {
		answer wire
		absent bool
		fails  string // the permission
	}{
		{wire{404, "NoSuchKey", "no", ""}, true, ""},
		{wire{403, "AccessDenied", names("s3:ListBucket"), ""}, true, ""},
		{wire{403, "AccessDenied", names("s3:GetObject"), ""}, false, "s3:GetObject"},
		{wire{403, "AccessDenied", "Access Denied", ""}, false, "s3:GetObject"},
		{wire{416, "InvalidRange", "no", ""}, false, ""},
	} {
		answer, err := NewTrial(answering(t, test.answer)).Get(t.Context(), Place{Bucket: "mail"}, "")
		permission := ""
		if e, ok := errors.AsType[*TrialError](err); ok {
			permission = e.Permission
		}
		if answer.Absent != test.absent || permission != test.fails || err != nil && test.fails == "" {
			t.Errorf("%+v: %+v, %v", test.answer, answer, err)
		}
	}
}

// TestTrialUnanswered: nobody there, and a bucket's name taken for a host's.
func TestTrialUnanswered(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	client := clientOf(server.URL, "k", "s")
	_, err := NewTrial(client).List(t.Context(), Place{Bucket: "mail"})
	if e, ok := errors.AsType[*TrialError](err); !ok || !strings.Contains(e.Mend(), "AWS_ENDPOINT_URL_S3") || !strings.Contains(e.Error(), "connection refused") {
		t.Errorf("nobody there: %v", err)
	}
	hosted := s3.New(client.Options(), func(o *s3.Options) { o.UsePathStyle, o.BaseEndpoint = false, aws.String("http://s3.invalid") })
	_, err = NewTrial(hosted).List(t.Context(), Place{Bucket: "mail"})
	if e, ok := errors.AsType[*TrialError](err); !ok || !strings.Contains(e.Mend(), "HOMING_S3_PATH_STYLE=true") {
		t.Errorf("no such host: %v -> %s", err, e.Mend())
	}
	nobody := s3.New(client.Options(), func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider("", "", "")
	})
	_, err = NewTrial(nobody).Credentials(t.Context())
	if e, ok := errors.AsType[*TrialError](err); !ok || !strings.Contains(e.Mend(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("no credentials: %v", err)
	}
}

// TestTrialReadsTheBeginning: of a large object next to nothing.
func TestTrialReadsTheBeginning(t *testing.T) {
	server, err := s3test.New("mail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if err := server.Put("mail", "in/large", make([]byte, 8<<20), nil); err != nil {
		t.Fatal(err)
	}
	var ranges []string
	server.Inject(func(r *http.Request) *s3test.Fault {
		ranges = append(ranges, r.Header.Get("Range"))
		return nil
	})
	if _, err := NewTrial(server.Client()).Get(t.Context(), Place{Bucket: "mail"}, "in/large"); err != nil {
		t.Error(err)
	}
	if !slices.Equal(ranges, []string{"bytes=0-1023"}) {
		t.Errorf("asked for %q", ranges)
	}
	server.Inject(func(*http.Request) *s3test.Fault { return &s3test.Fault{Truncate: true, After: 10} })
	if _, err := NewTrial(server.Client()).Get(t.Context(), Place{Bucket: "mail"}, "in/large"); err == nil {
		t.Error("an answer that broke off was taken")
	}
}

// TestTrialOfRealServer is the dialogue with a server that checks signatures.
func TestTrialOfRealServer(t *testing.T) {
	gateway := versitygw.Start(t)
	if _, err := gateway.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("mail")}); err != nil {
		t.Fatal(err)
	}
	place := Place{Bucket: "mail", Prefix: "in/"}
	trial := NewTrial(gateway.Client())
	if answer, err := trial.List(t.Context(), place); err != nil || answer.Key != "" {
		t.Errorf("the empty bucket: %+v, %v", answer, err)
	}
	if answer, err := trial.Get(t.Context(), place, ""); err != nil || !answer.Absent {
		t.Errorf("get from the empty bucket: %+v, %v", answer, err)
	}
	for _, key := range []string{"a/other", "in/empty", "in/mail"} {
		_, err := gateway.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("mail"), Key: &key,
			Body: strings.NewReader(strings.TrimPrefix(key, "in/empty"))})
		if err != nil {
			t.Fatal(err)
		}
	}
	if answer, err := trial.List(t.Context(), place); err != nil || answer.Key != "in/empty" || answer.Date.IsZero() || answer.Heard.IsZero() {
		t.Errorf("list: %+v, %v", answer, err)
	}
	for _, key := range []string{"in/empty", "in/mail"} {
		if answer, err := trial.Get(t.Context(), place, key); err != nil || answer.Absent {
			t.Errorf("get %s: %+v, %v", key, answer, err)
		}
	}
	for name, test := range map[string]struct {
		client *s3.Client
		bucket string
		mend   string
	}{
		"no such bucket": {gateway.Client(), "post", "correct HOMING_BUCKETS"},
		"wrong secret":   {clientOf(gateway.URL, gateway.AccessKey, "wrong"), "mail", "AWS_SECRET_ACCESS_KEY"},
		"wrong key":      {clientOf(gateway.URL, "WRONG", gateway.SecretKey), "mail", "credentials"},
		"wrong region":   {s3.New(gateway.Client().Options(), func(o *s3.Options) { o.Region = "eu-west-1" }), "mail", "AWS_REGION"},
	} {
		_, err := NewTrial(test.client).List(t.Context(), Place{Bucket: test.bucket})
		if e, ok := errors.AsType[*TrialError](err); !ok || !strings.Contains(e.Mend(), test.mend) {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Logf("%s: %v -> %s", name, e, e.Mend())
		}
	}
}
