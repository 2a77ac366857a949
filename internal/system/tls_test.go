package system

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
)

// The webhook serves HTTPS, and follows its certificate when it is renewed.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := writeCertificate(t, cert, key, 1)
	h := withoutDovecot(t, "HOMING_TLS_CERT_PATH", cert, "HOMING_TLS_KEY_PATH", key)
	h.postOver(first)

	// For a moment the files do not fit together.
	second := writeCertificate(t, cert, filepath.Join(dir, "key.new"), 2)
	await(t, "the complaint", func() error {
		h.postOver(first)
		if h.log.lines("the TLS certificate stays as it was") == nil {
			return errors.New("there is none")
		}
		return nil
	})
	if err := os.Rename(filepath.Join(dir, "key.new"), key); err != nil {
		t.Fatal(err)
	}
	await(t, "the second certificate", func() error {
		if serial := h.serial(); serial != 2 {
			return fmt.Errorf("certificate %d is served", serial)
		}
		return nil
	})
	h.postOver(second)
	h.awaitIdle()

	// Plain HTTP is not answered there.
	if status, _, err := h.post(receipt(newID(), "", address("alice"))); status != 400 {
		t.Errorf("plain HTTP is answered %d, %v; want 400", status, err)
	}
}

// postOver posts a notification over TLS to a webhook that has this certificate.
func (h *home) postOver(certificate *x509.Certificate) {
	h.tb.Helper()
	notification := sign(receipt(h.store(letter("sealed")), "ann@far.test", address("alice")))
	status, answer, err := snstest.Post(h.tb.Context(), trusting(certificate), "https://"+h.webhook+"/sns", notification)
	if status != 200 || err != nil {
		h.tb.Fatalf("over TLS the webhook answered %d %q, %v", status, answer, err)
	}
}

// trusting is a client that trusts this certificate alone.
func trusting(certificate *x509.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "homing.test"}, DisableKeepAlives: true,
	}}
}

// serial is the number of the certificate that is served now.
func (h *home) serial() int64 {
	h.tb.Helper()
	// Which one it is, is what is asked, not whether it is trusted.
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", h.webhook, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		h.tb.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func writeCertificate(t *testing.T, certPath, keyPath string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "homing.test"}, DNSNames: []string{"homing.test", "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		certPath: {Type: "CERTIFICATE", Bytes: der},
		keyPath:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		// In one step, as certbot does: a half-written file is another test's matter.
		if err := os.WriteFile(path+".part", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".part", path); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
