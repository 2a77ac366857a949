package main

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/homing-mail/homing/internal/moto"
	"github.com/homing-mail/homing/internal/snstest"
)

func snsClient(address string) *sns.Client {
	return sns.New(sns.Options{HTTPClient: moto.HTTPClient{}, BaseEndpoint: aws.String(address), Region: moto.Region,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

// The function speaks to SNS as others understand it: what it publishes comes
// out of a queue that is subscribed to the topic.
func TestPublishesToMoto(t *testing.T) {
	m := moto.Start(t)
	topic, err := snsClient(m.URL).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("mail")})
	if err != nil {
		t.Fatal(err)
	}
	queue := m.Queue(t, "mail", nil)
	arn := "arn:aws:sqs:" + moto.Region + ":123456789012:mail"
	if _, err := snsClient(m.URL).Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: &arn}); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, false, "AWS_ENDPOINT_URL_SNS="+m.URL, varTopic+"="+*topic.TopicArn)
	r.topic = *topic.TopicArn
	r.arrive(letter)
	if err := r.invoke(); err != nil {
		t.Fatal(err)
	}
	out, err := m.SQS().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue, WaitTimeSeconds: 20})
	if err != nil || len(out.Messages) != 1 {
		t.Fatalf("%d messages, %v", len(out.Messages), err)
	}
	var body struct{ TopicArn, Subject, Message string }
	if err := json.Unmarshal([]byte(*out.Messages[0].Body), &body); err != nil {
		t.Fatal(err)
	}
	r.announces([]snstest.Published{{Topic: body.TopicArn, Subject: body.Subject, Message: body.Message}})
}

// Our own SNS answers a client as moto does.
func TestPublisherIsLikeMoto(t *testing.T) {
	m := moto.Start(t)
	topic, err := snsClient(m.URL).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("mail")})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := snstest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer signer.Close()
	own := httptest.NewServer(signer.Publisher(*topic.TopicArn, func(snstest.Published, []byte) error { return nil }))
	defer own.Close()
	uuid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	for name, client := range map[string]*sns.Client{"moto": snsClient(m.URL), "ours": snsClient(own.URL)} {
		out, err := client.Publish(t.Context(), &sns.PublishInput{TopicArn: topic.TopicArn, Subject: aws.String("a"), Message: aws.String("b")})
		if err != nil || !uuid.MatchString(aws.ToString(out.MessageId)) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
		_, err = client.Publish(t.Context(), &sns.PublishInput{TopicArn: aws.String(*topic.TopicArn + "-other"), Message: aws.String("b")})
		if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "NotFound" {
			t.Errorf("%s: another topic: %v", name, err)
		}
	}
}
