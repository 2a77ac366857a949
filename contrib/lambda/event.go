package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/homing-mail/homing/fetcher/envelope"
)

// setupID is the id of the message that SES makes when a rule is.
const setupID = "AMAZON_SES_SETUP_NOTIFICATION"

// maxNotification is what SNS takes of one message, in octets.
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
const maxNotification = 256 << 10

// event is what SES's Lambda action says of a message. Its parts are handed on
// as they are, so that what SES adds to them is not lost.
// https://docs.aws.amazon.com/ses/latest/dg/receiving-email-action-lambda-event.html
type event struct {
	Records []struct {
		EventSource string `json:"eventSource"`
		SES         parts  `json:"ses"`
	} `json:"Records"`
}

type parts struct {
	Mail    map[string]json.RawMessage `json:"mail"`
	Receipt map[string]json.RawMessage `json:"receipt"`
}

// message is one message that SES has stored.
type message struct {
	id       string
	envelope envelope.Envelope
	parts    parts
}

// messages reads an event.
func messages(raw []byte) ([]message, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("the event is not one of SES: %w", err)
	}
	if len(e.Records) == 0 {
		return nil, errors.New("the event has no records; is the function called by SES's Lambda action?")
	}
	var all []message
	for _, r := range e.Records {
		if r.EventSource != "aws:ses" {
			return nil, fmt.Errorf("the event is of %q and not of aws:ses; is the function called by SES's Lambda action?", r.EventSource)
		}
		m, err := r.SES.message()
		if err != nil {
			return nil, err
		}
		if m.id != setupID {
			all = append(all, m)
		}
	}
	return all, nil
}

func (p parts) message() (message, error) {
	m := message{parts: p}
	for _, member := range []struct {
		of   map[string]json.RawMessage
		name string
		into any
	}{
		{p.Mail, "messageId", &m.id},
		{p.Mail, "source", &m.envelope.Sender},
		{p.Receipt, "recipients", &m.envelope.Recipients},
	} {
		if err := json.Unmarshal(member.of[member.name], member.into); err != nil {
			return message{}, fmt.Errorf("the event's %s is missing or of a foreign type: %w", member.name, err)
		}
	}
	if m.id == "" || strings.Contains(m.id, "/") {
		return message{}, fmt.Errorf("the event's messageId %.100q can be no object's name", m.id)
	}
	return m, nil
}

// notification is what SES itself would say of a message if its S3 action had
// stored it under this key and notified the topic.
// https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html
func (m message) notification(topic, bucket, prefix, key string) (string, error) {
	action, err := json.Marshal(map[string]string{
		"type": "S3", "topicArn": topic, "bucketName": bucket, "objectKeyPrefix": prefix, "objectKey": key})
	if err != nil {
		return "", err
	}
	mail, receipt := maps.Clone(m.parts.Mail), maps.Clone(m.parts.Receipt)
	receipt["action"] = action
	n := map[string]any{"notificationType": "Received", "mail": mail, "receipt": receipt}
	text, err := json.Marshal(n)
	if err != nil || len(text) <= maxNotification {
		return string(text), err
	}
	// What the sender wrote may be large, and nobody needs it: it is in the message.
	for _, name := range []string{"headers", "commonHeaders", "destination"} {
		delete(mail, name)
	}
	mail["headersTruncated"] = json.RawMessage("true")
	text, err = json.Marshal(n)
	return string(text), err
}
