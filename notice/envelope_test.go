package notice

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/snstest"
)

func TestParseEnvelope(t *testing.T) {
	subject := "Amazon S3 Notification"
	notification := Envelope{
		Type: "Notification", MessageID: "22b80b92", TopicARN: "arn:aws:sns:us-west-2:123456789012:mail",
		Message: "Hello\nworld", Timestamp: "2012-05-02T00:54:06.655Z", SignatureVersion: "1", Signature: "AAAA",
		SigningCertURL: "https://cert", UnsubscribeURL: "https://unsubscribe",
	}
	withSubject := notification
	withSubject.Subject = &subject
	const common = `"Type":"Notification","MessageId":"22b80b92","TopicArn":"arn:aws:sns:us-west-2:123456789012:mail",
		"Message":"Hello\nworld","Timestamp":"2012-05-02T00:54:06.655Z","SignatureVersion":"1","Signature":"AAAA",`
	const urls = `"SigningCertURL":"https://cert","UnsubscribeURL":"https://unsubscribe"`
	tests := map[string]struct {
		body string
		want Envelope
	}{
		"plain":          {"{" + common + urls + "}", notification},
		"Lambda's names": {"{" + common + `"SigningCertUrl":"https://cert","UnsubscribeUrl":"https://unsubscribe"}`, notification},
		"Subject":        {"{" + common + urls + `,"Subject":"Amazon S3 Notification"}`, withSubject},
		"null Subject":   {"{" + common + urls + `,"Subject":null}`, notification},
		"attributes":     {"{" + common + urls + `,"MessageAttributes":{"Type":{"Type":"String","Value":"x"}},"More":[1,{}]}`, notification},
		"other case":     {"{" + common + urls + `,"type":"x","message":"y","TOPICARN":"z","subject":"w"}`, notification},
		"white space":    {"\r\n {" + common + urls + "} \n", notification},
		"confirmation": {
			`{"Type":"SubscriptionConfirmation","Token":"t","SubscribeURL":"https://subscribe"}`,
			Envelope{Type: "SubscriptionConfirmation", Token: "t", SubscribeURL: "https://subscribe"},
		},
		"confirmation, Lambda's name": {
			`{"Type":"SubscriptionConfirmation","SubscribeUrl":"https://subscribe"}`,
			Envelope{Type: "SubscriptionConfirmation", SubscribeURL: "https://subscribe"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseEnvelope([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	tests := []struct {
		name, body string
		want       error
	}{
		{"empty", "", ErrNotJSON},
		{"text", "Hello", ErrNotJSON},
		{"form", "Type=Notification", ErrNotJSON},
		{"cut off", `{"Type":"Notification"`, ErrNotJSON},
		{"cut off in a member", `{"Type":"Notif`, ErrNotJSON},
		{"something after it", `{"Type":"Notification"} x`, ErrNotJSON},
		{"two of them", `{"Type":"Notification"}{"Type":"Notification"}`, ErrNotJSON},
		{"no comma", `{"Type":"Notification" "Message":"x"}`, ErrNotJSON},
		{"comma too many", `{"Type":"Notification",}`, ErrNotJSON},
		{"wrong bracket", `{"Type":"Notification"]`, ErrNotJSON},
		{"number, then text", `1 x`, ErrNotJSON},
		{"too deep", `{"Type":"Notification","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, ErrNotJSON},
		{"array", `[{"Type":"Notification"}]`, ErrNotEnvelope},
		{"string", `"Notification"`, ErrNotEnvelope},
		{"null", `null`, ErrNotEnvelope},
		{"raw SES", snstest.SESReceived(snstest.Receipt{Bucket: "mail"}), ErrNotEnvelope},
		{"raw S3", snstest.S3Event(snstest.Object{Bucket: "mail", Key: "x"}), ErrNotEnvelope},
		{"no object inside", `{}`, ErrNotEnvelope},
		{"type in another case", `{"type":"Notification"}`, ErrNotEnvelope},
		{"empty type", `{"Type":""}`, ErrNotEnvelope},
		{"null type", `{"Type":null}`, ErrNotEnvelope},
		{"Message no string", `{"Type":"Notification","Message":{"a":1}}`, ErrNotEnvelope},
		{"Subject no string", `{"Type":"Notification","Subject":1}`, ErrNotEnvelope},
		{"Type twice", `{"Type":"Notification","Type":"Notification"}`, ErrNotEnvelope},
		{"Message twice", `{"Type":"Notification","Message":"a","Message":"b"}`, ErrNotEnvelope},
		{"Message twice, escaped", `{"Type":"Notification","Message":"a","Mess\u0061ge":"b"}`, ErrNotEnvelope},
		{"Subject null and not", `{"Type":"Notification","Subject":null,"Subject":"b"}`, ErrNotEnvelope},
		{"both spellings", `{"Type":"Notification","SigningCertURL":"a","SigningCertUrl":"b"}`, ErrNotEnvelope},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if e, err := ParseEnvelope([]byte(tt.body)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, %v, want %v", e, err, tt.want)
			}
		})
	}
}

func TestEnvelopeTime(t *testing.T) {
	e := Envelope{Timestamp: "2012-05-02T00:54:06.655Z"}
	want := time.Date(2012, 5, 2, 0, 54, 6, 655e6, time.UTC)
	if got, err := e.Time(); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "2012-05-02", "Wed, 02 May 2012 00:54:06 +0000", "1335920046"} {
		e.Timestamp = bad
		if got, err := e.Time(); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

// FuzzEnvelope: what is accepted is JSON; every member used is the one member of
// that exact name, as another reader sees it; and nothing passes Verify that was
// not signed.
func FuzzEnvelope(f *testing.F) {
	s := newSigner(f)
	subject := "hello"
	genuine := map[string]bool{}
	for _, seed := range [][]byte{
		s.Notification(topic, nil, "hello", "1"),
		s.Notification(topic, &subject, "line\nline", "2"),
		s.Notification(topic, nil, "x", "2", snstest.After(set("Subject", nil))),
		s.Notification(topic, nil, "x", "1", snstest.After(rename("SigningCertURL", "SigningCertUrl"))),
		s.SubscriptionConfirmation(topic, "2"),
		s.UnsubscribeConfirmation(topic, "1"),
	} {
		f.Add(seed)
		text, err := mustParse(f, seed).canonical()
		if err != nil {
			f.Fatal(err)
		}
		genuine[string(text)] = true
	}
	for _, seed := range []string{`{}`, `{ "Type" : "a" , "x" : [ 1 , "]}" , { "\"" : null } ] , "Subject" : null }`, `{"T\u0079pe":"\\","x":-1e9,"y":true}`, `{"Type":"a","x":1e999}`, `{"Type":"Notification","type":"x"}`, `{"Type":"a","Type":"b"}`, `[]`, `{"Type":"Notification"}x`} {
		f.Add([]byte(seed))
	}
	v := NewVerifier(VerifierConfig{Transport: answering(func(r *http.Request) *http.Response {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s.CertPEM())), Request: r}
	})})
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := ParseEnvelope(body)
		if err != nil {
			if !errors.Is(err, ErrNotJSON) && !errors.Is(err, ErrNotEnvelope) {
				t.Fatalf("an error of no kind: %v", err)
			}
			if acceptable(body) {
				t.Fatalf("refused %q: %v", body, err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("accepted what is no JSON: %q", body)
		}
		if !acceptable(body) {
			t.Fatalf("accepted %q", body)
		}
		checkMembers(t, body, e)
		e.SigningCertURL = s.CertURL()
		if v.Verify(t.Context(), e) == nil {
			if text, err := e.canonical(); err != nil || !genuine[string(text)] {
				t.Fatalf("accepted what nobody signed: %q", body)
			}
		}
	})
}

// acceptable reads body token by token: one object, of whose members those that
// matter come once and are strings or null, and Type says something.
func acceptable(body []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if open, err := dec.Token(); err != nil || open != json.Delim('{') || !json.Valid(body) {
		return false
	}
	values := map[string]string{}
	for dec.More() {
		spelling, err := dec.Token()
		var value any
		if err != nil || dec.Decode(&value) != nil {
			return false
		}
		name := memberName(spelling.(string))
		if name == "" {
			continue
		}
		_, twice := values[name]
		text, isText := value.(string)
		if twice || !isText && value != nil {
			return false
		}
		values[name] = text
	}
	return values["Type"] != ""
}

// checkMembers reads body in another way and compares.
func checkMembers(t *testing.T, body []byte, e *Envelope) {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatalf("accepted what is no object: %v", err)
	}
	for names, got := range map[[2]string]string{
		{"Type"}: e.Type, {"MessageId"}: e.MessageID, {"TopicArn"}: e.TopicARN, {"Message"}: e.Message,
		{"Timestamp"}: e.Timestamp, {"Signature"}: e.Signature, {"SignatureVersion"}: e.SignatureVersion, {"Token"}: e.Token,
		{"SigningCertURL", "SigningCertUrl"}: e.SigningCertURL, {"SubscribeURL", "SubscribeUrl"}: e.SubscribeURL,
		{"UnsubscribeURL", "UnsubscribeUrl"}: e.UnsubscribeURL,
	} {
		raw, ok := all[names[0]]
		if !ok && names[1] != "" {
			raw, ok = all[names[1]]
		}
		var want string
		if ok && json.Unmarshal(raw, &want) != nil || got != want {
			t.Fatalf("%s: got %q, want %s in %q", names[0], got, raw, body)
		}
	}
	if raw, ok := all["Subject"]; (ok && string(raw) != "null") != (e.Subject != nil) {
		t.Fatalf("Subject: got %v in %q", e.Subject, body)
	}
}
