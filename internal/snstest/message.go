package snstest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // signature version 1
	_ "crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Fields are the members of an SNS message by their names. Values are strings;
// nil stands for null.
type Fields map[string]any

// Option changes a message while it is made.
type Option struct {
	signed bool // apply it after signing
	change func(Fields)
}

// Before changes a message before it is signed: it remains genuine.
func Before(change func(Fields)) Option { return Option{change: change} }

// After changes a message after it was signed: a forgery.
func After(change func(Fields)) Option { return Option{signed: true, change: change} }

// At sets the Timestamp.
func At(t time.Time) Option {
	return Before(func(f Fields) { f["Timestamp"] = timestamp(t) })
}

// Topic returns the ARN of a topic in the Signer's region.
func Topic(name string) string { return "arn:aws:sns:" + Region + ":123456789012:" + name }

// Notification returns a signed notification as SNS posts it. A nil subject
// leaves the member out. version is the signature version, "1" or "2".
func (s *Signer) Notification(topic string, subject *string, message, version string, options ...Option) []byte {
	f := s.fields("Notification", topic, message, version)
	if subject != nil {
		f["Subject"] = *subject
	}
	f["UnsubscribeURL"] = "https://" + Host + "/?Action=Unsubscribe&SubscriptionArn=" + subscription(topic)
	return s.finish(f, options)
}

// SubscriptionConfirmation returns the signed offer of a subscription.
func (s *Signer) SubscriptionConfirmation(topic, version string, options ...Option) []byte {
	return s.finish(s.confirmation("SubscriptionConfirmation", topic, version,
		"You have chosen to subscribe to the topic "+topic+".\nVisit the SubscribeURL to confirm."), options)
}

// UnsubscribeConfirmation returns the signed report that a subscription ended.
func (s *Signer) UnsubscribeConfirmation(topic, version string, options ...Option) []byte {
	return s.finish(s.confirmation("UnsubscribeConfirmation", topic, version,
		"You have chosen to deactivate "+subscription(topic)+".\nVisit the SubscribeURL to restore it."), options)
}

func (s *Signer) fields(kind, topic, message, version string) Fields {
	return Fields{
		"Type":             kind,
		"MessageId":        newID(),
		"TopicArn":         topic,
		"Message":          message,
		"Timestamp":        timestamp(time.Now()),
		"SignatureVersion": version,
		"SigningCertURL":   s.CertURL(),
	}
}

func (s *Signer) confirmation(kind, topic, version, message string) Fields {
	f := s.fields(kind, topic, message, version)
	token := strings.Repeat(strings.ReplaceAll(newID(), "-", ""), 4)
	f["Token"] = token
	f["SubscribeURL"] = "https://" + Host + "/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + url.QueryEscape(token)
	return f
}

// finish signs a message between the changes before and after.
func (s *Signer) finish(f Fields, options []Option) []byte {
	for _, o := range options {
		if !o.signed {
			o.change(f)
		}
	}
	f["Signature"] = s.sign(f)
	for _, o := range options {
		if o.signed {
			o.change(f)
		}
	}
	body, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		// Only an Option can have brought in what is no JSON: let the reader see it.
		return fmt.Appendf(nil, "cannot encode this message: %v", err)
	}
	return body
}

// sign returns the signature over the members that SNS signs, each as "name LF
// value LF" in the order of the names.
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
func (s *Signer) sign(f Fields) string {
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if f["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	hash := crypto.SHA256
	if f["SignatureVersion"] == "1" {
		hash = crypto.SHA1
	}
	digest := hash.New()
	for _, name := range names {
		if value, ok := f[name].(string); ok {
			digest.Write([]byte(name + "\n" + value + "\n"))
		}
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, hash, digest.Sum(nil))
	if err != nil {
		return "cannot sign: " + err.Error() // refused by whoever reads it
	}
	return base64.StdEncoding.EncodeToString(signature)
}

// Header returns the headers that SNS sends with a message.
func Header(body []byte) http.Header {
	var f struct{ Type, MessageId, TopicArn string }
	// A broken message has no values for the headers; it is sent for its breakage.
	_ = json.Unmarshal(body, &f)
	h := http.Header{}
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("User-Agent", "Amazon Simple Notification Service Agent")
	h.Set("x-amz-sns-message-type", f.Type)
	h.Set("x-amz-sns-message-id", f.MessageId)
	h.Set("x-amz-sns-topic-arn", f.TopicArn)
	if f.Type != "SubscriptionConfirmation" {
		h.Set("x-amz-sns-subscription-arn", subscription(f.TopicArn))
	}
	return h
}

// Post sends a message to a subscriber as SNS does, and returns its answer.
func Post(ctx context.Context, client *http.Client, address string, body []byte) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header = Header(body)
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, string(text), err
}

func subscription(topic string) string { return topic + ":7c2b1f4e-0d35-4a4e-9c55-2f6f1d1f8a90" }

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// newID returns a random UUID (RFC 9562, section 5.4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
