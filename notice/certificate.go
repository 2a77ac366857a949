package notice

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

const (
	maxBody      = 64 << 10         // bytes of an answer from SNS; a certificate is about 2 KiB
	fetchTimeout = 10 * time.Second // SNS itself waits 15 s for our answer
)

// The region's form matters: sns.s3.amazonaws.com and sns.s3-us-west-2.amazonaws.com
// would be anybody's bucket. Hosts of the sovereign and secret partitions, outside
// amazonaws.com, are not supported.
const (
	region = `[a-z]{2,4}(?:-[a-z]+){1,3}-[0-9]{1,2}`
	origin = `https://sns\.` + region + `\.amazonaws\.com(?:\.cn)?`
)

// The URLs are matched as they are written, so that nobody has to agree with us
// on how to take them apart: no user, no port, no fragment, one path.
var (
	certURL      = regexp.MustCompile(`^` + origin + `/SimpleNotificationService-[0-9a-f]{1,64}\.pem$`)
	subscribeURL = regexp.MustCompile(`^` + origin + `/\?[!-"$-~]+$`)
	// The names differ from region to region (aws-sdk-java-v2, SnsHostProvider).
	// They need not be this region's: us-gov-east-1 uses us-gov-west-1's.
	certName = regexp.MustCompile(`^sns(?:|\.` + region + `|-` + region + `|-signing\.` + region + `)\.amazonaws\.com(?:\.cn)?$`)
)

// certificate is what is kept of an SNS signing certificate.
type certificate struct {
	key                 *rsa.PublicKey
	notBefore, notAfter time.Time
}

// validAt tells whether the certificate was valid at t. Messages are judged by
// the time they were published, for they may come days later from a queue.
func (c *certificate) validAt(t time.Time) bool {
	return !t.Before(c.notBefore) && !t.After(c.notAfter)
}

// fetch gets a certificate from SNS. Every answer but a well-formed certificate
// counts as a passing fault, so that no genuine message is lost to one.
func (v *Verifier) fetch(ctx context.Context, address string) (*certificate, error) {
	body, err := v.get(ctx, address)
	if err != nil {
		return nil, unavailable("the SNS signing certificate cannot be fetched: %w", err)
	}
	block, _ := pem.Decode(body)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, unavailable("%s holds no certificate", address)
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, unavailable("the SNS signing certificate %s is damaged: %w", address, err)
	}
	return signer(parsed)
}

// signer checks that a certificate is SNS's. It need not chain to a root: what
// makes it trustworthy is that SNS's own host gave it out over TLS, which the
// system's roots vouch for. The name is looked at in case that host ever gives
// out something else.
func signer(c *x509.Certificate) (*certificate, error) {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, refuse(reasonCertificate, "its certificate has no RSA key")
	}
	if !certName.MatchString(c.Subject.CommonName) && !slices.ContainsFunc(c.DNSNames, certName.MatchString) {
		return nil, refuse(reasonCertificate, "its certificate is for %.80q", c.Subject.CommonName)
	}
	return &certificate{key: key, notBefore: c.NotBefore, notAfter: c.NotAfter}, nil
}

// get returns the body of a 2xx answer. It follows no redirect, and takes at
// most fetchTimeout and maxBody.
func (v *Verifier) get(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		// Without the URL that the client puts before it: a SubscribeURL holds a token.
		if whole, ok := errors.AsType[*url.Error](err); ok {
			err = whole.Err
		}
		return nil, fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer of %s: %w", req.URL.Host, err)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, fmt.Errorf("%s answered %d", req.URL.Host, resp.StatusCode)
	case len(body) > maxBody:
		return nil, errors.New(req.URL.Host + " answered with more than 64 KiB")
	}
	return body, nil
}
