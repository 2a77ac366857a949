package kms

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/homing-mail/homing/awsclient"
)

const (
	// silence is how long KMS may say nothing: its answers are small.
	silence = 20 * time.Second
	// idle connections are closed early, for the silence is counted from the last
	// octet of the last answer.
	idle = 5 * time.Second
	// connections kept to one host, for as many decryptions at a time.
	connections = 16
	// maxAnswer is many times a data key with its names.
	maxAnswer = 64 << 10
)

// NewClient returns a client configured as every AWS tool is, from the AWS_*
// variables and the shared files: credentials, AWS_ENDPOINT_URL_KMS,
// AWS_CA_BUNDLE. Its region is the one for objects that name none, and may be
// empty. The error says which setting is wrong; no request is made and no
// credentials are looked for yet.
func NewClient(ctx context.Context) (*kms.Client, error) {
	cfg, err := awsclient.Load(ctx, awsclient.Options{Silence: silence, Idle: idle, Connections: connections, Answer: maxAnswer})
	if err != nil {
		return nil, err
	}
	return kms.NewFromConfig(cfg), nil
}
