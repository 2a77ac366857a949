package notice

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
)

func TestCertificateURL(t *testing.T) {
	const file = "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem"
	for _, good := range []string{
		"https://sns.us-east-1.amazonaws.com" + file,
		"https://sns.ap-southeast-5.amazonaws.com" + file,
		"https://sns.us-gov-west-1.amazonaws.com" + file,
		"https://sns.cn-northwest-1.amazonaws.com.cn" + file,
		"https://sns.mx-central-1.amazonaws.com" + file,
	} {
		if !certURL.MatchString(good) {
			t.Errorf("%s is refused", good)
		}
	}
}

// TestCertificateURLRefused: none of these is worth a request.
func TestCertificateURLRefused(t *testing.T) {
	const file = "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem"
	const host = "https://sns.us-east-1.amazonaws.com"
	v := NewVerifier(VerifierConfig{Transport: refusing{t}})
	for _, bad := range []string{
		"",
		"http://sns.us-east-1.amazonaws.com" + file,
		"HTTPS://sns.us-east-1.amazonaws.com" + file,
		"//sns.us-east-1.amazonaws.com" + file,
		"https://SNS.us-east-1.amazonaws.com" + file,
		"https://sns.US-EAST-1.amazonaws.com" + file,
		"https://sns.us-east-1.amazonaws.com.evil.com" + file,
		"https://sns.us-east-1.amazonaws.com@evil.com" + file,
		"https://evil.com@sns.us-east-1.amazonaws.com" + file,
		"https://evil.com/sns.us-east-1.amazonaws.com" + file,
		"https://evil.com#https://sns.us-east-1.amazonaws.com" + file,
		"https://evil.com\\@sns.us-east-1.amazonaws.com" + file,
		"https://sns.us-east-1.amazonaws.com:443" + file,
		"https://sns.us-east-1.amazonaws.com." + file,
		"https://sns.us-east-1xamazonaws.com" + file,
		"https://sns.us-east-1.amazonaws.com.cn.evil.com" + file,
		"https://sns.us-east-1.amazonaws.de" + file,
		"https://xsns.us-east-1.amazonaws.com" + file,
		"https://sns.evil.us-east-1.amazonaws.com" + file,
		"https://sns.amazonaws.com" + file,
		"https://sns..amazonaws.com" + file,
		"https://sns.s3.amazonaws.com" + file,
		"https://s3.amazonaws.com/sns.us-east-1.amazonaws.com" + file,
		"https://s3.amazonaws.com" + file,
		"https://sns.s3-us-west-2.amazonaws.com" + file,
		"https://sns.s3-website-us-east-1.amazonaws.com" + file,
		"https://sns.execute-api.us-east-1.amazonaws.com" + file,
		"https://sns.website-us-east-1.amazonaws.com" + file,
		"https://sqs.us-east-1.amazonaws.com" + file,
		host + "/../evil" + file,
		host + "/evil/.." + file,
		host + "/." + file,
		host + "/" + file,
		host + "/SimpleNotificationService-..%2f.pem",
		host + "/SimpleNotificationService-xyz.pem",
		host + "/SimpleNotificationService-.pem",
		host + "/SimpleNotificationService.pem",
		host + "/evil.pem",
		host + "/?Action=Publish&x=" + file,
		host + file + "?x=y",
		host + file + "#x",
		host + file + "/",
		host + file + "\n",
		host + file + "%00",
		"\n" + host + file,
		" " + host + file,
		host + "/SimpleNotificationService-" + strings.Repeat("a", 100) + ".pem",
	} {
		if _, err := v.certificate(t.Context(), bad); reason(err) != reasonHost {
			t.Errorf("%q: got %v, want it refused for its host", bad, err)
		}
	}
}

