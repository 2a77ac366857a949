package kms

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The metadata of an encrypted object, as the appendix of
// https://docs.aws.amazon.com/AWSJavaSDK/latest/javadoc/com/amazonaws/services/s3/package-summary.html
// has it; what SES writes of it is known from an object that AWS tests its .NET
// client with.
const (
	metaWrapped = "x-amz-key-v2"
	metaIV      = "x-amz-iv"
	metaCipher  = "x-amz-cek-alg"
	metaWrap    = "x-amz-wrap-alg"
	metaTag     = "x-amz-tag-len"
	metaContext = "x-amz-matdesc"
)

// foreign are the names that other formats of AWS's clients have, and what they
// are. SES writes none of these.
var foreign = map[string]string{
	"x-amz-key":               "version 1 of the format",
	"x-amz-3":                 "version 3 of the format",
	"x-amz-crypto-instr-file": "an instruction file, no message",
}

// metaLength tells of an object whose key is in an instruction file, too.
const metaLength = "x-amz-unencrypted-content-length"

// The encryption context, all of which KMS authenticates.
const (
	contextMessage = "aws:ses:message-id"
	contextCipher  = "aws:x-amz-cek-alg" // required with wrapKMSContext
	contextKey     = "kms_cmk_id"
)

// What is supported: what SES writes, and what AWS's clients write today.
const (
	cipherGCM      = "AES/GCM/NoPadding"
	tagBits        = "128"
	wrapKMS        = "kms"
	wrapKMSContext = "kms+context"

	ivSize  = 12
	keySize = 32 // AES-256

	// KMS takes no more of either.
	// https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
	maxWrapped = 6144
	maxContext = 8192
)

// Encrypted reports whether an object with this metadata, the names in lower
// case and without x-amz-meta-, was encrypted by a client of S3's before it was
// stored: by SES, or in a way that Decrypt refuses.
func Encrypted(metadata map[string]string) bool {
	for name := range metadata {
		switch name {
		case metaWrapped, metaIV, metaCipher, metaWrap, metaLength:
			return true
		}
		if _, is := foreign[name]; is {
			return true
		}
	}
	return false
}

// envelope is what the metadata says about an object's encryption.
type envelope struct {
	wrapped []byte // the object's key, encrypted by KMS
	iv      []byte
	context map[string]string
}

// readEnvelope understands the metadata of the object under a key, and refuses
// all that SES does not write.
func readEnvelope(key string, metadata map[string]string) (*envelope, error) {
	if err := supported(metadata); err != nil {
		return nil, because{unsupported, err}
	}
	e := new(envelope)
	var err error
	if e.wrapped, err = decode(metadata[metaWrapped], maxWrapped); err != nil {
		return nil, because{unsupported, fmt.Errorf("%s: %w", metaWrapped, err)}
	}
	if e.iv, err = decode(metadata[metaIV], ivSize); err != nil || len(e.iv) != ivSize {
		return nil, because{unsupported, fmt.Errorf("%s is not %d bytes in base64", metaIV, ivSize)}
	}
	if e.context, err = readContext(metadata[metaContext]); err != nil {
		return nil, because{unsupported, fmt.Errorf("%s: %w", metaContext, err)}
	}
	inContext, has := e.context[contextCipher]
	if (has || metadata[metaWrap] == wrapKMSContext) && inContext != cipherGCM {
		return nil, because{unsupported, fmt.Errorf("%s says %q of %s: the metadata has been changed", metaContext, inContext, contextCipher)}
	}
	return e, e.belongs(key)
}

func supported(metadata map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(foreign)) {
		if _, has := metadata[name]; has {
			return fmt.Errorf("it has %s, and so is %s, which SES does not write", name, foreign[name])
		}
	}
	_, has := metadata[metaWrapped]
	switch cipher, wrap := metadata[metaCipher], metadata[metaWrap]; {
	case !has:
		return fmt.Errorf("there is no %s: its key is in an instruction file, or nowhere", metaWrapped)
	case strings.Contains(cipher, "CBC"):
		return fmt.Errorf("%s is %.40q: content that is not authenticated is not delivered", metaCipher, cipher)
	case cipher != cipherGCM:
		return fmt.Errorf("%s is %.40q, want %s", metaCipher, cipher, cipherGCM)
	case wrap != wrapKMS && wrap != wrapKMSContext:
		return fmt.Errorf("%s is %.40q, want %s or %s", metaWrap, wrap, wrapKMS, wrapKMSContext)
	case metadata[metaTag] != tagBits:
		return fmt.Errorf("%s is %.40q, want %s", metaTag, metadata[metaTag], tagBits)
	}
	return nil
}

func decode(text string, most int) ([]byte, error) {
	if len(text) > base64.StdEncoding.EncodedLen(most) {
		return nil, fmt.Errorf("%d octets are more than it can be", len(text))
	}
	octets, err := base64.StdEncoding.DecodeString(text)
	if err == nil && len(octets) == 0 {
		err = errors.New("it is empty")
	}
	return octets, err
}

func readContext(text string) (map[string]string, error) {
	if len(text) > maxContext {
		return nil, fmt.Errorf("%d octets are more than it can be", len(text))
	}
	var context map[string]string
	if err := json.Unmarshal([]byte(text), &context); err != nil {
		return nil, fmt.Errorf("want a JSON object of strings: %w", err)
	}
	return context, nil
}

// sesID is what SES names messages, and their objects, like.
var sesID = regexp.MustCompile(`^[a-z0-9]{20,}$`)

// belongs refuses an object that lies under another message's name: under that
// name it would be delivered, and taken for delivered. A name of somebody's own
// says nothing. The account in the context is not compared with anything:
// homing does not know by which account its mail is received, which a condition
// in the policy for kms:Decrypt does.
func (e *envelope) belongs(key string) error {
	name := key[strings.LastIndexByte(key, '/')+1:]
	id := e.context[contextMessage]
	if id == "" || id == name || !sesID.MatchString(name) {
		return nil
	}
	return because{misplaced, fmt.Errorf("it is the message %.100q, and lies under the name of another", id)}
}

// keyARN is a KMS key or an alias of one, and finds the region it is in.
var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}):[0-9]{12}:(?:key|alias)/[A-Za-z0-9:/_-]{1,256}$`)

// region is where the object's key is: where SES received the mail, which may
// not be where the bucket is. The object may choose it, for all it chooses is
// one of AWS's own hosts, kms.<region>.amazonaws.com, to which a request is
// signed for that region alone; but not in another partition, where our
// credentials are no good and are nobody's business. An object that names no key
// is asked for in our own region.
func (e *envelope) region(own string) (string, error) {
	key := keyARN.FindStringSubmatch(e.context[contextKey])
	switch {
	case key == nil && own == "":
		return "", because{configuration, errors.New("no AWS region is known")}
	case key == nil:
		return own, nil
	case own != "" && partition(own) != partition(key[1]):
		return "", because{unsupported, fmt.Errorf("its key is in %s, another part of AWS than %s", key[1], own)}
	}
	return key[1], nil
}

// partition tells the parts of AWS that have accounts of their own by how the
// names of their regions begin.
// https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
func partition(region string) string {
	for _, prefix := range []string{"cn-", "us-gov-", "us-iso", "eu-iso", "eusc-"} {
		if strings.HasPrefix(region, prefix) {
			return prefix
		}
	}
	return ""
}
