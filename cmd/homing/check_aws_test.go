package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/versitygw"
)

// isList tells a request for a list from one for an object.
func isList(r *http.Request) bool { return r.URL.Query().Has("list-type") }

// s3Refusing answers some requests 403, as S3 did before it named the action.
func s3Refusing(r *rig, refuses func(*http.Request) bool) {
	r.s3.Inject(func(request *http.Request) *s3test.Fault {
		if refuses(request) {
			return &s3test.Fault{Status: 403, Code: "AccessDenied"}
		}
		return nil
	})
}

func TestCheckPermissions(t *testing.T) {
	isGet := func(r *http.Request) bool { return !isList(r) }
	for _, test := range []struct {
		name    string
		object  bool
		refuses func(*http.Request) bool
		environ string
		list    string // what s3 list says; empty: it is well
		get     string
		warns   bool // get, not failed
	}{
		{"both", true, func(*http.Request) bool { return true }, "", "s3:ListBucket is not allowed", "cannot be told", true},
		{"list", true, isList, "", "s3:ListBucket is not allowed", "", false},
		{"get", true, isGet, "", "", "s3:GetObject is not allowed", false},
		{"get of nothing", false, isGet, "", "", "s3:GetObject is not allowed", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			if test.object {
				r.put("in/m1", testMail)
			}
			s3Refusing(r, test.refuses)
			lines, err := tried(t, r.neighbours(), r.checkVariables()...)
			if err == nil {
				t.Error("no error")
			}
			list, get := lines.one(t, "s3 list"), lines.one(t, "s3 get")
			if test.list == "" {
				wantWell(t, list, "allowed")
			} else {
				wantFailed(t, list, test.list, "allow these credentials s3:ListBucket on arn:aws:s3:::mail")
			}
			switch {
			case test.get == "":
				wantWell(t, get, "allowed")
			case test.warns:
				wantWarning(t, get, test.get, "allow s3:ListBucket")
			default:
				wantFailed(t, get, test.get, "allow these credentials s3:GetObject on arn:aws:s3:::mail/in/*")
			}
			wantWell(t, lines.one(t, "clock"), "") // what is refused is dated too
		})
	}
}

// TestCheckWithoutSweep: deliveries alone need no list.
func TestCheckWithoutSweep(t *testing.T) {
	r := newRig(t)
	s3Refusing(r, isList)
	lines, err := tried(t, r.neighbours(), r.checkVariables("HOMING_SWEEP_INTERVAL=0")...)
	if err != nil {
		t.Errorf("%v\n%s", err, lines)
	}
	wantWarning(t, lines.one(t, "s3 list"), "the sweep is off", "s3:ListBucket")
}

func TestCheckBuckets(t *testing.T) {
	r := newRig(t)
	r.put("in/m1", testMail)
	lines, err := tried(t, r.neighbours(), r.checkVariables("HOMING_BUCKETS=nowhere,mail,mail/none/", "HOMING_AFTER_DELIVERY=move:done/")...)
	if err == nil {
		t.Error("no error")
	}
	lists, gets := lines.find("s3 list"), lines.find("s3 get")
	if len(lists) != 3 || len(gets) != 2 || len(lines.find("s3 write")) != 2 {
		t.Fatalf("the lines are\n%s", lines)
	}
	wantFailed(t, lists[0], "NoSuchBucket", "correct HOMING_BUCKETS")
	wantWell(t, lists[1], "allowed")
	wantWell(t, gets[0], `the beginning of "in/m1"`)
	wantWell(t, lists[2], "there is no object yet")
	wantWell(t, gets[1], "without an object to read")
	wantWarning(t, lines.find("s3 write")[0], "not tried", "s3:PutObject and s3:DeleteObject")
	if lists[1].Target != "mail" || lists[2].Target != "mail/none/" {
		t.Errorf("the targets are %q and %q", lists[1].Target, lists[2].Target)
	}
}

