package terraform

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// object is one in the bucket, after a thousand days.
type object struct {
	key       string
	delivered bool // tagged homing=delivered
}

// lifecycle is the bucket's, as far as it removes objects:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
type lifecycle struct {
	Rule []struct {
		ID, Status string
		Filter     []struct {
			Prefix *string
			Tag    []struct{ Key, Value string }
		}
		Expiration []struct {
			Days          *int
			DeleteMarkers bool `json:"expired_object_delete_marker"`
		}
		NoncurrentVersions []struct {
			Days int `json:"noncurrent_days"`
		} `json:"noncurrent_version_expiration"`
	}
}

func lifecycleOf(t *testing.T, m *made) lifecycle {
	t.Helper()
	text, err := json.Marshal(m.resources["aws_s3_bucket_lifecycle_configuration.mail"])
	if err != nil {
		t.Fatal(err)
	}
	var l lifecycle
	unmarshal(t, text, &l)
	return l
}

// removes tells after how many days an object goes, 0 for never.
func (l lifecycle) removes(o object) int {
	for _, r := range l.Rule {
		matches := r.Status == "Enabled"
		for _, f := range r.Filter {
			matches = matches && (f.Prefix == nil || strings.HasPrefix(o.key, *f.Prefix))
			for _, tag := range f.Tag {
				matches = matches && o.delivered && tag.Key == "homing" && tag.Value == "delivered"
			}
		}
		for _, e := range r.Expiration {
			if matches && e.Days != nil {
				return *e.Days
			}
		}
	}
	return 0
}

// Nothing that has not been delivered ever expires.
func TestLifecycle(t *testing.T) {
	w := newWorkbench(t)
	waiting, tagged, moved := object{"inbox/x", false}, object{"inbox/x", true}, object{"delivered/x", false}
	for _, test := range []struct {
		vars
		want     map[object]int
		versions int // days that those no longer current are kept, 0: for ever
	}{
		{enough(nil), map[object]int{waiting: 0, tagged: 0, moved: 0}, 0},
		{enough(vars{"after_delivery": "tag"}), map[object]int{waiting: 0, tagged: 0, moved: 0}, 0},
		{enough(vars{"after_delivery": "tag", "expire_delivered_days": 30}), map[object]int{waiting: 0, tagged: 30, moved: 0}, 0},
		{enough(vars{"after_delivery": "move:delivered/", "expire_delivered_days": 7, "versioning": true}), map[object]int{waiting: 0, tagged: 7, moved: 7}, 30},
		{enough(vars{"after_delivery": "encrypt:delivered/", "expire_delivered_days": 9}), map[object]int{waiting: 0, tagged: 9, moved: 9, {"encrypted/x", false}: 0}, 0},
		{enough(vars{"after_delivery": "move:inbox/done/", "expire_delivered_days": 7, "versioning": true, "noncurrent_days": 3}),
			map[object]int{waiting: 0, {"inbox/done/x", false}: 7, moved: 0}, 3},
	} {
		l := lifecycleOf(t, w.apply(t, test.vars))
		for o, want := range test.want {
			if got := l.removes(o); got != want {
				t.Errorf("%v: %+v goes after %d days, want %d", test.vars, o, got, want)
			}
		}
		versions := 0
		for _, r := range l.Rule {
			for _, n := range r.NoncurrentVersions {
				versions = n.Days
			}
		}
		if versions != test.versions {
			t.Errorf("%v: versions go after %d days, want %d", test.vars, versions, test.versions)
		}
	}
}

func TestBucketIsClosed(t *testing.T) {
	m := newWorkbench(t).apply(t, enough(nil))
	for _, name := range []string{"block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"} {
		if m.resources["aws_s3_bucket_public_access_block.mail"][name] != true {
			t.Errorf("%s is not set", name)
		}
	}
	text := fmt.Sprint(m.resources["aws_s3_bucket_server_side_encryption_configuration.mail"], m.resources["aws_s3_bucket_ownership_controls.mail"])
	for _, want := range []string{"AES256", "BucketOwnerEnforced"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if m.resources["aws_s3_bucket.mail"]["force_destroy"] == true {
		t.Error("destroying would take the mail along")
	}
}

// SNS tries as long as it may, then leaves the notification to the queue.
func TestSubscriptions(t *testing.T) {
	m := newWorkbench(t).apply(t, everything())
	var delivery struct {
		Healthy struct {
			NumRetries, NumNoDelayRetries, NumMinDelayRetries, MinDelayTarget, NumMaxDelayRetries, MaxDelayTarget int
		} `json:"healthyRetryPolicy"`
	}
	unmarshal(t, []byte(m.text(t, "aws_sns_topic_subscription.webhook[0]", "delivery_policy")), &delivery)
	h := delivery.Healthy
	between := h.NumRetries - h.NumNoDelayRetries - h.NumMinDelayRetries - h.NumMaxDelayRetries
	most := h.NumMinDelayRetries*h.MinDelayTarget + (between+h.NumMaxDelayRetries)*h.MaxDelayTarget
	if most > 3600 || most < 1800 || between < 0 {
		t.Errorf("%+v takes up to %d s; SNS allows 3,600", h, most)
	}
	for address, protocol := range map[string]string{"aws_sns_topic_subscription.webhook[0]": "https", "aws_sns_topic_subscription.sqs[0]": "sqs"} {
		s := m.resources[address]
		var redrive struct{ DeadLetterTargetArn string }
		unmarshal(t, []byte(m.text(t, address, "redrive_policy")), &redrive)
		if s["protocol"] != protocol || s["raw_message_delivery"] != false || redrive.DeadLetterTargetArn != queueARN+"-dlq" {
			t.Errorf("%s is %v", address, s)
		}
	}
	for address, want := range map[string]map[string]any{
		"aws_sns_topic.mail":    {"signature_version": 2.0},
		"aws_sqs_queue.dlq":     {"message_retention_seconds": 1209600.0, "sqs_managed_sse_enabled": true},
		"aws_sqs_queue.mail[0]": {"message_retention_seconds": 1209600.0, "sqs_managed_sse_enabled": true},
	} {
		for name, value := range want {
			if got := m.resources[address][name]; got != value {
				t.Errorf("%s: %s is %v, want %v", address, name, got, value)
			}
		}
	}
	var redrive struct {
		DeadLetterTargetArn string
		MaxReceiveCount     int
	}
	unmarshal(t, []byte(m.text(t, "aws_sqs_queue.mail[0]", "redrive_policy")), &redrive)
	if redrive.DeadLetterTargetArn != queueARN+"-dlq" || redrive.MaxReceiveCount < 20 {
		t.Errorf("the queue's redrive policy is %+v; homing wants 20 receives or more", redrive)
	}
}
