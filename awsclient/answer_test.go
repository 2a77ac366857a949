package awsclient

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// slowWriter is slow to return from writing the request's body: until the answer
// is being read.
type slowWriter struct {
	net.Conn
	reading <-chan struct{}
}

func (c slowWriter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if bytes.Contains(p, []byte("<Delete")) {
		<-c.reading
	}
	return n, err
}

// told is a round trip that tells when its answer is being read.
type told struct {
	http.RoundTripper
	reading func()
}

func (t told) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = toldBody{answer.Body, t.reading}
	}
	return answer, err
}

type toldBody struct {
	io.ReadCloser
	reading func()
}

func (b toldBody) Read(p []byte) (int, error) {
	b.reading()
	return b.ReadCloser.Read(p)
}

// An answer that comes before the request is done with is read.
func TestAnswerComesAtOnce(t *testing.T) {
	wrote, reading := make(chan error, 1), make(chan struct{})
	goOn := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		http.NewResponseController(w).Flush()
		<-goOn
		io.WriteString(w, `<?xml version="1.0"?><DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>`)
	}))
	defer server.Close()
	s := load(t, server.URL, "")
	ours := s.Options().HTTPClient.(*client)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return slowWriter{conn, reading}, err
	}}
	defer transport.CloseIdleConnections()
	ours.http.Transport = told{transport, sync.OnceFunc(func() { close(reading) })}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
		wrote <- info.Err
		close(goOn)
	}})
	out, err := s.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String("mail"),
		Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("a")}}}})
	if err != nil || len(out.Deleted) != 1 {
		t.Errorf("the answer: %v", err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("the request: %v", err)
	}
}