// TestCheckSlowS3: it gives up in time.
func TestCheckSlowS3(t *testing.T) {
	r := newRig(t)
	r.s3.Inject(func(*http.Request) *s3test.Fault { return &s3test.Fault{Delay: time.Minute} })
	c := &checker{patience: 300 * time.Millisecond, with: r.neighbours()}
	c.configure(r.checkVariables("HOMING_SNS_TOPICS=", "HOMING_LISTEN="))
	lines, err := c.all(t, c.groups())
	if err == nil {
		t.Error("no error")
	}
	wantFailed(t, lines.one(t, "s3 list"), "no answer in time", "AWS_ENDPOINT_URL_S3")
	wantWarning(t, lines.one(t, "clock"), "nothing to compare", "check again")
}

// TestCheckClock: S3's Date is wrong, or ours.
func TestCheckClock(t *testing.T) {
	r := newRig(t)
	r.put("in/m1", testMail)
	target, err := url.Parse(r.s3.URL())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		off    time.Duration
		failed bool
		detail string
	}{
		{6 * time.Minute, true, "behind the clock of S3"},
		{-6 * time.Minute, true, "ahead of the clock of S3"},
		{24 * time.Hour, true, "behind the clock of S3"},
		{-4 * time.Minute, false, "ahead of that of S3"},
		{0, false, ""},
	} {
		transport := &http.Transport{DisableKeepAlives: true}
		proxy := httptest.NewServer(&httputil.ReverseProxy{
			Transport: transport,
			Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(target) },
			ModifyResponse: func(response *http.Response) error {
				response.Header.Set("Date", time.Now().Add(test.off).UTC().Format(http.TimeFormat))
				return nil
			},
		})
		client := s3.New(r.s3.Client().Options(), func(o *s3.Options) { o.BaseEndpoint = &proxy.URL })
		lines, _ := tried(t, neighbours{sns: r.sns.Transport(), s3: client}, r.checkVariables()...)
		if line := lines.one(t, "clock"); test.failed {
			wantFailed(t, line, test.detail, "NTP")
		} else {
			wantWell(t, line, test.detail)
		}
		proxy.Close()
	}
}

// TestCheckSNS: each host once, and what cannot be verified said.
func TestCheckSNS(t *testing.T) {
	r := newRig(t)
	lines, err := tried(t, r.neighbours(), r.checkVariables("HOMING_SNS_TOPICS="+testTopic+
		",arn:aws:sns:us-east-1:123456789012:other,arn:aws:sns:ap-south-1:123456789012:mail,arn:aws-iso:sns:us-iso-east-1:123456789012:mail")...)
	if err == nil {
		t.Error("no error")
	}
	found := lines.find("sns")
	if len(found) != 3 {
		t.Fatalf("the lines are\n%s", lines)
	}
	wantWell(t, found[0], "reachable")
	wantFailed(t, found[1], "certificate is valid for", "something else answers") // snstest has none for this name
	wantFailed(t, found[2], `partition "aws-iso"`, "correct HOMING_SNS_TOPICS")
}

// TestCheckCredentials: with none the buckets are not tried; wrong ones are S3's
// to refuse.
func TestCheckCredentials(t *testing.T) {
	r := newRig(t)
	none := s3.New(r.s3.Client().Options(), func(o *s3.Options) { o.Credentials = credentials.NewStaticCredentialsProvider("", "", "") })
	lines, err := tried(t, neighbours{sns: r.sns.Transport(), s3: none}, r.checkVariables()...)
	wantFailed(t, lines.one(t, "aws credentials"), "empty", "AWS_ACCESS_KEY_ID")
	if _, usage := errors.AsType[usageError](err); err == nil || usage || len(lines.find("s3 list")) != 0 {
		t.Errorf("%v\n%s", err, lines)
	}

	gateway := versitygw.Start(t)
	if _, err := gateway.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(testBucket)}); err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(testBucket), Key: aws.String("in/m1"),
		Body: strings.NewReader(testMail)}); err != nil {
		t.Fatal(err)
	}
	lines, err = tried(t, neighbours{sns: r.sns.Transport(), s3: gateway.Client()}, r.checkVariables()...)
	if err != nil {
		t.Errorf("%v\n%s", err, lines)
	}
	wantWell(t, lines.one(t, "s3 get"), `"in/m1" was read`)
	wrong := s3.New(gateway.Client().Options(), func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(gateway.AccessKey, "wrong", "")
	})
	lines, _ = tried(t, neighbours{sns: r.sns.Transport(), s3: wrong}, r.checkVariables()...)
	wantFailed(t, lines.one(t, "s3 list"), "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY")
}
