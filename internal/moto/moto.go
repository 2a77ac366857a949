// Package moto starts moto for tests: AWS's SQS and KMS as others understand
// them, out of Debian 13's python3-moto in the root that test.sh makes.
package moto

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/homing-mail/homing/internal/neighbour"
)

const (
	// program is where Debian puts it, inside the root.
	program = "/usr/bin/moto_server"
	// patience is how long a slow machine may take to start it.
	patience = 3 * time.Minute
	// Region is in the URLs and ARNs of what moto makes.
	Region = "us-east-1"
)

// Server is a running moto.
type Server struct {
	URL string // the endpoint of all services
}

// Start runs a server on a loopback port until the test ends. Where it is not
// installed it ends the test as package neighbour does.
func Start(tb testing.TB) *Server {
	tb.Helper()
	root := neighbour.Trixie(tb, "moto", program)
	s, err := start(tb, root)
	if err != nil {
		tb.Fatalf("start moto: %v", err)
	}
	return s
}

func start(tb testing.TB, root string) (*Server, error) {
	address := neighbour.Address(tb)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(tb.TempDir(), "moto.log")
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, "-H", host, "-p", port)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "LC_ALL=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	neighbour.DieWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		// It is killed; its exit code tells nothing that its log does not.
		_ = cmd.Wait()
	}()
	stop := func() {
		_ = cmd.Process.Kill() // an error means that it has ended already
		<-exited
	}
	s := &Server{URL: "http://" + address}
	if err := s.await(exited); err != nil {
		stop()
		text, _ := os.ReadFile(path) // without it the error must do
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	tb.Cleanup(func() {
		stop()
		if text, _ := os.ReadFile(path); tb.Failed() {
			tb.Logf("moto logged:\n%s", text)
		}
	})
	return s, nil
}

// await returns when the server answers.
func (s *Server) await(exited <-chan struct{}) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	end := time.After(patience)
	for {
		answer, err := client.Get(s.URL + "/moto-api/")
		if err == nil {
			answer.Body.Close()
			return nil
		}
		select {
		case <-exited:
			return errors.New("moto ended at once")
		case <-end:
			return fmt.Errorf("moto does not answer: %w", err)
		case <-again.C:
		}
	}
}

// HTTPClient is for the SDK's clients, which now and then lose an answer that comes
// as soon as moto's, and then do everything twice: see package awsclient.
type HTTPClient struct{}

// Do implements aws.HTTPClient.
func (HTTPClient) Do(r *http.Request) (*http.Response, error) {
	same := *r
	if r.Body != nil {
		same.Body = struct{ io.ReadCloser }{r.Body}
	}
	return http.DefaultClient.Do(&same)
}

// SQS returns a client of its SQS.
func (s *Server) SQS() *sqs.Client {
	return sqs.New(sqs.Options{HTTPClient: HTTPClient{}, BaseEndpoint: aws.String(s.URL), Region: Region,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// Queue makes a queue with these attributes, which may be nil, and returns its
// URL.
func (s *Server) Queue(tb testing.TB, name string, attributes map[string]string) string {
	tb.Helper()
	out, err := s.SQS().CreateQueue(tb.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		tb.Fatalf("make the queue %s: %v", name, err)
	}
	return aws.ToString(out.QueueUrl)
}

// Left is how many messages a queue has, visible or not.
func (s *Server) Left(tb testing.TB, url string) (n int) {
	tb.Helper()
	out, err := s.SQS().GetQueueAttributes(tb.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		tb.Fatalf("attributes of %s: %v", url, err)
	}
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		some, err := strconv.Atoi(out.Attributes[name])
		if err != nil {
			tb.Fatalf("%s of %s: %v", name, url, err)
		}
		n += some
	}
	return n
}

// KMS returns a client of its KMS.
func (s *Server) KMS() *kms.Client {
	return kms.New(kms.Options{HTTPClient: HTTPClient{}, BaseEndpoint: aws.String(s.URL), Region: Region,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// Key makes a symmetric KMS key and returns its ARN.
func (s *Server) Key(tb testing.TB) (arn string) {
	tb.Helper()
	out, err := s.KMS().CreateKey(tb.Context(), nil)
	if err != nil {
		tb.Fatalf("make a KMS key: %v", err)
	}
	return aws.ToString(out.KeyMetadata.Arn)
}
