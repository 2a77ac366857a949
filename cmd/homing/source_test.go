package main

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/versitygw"
	"github.com/homing-mail/homing/spool"
)

// TestAfterDelivery: what becomes of the object once its mail is home. The S3
// server is a real one, for the rig's knows neither tags nor copies.
func TestAfterDelivery(t *testing.T) {
	client := versitygw.Start(t).Client()
	bucket := aws.String(testBucket)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ action, is, tagged string }{
		{"keep", "in/keep", ""},
		{"delete", "", ""},
		{"tag", "in/tag", "homing=delivered"},
		{"move:done/", "done/in/move", ""},
	} {
		t.Run(test.action, func(t *testing.T) {
			name, _, _ := strings.Cut(test.action, ":")
			_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("in/" + name), Body: strings.NewReader(testMail)})
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t)
			r.bucket = client
			r.start("HOMING_AFTER_DELIVERY="+test.action, "HOMING_AFTER_DELIVERY_DELAY=0")
			r.notify(snstest.SESReceived(receipt(name, testAddress)))
			r.awaitState(name, spool.Done)
			if got := whereabouts(t, client, "in/"+name, "done/in/"+name); !slices.Equal(got, strings.Fields(test.is)) {
				t.Errorf("it is at %q, want %q", got, test.is)
			}
			if test.tagged != "" {
				tags, err := client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: bucket, Key: &test.is})
				if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Key+"="+*tags.TagSet[0].Value != test.tagged {
					t.Errorf("tags %v, %v", tags, err)
				}
			}
			if name != "keep" && r.samples()[`homing_after_delivery_total{action="`+name+`",result="ok"}`] != 1 {
				t.Error("it is not counted")
			}
			if name == "move" {
				r.isNoNews(test.is)
			}
		})
	}
}

// whereabouts returns those of the keys that are there.
func whereabouts(t *testing.T, client *s3.Client, keys ...string) (found []string) {
	t.Helper()
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(testBucket)})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range list.Contents {
		if slices.Contains(keys, *object.Key) {
			found = append(found, *object.Key)
		}
	}
	return found
}

// isNoNews announces an object that homing wrote, as S3 announces all that is
// new, which must not make it mail again.
func (r *rig) isNoNews(key string) {
	r.t.Helper()
	r.notify(snstest.S3Event(snstest.Object{Bucket: testBucket, Key: key, Size: int64(len(testMail))}))
	await(r.t, "the copy to be passed over", func() bool { return r.log.said(r.t, "passed over") == 1 })
	if mails := r.box(testAddress); len(mails) != 1 {
		r.t.Errorf("%d mails, want 1", len(mails))
	}
}

// TestFetchesAreCounted by what came of them, and tried again.
func TestFetchesAreCounted(t *testing.T) {
	for _, test := range []struct {
		result string
		fault  s3test.Fault
		state  spool.State
	}{
		{"denied", s3test.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}, spool.Pending},
		{"checksum", s3test.Fault{Corrupt: true}, spool.Pending},
	} {
		t.Run(test.result, func(t *testing.T) {
			r := newRig(t)
			r.start()
			r.put("in/m1", testMail)
			var once sync.Once
			r.s3.Inject(func(*http.Request) (fault *s3test.Fault) {
				once.Do(func() { fault = &test.fault })
				return fault
			})
			r.notify(snstest.SESReceived(receipt("m1", testAddress)))
			await(t, "the failure", func() bool { return r.samples()[`homing_fetch_total{result="`+test.result+`"}`] == 1 })
			r.awaitState("m1", test.state)
			if n := r.samples()[`homing_deliveries_total{result="delivered"}`]; n != 0 {
				t.Errorf("%v deliveries of what was not fetched whole", n)
			}
			if code, _, stderr := r.queue("", "retry", "m1"); code != exitDone {
				t.Error(stderr)
			}
			r.awaitState("m1", spool.Done)
			if mails := r.box(testAddress); len(mails) != 1 || !strings.HasSuffix(mails[0], testMail) {
				t.Errorf("delivered %q", mails)
			}
		})
	}
}

func TestReasonOf(t *testing.T) {
	if got := reasonOf(errors.New("anything")); got != "other" {
		t.Errorf("a foreign error counts as %q", got)
	}
}
