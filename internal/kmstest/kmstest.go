// Package kmstest is a small AWS KMS inside the process, for what a real one or
// moto cannot show, and makes the objects that SES stores where a receipt rule
// encrypts. It speaks the JSON protocol of
// https://docs.aws.amazon.com/kms/latest/APIReference/, for GenerateDataKey and
// Decrypt.
package kmstest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// Key is the key of a server, as SES names its own.
const Key = "arn:aws:kms:us-east-1:123456789012:alias/aws/ses"

// Server is a running KMS. Its methods may be called concurrently.
type Server struct {
	url       string
	http      http.Server
	transport *http.Transport // of the clients; ends with the server
	serving   sync.WaitGroup

	mu    sync.Mutex
	blobs map[string]dataKey // by what stands for its ciphertext
	fault *Fault
	asked []string // the Authorization of each Decrypt
}

// dataKey is a key that the server gave out.
type dataKey struct {
	plain   []byte
	context map[string]string
}

// Fault is what is answered instead of a decryption.
type Fault struct {
	Status int    // 0: the connection is cut
	Code   string // KMS's error code
}

// New starts a server on a loopback port. The caller closes it.
func New() (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{url: "http://" + listener.Addr().String(), transport: &http.Transport{}, blobs: map[string]dataKey{}}
	s.http.Handler = http.HandlerFunc(s.serve)
	s.http.ErrorLog = log.New(io.Discard, "", 0)
	s.serving.Go(func() { s.http.Serve(listener) })
	return s, nil
}

// Close ends the server and all connections, and waits for it.
func (s *Server) Close() error {
	err := s.http.Close()
	s.transport.CloseIdleConnections()
	s.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Endpoint is what to set AWS_ENDPOINT_URL_KMS to.
func (s *Server) Endpoint() string { return s.url }

// Client returns a client of this server that tries every request once.
func (s *Server) Client() *kms.Client {
	return kms.New(kms.Options{
		BaseEndpoint: aws.String(s.url),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   &http.Client{Transport: s.transport},
		Retryer:      aws.NopRetryer{},
	})
}

// Fail lets every decryption fail from now on; nil ends that.
func (s *Server) Fail(fault *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Asked returns the regions that decryptions were signed for, in their order.
func (s *Server) Asked() (regions []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, authorization := range s.asked {
		// ... Credential=test/20261122/us-east-1/kms/aws4_request, ...
		if parts := strings.Split(authorization, "/"); len(parts) > 3 {
			regions = append(regions, parts[2])
		}
	}
	return regions
}

// message is a request or an answer of either operation.
type message struct {
	KeyID      string            `json:"KeyId,omitempty"`
	Context    map[string]string `json:"EncryptionContext,omitempty"`
	Ciphertext []byte            `json:"CiphertextBlob,omitempty"`
	Plaintext  []byte            `json:"Plaintext,omitempty"`
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	var request message
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, "SerializationException")
		return
	}
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.GenerateDataKey":
		s.generate(w, request)
	case "TrentService.Decrypt":
		s.decrypt(w, r, request)
	default:
		refuse(w, http.StatusBadRequest, "UnknownOperationException")
	}
}

func (s *Server) generate(w http.ResponseWriter, request message) {
	blob, plain := []byte(rand.Text()), make([]byte, 32)
	rand.Read(plain) // which never fails
	s.mu.Lock()
	s.blobs[string(blob)] = dataKey{plain, request.Context}
	s.mu.Unlock()
	answer(w, message{KeyID: Key, Ciphertext: blob, Plaintext: plain})
}

func (s *Server) decrypt(w http.ResponseWriter, r *http.Request, request message) {
	s.mu.Lock()
	key, known := s.blobs[string(request.Ciphertext)]
	fault := s.fault
	s.asked = append(s.asked, r.Header.Get("Authorization"))
	s.mu.Unlock()
	switch {
	case fault != nil && fault.Status == 0:
		cut(w)
	case fault != nil:
		refuse(w, fault.Status, fault.Code)
	case !known || !maps.Equal(key.context, request.Context):
		refuse(w, http.StatusBadRequest, "InvalidCiphertextException")
	default:
		answer(w, message{KeyID: Key, Plaintext: key.plain})
	}
}

func answer(w http.ResponseWriter, m message) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(m) // an error is the client's, which has gone away
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "request-1")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": "this is a test"})
}

// cut breaks the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	conn.Close()
}
