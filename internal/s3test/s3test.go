// Package s3test is an S3 server in the process: objects in memory behind plain
// HTTP on a loopback port, for the demo, the benchmarks and the fault tests.
//
// It is gofakes3 with a fault hook before it. gofakes3 checks no signatures and
// no uploaded checksums, stores the wrong octets for uploads with a trailing
// checksum over TLS, and knows neither tags nor the version of a copy's source:
// what it would get wrong is refused here, and proof is left to a real server.
package s3test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// region is what to sign for; the server looks at no signature.
const region = "us-east-1"

// Server is a running S3 server. Its methods may be called concurrently.
type Server struct {
	url     string
	backend *s3mem.Backend
	hook    atomic.Pointer[Hook]
	http    http.Server
	serving sync.WaitGroup
}

// New starts a server on a loopback port with these buckets in it. The caller
// closes it.
func New(buckets ...string) (*Server, error) {
	s := &Server{backend: s3mem.New()}
	for _, bucket := range buckets {
		if err := s.backend.CreateBucket(bucket); err != nil {
			return nil, fmt.Errorf("bucket %q: %w", bucket, err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for S3: %w", err)
	}
	s.url = "http://" + listener.Addr().String()
	s.http.Handler = Faulty(refuse(gofakes3.New(s.backend).Server()), s.fault)
	s.http.ReadHeaderTimeout = 10 * time.Second
	s.http.ErrorLog = log.New(io.Discard, "", 0) // gofakes3 writes a second header when a client has gone away
	s.serving.Go(func() { s.http.Serve(listener) })
	return s, nil
}

// URL is the server's endpoint, to be used with path-style addresses.
func (s *Server) URL() string { return s.url }

// Client returns a client of this server that sends and verifies checksums.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint:               aws.String(s.url),
		UsePathStyle:               true,
		Region:                     region,
		Credentials:                credentials.NewStaticCredentialsProvider("demo", "demo", ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	})
}

// Put stores an object with its CRC32, so that readers verify it. It does not
// pass the fault hook. Metadata names are without x-amz-meta-.
func (s *Server) Put(bucket, key string, body []byte, metadata map[string]string) error {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body))
	header := map[string]string{
		"Last-Modified":        time.Now().UTC().Format(http.TimeFormat),
		"X-Amz-Checksum-Crc32": base64.StdEncoding.EncodeToString(sum),
	}
	for name, value := range metadata {
		header[http.CanonicalHeaderKey("x-amz-meta-"+name)] = value
	}
	_, err := s.backend.PutObject(bucket, key, header, bytes.NewReader(body), int64(len(body)), nil)
	if err != nil {
		return fmt.Errorf("put s3://%s/%s: %w", bucket, key, err)
	}
	return nil
}

// Remove takes an object away, past the fault hook, as [Server.Put] puts it there.
func (s *Server) Remove(bucket, key string) error {
	if _, err := s.backend.DeleteObject(bucket, key); err != nil {
		return fmt.Errorf("remove s3://%s/%s: %w", bucket, key, err)
	}
	return nil
}

// Inject lets the hook decide about every request from now on; nil ends that.
func (s *Server) Inject(hook Hook) { s.hook.Store(&hook) }

func (s *Server) fault(r *http.Request) *Fault {
	if hook := s.hook.Load(); hook != nil && *hook != nil {
		return (*hook)(r)
	}
	return nil
}

// Close ends the server and its connections, and waits for it.
func (s *Server) Close() error {
	err := s.http.Close()
	s.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// refuse answers 501 to what gofakes3 would carry out wrongly: it stores a tag
// set as if it were the object, and takes the newest version for any other.
func refuse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		versionedHead := r.Method == http.MethodHead && query.Has("versionId")
		versionedCopy := strings.Contains(r.Header.Get("X-Amz-Copy-Source"), "?versionId=")
		if query.Has("tagging") || versionedHead || versionedCopy {
			writeError(w, r, http.StatusNotImplemented, "NotImplemented")
			return
		}
		next.ServeHTTP(w, r)
	})
}
