package notice

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/snstest"
)

const id = "d6iitobk75ur44p8kdnnp7g2n800"

var at = time.Date(2024, 2, 29, 23, 59, 58, 123e6, time.UTC)

func TestParseS3(t *testing.T) {
	mail := Notice{MessageID: id, Bucket: "mail", Key: "in/" + id, Size: 4096, Received: at}
	object := snstest.Object{Bucket: "mail", Key: "in/" + id, Size: 4096, Time: at}
	versioned, other, removed, setup, aside := object, object, object, object, object
	aside.Key = "in/homing-encrypting/a b/mail"
	folder := snstest.Object{Bucket: "mail", Key: "in/", Time: at}
	noFolder := folder
	noFolder.Size = 1
	versioned.Version = "v1"
	other.Bucket, other.Key, other.Version = "b", "a b/ü+100%/x?y&z", "v2"
	removed.Event = "ObjectRemoved:Delete"
	setup.Key = "in/AMAZON_SES_SETUP_NOTIFICATION"
	named := func(event string) snstest.Object { o := object; o.Event = event; return o }
	withVersion := mail
	withVersion.Version = "v1"
	otherMail := Notice{MessageID: "b/a b/ü+100%25/x%3Fy&z?v2", Bucket: "b", Key: "a b/ü+100%/x?y&z", Version: "v2", Size: 4096, Received: at}
	tests := []struct {
		name    string
		message string
		kind    Kind
		want    []Notice
	}{
		{"one", snstest.S3Event(object), KindS3Event, []Notice{mail}},
		{"version", snstest.S3Event(versioned), KindS3Event, []Notice{withVersion}},
		{"encoded key", snstest.S3Event(other), KindS3Event, []Notice{otherMail}},
		{"several", snstest.S3Event(object, other), KindS3Event, []Notice{mail, otherMail}},
		{"multipart", snstest.S3Event(named("ObjectCreated:CompleteMultipartUpload")), KindS3Event, []Notice{mail}},
		{"copy", snstest.S3Event(named("ObjectCreated:Copy")), KindS3Event, []Notice{mail}},
		{"name with s3:", snstest.S3Event(named("s3:ObjectCreated:Put")), KindS3Event, []Notice{mail}},
		{"created and removed", snstest.S3Event(removed, object), KindS3Event, []Notice{mail}},
		{"created and setup", snstest.S3Event(setup, object), KindS3Event, []Notice{mail}},
		{"plus is a space", `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a+b%2Bc"}}}]}`,
			KindS3Event, []Notice{{MessageID: "b/a b+c", Bucket: "b", Key: "a b+c"}}},
		{"size below zero", `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k","size":-1}}}]}`,
			KindS3Event, []Notice{{MessageID: "b/k", Bucket: "b", Key: "k"}}},
		{"removed", snstest.S3Event(removed), KindS3Other, nil},
		{"tagged", snstest.S3Event(named("ObjectTagging:Put")), KindS3Other, nil},
		{"created, nearly", snstest.S3Event(named("ObjectCreatedX")), KindS3Other, nil},
		{"setup", snstest.S3Event(setup), KindSESSetup, nil},
		{"aside", snstest.S3Event(aside), KindS3Other, nil},
		{"created and aside", snstest.S3Event(aside, object), KindS3Event, []Notice{mail}},
		{"folder", snstest.S3Event(folder), KindS3Other, nil},
		{"created and folder", snstest.S3Event(folder, object), KindS3Event, []Notice{mail}},
		{"no folder", snstest.S3Event(noFolder), KindS3Event, []Notice{{MessageID: "mail/in/", Bucket: "mail", Key: "in/", Size: 1, Received: at}}},
		{"test event", snstest.S3TestEvent("mail"), KindS3Test, nil},
		{"no records", snstest.S3Event(), KindUnknown, nil},
		{"no event name", `{"Records":[{"eventSource":"aws:s3"}]}`, KindUnknown, nil},
		{"no bucket", `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"object":{"key":"k"}}}]}`, KindUnknown, nil},
		{"no key", snstest.S3Event(snstest.Object{Bucket: "mail"}), KindUnknown, nil},
		{"bad key", `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"%zz"}}}]}`, KindUnknown, nil},
		{"one of two is bad", snstest.S3Event(object, snstest.Object{Bucket: "mail"}), KindUnknown, nil},
		{"SES by way of Lambda", `{"Records":[{"eventSource":"aws:ses","eventVersion":"1.0","ses":{"mail":{},"receipt":{}}}]}`, KindUnknown, nil},
		{"SQS by way of Lambda", `{"Records":[{"eventSource":"aws:sqs","body":"{}"}]}`, KindUnknown, nil},
		{"null record", `{"Records":[null]}`, KindUnknown, nil},
		{"records no array", `{"Records":{"eventSource":"aws:s3"}}`, KindUnknown, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkParse(t, tt.message, tt.kind, tt.want) })
	}
}

