package notice

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
)

const allPass = "spam=PASS virus=PASS spf=PASS dkim=PASS dmarc=PASS"

func TestParseReceived(t *testing.T) {
	const header = "From: Bob <bob@example.com>\r\nTo: someone.else@example.com\r\n\r\n"
	receipt := snstest.Receipt{
		MessageID: id, Sender: "bob@example.com", Time: at,
		Recipients: []string{"alice@example.com", "Alice@example.com", "alice@example.com", "info@example.org"},
	}
	stored, prefixed, inline, bounce, nobody, setup, setupKey, failed, text := receipt, receipt, receipt, receipt, receipt, receipt, receipt, receipt, receipt
	stored.Bucket = "mail"
	prefixed.Bucket, prefixed.Prefix = "mail", "in/a+b %41/"
	inline.Content, inline.Encoding = []byte(header+"hello\r\n"), "UTF8"
	bounce.Bucket, bounce.Sender = "mail", ""
	nobody.Bucket, nobody.Recipients = "mail", nil
	setup.Bucket, setup.MessageID = "mail", "AMAZON_SES_SETUP_NOTIFICATION"
	setupKey.Bucket, setupKey.Key = "mail", "in/AMAZON_SES_SETUP_NOTIFICATION"
	failed.Bucket, failed.Verdict = "mail", "FAIL"
	failed.Verdicts = map[string]string{"spf": "GRAY", "virus": "PROCESSING_FAILED", "dkim": "DISABLED", "dmarc": "-", "spam": "PASS\r\nX-Evil: 1"}
	text.Content, text.Encoding = []byte(header+"gr\u00fc\u00dfe\n"), "UTF-8"

	want := Notice{
		MessageID: id, Bucket: "mail", Key: id, Receipt: true, Sender: "bob@example.com",
		Recipients: []string{"alice@example.com", "Alice@example.com", "info@example.org"},
		Verdicts:   allPass, Received: at,
	}
	with := func(change func(*Notice)) []Notice { n := want; change(&n); return []Notice{n} }
	content := func(s string) func(*Notice) {
		return func(n *Notice) { n.Bucket, n.Key, n.Content = "", "", []byte(s) }
	}
	tests := []struct {
		name    string
		message string
		kind    Kind
		want    []Notice
	}{
		{"stored", snstest.SESReceived(stored), KindSESS3, []Notice{want}},
		{"stored with prefix", snstest.SESReceived(prefixed), KindSESS3, with(func(n *Notice) { n.Key = "in/a+b %41/" + id })},
		{"inline", snstest.SESReceived(inline), KindSESSNS, with(content(header + "hello\r\n"))},
		{"inline, LF and UTF-8", snstest.SESReceived(text), KindSESSNS, with(content(header + "gr\u00fc\u00dfe\r\n"))},
		{"null sender", snstest.SESReceived(bounce), KindSESS3, with(func(n *Notice) { n.Sender = "" })},
		{"no recipients", snstest.SESReceived(nobody), KindSESS3, with(func(n *Notice) { n.Recipients = nil })},
		{"verdicts", snstest.SESReceived(failed), KindSESS3, with(func(n *Notice) {
			n.Verdicts = "spam=none virus=PROCESSING_FAILED spf=GRAY dkim=none dmarc=none"
		})},
		{"setup by message id", snstest.SESReceived(setup), KindSESSetup, nil},
		{"setup by key", snstest.SESReceived(setupKey), KindSESSetup, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkParse(t, tt.message, tt.kind, tt.want) })
	}
}

// TestParseReceivedOddly changes single members of genuine notifications.
func TestParseReceivedOddly(t *testing.T) {
	type object = map[string]any
	stored := snstest.Receipt{MessageID: id, Bucket: "mail", Prefix: "in/", Recipients: []string{"a@example.com"}, Time: at}
	inline := snstest.Receipt{MessageID: id, Recipients: []string{"a@example.com"}, Time: at, Content: []byte("A: b\r\n\r\n"), Encoding: "UTF8"}
	action := func(p object) object { return p["receipt"].(object)["action"].(object) }
	tests := []struct {
		name   string
		of     snstest.Receipt
		change func(p object)
		kind   Kind
	}{
		{"S3 without bucket", stored, func(p object) { delete(action(p), "bucketName") }, KindUnknown},
		{"S3 without key", stored, func(p object) { delete(action(p), "objectKey") }, KindUnknown},
		{"S3 with content too", stored, func(p object) { p["content"] = "A: b\r\n\r\n" }, KindSESS3},
		{"SNS without content", inline, func(p object) { delete(p, "content") }, KindUnknown},
		{"SNS with empty content", inline, func(p object) { p["content"] = "" }, KindUnknown},
		{"SNS with content no string", inline, func(p object) { p["content"] = 1 }, KindUnknown},
		{"SNS without message id", inline, func(p object) { delete(p["mail"].(object), "messageId") }, KindUnknown},
		{"SNS in an unknown encoding", inline, func(p object) { action(p)["encoding"] = "ROT13" }, KindUnknown},
		{"SNS with bad base64", inline, func(p object) { action(p)["encoding"] = "BASE64" }, KindUnknown},
		{"no action", stored, func(p object) { delete(p["receipt"].(object), "action") }, KindUnknown},
		{"unknown action", stored, func(p object) { p["receipt"].(object)["action"] = object{"type": "Teleport"} }, KindUnknown},
		{"Lambda", stored, func(p object) { p["receipt"].(object)["action"] = object{"type": "Lambda"} }, KindSESEvent},
		{"Bounce", stored, func(p object) { p["receipt"].(object)["action"] = object{"type": "Bounce"} }, KindSESEvent},
		{"Stop", stored, func(p object) { p["receipt"].(object)["action"] = object{"type": "Stop"} }, KindSESEvent},
		{"WorkMail", stored, func(p object) { p["receipt"].(object)["action"] = object{"type": "WorkMail"} }, KindSESEvent},
		{"AddHeader", stored, func(p object) { p["receipt"].(object)["action"] = object{"type": "AddHeader"} }, KindSESEvent},
		{"Lambda that names an object", stored, func(p object) { action(p)["type"] = "Lambda" }, KindSESS3},
		{"no receipt", stored, func(p object) { delete(p, "receipt") }, KindUnknown},
		{"no mail", stored, func(p object) { delete(p, "mail") }, KindUnknown},
		{"recipients no array", stored, func(p object) { p["receipt"].(object)["recipients"] = "a@example.com" }, KindUnknown},
		{"a type to come", stored, func(p object) { p["notificationType"] = "Received2" }, KindUnknown},
		{"headers of another shape", stored, func(p object) { p["mail"].(object)["headers"] = 1 }, KindSESS3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p object
			if err := json.Unmarshal([]byte(snstest.SESReceived(tt.of)), &p); err != nil {
				t.Fatal(err)
			}
			tt.change(p)
			message, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if kind, notices := Parse(string(message)); kind != tt.kind {
				t.Errorf("got %s, want %s: %+v", kind, tt.kind, notices)
			}
		})
	}
}

