package sqstest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

// hand is a client of one queue.
type hand struct {
	*Server
	t      *testing.T
	client *sqs.Client
	url    string
}

func bubble(t *testing.T, test func(h *hand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := NewInMemory("mail", "dead")
		defer s.Close()
		test(&hand{s, t, s.Client(), s.URL("mail")})
	})
}

func (h *hand) receive(wait, hidden int32) []types.Message {
	h.t.Helper()
	out, err := h.client.ReceiveMessage(h.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &h.url, MaxNumberOfMessages: 10, WaitTimeSeconds: wait, VisibilityTimeout: hidden})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.Messages
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func TestVisibility(t *testing.T) {
	bubble(t, func(h *hand) {
		h.Send("mail", "x", map[string]string{"Name": "value"}, time.Now().Add(-time.Hour))
		began := time.Now()
		m := h.receive(0, 30)
		if len(m) != 1 || aws.ToString(m[0].Body) != "x" || aws.ToString(m[0].MessageAttributes["Name"].StringValue) != "value" {
			h.t.Fatalf("got %+v", m)
		}
		if len(h.receive(0, 30)) != 0 {
			h.t.Error("a hidden message was received")
		}
		again := h.receive(20, 30)
		if len(again) != 0 || time.Since(began) < 20*time.Second {
			h.t.Errorf("%d messages after %v", len(again), time.Since(began))
		}
		if again = h.receive(20, 30); len(again) != 1 || time.Since(began).Round(time.Second) != 30*time.Second || again[0].Attributes["ApproximateReceiveCount"] != "2" {
			h.t.Errorf("%+v after %v", again, time.Since(began))
		}
		change := func(handle *string, seconds int32) error {
			_, err := h.client.ChangeMessageVisibility(h.t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &h.url, ReceiptHandle: handle, VisibilityTimeout: seconds})
			return err
		}
		if err := change(m[0].ReceiptHandle, 5); code(err) != "MessageNotInflight" {
			h.t.Errorf("an old handle: %v", err)
		}
		if err := change(again[0].ReceiptHandle, 0); err != nil {
			h.t.Error(err)
		}
		if len(h.receive(0, 30)) != 1 {
			h.t.Error("it is not visible again")
		}
	})
}

func TestRedrive(t *testing.T) {
	bubble(t, func(h *hand) {
		h.Redrive("mail", "dead", 2, time.Hour)
		h.Send("mail", "x", nil, time.Time{})
		for range 3 {
			h.receive(3, 1)
		}
		if len(h.Messages("mail")) != 0 || len(h.Messages("dead")) != 1 {
			h.t.Errorf("%d and %d messages", len(h.Messages("mail")), len(h.Messages("dead")))
		}
	})
}

func TestSendAndDelete(t *testing.T) {
	bubble(t, func(h *hand) {
		if _, err := h.client.SendMessage(h.t.Context(), &sqs.SendMessageInput{QueueUrl: &h.url, MessageBody: aws.String("x"), DelaySeconds: 10}); err != nil {
			h.t.Fatal(err)
		}
		if len(h.receive(5, 0)) != 0 {
			h.t.Error("a delayed message was received")
		}
		m := h.receive(20, 30)
		out, err := h.client.DeleteMessageBatch(h.t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &h.url,
			Entries: []types.DeleteMessageBatchRequestEntry{{Id: aws.String("1"), ReceiptHandle: m[0].ReceiptHandle}}})
		if err != nil || len(out.Successful) != 1 || len(h.Messages("mail")) != 0 {
			h.t.Errorf("%+v, %v; %d left", out, err, len(h.Messages("mail")))
		}
	})
}

func TestRefusals(t *testing.T) {
	bubble(t, func(h *hand) {
		ctx := h.t.Context()
		_, err := h.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(h.URL("nowhere"))})
		if code(err) != "QueueDoesNotExist" {
			h.t.Errorf("no such queue: %v", err)
		}
		_, err = h.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &h.url, MessageBody: aws.String("x"), DelaySeconds: 901})
		if code(err) != "InvalidParameterValue" {
			h.t.Errorf("a long delay: %v", err)
		}
		_, err = h.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &h.url, WaitTimeSeconds: 21})
		if code(err) != "InvalidParameterValue" {
			h.t.Errorf("a long wait: %v", err)
		}
		entry := types.DeleteMessageBatchRequestEntry{Id: aws.String("1"), ReceiptHandle: aws.String("x")}
		_, err = h.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &h.url, Entries: []types.DeleteMessageBatchRequestEntry{entry, entry}})
		if code(err) != "BatchEntryIdsNotDistinct" {
			h.t.Errorf("one id twice: %v", err)
		}
	})
}

// Faults come in pairs: it failed, and it failed but it happened.
func TestFaults(t *testing.T) {
	for _, happens := range []bool{false, true} {
		for _, fault := range []Fault{{}, {Status: 403, Code: "AccessDenied"}} {
			bubble(t, func(h *hand) {
				fault.Happens = happens
				h.Inject(func(operation string, r Request) *Fault {
					if operation == "SendMessage" && strings.HasSuffix(r.QueueURL, "/mail") {
						return &fault
					}
					return nil
				})
				_, err := h.client.SendMessage(h.t.Context(), &sqs.SendMessageInput{QueueUrl: &h.url, MessageBody: aws.String("x")}, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
				if err == nil || code(err) != fault.Code || len(h.Messages("mail")) == 1 != happens {
					h.t.Errorf("%+v: %v, %d messages", fault, err, len(h.Messages("mail")))
				}
			})
		}
	}
}

func TestFaultWaits(t *testing.T) {
	bubble(t, func(h *hand) {
		open := make(chan struct{})
		h.Inject(func(string, Request) *Fault { return &Fault{Until: open, Status: 500, Code: "InternalError"} })
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
		defer cancel()
		if _, err := h.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &h.url}); !errors.Is(err, context.DeadlineExceeded) {
			h.t.Errorf("got %v", err)
		}
		close(open)
	})
}

func TestOverTCP(t *testing.T) {
	s, err := New("mail")
	if err != nil {
		t.Fatal(err)
	}
	s.Send("mail", "x", nil, time.Time{})
	url := s.URL("mail")
	out, err := s.Client().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url})
	if err != nil || len(out.Messages) != 1 || s.Calls()["ReceiveMessage"] != 1 || !strings.HasPrefix(url, s.Endpoint()) {
		t.Errorf("%+v, %v, %v", out, err, s.Calls())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
