package notice

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVerifyTrustsOnlyItsRoots: the name of SNS's host is worth nothing without
// a TLS certificate for it. (On the way to the real one that is a passing fault.)
func TestVerifyTrustsOnlyItsRoots(t *testing.T) {
	s, impostor := newSigner(t), newSigner(t)
	transport := s.Transport().(*http.Transport).Clone()
	transport.DialContext = impostor.Transport().(*http.Transport).DialContext
	transport.DisableKeepAlives = true
	v := NewVerifier(VerifierConfig{Transport: transport})
	err := v.Verify(t.Context(), mustParse(t, impostor.Notification(topic, nil, "hello", "2")))
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); reason(err) != "unavailable" || !ok {
		t.Errorf("got %v, want the TLS certificate refused", err)
	}
	if n := impostor.CertFetches(); n != 0 {
		t.Errorf("%d requests were made nevertheless", n)
	}
}

// TestOwnTransport looks at the settings, for the real SNS is not for tests.
func TestOwnTransport(t *testing.T) {
	got, ok := NewVerifier(VerifierConfig{}).client.Transport.(*http.Transport)
	if !ok || got == http.DefaultTransport {
		t.Fatalf("the transport is %v, want one of its own", got)
	}
	if got.TLSClientConfig != nil && (got.TLSClientConfig.RootCAs != nil || got.TLSClientConfig.InsecureSkipVerify) {
		t.Error("it does not trust just the system's roots")
	}
	if got.TLSHandshakeTimeout == 0 || got.ResponseHeaderTimeout == 0 || got.MaxResponseHeaderBytes == 0 {
		t.Error("it has no limits")
	}
}

// TestSystemRoots verifies a message in a process of its own, which has a
// Verifier as it is in production: the system's roots are SSL_CERT_FILE's, and
// the way to SNS leads through the proxy of HTTPS_PROXY.
func TestSystemRoots(t *testing.T) {
	s, stranger := newSigner(t), newSigner(t)
	proxy := httptest.NewServer(s.Proxy())
	defer proxy.Close()
	body := s.Notification(topic, nil, "hello", "2")
	tests := []struct {
		name string
		ca   []byte
		want string
	}{
		{"its CA", s.CAPEM(), "accepted"},
		{"another CA", stranger.CAPEM(), "certificate signed by unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "ca.pem")
			if err := os.WriteFile(file, tt.ca, 0o600); err != nil {
				t.Fatal(err)
			}
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = []string{"NOTICE_VERIFY=1", "SSL_CERT_FILE=" + file, "SSL_CERT_DIR=" + dir + "/none", "HTTPS_PROXY=" + proxy.URL}
			child.Stdin = bytes.NewReader(body)
			out, err := child.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %q, %v, want %q", out, err, tt.want)
			}
		})
	}
}

// verifyStdin is what the process of TestSystemRoots does.
func verifyStdin() int {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	e, err := ParseEnvelope(body)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if err := NewVerifier(VerifierConfig{}).Verify(context.Background(), e); err != nil {
		fmt.Println("refused:", err)
		return 0
	}
	fmt.Println("accepted")
	return 0
}
