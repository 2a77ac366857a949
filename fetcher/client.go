package fetcher

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/awsclient"
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
	// maxAnswer is twice a page of a thousand keys of 1,024 octets, each octet in
	// three characters.
	maxAnswer = 8 << 20
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
	cfg, err := awsclient.Load(ctx, awsclient.Options{
		Silence: silence, Idle: min(idle, silence/4), Connections: connections, Answer: maxAnswer, Streamed: "GetObject"})
	if err != nil {
		return nil, err
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
