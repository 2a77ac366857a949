package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"go.uber.org/goleak"

	"github.com/homing-mail/homing/internal/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sesName = "0123456789abcdefghij0123456789abcdefghij"

const mail = "Return-Path: <a@far.test>\r\nSubject: secret\r\n\r\nHello.\r\n"

func server(tb testing.TB) *kmstest.Server {
	tb.Helper()
	s, err := kmstest.New()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// sealed is a message as SES stores it, under the key "in/" and its name.
func sealed(tb testing.TB, client *kms.Client, message []byte) kmstest.Object {
	tb.Helper()
	o, err := kmstest.Seal(tb.Context(), client, kmstest.Key, sesName, message)
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

func reason(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason()
	}
	return ""
}

func TestDecrypt(t *testing.T) {
	client := server(t).Client()
	for _, size := range []int{0, 1, 15, 16, 17, 4 << 10, 1 << 20} {
		message := make([]byte, size)
		for i := range message {
			message[i] = byte(rand.Uint32())
		}
		o := sealed(t, client, message)
		stored := bytes.Clone(o.Octets)
		got, err := New(client).Decrypt(t.Context(), "in/"+sesName, o.Metadata, stored)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, message) {
			t.Errorf("size %d: another message", size)
		}
		if size > 0 && &got[0] != &stored[0] {
			t.Errorf("size %d: it is not in place", size)
		}
	}
}

// with returns the metadata with some changed; "" takes one away.
func with(metadata map[string]string, pairs ...string) map[string]string {
	changed := maps.Clone(metadata)
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] == "" {
			delete(changed, pair[0])
		} else {
			changed[pair[0]] = pair[1]
		}
	}
	return changed
}

// bound returns the metadata with the encryption context changed.
func bound(tb testing.TB, metadata map[string]string, pairs ...string) map[string]string {
	tb.Helper()
	var context map[string]string
	if err := json.Unmarshal([]byte(metadata[metaContext]), &context); err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(with(context, pairs...))
	if err != nil {
		tb.Fatal(err)
	}
	return with(metadata, metaContext, string(text))
}

func TestRefused(t *testing.T) {
	s := server(t)
	o := sealed(t, s.Client(), []byte(mail))
	for _, test := range []struct {
		name     string
		metadata map[string]string
		reason   string
		text     string
	}{
		{"v1", map[string]string{"x-amz-key": "AAAA", metaIV: "AAAA", metaContext: "{}"}, unsupported, "version 1"},
		{"v1 beside v2", with(o.Metadata, "x-amz-key", "AAAA"), unsupported, "version 1"},
		{"v3", map[string]string{"x-amz-3": "AAAA", "x-amz-d": "AAAA", "x-amz-i": "AAAA"}, unsupported, "version 3"},
		{"instruction file", map[string]string{"x-amz-crypto-instr-file": ""}, unsupported, "instruction file"},
		{"key elsewhere", map[string]string{metaLength: "12"}, unsupported, "in an instruction file, or nowhere"},
		{"no key", with(o.Metadata, metaWrapped, ""), unsupported, "there is no x-amz-key-v2"},
		{"CBC", with(o.Metadata, metaCipher, "AES/CBC/PKCS5Padding"), unsupported, "not authenticated"},
		{"no cipher", with(o.Metadata, metaCipher, ""), unsupported, "want AES/GCM/NoPadding"},
		{"CTR", with(o.Metadata, metaCipher, "AES/CTR/NoPadding"), unsupported, "want AES/GCM/NoPadding"},
		{"wrap", with(o.Metadata, metaWrap, "RSA-OAEP-SHA1"), unsupported, "want kms or kms+context"},
		{"short tag", with(o.Metadata, metaTag, "32"), unsupported, "want 128"},
		{"tag of 16", with(o.Metadata, metaTag, "16"), unsupported, "want 128"},
		{"no tag", with(o.Metadata, metaTag, ""), unsupported, "want 128"},
		{"short iv", with(o.Metadata, metaIV, "AAAA"), unsupported, "12 bytes"},
		{"long iv", with(o.Metadata, metaIV, strings.Repeat("A", 4000)), unsupported, "12 bytes"},
		{"no base64", with(o.Metadata, metaWrapped, "*"), unsupported, "base64"},
		{"empty key", with(o.Metadata, metaWrapped, "\n"), unsupported, "empty"},
		{"huge key", with(o.Metadata, metaWrapped, strings.Repeat("A", 20000)), unsupported, "more than it can be"},
		{"no context", with(o.Metadata, metaContext, ""), unsupported, "JSON"},
		{"other context", with(o.Metadata, metaContext, `{"a":1}`), unsupported, "JSON"},
		{"huge context", with(o.Metadata, metaContext, `{"a":"`+strings.Repeat("b", 9000)+`"}`), unsupported, "more than it can be"},
		{"kms+context without", with(o.Metadata, metaWrap, wrapKMSContext), unsupported, contextCipher},
		{"another cipher", bound(t, o.Metadata, contextCipher, "AES/CBC/PKCS5Padding"), unsupported, "has been changed"},
		{"another message", bound(t, o.Metadata, contextMessage, "another"), misplaced, `the message "another"`},
		{"another partition", bound(t, o.Metadata, contextKey, "arn:aws-cn:kms:cn-north-1:123456789012:alias/aws/ses"), unsupported, "cn-north-1"},
	} {
		octets := bytes.Clone(o.Octets)
		got, err := New(s.Client()).Decrypt(t.Context(), "in/"+sesName, test.metadata, octets)
		failed, ok := errors.AsType[*Error](err)
		if !ok || got != nil || failed.Reason() != test.reason || !failed.Permanent() || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %q, %v; want %s, for good, and %q", test.name, got, err, test.reason, test.text)
		}
		if !Encrypted(test.metadata) {
			t.Errorf("%s: it passes for mail", test.name)
		}
		if err := New(s.Client()).Try(t.Context(), "in/"+sesName, test.metadata); reason(err) != test.reason {
			t.Errorf("%s: a trial says %v", test.name, err)
		}
	}
	if asked := s.Asked(); asked != nil {
		t.Errorf("KMS was asked %d times", len(asked))
	}
	for _, plain := range []map[string]string{nil, {}, {"homing-id": "x", "x-amz-tag-len": "128"}} {
		if Encrypted(plain) {
			t.Errorf("%v passes for encrypted", plain)
		}
	}
}

