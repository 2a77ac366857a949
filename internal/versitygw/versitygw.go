// Package versitygw starts a real S3 server for tests: versitygw, which checks
// signatures and checksums and keeps versions, tags and metadata on the disk.
// https://github.com/versity/versitygw
package versitygw

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/internal/neighbour"
)

// region is the one that the server expects in signatures.
const region = "us-east-1"

const startTime = 3 * time.Minute

// Server is a running versitygw.
type Server struct {
	URL       string // the endpoint, for path-style addresses
	AccessKey string
	SecretKey string
}

// Start runs a server on a loopback port until the test ends. Where the program
// is not installed it ends the test as package neighbour does.
func Start(tb testing.TB) *Server {
	tb.Helper()
	program := neighbour.Program(tb, "versitygw")
	s, err := start(tb, program)
	if err != nil {
		tb.Fatalf("start versitygw: %v", err)
	}
	return s
}

// Client returns a client that sends and verifies checksums.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint:               aws.String(s.URL),
		UsePathStyle:               true,
		Region:                     region,
		Credentials:                credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	})
}

func start(tb testing.TB, program string) (*Server, error) {
	address := neighbour.Address(tb)
	s := &Server{URL: "http://" + address, AccessKey: rand.Text(), SecretKey: rand.Text()}
	// It changes into its root: the directories have to be absolute, as these are.
	cmd := exec.Command(program, "--port", address, "--region", region, "--keep-alive", "--quiet",
		"posix", "--versioning-dir", tb.TempDir(), tb.TempDir())
	cmd.Env = append(cmd.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	cmd.SysProcAttr = new(syscall.SysProcAttr)
	neighbour.DieWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait()
		close(exited)
	}()
	stop := func() {
		cmd.Process.Kill()
		<-exited
	}
	if err := s.await(exited); err != nil {
		stop()
		return nil, fmt.Errorf("%w\n%s", err, output.Bytes())
	}
	tb.Cleanup(stop)
	return s, nil
}

// await returns when the server knows our key.
func (s *Server) await(exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	client := s.Client()
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := client.ListBuckets(ctx, nil, func(o *s3.Options) {
			o.RetryMaxAttempts = 1
			o.HTTPClient = once
		})
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return errors.New("versitygw ended at once")
		case <-ctx.Done():
			return fmt.Errorf("versitygw does not answer: %w", err)
		case <-again.C:
		}
	}
}
