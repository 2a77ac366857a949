package main

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// queueURL is where an SQS queue is; empty: there is none.
type queueURL string

type queueURLs []queueURL

func parseQueueURLs(text string) (queueURLs, error) {
	all, err := parseList(text, parseQueueURL)
	slices.Sort(all)
	return slices.Compact(all), err
}

// parseQueueURL takes the URL that SQS gives a queue. A FIFO queue is refused:
// neither SES nor S3 nor a standard topic can send to it, and it would keep all
// mail behind one that waits.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html
func parseQueueURL(text string) (queueURL, error) {
	const example = "https://sqs.eu-west-1.amazonaws.com/123456789012/mail"
	u, err := url.Parse(text)
	switch {
	case strings.HasPrefix(text, "arn:"):
		return "", errors.New("want the queue's URL instead of its ARN, as in " + example)
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || strings.Trim(u.Path, "/") == "" || hasControl(text):
		return "", errors.New("want the URL of an SQS queue, as in " + example)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("want the URL without user, query and fragment, as in " + example)
	case strings.HasSuffix(u.Path, ".fifo"):
		return "", errors.New("want a standard queue: SES and S3 cannot send to a FIFO queue")
	}
	return queueURL(text), nil
}
