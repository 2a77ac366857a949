package fetcher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

const (
	// silence is how long a connection may say nothing before it is given up, in
	// a header or in a body: a large object may take its time, a stalled one not.
	silence = 40 * time.Second
	// idle connections are closed early, for the silence is counted from the last
	// octet of the last answer: at least 30 s are left for the next one.
	idle = 10 * time.Second
	// connections kept to one host, for as many fetches at a time.
	connections = 64
	// defaultRegion is signed for at an endpoint other than AWS's, where nothing
	// depends on it.
	defaultRegion = "us-east-1"
)

// NewClient returns a client configured as every AWS tool is, from the AWS_*
// variables and the shared files: credentials, region, AWS_ENDPOINT_URL_S3,
// AWS_CA_BUNDLE, AWS_MAX_ATTEMPTS. With pathStyle the bucket is put into the path
// instead of the host name. The error says which setting is wrong or missing;
// no request is made and no credentials are looked for yet.
// https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
func NewClient(ctx context.Context, pathStyle bool) (*s3.Client, error) {
	return newClient(ctx, pathStyle, silence)
}

func newClient(ctx context.Context, pathStyle bool, silence time.Duration) (*s3.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(transport(silence)),
		config.WithLogger(logging.Nop{})) // what it has to say comes back as errors, too
	if err != nil {
		return nil, fmt.Errorf("AWS configuration (AWS_* variables and ~/.aws): %w", err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = pathStyle
		// Not every server stores checksums; a line in the log for each object helps nobody.
		o.DisableLogOutputChecksumValidationSkipped = true
		if o.Region == "" && o.BaseEndpoint != nil {
			o.Region = defaultRegion
		}
	})
	if client.Options().Region == "" {
		return nil, errors.New("no AWS region: set AWS_REGION to the region of the bucket")
	}
	return client, nil
}

// transport must be a BuildableClient: with a plain http.Client the SDK refuses
// AWS_CA_BUNDLE.
func transport(silence time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithReadTimeout(silence).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = 2 * connections
		t.MaxIdleConnsPerHost = connections
		t.IdleConnTimeout = min(idle, silence/4)
	})
}
