package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/spool"
)

// pair is a certificate with its key, and the files they are served from.
type pair struct{ cert, key string }

func newPair(t *testing.T) pair {
	t.Helper()
	dir := t.TempDir()
	return pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
}

// issue writes a new certificate for 127.0.0.1 with this common name.
func (p pair) issue(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, p.key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	replace(t, p.cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	p.touch(t, name)
}

// touch gives the files a time of their own: two that are written within one
// tick of the file system's clock would look the same.
func (p pair) touch(t *testing.T, name string) {
	t.Helper()
	at := time.Unix(1_700_000_000, 0).Add(time.Duration(name[0]) * time.Second)
	for _, path := range []string{p.cert, p.key} {
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// served shakes hands and returns the common name of the certificate.
func served(t *testing.T, conn net.Conn) string {
	t.Helper()
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // whose it is is what we want to know
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestCertificatesFollowTheFiles(t *testing.T) {
	files := newPair(t)
	synctest.Test(t, func(t *testing.T) {
		files.issue(t, "first")
		var log transcript
		cfg := &Config{TLSCertPath: filePath(files.cert), TLSKeyPath: filePath(files.key), LogFormat: "json"}
		c, err := newCertificates(cfg, newLogger(cfg, &log))
		if err != nil {
			t.Fatal(err)
		}
		serves := func(want string) {
			t.Helper()
			here, there := net.Pipe()
			done := make(chan error, 1)
			go func() { done <- tls.Server(there, c.config()).HandshakeContext(t.Context()) }()
			if got := served(t, here); got != want {
				t.Errorf("serves %s, want %s", got, want)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		said := func(text string, want int) {
			t.Helper()
			if got := log.said(t, text); got != want {
				t.Errorf("%q is said %d times, want %d:\n%s", text, got, want, &log)
			}
		}
		const again, kept = "the TLS certificate was read again", "the TLS certificate stays as it was"
		serves("first")
		files.issue(t, "second")
		serves("first") // it was looked at a moment ago
		pass(certificateLook)
		serves("second")
		said(again, 1)
		// The metric must not wait for a handshake.
		pass(time.Minute)
		files.issue(t, "later")
		if want := time.Now().Add(time.Hour); !c.expiry().Equal(want.Truncate(time.Second)) {
			t.Errorf("it expires %v, want %v", c.expiry(), want)
		}
		serves("later")
		said(again, 2)

		replace(t, files.cert, "no certificate")
		for range 3 {
			pass(certificateLook)
			serves("later")
		}
		said(kept, 1) // once, however often somebody comes
		files.issue(t, "third")
		pass(certificateLook)
		serves("third")
		said(again, 3)

		other := newPair(t)
		other.issue(t, "odd")
		replace(t, files.key, read(t, other.key)) // as between two steps of a renewal
		pass(certificateLook)
		serves("third")
		said(kept, 2)
		replace(t, files.cert, read(t, other.cert))
		pass(certificateLook)
		serves("odd")
		said(again, 4)

		if err := os.Remove(files.cert); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			pass(certificateLook)
			serves("odd")
		}
		said(kept, 3)
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCertificatesWrongAtFirst: without a certificate homing does not start, and
// says which variable to look at.
func TestCertificatesWrongAtFirst(t *testing.T) {
	files, other := newPair(t), newPair(t)
	files.issue(t, "files")
	other.issue(t, "other")
	empty := writeFile(t, "")
	for _, test := range []struct{ name, cert, key, want string }{
		{"no certificate", files.cert + "x", files.key, "no such file"},
		{"no key", files.cert, files.key + "x", "no such file"},
		{"another's key", files.cert, other.key, "private key does not match public key"},
		{"an empty file", empty, files.key, "failed to find any PEM data"},
		{"the wrong way round", files.key, files.cert, "failed to find certificate PEM data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("AWS_REGION", "eu-west-1")
			code, _, stderr := command(t, enough("HOMING_STATE_DIR="+t.TempDir(), "HOMING_LISTEN=127.0.0.1:0", "HOMING_METRICS_LISTEN=127.0.0.1:0",
				"HOMING_TLS_CERT_PATH="+test.cert, "HOMING_TLS_KEY_PATH="+test.key), "")
			if code != exitUsage || !strings.HasPrefix(stderr, "homing: HOMING_TLS_CERT_PATH and HOMING_TLS_KEY_PATH: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, %s, want %s", code, stderr, test.want)
			}
		})
	}
}

// TestHTTPS: a notification over TLS, and a renewed certificate on the listener.
func TestHTTPS(t *testing.T) {
	files := newPair(t)
	files.issue(t, "first")
	r := newRig(t)
	r.start("HOMING_TLS_CERT_PATH="+files.cert, "HOMING_TLS_KEY_PATH="+files.key)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(read(t, files.cert))) {
		t.Fatal("no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	body := r.sns.Notification(testTopic, nil, inline("m1", testMail, testAddress), "2")
	code, answer, err := snstest.Post(t.Context(), &http.Client{Transport: transport}, "https://"+r.app.webhookAddress()+"/sns", body)
	if err != nil || code != http.StatusOK {
		t.Fatalf("answered %d %s, %v", code, answer, err)
	}
	r.awaitState("m1", spool.Done)
	if got := served(t, dial(t, r.app.webhookAddress())); got != "first" {
		t.Errorf("serves %s", got)
	}
	files.issue(t, "second")
	await(t, "the new certificate", func() bool { return served(t, dial(t, r.app.webhookAddress())) == "second" })

	old := tls.Client(dial(t, r.app.webhookAddress()), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11})
	if err := old.HandshakeContext(t.Context()); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	code, _, err = snstest.Post(t.Context(), r.client, "http://"+r.app.webhookAddress()+"/sns", bytes.Clone(body))
	if err == nil && code == http.StatusOK {
		t.Error("plain HTTP is answered too")
	}
	if strings.Contains(r.log.String(), "PRIVATE KEY") {
		t.Error("the log says the key")
	}
}
