package poller

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestNewClient(t *testing.T) {
	for _, test := range []struct {
		url, configured, endpoint string // the last two: AWS_ENDPOINT_URL_SQS, what is used
		region                    string
	}{
		{"https://sqs.eu-west-1.amazonaws.com/123456789012/mail", "", "", "eu-west-1"},
		{"https://sqs.cn-north-1.amazonaws.com.cn/123456789012/mail", "", "", "cn-north-1"},
		{"https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/mail", "", "", "us-gov-west-1"},
		{"https://sqs.eu-west-1.api.aws/123456789012/mail", "", "", "eu-west-1"},
		{"https://eu-central-1.queue.amazonaws.com/123456789012/mail", "", "", "eu-central-1"},
		{"https://vpce-0a1b-2c.sqs.eu-west-1.vpce.amazonaws.com/123456789012/mail", "", "https://vpce-0a1b-2c.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"},
		{"https://sqs.eu-west-1.amazonaws.com/123456789012/mail", "http://localhost:1", "http://localhost:1", "eu-west-1"},
		{"http://localhost:4566/000000000000/mail", "", "http://localhost:4566", "af-south-1"},
		{"http://localhost:4566/000000000000/mail", "http://moto:5000", "http://moto:5000", "af-south-1"},
		{"https://sqs.eu-west-1.amazonaws.com.example.org/1/mail", "", "https://sqs.eu-west-1.amazonaws.com.example.org", "af-south-1"},
	} {
		t.Run(test.url+test.configured, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			t.Setenv("AWS_REGION", "af-south-1")
			t.Setenv("AWS_ENDPOINT_URL_SQS", test.configured)
			client, err := NewClient(t.Context(), test.url)
			if err != nil {
				t.Fatal(err)
			}
			o := client.Options()
			if o.Region != test.region || aws.ToString(o.BaseEndpoint) != test.endpoint {
				t.Errorf("got region %q and endpoint %q, want %q and %q", o.Region, aws.ToString(o.BaseEndpoint), test.region, test.endpoint)
			}
		})
	}
}

// Away from AWS no region is needed.
func TestNewClientWithoutRegion(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_REGION", "")
	if client, err := NewClient(t.Context(), "http://localhost:9324/queue/mail"); err != nil || client.Options().Region == "" {
		t.Errorf("got %v", err)
	}
}

func TestBackoff(t *testing.T) {
	for failures := range 20 {
		nominal := backoffs[min(max(failures, 1), len(backoffs))-1]
		if got := backoff(failures); got > nominal || got < nominal-nominal/10 {
			t.Errorf("%d: %v", failures, got)
		}
	}
}

// A server that sends more messages than it was asked for has them back.
func TestMoreThanAskedFor(t *testing.T) {
	answer := make([]types.Message, 3*batch)
	a := &access{client: answering{out: &sqs.ReceiveMessageOutput{Messages: answer}}}
	if messages, err := a.receive(t.Context(), 0, 0); err != nil || len(messages) != batch {
		t.Errorf("%d messages, %v; want %d", len(messages), err, batch)
	}
}

// answering answers one operation.
type answering struct {
	SQS
	out *sqs.ReceiveMessageOutput
}

func (a answering) ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	return a.out, nil
}
