package moto

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

func TestQueue(t *testing.T) {
	s := Start(t)
	url := s.Queue(t, "mail", map[string]string{"VisibilityTimeout": "7"})
	if s.Left(t, url) != 0 {
		t.Error("a new queue is not empty")
	}
	client := s.SQS()
	if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("hello"), DelaySeconds: 0}); err != nil {
		t.Fatal(err)
	}
	out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 5})
	if err != nil || len(out.Messages) != 1 || aws.ToString(out.Messages[0].Body) != "hello" {
		t.Fatalf("received %+v, %v", out, err)
	}
	if s.Left(t, url) != 1 {
		t.Error("a message that is received is not gone")
	}
	if _, err := client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: out.Messages[0].ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	if s.Left(t, url) != 0 {
		t.Error("a message that is deleted is not gone")
	}
}
