package snstest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) (*Signer, *http.Client) {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, &http.Client{Transport: s.Transport()}
}

func get(t *testing.T, c *http.Client, address string) (int, string) {
	t.Helper()
	resp, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// try makes a request that is expected to fail.
func try(ctx context.Context, c *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func TestCertificateIsServed(t *testing.T) {
	s, c := start(t)
	if status, body := get(t, c, s.CertURL()); status != 200 || body != string(s.CertPEM()) {
		t.Errorf("got %d %q, want the certificate", status, body)
	}
	if status, _ := get(t, c, "https://"+Host+"/SimpleNotificationService-00.pem"); status != 404 {
		t.Errorf("another certificate: got %d, want 404", status)
	}
	s.FailCertificate(Fault{Status: 503, Body: []byte("later")})
	if status, body := get(t, c, s.CertURL()); status != 503 || body != "later" {
		t.Errorf("with a fault: got %d %q, want 503", status, body)
	}
	if n := s.CertFetches(); n != 3 {
		t.Errorf("%d fetches were counted, want 3", n)
	}
}

func TestConfirmationIsRecorded(t *testing.T) {
	s, c := start(t)
	status, _ := get(t, c, "https://"+Host+"/?Action=ConfirmSubscription&TopicArn="+Topic("mail")+"&Token=abc")
	got := s.Confirmed()
	if status != 200 || len(got) != 1 || got[0].Get("Token") != "abc" {
		t.Errorf("got %d and %v, want one confirmation", status, got)
	}
	if status, _ := get(t, c, "https://"+Host+"/?Action=Publish"); status != 400 || len(s.Confirmed()) != 1 {
		t.Errorf("another action: got %d, want 400", status)
	}
}

// TestOnlySNS: the transport reaches no other host, and no other client the Signer.
func TestOnlySNS(t *testing.T) {
	s, c := start(t)
	for _, address := range []string{"https://example.com/", "http://" + Host + "/", "https://sns.us-east-1.amazonaws.com.evil.com/", "https://sns.us-west-2.amazonaws.com/"} {
		if err := try(t.Context(), c, address); err == nil {
			t.Errorf("%s was reached", address)
		}
	}
	_, other := start(t)
	other.Transport.(*http.Transport).DialContext = s.Transport().(*http.Transport).DialContext
	err := try(t.Context(), other, s.CertURL())
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("got %v, want the certificate refused", err)
	}
}

func TestFaultWaits(t *testing.T) {
	s, c := start(t)
	open := make(chan struct{})
	s.FailCertificate(Fault{Until: open})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := try(ctx, c, s.CertURL()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want no answer", err)
	}
	close(open)
	if status, _ := get(t, c, s.CertURL()); status != 200 {
		t.Errorf("got %d after the wait, want 200", status)
	}
}

func TestPost(t *testing.T) {
	s, _ := start(t)
	subscriber := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, r.Header.Get("x-amz-sns-message-type")+" "+r.Header.Get("x-amz-sns-topic-arn")+" "+r.Header.Get("x-amz-sns-subscription-arn"))
	}))
	defer subscriber.Close()
	arn := Topic("mail")
	tests := map[string][]byte{
		"Notification " + arn + " " + subscription(arn):            s.Notification(arn, nil, "x", "2"),
		"SubscriptionConfirmation " + arn + " ":                    s.SubscriptionConfirmation(arn, "1"),
		"UnsubscribeConfirmation " + arn + " " + subscription(arn): s.UnsubscribeConfirmation(arn, "1"),
	}
	for want, body := range tests {
		status, answer, err := Post(t.Context(), subscriber.Client(), subscriber.URL, body)
		if diff := cmp.Diff(want, answer); err != nil || status != http.StatusAccepted || diff != "" {
			t.Errorf("got %d, %v, -want +got\n%s", status, err, diff)
		}
	}
}

func TestProxyRefusesOthers(t *testing.T) {
	s, _ := start(t)
	proxy := httptest.NewServer(s.Proxy())
	defer proxy.Close()
	for _, method := range []string{http.MethodConnect, http.MethodGet} {
		req, err := http.NewRequestWithContext(t.Context(), method, proxy.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := proxy.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", method, resp.StatusCode)
		}
	}
}