// TestNames: a message under a name of somebody's own is delivered.
func TestNames(t *testing.T) {
	client := server(t).Client()
	o := sealed(t, client, []byte(mail))
	for _, key := range []string{sesName, "in/" + sesName, "a/b/" + sesName, "restored", "in/letter from ann.eml", "in/"} {
		if got, err := New(client).Decrypt(t.Context(), key, o.Metadata, bytes.Clone(o.Octets)); err != nil || string(got) != mail {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// TestTag: no flipped bit and no missing octet goes unnoticed.
func TestTag(t *testing.T) {
	client := server(t).Client()
	o := sealed(t, client, []byte(mail))
	spoilt := [][]byte{nil, append(bytes.Clone(o.Octets), 0), append([]byte{0}, o.Octets...), o.Octets[1:]}
	for i := range o.Octets {
		flipped := bytes.Clone(o.Octets)
		flipped[i] ^= 1 << (i % 8)
		spoilt = append(spoilt, flipped, bytes.Clone(o.Octets[:i]))
	}
	for i, octets := range spoilt {
		if got, err := New(client).Decrypt(t.Context(), sesName, o.Metadata, octets); got != nil || reason(err) != broken {
			t.Errorf("%d: %q, %v", i, got, err)
		}
	}
	swapped := with(o.Metadata, metaIV, sealed(t, client, nil).Metadata[metaIV])
	if got, err := New(client).Decrypt(t.Context(), sesName, swapped, bytes.Clone(o.Octets)); got != nil || reason(err) != broken {
		t.Errorf("another iv: %q, %v", got, err)
	}
}

func TestAnswersOfKMS(t *testing.T) {
	s := server(t)
	o := sealed(t, s.Client(), []byte(mail))
	for _, test := range []struct {
		fault  kmstest.Fault
		reason string
		text   string
	}{
		{kmstest.Fault{Status: 400, Code: "AccessDeniedException"}, denied, "allow these credentials kms:Decrypt on the key that " + kmstest.Key},
		{kmstest.Fault{Status: 400, Code: "NotFoundException"}, denied, "kms:Decrypt"},
		{kmstest.Fault{Status: 400, Code: "InvalidCiphertextException"}, wrongKey, "has been changed"},
		{kmstest.Fault{Status: 400, Code: "IncorrectKeyException"}, wrongKey, ""},
		{kmstest.Fault{Status: 400, Code: "InvalidKeyUsageException"}, wrongKey, ""},
		{kmstest.Fault{Status: 400, Code: "DisabledException"}, disabled, "enable " + kmstest.Key},
		{kmstest.Fault{Status: 400, Code: "KMSInvalidStateException"}, disabled, "cancel its deletion"},
		{kmstest.Fault{Status: 400, Code: "ThrottlingException"}, throttled, "fewer requests"},
		{kmstest.Fault{Status: 400, Code: "LimitExceededException"}, throttled, ""},
		{kmstest.Fault{Status: 500, Code: "KeyUnavailableException"}, serverFault, "500 KeyUnavailableException"},
		{kmstest.Fault{Status: 503, Code: "DependencyTimeoutException"}, serverFault, ""},
		{kmstest.Fault{Status: 400, Code: "UnrecognizedClientException"}, configuration, "credentials"},
		{kmstest.Fault{Status: 400, Code: "ExpiredTokenException"}, configuration, ""},
		{kmstest.Fault{Status: 403, Code: "InvalidSignatureException"}, configuration, ""},
		{kmstest.Fault{Status: 400, Code: "NewException"}, other, "NewException: this is a test, request request-1"},
		{kmstest.Fault{}, network, "no answer"},
	} {
		s.Fail(&test.fault)
		octets := bytes.Clone(o.Octets)
		got, err := New(s.Client()).Decrypt(t.Context(), sesName, o.Metadata, octets)
		failed, ok := errors.AsType[*Error](err)
		if !ok || got != nil || failed.Reason() != test.reason || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%+v: %q, %v; want %s and %q", test.fault, got, err, test.reason, test.text)
			continue
		}
		if failed.Permanent() != (test.reason == wrongKey) {
			t.Errorf("%+v: permanent: %t", test.fault, failed.Permanent())
		}
		if err := New(s.Client()).Try(t.Context(), sesName, o.Metadata); reason(err) != test.reason {
			t.Errorf("%+v: a trial says %v", test.fault, err)
		}
	}
	s.Fail(nil)
	if err := New(s.Client()).Try(t.Context(), sesName, o.Metadata); err != nil {
		t.Errorf("a trial: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(s.Client()).Try(ended, sesName, o.Metadata); reason(err) != canceled {
		t.Errorf("without time: %v", err)
	}
	anonymous := kms.New(s.Client().Options(), func(o *kms.Options) { o.Credentials = credentials.NewStaticCredentialsProvider("", "", "") })
	if err := New(anonymous).Try(t.Context(), sesName, o.Metadata); reason(err) != configuration {
		t.Errorf("without credentials: %v", err)
	}
}

// TestNamesNoInventedKey: whoever may write objects writes nothing into what a
// person is told to do.
func TestNamesNoInventedKey(t *testing.T) {
	s := server(t)
	o := sealed(t, s.Client(), []byte(mail))
	s.Fail(&kmstest.Fault{Status: 400, Code: "AccessDeniedException"})
	for _, key := range []string{
		"arn:aws:kms:us-east-1:123456789012:key/0a1b to everybody",
		"arn:aws:kms:us-east-1:123456789012:key/0a1b\n\x1b[2Jto everybody",
		"arn:aws:kms:us-east-1:123456789012:key/" + strings.Repeat("to-everybody", 100),
	} {
		err := New(s.Client()).Try(t.Context(), sesName, bound(t, o.Metadata, contextKey, key))
		if reason(err) != denied || strings.Contains(err.Error(), "everybody") || !strings.Contains(err.Error(), "the key of the receipt rule") {
			t.Errorf("%.100q: %v", key, err)
		}
	}
}

func TestReasonsAreListed(t *testing.T) {
	all := Reasons()
	for _, one := range []string{unsupported, misplaced, broken, wrongKey, denied, disabled, throttled, network, serverFault, configuration, canceled, other} {
		if !slices.Contains(all, one) {
			t.Errorf("%s is not listed", one)
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(all) {
		t.Errorf("some are listed twice: %q", all)
	}
}

// wire notes where a request would have gone.
type wire struct{ hosts, scopes []string }

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	w.hosts = append(w.hosts, r.URL.Scheme+"://"+r.URL.Host)
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	if parts := strings.Split(scope, "/"); len(parts) > 2 {
		w.scopes = append(w.scopes, parts[2])
	}
	return nil, errors.New("nobody is there")
}

// TestRegion: the key's region is asked, and nothing but AWS.
func TestRegion(t *testing.T) {
	s := server(t)
	o := sealed(t, s.Client(), []byte(mail))
	for _, test := range []struct {
		own, key string
		host     string // empty: nobody is asked
		reason   string
	}{
		{"eu-west-1", "arn:aws:kms:us-east-1:123456789012:alias/aws/ses", "https://kms.us-east-1.amazonaws.com", network},
		{"eu-west-1", "arn:aws:kms:ap-southeast-2:123456789012:key/0a1b", "https://kms.ap-southeast-2.amazonaws.com", network},
		{"", "arn:aws:kms:us-east-1:123456789012:alias/aws/ses", "https://kms.us-east-1.amazonaws.com", network},
		{"cn-north-1", "arn:aws-cn:kms:cn-northwest-1:123456789012:key/0a1b", "https://kms.cn-northwest-1.amazonaws.com.cn", network},
		{"eu-west-1", "", "https://kms.eu-west-1.amazonaws.com", network},
		{"eu-west-1", "alias/aws/ses", "https://kms.eu-west-1.amazonaws.com", network},
		{"eu-west-1", "arn:aws:kms:evil.test/:123456789012:key/0a1b", "https://kms.eu-west-1.amazonaws.com", network},
		{"eu-west-1", "arn:aws:kms:us-east-1.evil.test:123456789012:key/0a1b", "https://kms.eu-west-1.amazonaws.com", network},
		{"eu-west-1", "arn:aws:kms:us-east-1\n:123456789012:key/0a1b", "https://kms.eu-west-1.amazonaws.com", network},
		{"eu-west-1", "arn:aws-cn:kms:cn-north-1:123456789012:key/0a1b", "", unsupported},
		{"eu-west-1", "arn:aws:kms:cn-north-1:123456789012:key/0a1b", "", unsupported},
		{"us-gov-west-1", "arn:aws:kms:us-east-1:123456789012:key/0a1b", "", unsupported},
		{"", "", "", configuration},
	} {
		var w wire
		client := kms.New(kms.Options{Region: test.own, HTTPClient: &w, Retryer: aws.NopRetryer{},
			Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
		err := New(client).Try(t.Context(), sesName, bound(t, o.Metadata, contextKey, test.key))
		if reason(err) != test.reason {
			t.Errorf("%+v: %v", test, err)
		}
		if got := strings.Join(w.hosts, " "); got != test.host {
			t.Errorf("%+v: asked %q", test, got)
		}
		for i, region := range w.scopes {
			if !strings.Contains(w.hosts[i], "kms."+region+".") {
				t.Errorf("%+v: signed for %s", test, region)
			}
		}
	}
	abroad, err := kmstest.Seal(t.Context(), s.Client(), "arn:aws:kms:eu-central-1:123456789012:key/0a1b", sesName, []byte(mail))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(s.Client()).Decrypt(t.Context(), sesName, abroad.Metadata, abroad.Octets); err != nil {
		t.Error(err)
	}
	if got := s.Asked(); !slices.Equal(got, []string{"eu-central-1"}) {
		t.Errorf("at an endpoint of our own it is signed for %q", got)
	}
}

func FuzzEnvelope(f *testing.F) {
	good := sealed(f, server(f).Client(), []byte(mail)).Metadata
	f.Add(sesName, good[metaWrapped], good[metaIV], good[metaCipher], good[metaWrap], good[metaTag], good[metaContext])
	f.Add("in/x", "AAAA", "AAAAAAAAAAAAAAAA", cipherGCM, wrapKMSContext, "128", `{"aws:x-amz-cek-alg":"AES/GCM/NoPadding"}`)
	f.Fuzz(func(t *testing.T, key, wrapped, iv, cipher, wrap, tag, context string) {
		metadata := map[string]string{metaWrapped: wrapped, metaIV: iv, metaCipher: cipher, metaWrap: wrap, metaTag: tag, metaContext: context}
		e, err := readEnvelope(key, metadata)
		if err != nil {
			return
		}
		if len(e.iv) != ivSize || len(e.wrapped) == 0 || len(e.wrapped) > maxWrapped || cipher != cipherGCM || tag != tagBits {
			t.Errorf("%+v of %q", e, metadata)
		}
		region, err := e.region("eu-west-1")
		if err == nil && (strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || partition(region) != "") {
			t.Errorf("the object may choose %q", region)
		}
	})
}
