package notice

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/homing-mail/homing/internal/snstest"
)

func TestMain(m *testing.M) {
	if os.Getenv("NOTICE_VERIFY") != "" {
		os.Exit(verifyStdin())
	}
	goleak.VerifyTestMain(m)
}

func newSigner(tb testing.TB) *snstest.Signer {
	tb.Helper()
	s, err := snstest.New()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func mustParse(tb testing.TB, body []byte) *Envelope {
	tb.Helper()
	e, err := ParseEnvelope(body)
	if err != nil {
		tb.Fatalf("ParseEnvelope(%s): %v", body, err)
	}
	return e
}

// reason returns why a message was refused, "unavailable", "" for none, or the
// error itself when it is neither.
func reason(err error) string {
	if err == nil {
		return ""
	}
	if refused, ok := errors.AsType[*SignatureError](err); ok {
		return refused.Reason
	}
	if _, ok := errors.AsType[*UnavailableError](err); ok {
		return "unavailable"
	}
	return err.Error()
}

func set(name string, value any) func(snstest.Fields) {
	return func(f snstest.Fields) { f[name] = value }
}

func drop(name string) func(snstest.Fields) {
	return func(f snstest.Fields) { delete(f, name) }
}

func rename(from, to string) func(snstest.Fields) {
	return func(f snstest.Fields) { f[to] = f[from]; delete(f, from) }
}

var topic = snstest.Topic("mail")

func TestVerifyGenuine(t *testing.T) {
	s := newSigner(t)
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	subject, empty := "Grüße an alle", ""
	lines := func(f snstest.Fields) {
		sig := f["Signature"].(string)
		f["Signature"] = sig[:76] + "\n" + sig[76:152] + "\r\n" + sig[152:] + "\n"
	}
	for _, version := range []string{"1", "2"} {
		tests := map[string][]byte{
			"notification":       s.Notification(topic, nil, "hello\nworld", version),
			"subject":            s.Notification(topic, &subject, "hello", version),
			"empty subject":      s.Notification(topic, &empty, "hello", version),
			"null subject":       s.Notification(topic, nil, "hello", version, snstest.After(set("Subject", nil))),
			"not ASCII":          s.Notification(topic, nil, "ünï\u2028 <&> \U0001F4EB \x00", version),
			"large":              s.Notification(topic, nil, strings.Repeat("0123456789abcdef\n", 16000), version),
			"attributes":         s.Notification(topic, nil, "x", version, snstest.After(set("MessageAttributes", map[string]any{"a": 1}))),
			"broken base64":      s.Notification(topic, nil, "hello", version, snstest.After(lines)),
			"other spelling":     s.Notification(topic, nil, "hello", version, snstest.After(rename("SigningCertURL", "SigningCertUrl"))),
			"subscription":       s.SubscriptionConfirmation(topic, version),
			"subscription, Url":  s.SubscriptionConfirmation(topic, version, snstest.After(rename("SubscribeURL", "SubscribeUrl"))),
			"unsubscription":     s.UnsubscribeConfirmation(topic, version),
			"another unsub. URL": s.Notification(topic, nil, "x", version, snstest.After(set("UnsubscribeURL", "https://example.com"))),
		}
		for name, body := range tests {
			t.Run(name+" v"+version, func(t *testing.T) {
				if err := v.Verify(t.Context(), mustParse(t, body)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if n := s.CertFetches(); n != 1 {
		t.Errorf("the certificate was fetched %d times, want once", n)
	}
}

// TestVerifyTampered changes every signed member of genuine messages.
func TestVerifyTampered(t *testing.T) {
	s := newSigner(t)
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	subject := "hello"
	notification := func(version string, o snstest.Option) []byte {
		return s.Notification(topic, &subject, "hello", version, o)
	}
	subscription := func(version string, o snstest.Option) []byte {
		return s.SubscriptionConfirmation(topic, version, o)
	}
	unsubscription := func(version string, o snstest.Option) []byte {
		return s.UnsubscribeConfirmation(topic, version, o)
	}
	confirmed := []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn"}
	tests := []struct {
		name   string
		make   func(string, snstest.Option) []byte
		fields []string
	}{
		{"notification", notification, []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn"}},
		{"subscription", subscription, confirmed},
		{"unsubscription", unsubscription, confirmed},
	}
	for _, tt := range tests {
		for _, name := range tt.fields {
			other := "another"
			if name == "Timestamp" {
				other = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
			}
			changes := map[string]func(snstest.Fields){"changed": set(name, other), "null": set(name, nil), "gone": drop(name)}
			for change, f := range changes {
				for _, version := range []string{"1", "2"} {
					err := v.Verify(t.Context(), mustParse(t, tt.make(version, snstest.After(f))))
					want := reasonSignature
					if name == "Timestamp" && change != "changed" {
						want = reasonTimestamp
					}
					if got := reason(err); got != want {
						t.Errorf("%s v%s with %s %s: got %q, want %q", tt.name, version, name, change, got, want)
					}
				}
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	s := newSigner(t)
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	other := newSigner(t)
	note := func(version string, o ...snstest.Option) []byte {
		return s.Notification(topic, nil, "hello", version, o...)
	}
	tests := []struct {
		name string
		body []byte
		want string
	}{
		{"unknown type", note("2", snstest.Before(set("Type", "Greeting"))), reasonType},
		{"type in another case", note("2", snstest.Before(set("Type", "notification"))), reasonType},
		{"notification posing as subscription", note("2", snstest.After(set("Type", TypeSubscriptionConfirmation))), reasonSignature},
		{"subscription posing as notification", s.SubscriptionConfirmation(topic, "2", snstest.After(set("Type", TypeNotification))), reasonSignature},
		{"unsubscription posing as subscription", s.UnsubscribeConfirmation(topic, "2", snstest.After(set("Type", TypeSubscriptionConfirmation))), reasonSignature},
		{"version 3", note("3"), reasonVersion},
		{"no version", note("2", snstest.After(drop("SignatureVersion"))), reasonVersion},
		{"version 1 signed as 2", note("2", snstest.After(set("SignatureVersion", "1"))), reasonSignature},
		{"version 2 signed as 1", note("1", snstest.After(set("SignatureVersion", "2"))), reasonSignature},
		{"Timestamp no date", note("2", snstest.Before(set("Timestamp", "yesterday"))), reasonTimestamp},
		{"Subject added", note("2", snstest.After(set("Subject", "hello"))), reasonSignature},
		{"empty Subject added", note("2", snstest.After(set("Subject", ""))), reasonSignature},
		{"no signature", note("2", snstest.After(drop("Signature"))), reasonSignature},
		{"signature no base64", note("2", snstest.After(set("Signature", "?"))), reasonSignature},
		{"short signature", note("2", snstest.After(set("Signature", "AAAA"))), reasonSignature},
		{"no certificate", note("2", snstest.After(drop("SigningCertURL"))), reasonHost},
		{"someone else's key", other.Notification(topic, nil, "hello", "2", snstest.After(set("SigningCertURL", s.CertURL()))), reasonSignature},
		{"before the certificate", note("2", snstest.At(time.Now().AddDate(0, 0, -2))), reasonCertificate},
		{"after the certificate", note("2", snstest.At(time.Now().AddDate(2, 0, 0))), reasonCertificate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := v.Verify(t.Context(), mustParse(t, tt.body))
			if got := reason(err); got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestErrorsAreBounded(t *testing.T) {
	v := NewVerifier(VerifierConfig{Transport: refusing{t}})
	evil := strings.Repeat("\x1b[2J\r\nX-Evil: 1\u202e", 10000)
	good := Envelope{Type: TypeNotification, SignatureVersion: "1", Timestamp: "2024-01-02T03:04:05Z", Signature: "AAAA", SigningCertURL: evil}
	tests := []func(*Envelope){
		func(e *Envelope) {},
		func(e *Envelope) { e.Type = evil },
		func(e *Envelope) { e.SignatureVersion = evil },
		func(e *Envelope) { e.Timestamp = evil[1 : len(evil)-1] },
	}
	for _, change := range tests {
		e := good
		change(&e)
		err := v.Verify(t.Context(), &e)
		if reason(err) == "unavailable" || err == nil {
			t.Fatalf("got %v, want a refusal", err)
		}
		if text := err.Error(); len(text) > 1500 || strings.ContainsAny(text, "\r\n\x1b\u202e") {
			t.Errorf("error of %d bytes: %q", len(text), text)
		}
	}
}

// refusing fails the test when it is asked for anything.
type refusing struct{ t *testing.T }

func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	r.t.Errorf("a request was made to %s", req.URL)
	return nil, errors.New("no network here")
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		if r == "" || seen[r] {
			t.Errorf("reason %q is empty or twice there", r)
		}
		seen[r] = true
	}
}

func BenchmarkVerify(b *testing.B) {
	s := newSigner(b)
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	message := snstest.SESReceived(snstest.Receipt{Bucket: "mail", Recipients: []string{"alice@example.com"}})
	for _, version := range []string{"1", "2"} {
		body := s.Notification(topic, nil, message, version)
		b.Run("v"+version, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				e, err := ParseEnvelope(body)
				if err != nil {
					b.Fatal(err)
				}
				if err := v.Verify(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
