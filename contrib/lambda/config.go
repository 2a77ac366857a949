package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/homing-mail/homing/fetcher"
	"github.com/homing-mail/homing/fetcher/pgp"
)

// The variables, beside the SDK's own. README.md explains them.
const (
	varBucket = "HOMING_BUCKET"
	varPrefix = "HOMING_ENCRYPTED_PREFIX"
	varTopic  = "HOMING_TOPIC"
	varKeys   = "HOMING_PGP_ENCRYPT_TO"
	varStyle  = "HOMING_S3_PATH_STYLE"

	defaultPrefix = "encrypted/"
	// maxKeys bounds the file of public keys, in bytes.
	maxKeys = 1 << 20
)

// config is what the environment asks for.
type config struct {
	from      fetcher.Place // where SES stores
	prefix    string        // where the encrypted objects go, in the same bucket
	topic     string
	to        *pgp.Recipients
	pathStyle bool
}

// topicARN has no .fifo at its end: SES's notifications are for standard topics.
var topicARN = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$`)

// loadConfig reads the environment and reports all mistakes at once.
func loadConfig(environ []string) (*config, error) {
	given := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		given[name] = value
	}
	c := &config{topic: given[varTopic], prefix: given[varPrefix], pathStyle: given[varStyle] == "true"}
	if c.prefix == "" {
		c.prefix = defaultPrefix
	}
	c.from.Bucket, c.from.Prefix, _ = strings.Cut(given[varBucket], "/")
	var keysErr error
	c.to, keysErr = readKeys(given[varKeys], given[varKeys+"_FILE"])
	return c, errors.Join(c.placeMistake(), c.prefixMistake(), c.topicMistake(), keysErr, styleMistake(given[varStyle]))
}

func (c *config) placeMistake() error {
	switch {
	case c.from.Bucket == "":
		return fmt.Errorf("%s is required: where the S3 action stores, as bucket or bucket/prefix/", varBucket)
	case c.from.Prefix != "" && !strings.HasSuffix(c.from.Prefix, "/"):
		return fmt.Errorf("%s=%.100q: want the prefix with a / at its end, as in the receipt rule", varBucket, c.from.Bucket+"/"+c.from.Prefix)
	}
	return nil
}

func (c *config) prefixMistake() error {
	switch {
	case !strings.HasSuffix(c.prefix, "/") || len(c.prefix) < 2 || c.prefix[0] == '/':
		return fmt.Errorf("%s=%.100q: want a prefix that ends in / and does not begin with it, as in %s", varPrefix, c.prefix, defaultPrefix)
	case c.prefix == c.from.Prefix:
		return fmt.Errorf("%s=%.100q: SES stores there; want another prefix", varPrefix, c.prefix)
	}
	return nil
}

func (c *config) topicMistake() error {
	if !topicARN.MatchString(c.topic) {
		return fmt.Errorf("%s=%.100q: want the ARN of the topic that homing hears, as in arn:aws:sns:eu-west-1:123456789012:mail", varTopic, c.topic)
	}
	return nil
}

func styleMistake(given string) error {
	switch given {
	case "", "true", "false":
		return nil
	}
	return fmt.Errorf("%s=%.40q: want true or false", varStyle, given)
}

func readKeys(value, path string) (*pgp.Recipients, error) {
	switch {
	case value != "" && path != "":
		return nil, fmt.Errorf("%s and %[1]s_FILE are both set; unset one of them", varKeys)
	case value == "" && path == "":
		return nil, fmt.Errorf("%s or %[1]s_FILE is required: the public key to encrypt to, as `gpg --armor --export` writes it", varKeys)
	case path == "":
		return recipients(varKeys, []byte(value))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s_FILE: %w", varKeys, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeys))
	if err != nil {
		return nil, fmt.Errorf("%s_FILE: %w", varKeys, err)
	}
	return recipients(varKeys+"_FILE", data)
}

func recipients(variable string, data []byte) (*pgp.Recipients, error) {
	to, err := pgp.ReadRecipients(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return to, nil
}
