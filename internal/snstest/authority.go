package snstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// authority is the CA of a Signer.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

// Subject says for whom a signing certificate is, and when.
type Subject struct {
	CommonName          string
	DNSNames            []string
	NotBefore, NotAfter time.Time        // zero: a day ago, and in a year
	Key                 crypto.PublicKey // nil: the key that the Signer signs with
}

func newRSAKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "snstest CA"},
		NotBefore:             time.Now().AddDate(0, 0, -1),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{key: key, cert: cert, pem: encodePEM(der)}, nil
}

// Certificate makes another signing certificate, to be given out by
// FailCertificate.
func (s *Signer) Certificate(subject Subject) ([]byte, error) {
	if subject.Key == nil {
		subject.Key = s.key.Public()
	}
	der, err := s.ca.issue(subject, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	return encodePEM(der), nil
}

func (a *authority) issue(subject Subject, usage x509.ExtKeyUsage) ([]byte, error) {
	if subject.NotBefore.IsZero() {
		subject.NotBefore = time.Now().AddDate(0, 0, -1)
	}
	if subject.NotAfter.IsZero() {
		subject.NotAfter = time.Now().AddDate(1, 0, 0)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: subject.CommonName},
		DNSNames:     subject.DNSNames,
		NotBefore:    subject.NotBefore,
		NotAfter:     subject.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
	}
	return x509.CreateCertificate(rand.Reader, template, a.cert, subject.Key, a.key)
}

// serverConfig returns what a TLS server of these names needs.
func (a *authority) serverConfig(names ...string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	subject := Subject{CommonName: names[0], DNSNames: names, Key: key.Public()}
	der, err := a.issue(subject, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}

func (a *authority) clientConfig() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots}
}

func encodePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// fingerprint returns 16 octets that name a certificate.
func fingerprint(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:16]
}