// TestCertificateFaults: whatever SNS's host answers, a genuine message is only
// put off; and it passes as soon as the fault is over.
func TestCertificateFaults(t *testing.T) {
	s := newSigner(t)
	e := mustParse(t, s.Notification(topic, nil, "hello", "2"))
	cut := s.CertPEM()[:len(s.CertPEM())/2]
	mangled := bytes.Replace(s.CertPEM(), []byte("MII"), []byte("MIJ"), 1)
	tests := map[string]snstest.Fault{
		"500":          {Status: http.StatusInternalServerError},
		"503":          {Status: http.StatusServiceUnavailable},
		"404":          {Status: http.StatusNotFound},
		"403":          {Status: http.StatusForbidden},
		"redirect":     {Status: http.StatusFound, Location: s.CertURL()},
		"empty":        {Status: http.StatusNoContent, Body: []byte{}},
		"no PEM":       {Body: []byte("<html>Service Unavailable</html>")},
		"half a PEM":   {Body: cut},
		"damaged":      {Body: mangled},
		"another PEM":  {Body: []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")},
		"much too big": {Body: append(bytes.Repeat([]byte("#"), maxBody), s.CertPEM()...)},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			v := NewVerifier(VerifierConfig{Transport: s.Transport(), Now: func() time.Time { return now }})
			before := s.CertFetches()
			s.FailCertificate(fault)
			for range 3 {
				if got := reason(v.Verify(t.Context(), e)); got != "unavailable" {
					t.Fatalf("got %q, want unavailable", got)
				}
			}
			if n := s.CertFetches() - before; n != 1 {
				t.Errorf("%d requests while the fault is remembered, want 1", n)
			}
			s.FailCertificate(snstest.Fault{})
			now = now.Add(faultMemory)
			if err := v.Verify(t.Context(), e); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

func TestCertificateIsSNS(t *testing.T) {
	s := newSigner(t)
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().AddDate(-3, 0, 0)
	tests := []struct {
		name    string
		subject snstest.Subject
		at      time.Time
		want    string
	}{
		{name: "global", subject: snstest.Subject{CommonName: "sns.amazonaws.com"}},
		{name: "regional", subject: snstest.Subject{CommonName: "sns.eu-west-1.amazonaws.com"}},
		{name: "GovCloud", subject: snstest.Subject{CommonName: "sns-us-gov-west-1.amazonaws.com"}},
		{name: "China", subject: snstest.Subject{CommonName: "sns-cn-north-1.amazonaws.com.cn"}},
		{name: "opt-in region", subject: snstest.Subject{CommonName: "sns-signing.af-south-1.amazonaws.com"}},
		{name: "alternative name", subject: snstest.Subject{CommonName: "Amazon", DNSNames: []string{"x.example.com", "sns.amazonaws.com"}}},
		{name: "other name", subject: snstest.Subject{CommonName: "sqs.amazonaws.com"}, want: reasonCertificate},
		{name: "no name", subject: snstest.Subject{}, want: reasonCertificate},
		{name: "look-alike", subject: snstest.Subject{CommonName: "sns.amazonaws.com.evil.com"}, want: reasonCertificate},
		{name: "look-alike bucket", subject: snstest.Subject{CommonName: "sns.s3.amazonaws.com"}, want: reasonCertificate},
		{name: "wildcard", subject: snstest.Subject{DNSNames: []string{"*.amazonaws.com"}}, want: reasonCertificate},
		{name: "no RSA", subject: snstest.Subject{CommonName: "sns.amazonaws.com", Key: elliptic.Public()}, want: reasonCertificate},
		{name: "expired", subject: snstest.Subject{CommonName: "sns.amazonaws.com", NotBefore: past, NotAfter: past.AddDate(1, 0, 0)}, want: reasonCertificate},
		{name: "expired since", subject: snstest.Subject{CommonName: "sns.amazonaws.com", NotBefore: past, NotAfter: past.AddDate(1, 0, 0)}, at: past.AddDate(0, 6, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pem, err := s.Certificate(tt.subject)
			if err != nil {
				t.Fatal(err)
			}
			s.FailCertificate(snstest.Fault{Body: pem})
			at := tt.at
			if at.IsZero() {
				at = time.Now()
			}
			v := NewVerifier(VerifierConfig{Transport: s.Transport()})
			err = v.Verify(t.Context(), mustParse(t, s.Notification(topic, nil, "hello", "2", snstest.At(at))))
			if got := reason(err); got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// TestCertificateBreaksOff: a connection lost in the middle of an answer is a
// passing fault, even where what has come would do.
func TestCertificateBreaksOff(t *testing.T) {
	s := newSigner(t)
	e := mustParse(t, s.Notification(topic, nil, "hello", "2"))
	lost := errors.New("connection reset")
	v := NewVerifier(VerifierConfig{Transport: answering(func(r *http.Request) *http.Response {
		body := io.MultiReader(bytes.NewReader(s.CertPEM()), iotest.ErrReader(lost))
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body), Request: r}
	})})
	if err := v.Verify(t.Context(), e); reason(err) != "unavailable" || !errors.Is(err, lost) {
		t.Errorf("got %v, want unavailable", err)
	}
}

// answering is an SNS in a function.
type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }
