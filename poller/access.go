package poller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"golang.org/x/time/rate"
)

// SQS is the part of the SDK's client that is used. Calls may be repeated.
type SQS interface {
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, options ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, options ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput, options ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error)
	ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, options ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, options ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput, options ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// batch is how many messages SQS handles in one request at most.
const batch = 10

// brisk is how long a request may take that does not wait for messages.
const brisk = 20 * time.Second

// message is one message of a queue, as it was received.
type message struct {
	id, handle, body string
	sent             time.Time
	receives         int
	attributes       map[string]string // the sender's own
}

// access is what every user of a queue needs.
type access struct {
	client   SQS
	url      string
	observer Observer
	log      *slog.Logger
	loud     rate.Sometimes // complaints
	quiet    rate.Sometimes // messages that are left where they are
}

func (a *access) prepare() {
	a.loud = rate.Sometimes{First: 5, Interval: time.Second}
	a.quiet = rate.Sometimes{First: 5, Interval: time.Second}
}

// receive waits for messages, and hides them from others for a time.
func (a *access) receive(ctx context.Context, wait, hidden time.Duration) ([]*message, error) {
	out, err := a.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:              &a.url,
		MaxNumberOfMessages:   batch,
		WaitTimeSeconds:       int32(wait.Seconds()),
		VisibilityTimeout:     int32(hidden.Seconds()),
		MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameSentTimestamp, types.MessageSystemAttributeNameApproximateReceiveCount},
	}, once)
	if err != nil {
		return nil, err
	}
	// Those that were not asked for come again.
	messages := make([]*message, min(len(out.Messages), batch))
	for i := range messages {
		messages[i] = newMessage(&out.Messages[i])
	}
	return messages, nil
}

// once leaves trying again to us: a long poll is repeated anyway.
func once(o *sqs.Options) { o.RetryMaxAttempts = 1 }

func newMessage(m *types.Message) *message {
	system := func(name types.MessageSystemAttributeName) int64 {
		n, err := strconv.ParseInt(m.Attributes[string(name)], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	own := &message{
		id: aws.ToString(m.MessageId), handle: aws.ToString(m.ReceiptHandle), body: aws.ToString(m.Body),
		receives:   int(system(types.MessageSystemAttributeNameApproximateReceiveCount)),
		attributes: map[string]string{},
		sent:       time.Now(),
	}
	if at := system(types.MessageSystemAttributeNameSentTimestamp); at > 0 {
		own.sent = time.UnixMilli(at)
	}
	for name, value := range m.MessageAttributes {
		own.attributes[name] = aws.ToString(value.StringValue)
	}
	return own
}

// remove deletes at most a batch of messages and returns those that are left. It
// goes on when ctx ends: what is finished should not come again.
func (a *access) remove(ctx context.Context, messages []*message) (left []*message, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), brisk)
	defer cancel()
	entries := make([]types.DeleteMessageBatchRequestEntry, len(messages))
	for i, m := range messages {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.handle}
	}
	out, err := a.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &a.url, Entries: entries})
	if err != nil {
		return messages, err
	}
	return refused(messages, out.Failed)
}

// refused returns the messages of a batch's failed entries, and an error that
// quotes the first.
func refused(messages []*message, failed []types.BatchResultErrorEntry) (left []*message, err error) {
	for _, f := range failed {
		i, parsed := strconv.Atoi(aws.ToString(f.Id))
		if parsed != nil || i < 0 || i >= len(messages) {
			continue
		}
		if err == nil {
			err = &smithy.GenericAPIError{Code: aws.ToString(f.Code), Message: aws.ToString(f.Message)}
		}
		left = append(left, messages[i])
	}
	return left, err
}

// complain counts a failed request and logs it, now and then.
func (a *access) complain(operation string, err error) {
	a.observer.QueueError(operation)
	a.loud.Do(func() {
		a.log.Error("a request to the queue failed", "queue", a.url, "operation", operation, "error", explain(err))
	})
}

// leave says that a message stays where it is.
func (a *access) leave(source string, m *message, why *refusal) {
	if why.reason != "" {
		a.observer.SignatureFailure(why.reason)
	}
	a.observer.Notification(source, "none", "refused")
	text := "a message is left in its queue, to its redrive policy"
	if source == sourceDead {
		text = "a message is left in the dead-letter queue until somebody deletes it or it expires"
	}
	a.quiet.Do(func() {
		a.log.Warn(text, "queue", a.url, "message", m.id, "why", why.text)
	})
}

// explain adds to an error of SQS what to do about it.
func explain(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return fmt.Errorf("%w; let this machine reach the host in the queue's URL: DNS, firewall, HTTPS_PROXY", err)
	}
	switch api.ErrorCode() {
	case "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "InvalidAddress":
		return fmt.Errorf("%w; check the queue's URL, its region and account", err)
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation":
		return fmt.Errorf("%w; allow sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:SendMessage and sqs:GetQueueAttributes on it, and kms:Decrypt where it is encrypted", err)
	case "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignature",
		"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "MissingAuthenticationToken":
		return fmt.Errorf("%w; check the AWS credentials and this machine's clock", err)
	case "OverLimit":
		return fmt.Errorf("%w; too many messages are in flight", err)
	}
	return err
}