func TestParseEventBridge(t *testing.T) {
	at := at.Truncate(time.Second) // EventBridge says no more
	object := snstest.Object{Bucket: "mail", Key: "in/" + id, Version: "v1", Size: 5, Time: at}
	mail := Notice{MessageID: id, Bucket: "mail", Key: "in/" + id, Version: "v1", Size: 5, Received: at}
	plain := Notice{MessageID: "mail/a+b%2520c", Bucket: "mail", Key: "a+b%20c", Received: at}
	named := func(event string) string { o := object; o.Event = event; return snstest.EventBridge(o) }
	tests := []struct {
		name    string
		message string
		kind    Kind
		want    []Notice
	}{
		{"created", snstest.EventBridge(object), KindEventBridge, []Notice{mail}},
		{"key is plain", snstest.EventBridge(snstest.Object{Bucket: "mail", Key: "a+b%20c", Time: at}), KindEventBridge, []Notice{plain}},
		{"copied", strings.Replace(snstest.EventBridge(object), "PutObject", "CopyObject", 1), KindEventBridge, []Notice{mail}},
		{"deleted", named("Object Deleted"), KindS3Other, nil},
		{"restored", named("Object Restore Completed"), KindS3Other, nil},
		{"setup", snstest.EventBridge(snstest.Object{Bucket: "mail", Key: "AMAZON_SES_SETUP_NOTIFICATION"}), KindSESSetup, nil},
		{"aside", snstest.EventBridge(snstest.Object{Bucket: "mail", Key: "homing-encrypting/" + id}), KindS3Other, nil},
		{"folder", snstest.EventBridge(snstest.Object{Bucket: "mail", Key: "in/"}), KindS3Other, nil},
		{"CloudTrail", named("AWS API Call via CloudTrail"), KindUnknown, nil},
		{"other source", strings.Replace(snstest.EventBridge(object), "aws.s3", "aws.ec2", 1), KindUnknown, nil},
		{"no key", snstest.EventBridge(snstest.Object{Bucket: "mail"}), KindUnknown, nil},
		{"no detail", `{"source":"aws.s3","detail-type":"Object Created"}`, KindUnknown, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkParse(t, tt.message, tt.kind, tt.want) })
	}
}

func TestParseOther(t *testing.T) {
	tests := []struct {
		name    string
		message string
		want    Kind
	}{
		{"greeting of SES", "Successfully validated SNS topic for Amazon SES event publishing.", KindText},
		{"empty", "", KindText},
		{"text with braces", "see {this}", KindText},
		{"object", `{"hello":"world"}`, KindUnknown},
		{"empty object", `{}`, KindUnknown},
		{"array", `[1,2]`, KindUnknown},
		{"number", `42`, KindUnknown},
		{"string", `"Received"`, KindUnknown},
		{"null", `null`, KindUnknown},
		{"JSON cut off", `{"notificationType":"Received","mail":{`, KindUnknown},
		{"JSON cut off after white space", " \r\n[{\"a\":", KindUnknown},
		{"JSON after a byte order mark", "\ufeff{\"a\":1}", KindUnknown},
		{"JSON too deep", strings.Repeat("[", 20000) + strings.Repeat("]", 20000), KindUnknown},
		{"members of other types", `{"notificationType":1,"mail":"x"}`, KindUnknown},
		{"someone's own event", `{"eventType":"order.created","order":7}`, KindUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkParse(t, tt.message, tt.want, nil) })
	}
}

