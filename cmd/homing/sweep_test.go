package main

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/versitygw"
	"github.com/homing-mail/homing/spool"
)

// often sweeps without rest, and leaves nothing to a notification.
var often = []string{"HOMING_SWEEP_INTERVAL=50ms", "HOMING_SWEEP_GRACE=0s"}

// awaitSweeps waits until so many sweeps have begun and ended from now on.
func (r *rig) awaitSweeps(n float64) {
	r.t.Helper()
	const name = `homing_sweeps_total{result="ok"}`
	before := r.samples()[name]
	await(r.t, "sweeps", func() bool { return r.samples()[name] > before+n })
}

// gateway puts a real S3 server in the place of the rig's.
func (r *rig) gateway() {
	r.t.Helper()
	r.bucket = versitygw.Start(r.t).Client()
	if _, err := r.bucket.CreateBucket(r.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(testBucket)}); err != nil {
		r.t.Fatal(err)
	}
}

// store puts a message into the real server.
func (r *rig) store(key, octets string, metadata map[string]string) {
	r.t.Helper()
	_, err := r.bucket.PutObject(r.t.Context(), &s3.PutObjectInput{Bucket: aws.String(testBucket), Key: &key,
		Body: bytes.NewReader([]byte(octets)), Metadata: metadata})
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestSweepDelivers: what nobody announced is delivered by what SES wrote into
// it; a notification that comes late adds nothing.
func TestSweepDelivers(t *testing.T) {
	r := newRig(t)
	r.gateway()
	_, err := r.bucket.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String(testBucket),
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
	r.start(append(often, "HOMING_RECIPIENTS=alice@example.com=me@example.com")...)
	const id = "sweep00000000000000000001"
	r.store("in/"+id, sesMail("bob@example.org", testAddress, "one"), nil)
	r.store("in/own", sesMail("bob@example.org", testAddress, "own"), map[string]string{"homing-id": "x"})
	r.store("in/odd name", sesMail("", testAddress, "odd"), nil)
	r.store("in/AMAZON_SES_SETUP_NOTIFICATION", "hello", nil)
	await(t, "the mail", func() bool { return len(r.box("me@example.com")) == 2 })
	item := r.awaitState(id, spool.Done)
	if item.Source != "sweep" || item.Sender != "bob@example.org" || item.Received.IsZero() || item.Version == "" {
		t.Errorf("%+v", item.Message)
	}
	r.notify(snstest.SESReceived(receipt(id, "Alice@example.com")))
	r.awaitSweeps(2)
	mails := r.box("me@example.com")
	if len(mails) != 2 || !strings.Contains(strings.Join(mails, ""), "Return-Path: <bob@example.org>\r\nDelivered-To: me@example.com\r\nX-Homing-Id: ") {
		t.Errorf("the mailbox has %q", mails)
	}
	got := r.samples()
	for name, want := range map[string]float64{
		`homing_notifications_total{source="sweep",kind="object",result="accepted"}`: 2,
		`homing_sweep_objects_total{result="found"}`:                                 2,
		`homing_sweep_objects_total{result="failed"}`:                                0,
		`homing_sweeps_total{result="failed"}`:                                       0,
	} {
		if value, ok := series(got, name); !ok || value != want {
			t.Errorf("%s %v, want %v", name, value, want)
		}
	}
	for _, name := range []string{`homing_sweep_requests_total{op="list"}`, `homing_sweep_requests_total{op="head"}`, `homing_sweep_requests_total{op="tagging"}`,
		`homing_sweep_objects_total{result="marked"}`, `homing_sweep_objects_total{result="ignored"}`, "homing_sweep_last_timestamp_seconds"} {
		if got[name] == 0 {
			t.Errorf("%s has not moved", name)
		}
	}
	if n := r.log.said(t, "the sweep found mail that no notification had announced; is every receipt rule connected to the topic?"); n == 0 {
		t.Error("nobody was told")
	}
}

// series finds a sample by its name and labels in any order.
func series(samples map[string]float64, want string) (float64, bool) {
	for name, value := range samples {
		if labelsOf(name) != nil && maps.Equal(labelsOf(name), labelsOf(want)) {
			return value, true
		}
	}
	return 0, false
}

// labelsOf takes a series apart; its name is the label "".
func labelsOf(text string) map[string]string {
	name, rest, _ := strings.Cut(strings.TrimSuffix(text, "}"), "{")
	labels := map[string]string{"": name}
	for pair := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(pair, "=")
		labels[key] = value
	}
	return labels
}