// TestReceivedWithoutID: without SES's id the object's key serves, as it does
// for the other sources.
func TestReceivedWithoutID(t *testing.T) {
	message := snstest.SESReceived(snstest.Receipt{MessageID: id, Bucket: "mail", Prefix: "in/"})
	message = strings.Replace(message, `"messageId":"`+id+`"`, `"messageId":""`, 1)
	if kind, notices := Parse(message); kind != KindSESS3 || len(notices) != 1 || notices[0].MessageID != id {
		t.Errorf("got %s %+v, want the id from the key", kind, notices)
	}
}

func TestReceivedTime(t *testing.T) {
	const form = `{"notificationType":"Received","mail":{"messageId":"x","timestamp":%MAIL},"receipt":{"timestamp":%RECEIPT,"action":{"type":"S3","bucketName":"b","objectKey":"k"}}}`
	tests := []struct {
		mail, receipt string
		want          time.Time
	}{
		{`"2024-02-29T23:59:58.123Z"`, `"2024-03-01T00:00:00Z"`, at},
		{`null`, `"2024-02-29T23:59:58.123Z"`, at},
		{`"yesterday"`, `"2024-02-29T23:59:58.123Z"`, at},
		{`"2024-03-01T00:59:58.123+01:00"`, `null`, at},
		{`""`, `"tomorrow"`, time.Time{}},
	}
	for _, tt := range tests {
		_, notices := Parse(strings.NewReplacer("%MAIL", tt.mail, "%RECEIPT", tt.receipt).Replace(form))
		if len(notices) != 1 || notices[0].Received != tt.want {
			t.Errorf("mail %s, receipt %s: got %+v, want %v", tt.mail, tt.receipt, notices, tt.want)
		}
	}
}

func TestParseSESEvents(t *testing.T) {
	for _, message := range []string{
		`{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[]},"mail":{"messageId":"x"}}`,
		`{"notificationType":"Complaint","complaint":{},"mail":{}}`,
		`{"notificationType":"Delivery","delivery":{},"mail":{}}`,
		`{"notificationType":"AmazonSnsSubscriptionSucceeded","message":"You have successfully subscribed"}`,
		`{"eventType":"Send","send":{},"mail":{"tags":{}}}`,
		`{"eventType":"DeliveryDelay","deliveryDelay":{},"mail":{}}`,
		`{"eventType":"Rendering Failure","failure":{},"mail":{}}`,
		`{"eventType":"SomethingNew","mail":{"messageId":"x"}}`,
	} {
		checkParse(t, message, KindSESEvent, nil)
	}
	for _, message := range []string{
		`{"eventType":"SomethingNew"}`,
		`{"eventType":"SomethingNew","mail":{},"content":"From: a"}`,
		`{"eventType":"SomethingNew","mail":{},"receipt":{}}`,
	} {
		checkParse(t, message, KindUnknown, nil)
	}
}

// TestManyRecipients: as many as fit into a notification, without undue work.
func TestManyRecipients(t *testing.T) {
	addresses := strings.Repeat(`"a@b",`, 100_000)
	message := `{"notificationType":"Received","mail":{"messageId":"x"},"receipt":{"recipients":[` + addresses +
		`"c@d"],"action":{"type":"S3","bucketName":"b","objectKey":"k"}}}`
	if _, notices := Parse(message); len(notices) != 1 || len(notices[0].Recipients) != 2 {
		t.Errorf("got %d notices, want one to two recipients", len(notices))
	}
}

// TestStrangeCharacters: addresses come out as they went in; others judge them.
func TestStrangeCharacters(t *testing.T) {
	strange := []string{"a@b\r\nRCPT TO:<c@d>", "a\x00b@c", "ü@例え.jp", "\"a b\"@c", "<a@b>", ""}
	message := snstest.SESReceived(snstest.Receipt{MessageID: "a\nb", Bucket: "mail\x00", Key: "../\x1b", Sender: "x\ny", Recipients: strange, Time: at})
	checkParse(t, message, KindSESS3, []Notice{{
		MessageID: "a\nb", Bucket: "mail\x00", Key: "../\x1b", Receipt: true, Sender: "x\ny",
		Recipients: strange, Verdicts: allPass, Received: at,
	}})
}
