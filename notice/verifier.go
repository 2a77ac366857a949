package notice

import (
	"context"
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1" // signature version 1
	_ "crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Why a message was refused: the values of SignatureError.Reason.
const (
	reasonType        = "type"
	reasonVersion     = "version"
	reasonTimestamp   = "timestamp"
	reasonHost        = "host"
	reasonCertificate = "certificate"
	reasonSignature   = "signature"
)

// Reasons returns every value that SignatureError.Reason can have.
func Reasons() []string {
	return []string{reasonType, reasonVersion, reasonTimestamp, reasonHost, reasonCertificate, reasonSignature}
}

// SignatureError says that a message is not from SNS. Trying again will not help.
type SignatureError struct {
	Reason string // one of Reasons
	detail string // bounded, and quoted where it repeats the message
}

func (e *SignatureError) Error() string {
	return "not a genuine SNS message: " + e.detail
}

func refuse(reason, format string, args ...any) error {
	return &SignatureError{Reason: reason, detail: fmt.Sprintf(format, args...)}
}

// UnavailableError says that SNS could not be asked just now. Nothing is known
// about the message: it should be sent again.
type UnavailableError struct {
	Err error
}

func (e *UnavailableError) Error() string { return e.Err.Error() + "; try again later" }

// Unwrap returns the fault behind it.
func (e *UnavailableError) Unwrap() error { return e.Err }

// VerifierConfig configures a Verifier. The zero value is what AWS's own SNS needs.
type VerifierConfig struct {
	// Transport makes the requests to SNS. Nil: http.DefaultTransport's settings
	// with the system's roots and timeouts of our own. Another one is for a test
	// or a demo that brings its own SNS; it decides whom to trust, and which
	// hosts are asked for is pinned all the same.
	Transport http.RoundTripper
	Now       func() time.Time // nil: time.Now
}

// Verifier checks that messages are from SNS. It may be used concurrently.
type Verifier struct {
	client *http.Client
	now    func() time.Time
	flight singleflight.Group
	slots  chan struct{} // one for each fetch under way

	mu     sync.Mutex
	certs  *recent[*certificate] // by URL; their content never changes
	faults *recent[fault]
}

// NewVerifier returns a Verifier with an empty cache of certificates.
func NewVerifier(c VerifierConfig) *Verifier {
	if c.Transport == nil {
		c.Transport = transport()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Verifier{
		client: &http.Client{
			Transport:     c.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now:    c.Now,
		slots:  make(chan struct{}, maxFetches),
		certs:  newRecent[*certificate](maxCached),
		faults: newRecent[fault](maxCached),
	}
}

// transport returns a transport for a handful of requests a day: no connection
// is kept, and no step may take more than a few seconds. Like the default one it
// goes through the proxy that the environment names.
func transport() *http.Transport {
	t, ok := http.DefaultTransport.(*http.Transport)
	if ok {
		t = t.Clone()
	} else {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	t.DialContext = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	t.TLSHandshakeTimeout = 5 * time.Second
	t.ResponseHeaderTimeout = 5 * time.Second
	t.MaxResponseHeaderBytes = maxBody
	t.DisableKeepAlives = true
	return t
}

// Verify checks that SNS signed the message, with signature version 1 or 2 and
// a certificate that was SNS's when the message was published. It does not look
// at the topic: anybody can have SNS sign messages of topics of their own, so
// the caller compares TopicARN with the topics it knows, best before it calls
// Verify, so that strangers cannot make us fetch certificates.
//
// Errors are *SignatureError, or *UnavailableError if the certificate could not
// be fetched or ctx ended while waiting for it.
func (v *Verifier) Verify(ctx context.Context, e *Envelope) error {
	text, err := e.canonical()
	if err != nil {
		return err
	}
	hash, err := e.hash()
	if err != nil {
		return err
	}
	published, err := e.Time()
	if err != nil {
		return &SignatureError{Reason: reasonTimestamp, detail: err.Error()}
	}
	signature, err := base64.StdEncoding.DecodeString(e.Signature) // skips line breaks
	if err != nil || len(signature) == 0 {
		return refuse(reasonSignature, "its Signature is not base64")
	}
	cert, err := v.certificate(ctx, e.SigningCertURL)
	if err != nil {
		return err
	}
	if !cert.validAt(published) {
		return refuse(reasonCertificate, "its certificate was not valid at %s", published.Format(time.RFC3339))
	}
	digest := hash.New()
	digest.Write(text)
	if err := rsa.VerifyPKCS1v15(cert.key, hash, digest.Sum(nil), signature); err != nil {
		return refuse(reasonSignature, "its signature does not fit its content")
	}
	return nil
}

// canonical returns the string that SNS signed: name and value of each field,
// each followed by a line feed.
//
// The string does not say where a value ends. With line feeds in the values one
// signature would fit several messages (a Message that holds "\nMessageId\n" can
// be cut there), so only Message, the first of them, may have any: read from its
// end, the string then has one meaning. SNS allows none in the others.
func (e *Envelope) canonical() ([]byte, error) {
	fields := e.signed()
	if fields == nil {
		return nil, refuse(reasonType, "its Type is %.40q", e.Type)
	}
	text := make([]byte, 0, len(e.Message)+1<<10) // the others are short
	for _, f := range fields {
		if f.name != "Message" && strings.Contains(f.value, "\n") {
			return nil, refuse(reasonSignature, "its %s has a line break", f.name)
		}
		for _, part := range [...]string{f.name, "\n", f.value, "\n"} {
			text = append(text, part...)
		}
	}
	return text, nil
}

func (e *Envelope) hash() (crypto.Hash, error) {
	switch e.SignatureVersion {
	case "1":
		return crypto.SHA1, nil
	case "2":
		return crypto.SHA256, nil
	}
	return 0, refuse(reasonVersion, "its SignatureVersion is %.40q", e.SignatureVersion)
}

// unavailable wraps a fault that may pass.
func unavailable(format string, args ...any) error {
	return &UnavailableError{Err: fmt.Errorf(format, args...)}
}
