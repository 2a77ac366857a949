package kms

import (
	"context"
	"fmt"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go/logging"
)

const (
	// silence is how long KMS may say nothing: its answers are small.
	silence = 20 * time.Second
	// idle connections are closed early, for the silence is counted from the last
	// octet of the last answer.
	idle = 5 * time.Second
	// connections kept to one host, for as many decryptions at a time.
	connections = 16
)

// NewClient returns a client configured as every AWS tool is, from the AWS_*
// variables and the shared files: credentials, AWS_ENDPOINT_URL_KMS,
// AWS_CA_BUNDLE. Its region is the one for objects that name none, and may be
// empty. The error says which setting is wrong; no request is made and no
// credentials are looked for yet.
func NewClient(ctx context.Context) (*kms.Client, error) {
	// It must be a BuildableClient: with a plain http.Client the SDK refuses
	// AWS_CA_BUNDLE.
	transport := awshttp.NewBuildableClient().WithReadTimeout(silence).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = connections
		t.IdleConnTimeout = idle
	})
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(transport), config.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, fmt.Errorf("AWS configuration (AWS_* variables and ~/.aws): %w", err)
	}
	return kms.NewFromConfig(cfg), nil
}
