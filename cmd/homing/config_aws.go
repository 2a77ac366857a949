package main

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// topics are ARNs of SNS topics.
type topics []string

// place is a bucket, or the part of it below a prefix.
type place struct{ bucket, prefix string }

func (p place) String() string {
	if p.prefix == "" {
		return p.bucket
	}
	return p.bucket + "/" + p.prefix
}

type places []place

// afterDelivery is what becomes of an object once it is delivered.
type afterDelivery struct {
	action string // keep, delete, tag, move or encrypt
	prefix string // where it is moved or encrypted; ends in "/". Empty: encrypted in place
}

// partErrors are the mistakes in a list, each with the part that it is about.
type partErrors []partError

type partError struct {
	part string
	err  error
}

func (e partErrors) Error() string {
	texts := make([]string, len(e))
	for i, p := range e {
		texts[i] = p.err.Error()
	}
	return strings.Join(texts, "\n")
}

// parseList parses parts separated by commas, spaces or line ends.
func parseList[T any](text string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	var wrong partErrors
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		value, err := parse(part)
		if err != nil {
			wrong = append(wrong, partError{part, err})
		}
		list = append(list, value)
	}
	if wrong != nil {
		return nil, wrong
	}
	return list, nil
}

// topicARN:
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsns.html,
// and for the name
// https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html.
var topicARN = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`)

const exampleTopic = "arn:aws:sns:eu-west-1:123456789012:mail"

func parseTopics(text string) (topics, error) {
	return parseList(text, func(part string) (string, error) {
		subscribed := strings.LastIndexByte(part, ':')
		switch {
		case topicARN.MatchString(part):
			return part, nil
		case subscribed > 0 && topicARN.MatchString(part[:subscribed]):
			return "", errors.New("want the topic's ARN; this is a subscription's, which has one part more")
		}
		return "", errors.New("want the ARN of an SNS topic, as in " + exampleTopic)
	})
}

// bucketName:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.
// The endings that AWS keeps for itself are allowed: aliases of access points
// have them.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// maxKey is the longest key that S3 takes
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
const maxKey = 1024

func parsePlaces(text string) (places, error) { return parseList(text, parsePlace) }

func parsePlace(text string) (place, error) {
	bucket, prefix, _ := strings.Cut(text, "/")
	_, notIP := netip.ParseAddr(bucket)
	switch {
	case strings.HasPrefix(text, "s3:") || strings.HasPrefix(text, "arn:"):
		return place{}, errors.New("want the bucket's name alone, without s3:// or arn:aws:s3:::, as in bucket or bucket/prefix")
	case !bucketName.MatchString(bucket) || strings.Contains(bucket, "..") || notIP == nil:
		return place{}, errors.New("want a bucket's name: 3 to 63 of a-z, 0-9, - and . with a letter or digit at both ends, " +
			"no two dots together, no IP address")
	case len(prefix) >= maxKey || hasControl(prefix):
		return place{}, errors.New("want a prefix without control characters, shorter than the 1024 octets of a key")
	}
	return place{bucket, prefix}, nil
}

func parseAfterDelivery(text string) (afterDelivery, error) {
	action, prefix, hasPrefix := strings.Cut(text, ":")
	switch action {
	case "keep", "delete", "tag", "encrypt":
		if !hasPrefix {
			return afterDelivery{action: action}, nil
		}
	}
	if action != "move" && action != "encrypt" {
		return afterDelivery{}, errors.New("want keep, delete, tag, move:prefix/ (as in move:delivered/), encrypt or encrypt:prefix/")
	}
	switch {
	case len(prefix) < 2 || !strings.HasSuffix(prefix, "/"):
		return afterDelivery{}, fmt.Errorf("want a prefix that ends in / after %s:, as in %[1]s:delivered/", action)
	case prefix[0] == '/' || len(prefix) >= maxKey/2 || hasControl(prefix):
		return afterDelivery{}, fmt.Errorf("want a prefix of less than 512 octets that does not begin with /, as in %s:delivered/", action)
	}
	return afterDelivery{action, prefix}, nil
}
