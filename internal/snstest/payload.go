package snstest

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Receipt describes a message that SES received. Empty members get sensible
// values, except Sender (a bounce has none) and Recipients.
type Receipt struct {
	MessageID  string // SES's id; default: 40 letters and digits
	Sender     string
	Recipients []string
	Time       time.Time         // default: now
	Verdict    string            // of all five checks; default: PASS
	Verdicts   map[string]string // by "spam", "virus", "spf", "dkim", "dmarc"; "-" leaves one out

	// The S3 action.
	Bucket string
	Prefix string
	Key    string // default: Prefix + MessageID

	// The SNS action, when Bucket is empty and this is not.
	Content  []byte
	Encoding string // "UTF8", "BASE64", or "" for UTF-8 that is not declared

	Action string // default: S3 or SNS by what is given
}

// SESReceived returns SES's notification of a message received, the Message of an
// SNS notification.
// https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html
func SESReceived(r Receipt) string {
	r = r.withDefaults()
	action := map[string]any{"type": r.Action, "topicArn": Topic("mail")}
	payload := map[string]any{"notificationType": "Received", "mail": r.mail(), "receipt": r.receipt(action)}
	switch {
	case r.Bucket != "":
		action["bucketName"], action["objectKey"] = r.Bucket, r.Key
		if r.Prefix != "" {
			action["objectKeyPrefix"] = r.Prefix
		}
	case r.Encoding == "BASE64":
		payload["content"] = base64.StdEncoding.EncodeToString(r.Content)
	case r.Content != nil:
		payload["content"] = string(r.Content)
	}
	if r.Encoding != "" {
		action["encoding"] = r.Encoding
	}
	return encode(payload)
}

// SESLambda returns the event that SES's Lambda action calls a function with,
// which says nothing of where the message is stored.
// https://docs.aws.amazon.com/ses/latest/dg/receiving-email-action-lambda-event.html
func SESLambda(r Receipt) []byte {
	r = r.withDefaults()
	action := map[string]any{"type": "Lambda", "invocationType": "Event",
		"functionArn": "arn:aws:lambda:" + Region + ":123456789012:function:homing"}
	return []byte(encode(map[string]any{"Records": []any{map[string]any{
		"eventSource": "aws:ses", "eventVersion": "1.0",
		"ses": map[string]any{"mail": r.mail(), "receipt": r.receipt(action)},
	}}}))
}

func (r Receipt) withDefaults() Receipt {
	if r.MessageID == "" {
		r.MessageID = strings.ReplaceAll(newID(), "-", "") + "example0"
	}
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	if r.Verdict == "" {
		r.Verdict = "PASS"
	}
	if r.Key == "" {
		r.Key = r.Prefix + r.MessageID
	}
	if r.Action == "" {
		r.Action = "S3"
		if r.Bucket == "" {
			r.Action = "SNS"
		}
	}
	return r
}

// mail returns the part that describes the message. As SES does, it takes the
// destination from the header and not from the envelope.
func (r Receipt) mail() map[string]any {
	headers, to, subject := []any{}, []string{}, ""
	if m, err := mail.ReadMessage(strings.NewReader(string(r.Content))); err == nil {
		for _, name := range slices.Sorted(maps.Keys(m.Header)) {
			for _, v := range m.Header[name] {
				headers = append(headers, map[string]string{"name": name, "value": v})
			}
		}
		if v := m.Header.Get("To"); v != "" {
			to = strings.Split(v, ", ")
		}
		subject = m.Header.Get("Subject")
	}
	return map[string]any{
		"timestamp":        timestamp(r.Time),
		"source":           r.Sender,
		"messageId":        r.MessageID,
		"destination":      to,
		"headersTruncated": false,
		"headers":          headers,
		"commonHeaders":    map[string]any{"returnPath": r.Sender, "to": to, "subject": subject},
	}
}

func (r Receipt) receipt(action map[string]any) map[string]any {
	receipt := map[string]any{
		"timestamp":            timestamp(r.Time.Add(300 * time.Millisecond)),
		"processingTimeMillis": 300,
		"recipients":           r.Recipients,
		"action":               action,
	}
	for _, check := range []string{"spam", "virus", "spf", "dkim", "dmarc"} {
		status := r.Verdict
		if s, ok := r.Verdicts[check]; ok {
			status = s
		}
		if status != "-" {
			receipt[check+"Verdict"] = map[string]string{"status": status}
		}
	}
	return receipt
}

// Object describes an object in an event of S3.
type Object struct {
	Bucket, Key string
	Version     string // empty: the bucket has no versions
	Size        int64
	Time        time.Time // default: now
	Event       string    // default: "ObjectCreated:Put", for EventBridge "Object Created"
}

// S3Event returns an S3 event notification with one record for each object.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
func S3Event(objects ...Object) string {
	records := []any{}
	for _, o := range objects {
		o = o.withDefaults("ObjectCreated:Put")
		object := map[string]any{
			"key": encodeKey(o.Key), "size": o.Size,
			"eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055AED6DCD90281E5",
		}
		if o.Version != "" {
			object["versionId"] = o.Version
		}
		records = append(records, map[string]any{
			"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": Region,
			"eventTime": timestamp(o.Time), "eventName": o.Event,
			"userIdentity":      map[string]string{"principalId": "AWS:AIDAEXAMPLE"},
			"requestParameters": map[string]string{"sourceIPAddress": "192.0.2.1"},
			"s3": map[string]any{
				"s3SchemaVersion": "1.0", "configurationId": "mail",
				"bucket": map[string]any{"name": o.Bucket, "arn": "arn:aws:s3:::" + o.Bucket},
				"object": object,
			},
		})
	}
	return encode(map[string]any{"Records": records})
}

// encodeKey encodes a key as S3 does: as in a form, but slashes stay.
func encodeKey(key string) string {
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}

// S3TestEvent returns what S3 sends when an event notification is configured.
func S3TestEvent(bucket string) string {
	return encode(map[string]any{
		"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": timestamp(time.Now()),
		"Bucket": bucket, "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3e",
	})
}

// EventBridge returns S3's event as EventBridge passes it on.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
func EventBridge(o Object) string {
	o = o.withDefaults("Object Created")
	object := map[string]any{
		"key": o.Key, "size": o.Size,
		"etag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "617f08299329d189",
	}
	if o.Version != "" {
		object["version-id"] = o.Version
	}
	return encode(map[string]any{
		"version": "0", "id": newID(), "detail-type": o.Event, "source": "aws.s3",
		"account": "123456789012", "time": o.Time.UTC().Format(time.RFC3339), "region": Region,
		"resources": []string{"arn:aws:s3:::" + o.Bucket},
		"detail": map[string]any{
			"version": "0", "bucket": map[string]string{"name": o.Bucket}, "object": object,
			"request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012",
			"source-ip-address": "192.0.2.1", "reason": "PutObject",
		},
	})
}

func (o Object) withDefaults(event string) Object {
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	if o.Event == "" {
		o.Event = event
	}
	return o
}

// encode returns the JSON of a payload, which holds nothing that has none.
func encode(payload map[string]any) string {
	text, err := json.Marshal(payload)
	if err != nil {
		return "cannot encode this payload: " + err.Error()
	}
	return string(text)
}