// TestSweepLeavesOldMail: what was in the bucket before homing was set up is a
// person's to ask for.
func TestSweepLeavesOldMail(t *testing.T) {
	r := newRig(t)
	r.put("in/sweep00000000000000000001", sesMail("", testAddress, "before"))
	out, err := r.bucket.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(testBucket), Key: aws.String("in/sweep00000000000000000001")})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the next second", func() bool { return time.Now().Truncate(time.Second).After(*out.LastModified) })
	r.start(often...)
	r.awaitSweeps(1)
	if got := r.samples(); got[`homing_sweep_objects_total{result="old"}`] == 0 || len(r.box(testAddress)) != 0 {
		t.Errorf("%v, %d mails", got[`homing_sweep_objects_total{result="old"}`], len(r.box(testAddress)))
	}
}

// TestSweepOfReplicas: two that know nothing of each other and share a bucket.
// What the one has tagged the other leaves alone, also after a start.
func TestSweepOfReplicas(t *testing.T) {
	one := newRig(t)
	one.gateway()
	two := newRig(t)
	two.bucket, two.mail = one.bucket, one.mail
	tag := []string{"HOMING_AFTER_DELIVERY=tag", "HOMING_AFTER_DELIVERY_DELAY=0"}
	one.start(append(often, tag...)...)
	stop := two.start(append(tag, "HOMING_SWEEP_INTERVAL=0")...) // its spool is made now
	const n = 20
	for i := range n {
		one.store(sesKey(i), sesMail("bob@example.org", testAddress, "x"), nil)
	}
	await(t, "the tags", func() bool { return one.samples()[`homing_after_delivery_total{action="tag",result="ok"}`] == n })
	stop()
	two.start(append(often, tag...)...)
	two.awaitSweeps(2)
	got := two.samples()
	if len(one.box(testAddress)) != n || got[`homing_sweep_objects_total{result="found"}`] != 0 {
		t.Errorf("%d mails, want %d; the second found %v", len(one.box(testAddress)), n, got[`homing_sweep_objects_total{result="found"}`])
	}
	// They are asked for once, and remembered.
	want := map[string]float64{"head": n, "tagging": n}
	requests := map[string]float64{}
	for op := range want {
		requests[op] = got[`homing_sweep_requests_total{op="`+op+`"}`]
	}
	if diff := cmp.Diff(want, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestSweepFaults: S3 fails for a while; a denial of the tags is no failure.
func TestSweepFaults(t *testing.T) {
	r := newRig(t)
	r.bucket = s3.New(r.bucket.Options(), func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	r.start(append(often, "HOMING_AFTER_DELIVERY=keep")...)
	r.s3.Inject(func(request *http.Request) *s3test.Fault {
		if request.URL.Query().Get("list-type") == "2" {
			return &s3test.Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}
		}
		return nil
	})
	r.put(sesKey(1), sesMail("", testAddress, "x"))
	await(t, "a failure", func() bool { return r.samples()[`homing_sweeps_total{result="failed"}`] > 1 })
	if n := r.log.said(t, "the sweep broke off; it is made again at the next time"); n == 0 {
		t.Error("it was not logged")
	}
	r.s3.Inject(func(request *http.Request) *s3test.Fault {
		if request.URL.Query().Has("tagging") {
			return &s3test.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return nil
	})
	await(t, "the mail", func() bool { return len(r.box(testAddress)) == 1 })
	r.put(sesKey(2), sesMail("", testAddress, "x"))
	await(t, "the other mail", func() bool { return len(r.box(testAddress)) == 2 })
	if n := r.log.said(t, "the sweep may not read the objects' tags and cannot see what other replicas delivered; allow s3:GetObjectTagging"); n != 1 {
		t.Errorf("the denial was said %d times, want once", n)
	}
}

// TestSweepAfterMove: what homing has moved is not looked at.
func TestSweepAfterMove(t *testing.T) {
	r := newRig(t)
	r.gateway()
	r.start(append(often, "HOMING_AFTER_DELIVERY=move:done/", "HOMING_AFTER_DELIVERY_DELAY=0")...)
	r.store(sesKey(1), sesMail("", testAddress, "x"), nil)
	await(t, "the move", func() bool { return r.samples()[`homing_after_delivery_total{action="move",result="ok"}`] == 1 })
	r.awaitSweeps(2)
	got := r.samples()
	if got[`homing_sweep_objects_total{result="ignored"}`] == 0 || got[`homing_sweep_requests_total{op="head"}`] != 1 || len(r.box(testAddress)) != 1 {
		t.Errorf("%v ignored, %v looked at, %d mails", got[`homing_sweep_objects_total{result="ignored"}`], got[`homing_sweep_requests_total{op="head"}`], len(r.box(testAddress)))
	}
}
