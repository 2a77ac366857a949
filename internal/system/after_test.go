package system

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/internal/snstest"
)

// What is asked for after delivery happens then, and not before.
func TestAfterDelivery(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"delete", "tag", "move:done/"} {
		t.Run(action+" by receipt", func(t *testing.T) {
			t.Parallel()
			id := newID()
			testAfterDelivery(t, action, id, false, func(string) string {
				return snstest.SESReceived(snstest.Receipt{MessageID: id, Recipients: []string{address("alice")}, Bucket: bucket, Prefix: "in/"})
			})
		})
		// With such a key homing knows the moved copy only by its metadata.
		t.Run(action+" by event, with versions", func(t *testing.T) {
			t.Parallel()
			const name = "a b+c/mail.eml"
			testAfterDelivery(t, action, name, true, func(version string) string {
				return snstest.S3Event(snstest.Object{Bucket: bucket, Key: "in/" + name, Version: version})
			})
		})
	}
}

func testAfterDelivery(t *testing.T, action, name string, versions bool, payload func(version string) string) {
	c := newCloud(t, "HOMING_AFTER_DELIVERY", action, "HOMING_AFTER_DELIVERY_DELAY", "1s", "HOMING_BUCKETS", bucket+"/in/ "+bucket+"/done/")
	if versions {
		c.versioned()
	}
	message := received(address("alice"), "ann@far.test")
	version := c.put("in/"+name, message)

	c.sink.refuse(true)
	noticed := time.Now()
	c.notify(payload(version))
	c.awaitOnly("refused", func(it item) bool { return len(it.Deliveries) == 1 && it.Deliveries[0].Attempts == 1 })
	if keys := c.keys(); len(keys) != 1 || keys[0] != "in/"+name {
		t.Fatalf("before it was delivered the bucket holds %q", keys)
	}

	c.sink.refuse(false)
	c.run("queue", "retry", "--state", "pending")
	c.sink.expect(t, message)
	c.awaitOnly("done", func(it item) bool { return it.State == "done" })
	if took := time.Since(noticed); took < time.Second {
		t.Errorf("it was done %v after the notice, want a second", took)
	}
	verb, _, _ := strings.Cut(action, ":")
	c.sameMetric(t, fmt.Sprintf(`homing_after_delivery_total{action=%q,result="ok"}`, verb), 1)
	c.sameMetric(t, fmt.Sprintf(`homing_after_delivery_total{action=%q,result="failed"}`, verb), 0)
	switch verb {
	case "delete":
		if keys := c.keys(); len(keys) != 0 {
			t.Errorf("the bucket still holds %q", keys)
		}
	case "tag":
		c.sameTag("in/" + name)
	case "move":
		c.sameMoved("done/"+name, message)
	}
}

// awaitOnly is awaitItem for the only one there is.
func (c *cloud) awaitOnly(what string, wanted func(item) bool) {
	c.tb.Helper()
	all := c.queue("--all")
	if len(all) != 1 {
		c.tb.Fatalf("the queue has %+v, want one item", all)
	}
	c.awaitItem(all[0].ID, what, wanted)
}

func (c *cloud) sameTag(key string) {
	c.tb.Helper()
	out, err := c.client.GetObjectTagging(c.tb.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil || len(out.TagSet) != 1 || aws.ToString(out.TagSet[0].Key) != "homing" || aws.ToString(out.TagSet[0].Value) != "delivered" {
		c.tb.Errorf("the tags are %v, %v; want homing=delivered", out, err)
	}
}

// sameMoved checks the moved object, and that nobody takes it for new mail.
func (c *cloud) sameMoved(moved string, message []byte) {
	tb := c.tb
	tb.Helper()
	if keys := c.keys(); len(keys) != 1 || keys[0] != moved {
		tb.Fatalf("the bucket holds %q, want %q alone", keys, moved)
	}
	head, err := c.client.HeadObject(tb.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &moved})
	if err != nil || head.Metadata["homing-id"] == "" || aws.ToInt64(head.ContentLength) != int64(len(message)) {
		tb.Errorf("the moved object has the metadata %v and %d octets, %v; want a homing-id", head.Metadata, aws.ToInt64(head.ContentLength), err)
	}
	for _, payload := range []string{
		snstest.S3Event(snstest.Object{Bucket: bucket, Key: moved, Version: aws.ToString(head.VersionId)}),
		snstest.EventBridge(snstest.Object{Bucket: bucket, Key: moved}),
	} {
		c.notify(payload)
	}
	c.awaitIdle()
	c.sink.expect(tb, message) // once, as before
	if keys := c.keys(); len(keys) != 1 {
		tb.Errorf("after the events the bucket holds %q", keys)
	}
}