func checkParse(t *testing.T, message string, kind Kind, want []Notice) {
	t.Helper()
	gotKind, got := Parse(message)
	if gotKind != kind {
		t.Errorf("got kind %s, want %s, of %s", gotKind, kind, message)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMessageID(t *testing.T) {
	tests := []struct{ bucket, key, version, want string }{
		{"b", id, "", id},
		{"b", "a/b/" + id, "v", id},
		{"b", "a/" + id + "/", "", "b/a/" + id + "/"},
		{"b", "abcdefghij0123456789", "", "abcdefghij0123456789"},
		{"b", "abcdefghij012345678", "", "b/abcdefghij012345678"},
		{"b", "x/Abcdefghij0123456789", "", "b/x/Abcdefghij0123456789"},
		{"b", id + ".eml", "", "b/" + id + ".eml"},
		{"b", id + "\n", "", "b/" + id + "\n"},
		{"b", "k", "v", "b/k?v"},
		{"b", "k", "null", "b/k"},
		{"b", "k?v", "", "b/k%3Fv"},
		{"b", "k%3Fv", "", "b/k%253Fv"},
	}
	for _, tt := range tests {
		if got := MessageID(tt.bucket, tt.key, tt.version); got != tt.want {
			t.Errorf("MessageID(%q, %q, %q) = %q, want %q", tt.bucket, tt.key, tt.version, got, tt.want)
		}
	}
}

func TestKinds(t *testing.T) {
	kinds := Kinds()
	if len(kinds) != 10 || len(slices.Compact(slices.Sorted(slices.Values(kinds)))) != len(kinds) {
		t.Errorf("%v: want ten different kinds", kinds)
	}
}

func TestShape(t *testing.T) {
	many := map[string]int{}
	for i := range 200 {
		many[strings.Repeat("x", i+1)] = i
	}
	long, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ message, want string }{
		{`{"b":"secret","a":{"x":1},"c":[1],"d":1.5,"e":true,"f":false,"g":null}`,
			"{a:object b:string c:array d:number e:bool f:bool g:null}"},
		{`{}`, "{}"},
		{` [1]`, "array"},
		{`"secret"`, "string"},
		{`-1`, "number"},
		{"secret", "not JSON, 6 bytes"},
		{"", "not JSON, 0 bytes"},
		{`{"detail-type":"x","a\n\u001b[2Jü\"b":1}`, "{a???2J??b:number detail-type:string}"},
	}
	for _, tt := range tests {
		if got := Shape(tt.message); got != tt.want {
			t.Errorf("Shape(%s) = %q, want %q", tt.message, got, tt.want)
		}
	}
	if got := Shape(string(long)); len(got) > maxShape || !strings.HasSuffix(got, " ...}") {
		t.Errorf("got %d bytes: %s", len(got), got)
	}
}

// FuzzParse: the kind is one of the known ones; there are notices just where the
// kind says mail; and every notice names a message and where to find it.
func FuzzParse(f *testing.F) {
	receipt := snstest.Receipt{MessageID: id, Recipients: []string{"a@example.com", "a@example.com"}, Time: at}
	stored, inline, encoded := receipt, receipt, receipt
	stored.Bucket = "mail"
	inline.Content, inline.Encoding = []byte("From: a@example.com\n\nhello\n"), "UTF8"
	encoded.Content, encoded.Encoding = inline.Content, "BASE64"
	object := snstest.Object{Bucket: "mail", Key: "a b/" + id, Version: "v", Size: 1, Time: at}
	for _, seed := range []string{
		snstest.SESReceived(stored), snstest.SESReceived(inline), snstest.SESReceived(encoded),
		snstest.S3Event(object, object), snstest.S3TestEvent("mail"), snstest.EventBridge(object),
		`{"notificationType":"Bounce","mail":{}}`, `{"eventType":"Send","mail":{}}`, "hello", `[]`, `{"a":`,
	} {
		f.Add(seed)
	}
	mail := map[Kind]bool{KindSESS3: true, KindSESSNS: true, KindS3Event: true, KindEventBridge: true}
	f.Fuzz(func(t *testing.T, message string) {
		kind, notices := Parse(message)
		if !slices.Contains(Kinds(), kind) {
			t.Fatalf("kind %q", kind)
		}
		if (len(notices) > 0) != mail[kind] {
			t.Fatalf("%d notices of kind %s", len(notices), kind)
		}
		if kind == KindText && json.Valid([]byte(message)) {
			t.Fatalf("JSON taken for text")
		}
		for _, n := range notices {
			checkNotice(t, kind, n)
		}
		shape := Shape(message)
		if len(shape) > maxShape || strings.ContainsFunc(shape, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("shape %q", shape)
		}
	})
}

func checkNotice(t *testing.T, kind Kind, n Notice) {
	t.Helper()
	if n.MessageID == "" || n.Size < 0 {
		t.Fatalf("no identity or a size below zero: %+v", n)
	}
	reference := n.Bucket != "" && n.Key != ""
	if reference == (len(n.Content) > 0) || (len(n.Content) > 0) != (kind == KindSESSNS) {
		t.Fatalf("neither a reference nor content, or both: %+v", n)
	}
	if fromSES := kind == KindSESS3 || kind == KindSESSNS; n.Receipt != fromSES || (n.Verdicts != "") != fromSES {
		t.Fatalf("receipt %v, verdicts %q with kind %s", n.Receipt, n.Verdicts, kind)
	}
	if !n.Receipt && (n.Sender != "" || len(n.Recipients) > 0) {
		t.Fatalf("an envelope without a receipt: %+v", n)
	}
	for i, r := range n.Recipients {
		if slices.Contains(n.Recipients[:i], r) {
			t.Fatalf("recipient %q twice", r)
		}
	}
	if strings.ContainsAny(n.Verdicts, "\r\n") || len(n.Verdicts) > 150 {
		t.Fatalf("verdicts %q", n.Verdicts)
	}
	if !isBinary(n.Content) {
		checkLineEnds(t, n.Content)
	}
}

func BenchmarkParse(b *testing.B) {
	content := []byte("Subject: hello\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 230))
	recipients := []string{"alice@example.com"}
	for name, message := range map[string]string{
		"ses_s3":     snstest.SESReceived(snstest.Receipt{Bucket: "mail", Recipients: recipients, Content: content}),
		"ses_sns":    snstest.SESReceived(snstest.Receipt{Content: content, Encoding: "UTF8", Recipients: recipients}),
		"ses_base64": snstest.SESReceived(snstest.Receipt{Content: content, Encoding: "BASE64", Recipients: recipients}),
		"s3_event":   snstest.S3Event(snstest.Object{Bucket: "mail", Key: id}),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				if _, notices := Parse(message); len(notices) != 1 {
					b.Fatal("no notice")
				}
			}
		})
	}
}
