package poller

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/homing-mail/homing/awsclient"
)

const (
	// silence is how long SQS may say nothing: longer than a long poll.
	silence = longPoll + 20*time.Second
	idle    = 10 * time.Second
	// maxAnswer is ten messages of 1 MiB, of which every second character is
	// escaped.
	maxAnswer = 16 << 20
)

// awsHost fits the host in a queue's URL where the queue is AWS's, and finds its
// region: today's, the FIPS, dual-stack and VPC endpoints', and the one from
// before there was a common form.
// https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
var awsHost = regexp.MustCompile(`^(?:(?:vpce-[a-z0-9-]+\.)?sqs(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.amazonaws\.(?:com|com\.cn|eu)|amazonaws\.(?:com|com\.cn|eu)|api\.(?:aws|amazonwebservices\.com\.cn))|([a-z0-9-]+)\.queue\.amazonaws\.(?:com|com\.cn))$`)

// NewClient returns a client for the queue with this URL, configured as every
// AWS tool is from the AWS_* variables and the shared files, but for the region,
// which is the queue's own. Where AWS_ENDPOINT_URL_SQS does not say otherwise a
// URL that is not AWS's is its own endpoint. The error says which setting is
// wrong or missing; no request is made yet.
func NewClient(ctx context.Context, queueURL string) (*sqs.Client, error) {
	queue, err := url.Parse(queueURL)
	if err != nil {
		return nil, err
	}
	cfg, err := awsclient.Load(ctx, awsclient.Options{Silence: silence, Idle: idle, Connections: 2 * receivers, Answer: maxAnswer})
	if err != nil {
		return nil, err
	}
	client := sqs.NewFromConfig(cfg, func(o *sqs.Options) { locate(o, queue) })
	if client.Options().Region == "" {
		return nil, errors.New("no AWS region: set AWS_REGION to the region of the queue")
	}
	return client, nil
}

// locate sets region and endpoint as the queue's URL says.
func locate(o *sqs.Options, queue *url.URL) {
	host := awsHost.FindStringSubmatch(queue.Hostname())
	private := strings.HasPrefix(queue.Hostname(), "vpce-")
	if host != nil {
		o.Region = host[1] + host[2]
	}
	if o.BaseEndpoint == nil && (host == nil || private) {
		endpoint := queue.Scheme + "://" + queue.Host
		o.BaseEndpoint = &endpoint
	}
	if o.Region == "" && host == nil {
		o.Region = "us-east-1" // nothing depends on it at other servers
	}
}
