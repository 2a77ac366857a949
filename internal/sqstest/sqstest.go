// Package sqstest is a small Amazon SQS inside the process, for what a real one
// or moto cannot show: answers that fail, answers that fail although the work
// was done, and time that is a test's own. It speaks the JSON protocol of
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/
// for standard queues, and refuses what SQS would refuse.
package sqstest

import (
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/homing-mail/homing/internal/pipe"
)

// account is the owner of all queues.
const account = "123456789012"

// Server is a running SQS. Its methods may be called concurrently.
type Server struct {
	url       string
	http      http.Server
	transport *http.Transport // of the clients; ends with the server
	serving   sync.WaitGroup

	mu     sync.Mutex
	queues map[string]*queue
	hook   Hook
	calls  map[string]int
}

// New starts a server on a loopback port with these queues, empty. The caller
// closes it.
func New(queues ...string) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return start(listener, &http.Transport{MaxIdleConnsPerHost: 64}, queues), nil
}

// NewInMemory starts a server that only its own clients reach, over pipes, so
// that both ends can live in a bubble of testing/synctest.
func NewInMemory(queues ...string) *Server {
	listener := pipe.Listen()
	return start(listener, &http.Transport{DialContext: listener.DialContext, MaxIdleConnsPerHost: 64}, queues)
}

func start(listener net.Listener, transport *http.Transport, queues []string) *Server {
	s := &Server{url: "http://" + listener.Addr().String(), transport: transport, queues: map[string]*queue{}, calls: map[string]int{}}
	for _, name := range queues {
		s.queues[name] = &queue{changed: make(chan struct{})}
	}
	s.http.Handler = http.HandlerFunc(s.serve)
	s.http.ErrorLog = log.New(io.Discard, "", 0) // a connection that a fault resets is reported there
	s.serving.Go(func() { s.http.Serve(listener) })
	return s
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

// Endpoint is what to set AWS_ENDPOINT_URL_SQS to.
func (s *Server) Endpoint() string { return s.url }

// URL is the URL of a queue.
func (s *Server) URL(queue string) string { return s.url + "/" + account + "/" + queue }

// Client returns a client of this server.
func (s *Server) Client() *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: aws.String(s.url),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   &http.Client{Transport: s.transport},
	})
}

// Calls returns how often each operation was asked for, failed ones included.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Redrive gives a queue a redrive policy: a message received more than most
// times goes to the queue named. Retention is only shown, not kept.
func (s *Server) Redrive(name, to string, most int, retention time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[name].deadLetters, s.queues[name].most, s.queues[name].retention = to, most, retention
}
