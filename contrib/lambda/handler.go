package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/homing-mail/homing/fetcher"
)

// subject is that of SES's own notifications.
const subject = "Amazon SES Email Receipt Notification"

// mostCopies is how many versions of one message are looked for.
const mostCopies = 8

// handler works SES's events. Each step may be repeated, as Lambda does when an
// invocation fails, and by two receipt rules at the same time.
type handler struct {
	*config
	store *fetcher.Fetcher
	sns   *sns.Client
	log   *slog.Logger
}

// handle has every message of an event encrypted and announced.
func (h *handler) handle(ctx context.Context, event json.RawMessage) error {
	messages, err := messages(event)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := h.message(ctx, m); err != nil {
			return fmt.Errorf("message %.100q: %w", m.id, err)
		}
	}
	return nil
}

// message encrypts first: once homing hears of a message, the plain one is gone.
// If publishing fails for good homing's sweep finds the message by itself, and
// its envelope inside.
func (h *handler) message(ctx context.Context, m message) error {
	key, err := h.encrypt(ctx, m)
	if err != nil {
		return err
	}
	text, err := m.notification(h.topic, h.from.Bucket, h.prefix, key)
	if err != nil {
		return err
	}
	out, err := h.sns.Publish(ctx, &sns.PublishInput{TopicArn: &h.topic, Subject: aws.String(subject), Message: &text})
	if err != nil {
		return fmt.Errorf("encrypted, but not published: %w", err)
	}
	h.log.Info("encrypted and announced", "id", m.id, "key", key, "notification", aws.ToString(out.MessageId))
	return nil
}

// encrypt returns the key of the encrypted object, when no version of the plain
// one is left: a second rule that stores under the same prefix makes another.
func (h *handler) encrypt(ctx context.Context, m message) (key string, err error) {
	plain := fetcher.Ref{Bucket: h.from.Bucket, Key: h.from.Prefix + m.id}
	for range mostCopies {
		key, err = h.store.Encrypt(ctx, plain, fetcher.Encryption{To: h.to, Envelope: &m.envelope, Prefix: h.prefix, ID: m.id})
		if err != nil {
			return "", err
		}
		if key == "" {
			return plain.Key, nil // an OpenPGP message already, which homing decrypts where it is
		}
		_, err := h.store.Head(ctx, plain)
		if lost, ok := errors.AsType[*fetcher.Error](err); ok && lost.Gone() {
			return key, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%q is stored again as often as it is encrypted", plain.Key)
}
