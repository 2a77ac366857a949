// Package snstest is an SNS of one's own for tests and the demo: it signs
// messages as SNS does, gives out its certificate over TLS, and takes
// confirmations. It trusts nobody and is trusted by nobody but the holders of
// its own CA.
package snstest

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Region is where the topics of a Signer live.
const Region = "us-east-1"

// Host is the name under which a Signer serves its certificate.
const Host = "sns." + Region + ".amazonaws.com"

// Signer is a small SNS. Its methods may be called concurrently.
type Signer struct {
	ca        *authority
	key       *rsa.PrivateKey
	pem       []byte
	certPath  string
	listener  net.Listener
	server    *http.Server
	serving   sync.WaitGroup
	transport *http.Transport

	mu        sync.Mutex
	certFault Fault
	subFault  Fault
	fetches   int
	confirmed []url.Values
}

// Fault makes an endpoint of the Signer misbehave. The zero value is none.
type Fault struct {
	Status   int             // answer with this status instead of 200
	Body     []byte          // answer with this body instead of the right one
	Location string          // sent as a header, to go with a 3xx status
	Until    <-chan struct{} // answer only after this channel was closed
}

// New starts a Signer with fresh keys on a loopback port. Close it.
func New() (*Signer, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w", err)
	}
	s := &Signer{ca: ca}
	if s.key, err = newRSAKey(); err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	if s.pem, err = s.Certificate(Subject{CommonName: "sns.amazonaws.com"}); err != nil {
		return nil, fmt.Errorf("making a signing certificate: %w", err)
	}
	// SNS, too, names the file after the certificate.
	s.certPath = "/SimpleNotificationService-" + hex.EncodeToString(fingerprint(s.pem)) + ".pem"
	config, err := ca.serverConfig(Host, "sns.eu-west-1.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn")
	if err != nil {
		return nil, fmt.Errorf("making a TLS certificate: %w", err)
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("opening a loopback port: %w", err)
	}
	s.transport = s.newTransport()
	s.start(config)
	return s, nil
}

func (s *Signer) start(config *tls.Config) {
	s.server = &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: 10 * time.Second,
		// Clients that refuse our certificate are what some tests are about.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s.serving.Go(func() {
		// It ends when Close closes the listener; a client notices any other end.
		_ = s.server.Serve(tls.NewListener(s.listener, config))
	})
}

// Close stops the server and drops the requests under way.
func (s *Signer) Close() {
	s.transport.CloseIdleConnections()
	_ = s.server.Close() // of a loopback port that nobody needs any more
	s.serving.Wait()
}

// CAPEM returns the certificate of the Signer's CA.
func (s *Signer) CAPEM() []byte { return s.ca.pem }

// CertURL is the SigningCertURL of the messages.
func (s *Signer) CertURL() string { return "https://" + Host + s.certPath }

// CertPEM returns the signing certificate.
func (s *Signer) CertPEM() []byte { return s.pem }

// Transport returns a transport that trusts the Signer's CA alone, reaches the
// Signer under the name of every SNS host, and no other host at all.
func (s *Signer) Transport() http.RoundTripper { return s.transport }

var snsHost = regexp.MustCompile(`^sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?:443$`)

func (s *Signer) newTransport() *http.Transport {
	var d net.Dialer
	return &http.Transport{
		TLSClientConfig: s.ca.clientConfig(),
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if !snsHost.MatchString(address) {
				return nil, fmt.Errorf("%s is not SNS", address)
			}
			return d.DialContext(ctx, network, s.listener.Addr().String())
		},
	}
}

// FailCertificate makes every further fetch of a certificate end in f.
func (s *Signer) FailCertificate(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certFault = f
}

// FailConfirmation makes every further confirmation end in f.
func (s *Signer) FailConfirmation(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subFault = f
}

// CertFetches returns how many requests for a certificate have come in.
func (s *Signer) CertFetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// Confirmed returns the queries of the confirmations that have come in.
func (s *Signer) Confirmed() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.confirmed)
}

func (s *Signer) handle(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/" && query.Get("Action") == "ConfirmSubscription":
		s.mu.Lock()
		s.confirmed = append(s.confirmed, query)
		fault := s.subFault
		s.mu.Unlock()
		fault.answer(w, r, "text/xml", confirmAnswer(query.Get("TopicArn")))
	case r.Method == http.MethodGet && r.URL.Path != "/":
		s.mu.Lock()
		s.fetches++
		fault := s.certFault
		s.mu.Unlock()
		if r.URL.Path != s.certPath && fault.Status == 0 && fault.Body == nil {
			fault.Status = http.StatusNotFound
		}
		fault.answer(w, r, "application/x-x509-ca-cert", s.pem)
	default:
		http.Error(w, "no such action", http.StatusBadRequest)
	}
}

func (f Fault) answer(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	if f.Until != nil {
		select {
		case <-f.Until:
		case <-r.Context().Done():
			return
		}
	}
	if f.Body != nil {
		body = f.Body
	}
	if f.Location != "" {
		w.Header().Set("Location", f.Location)
	}
	w.Header().Set("Content-Type", contentType)
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	// A client that went away is none of our business.
	_, _ = w.Write(body)
}

func confirmAnswer(topic string) []byte {
	return fmt.Appendf(nil, `<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">
  <ConfirmSubscriptionResult>
    <SubscriptionArn>%s</SubscriptionArn>
  </ConfirmSubscriptionResult>
  <ResponseMetadata>
    <RequestId>%s</RequestId>
  </ResponseMetadata>
</ConfirmSubscriptionResponse>
`, subscription(topic), newID())
}
