// Package awsclient configures AWS's SDK as every AWS tool is, but for a program
// that has to outlast whoever answers in AWS's place: no redirection is followed,
// and no answer is read without end.
package awsclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
)

// Options says how a service is spoken with.
type Options struct {
	// Silence is how long a connection may say nothing before it is given up, in a
	// header or in a body.
	Silence time.Duration
	// Idle connections are closed after this time. It should be well below Silence,
	// which is counted from the last octet of the last answer.
	Idle time.Duration
	// Connections are kept to one host, for as many requests at a time.
	Connections int
	// Answer is how many octets of an answer are read, once it is decompressed.
	Answer int64
	// Streamed is the operation whose answers are not bounded here, because their
	// reader does; empty: none.
	Streamed string
}

// Load reads the AWS_* variables and the shared files. The error says which
// setting is wrong; no request is made and no credentials are looked for yet.
// https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
func Load(ctx context.Context, o Options) (aws.Config, error) {
	// With any other client the SDK refuses AWS_CA_BUNDLE.
	transport := awshttp.NewBuildableClient().WithReadTimeout(o.Silence).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = 2 * o.Connections
		t.MaxIdleConnsPerHost = o.Connections
		t.IdleConnTimeout = o.Idle
		t.MaxResponseHeaderBytes = maxHeader
	})
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(transport),
		config.WithLogger(logging.Nop{})) // what it has to say comes back as errors, too
	if err == nil {
		cfg.HTTPClient, err = wary(cfg.HTTPClient, o)
	}
	if err != nil {
		return aws.Config{}, fmt.Errorf("AWS configuration (AWS_* variables and ~/.aws): %w", err)
	}
	return cfg, nil
}

// wary is what the SDK made of the transport, without its redirections: it follows
// 307 and 308 to any host, also to one that only this machine can reach.
func wary(made aws.HTTPClient, o Options) (aws.HTTPClient, error) {
	buildable, ok := made.(*awshttp.BuildableClient)
	if !ok {
		return nil, errors.New("the SDK has another HTTP client than it was given")
	}
	plain, ok := buildable.Freeze().(*http.Client)
	if !ok {
		return nil, errors.New("the SDK's HTTP client is not Go's")
	}
	still := *plain
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &still, answer: o.Answer, streamed: o.Streamed}, nil
}
