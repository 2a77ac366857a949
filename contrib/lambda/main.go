// Command lambda is an AWS Lambda function that encrypts mail on arrival: SES
// stores a message in S3 and calls it, and it puts an OpenPGP message in its
// place and tells homing where. README.md says how to set it up.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/homing-mail/homing/fetcher"
)

const (
	// maxMessage is more than SES takes, which is 40 MB.
	// https://docs.aws.amazon.com/ses/latest/dg/quotas.html
	maxMessage = 64 << 20
	// memory is enough for one message, and a sandbox has one at a time.
	memory = 256 << 20
)

func main() { os.Exit(run(context.Background(), os.Environ(), os.Stderr)) }

// run works events until Lambda ends the process. It returns when it cannot begin.
func run(ctx context.Context, environ []string, stderr io.Writer) int {
	h, err := newHandler(ctx, environ, slog.New(slog.NewJSONHandler(stderr, nil)))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	lambda.StartWithOptions(h.handle, lambda.WithContext(ctx))
	return 0
}

func newHandler(ctx context.Context, environ []string, log *slog.Logger) (*handler, error) {
	cfg, err := loadConfig(environ)
	if err != nil {
		return nil, err
	}
	objects, err := fetcher.NewClient(ctx, cfg.pathStyle)
	if err != nil {
		return nil, err
	}
	awsCfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	return &handler{config: cfg, log: log, sns: sns.NewFromConfig(awsCfg), store: fetcher.New(fetcher.Config{
		Client: objects, Places: []fetcher.Place{cfg.from}, MaxMessage: maxMessage, Budget: fetcher.NewBudget(memory),
	})}, nil
}
