package kms

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/homing-mail/homing/fetcher/awserror"
)

// The reasons why an object could not be decrypted.
const (
	unsupported   = "unsupported"   // the metadata is not what SES writes
	misplaced     = "misplaced"     // it is another message than its name says
	broken        = "broken"        // the tag does not fit
	wrongKey      = "wrong_key"     // KMS cannot decrypt the object's key
	denied        = "denied"        // kms:Decrypt is not allowed, or there is no such key
	disabled      = "disabled"      // the KMS key is disabled, or to be deleted
	throttled     = "throttled"     // too many requests
	network       = "network"       // no answer, or not all of it
	serverFault   = "server"        // 5xx
	configuration = "configuration" // no credentials, or such as KMS does not know
	canceled      = "canceled"      // the caller's context ended
	other         = "other"
)

// Reasons lists every value of Error.Reason, for a table of metrics.
func Reasons() []string {
	return []string{unsupported, misplaced, broken, wrongKey, denied, disabled,
		throttled, network, serverFault, configuration, canceled, other}
}

// Error says why an object could not be decrypted.
type Error struct {
	reason  string
	wrapped error
}

// Error names the cause, and what to do about it.
func (e *Error) Error() string {
	cause := e.wrapped
	if with, ok := cause.(withKey); ok {
		cause = with.error
	}
	text := "KMS: " + awserror.Text("it", cause)
	if mend := e.Mend(); mend != "" {
		text += " (" + mend + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.wrapped }

// Reason is one of Reasons.
func (e *Error) Reason() string { return e.reason }

// Permanent reports that another attempt cannot succeed, whatever the
// credentials are. Every other error may pass.
func (e *Error) Permanent() bool {
	return e.reason == unsupported || e.reason == misplaced || e.reason == broken || e.reason == wrongKey
}

// Mend says what a person can do about it; empty where nothing can be done.
func (e *Error) Mend() string {
	switch e.reason {
	case denied:
		if key := e.key(); strings.Contains(key, ":alias/") {
			// https://docs.aws.amazon.com/kms/latest/developerguide/cmks-in-iam-policies.html
			return "allow these credentials kms:Decrypt on the key that " + key + " stands for, by the ARN of the key itself: a policy takes no alias"
		}
		return "allow these credentials kms:Decrypt on " + e.key() + ", in their IAM policy or in the key's own"
	case disabled:
		return "enable " + e.key() + " in KMS, or cancel its deletion"
	case wrongKey:
		return "the metadata has been changed since SES wrote it, or the key's material is gone"
	case throttled:
		return "KMS asks for fewer requests; it is tried again later"
	case configuration:
		return "check AWS_REGION, AWS_ENDPOINT_URL_KMS and the credentials"
	}
	return ""
}

// key is the KMS key as the object names it.
func (e *Error) key() string {
	if with, ok := errors.AsType[withKey](e.wrapped); ok && keyARN.MatchString(with.key) {
		return with.key
	}
	return "the key of the receipt rule"
}

// because is a cause whose reason is known where it arises.
type because struct {
	reason string
	error
}

func (b because) Unwrap() error { return b.error }

// withKey is KMS's error about a request for a key.
type withKey struct {
	key string
	error
}

func (w withKey) Unwrap() error { return w.error }

func failure(err error) error {
	if err == nil {
		return nil
	}
	return &Error{reason: reasonOf(err), wrapped: err}
}

func reasonOf(err error) string {
	if known, ok := errors.AsType[because](err); ok {
		return known.reason
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return canceled
	}
	if awserror.Lost(err) {
		return network
	}
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return reasonOfAnswer(answer.HTTPStatusCode(), awserror.Code(err))
	}
	if _, ok := errors.AsType[*smithy.OperationError](err); ok {
		return configuration // the SDK failed before it sent anything
	}
	return other
}

// reasonOfAnswer sorts KMS's errors:
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors,
// https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
func reasonOfAnswer(status int, code string) string {
	_, slowDown := retry.DefaultThrottleErrorCodes[code]
	switch {
	case slowDown || code == "LimitExceededException" || status == http.StatusTooManyRequests:
		return throttled
	case code == "InvalidCiphertextException" || code == "IncorrectKeyException" || code == "InvalidKeyUsageException":
		return wrongKey
	// KMS says the first of a key that does not exist in the region, too.
	case code == "AccessDeniedException" || code == "NotFoundException" || code == "NotAuthorized":
		return denied
	case code == "DisabledException" || code == "KMSInvalidStateException":
		return disabled
	case status >= http.StatusInternalServerError:
		return serverFault
	case status == http.StatusForbidden || status == http.StatusUnauthorized || code == "UnrecognizedClientException" ||
		code == "InvalidSignatureException" || code == "IncompleteSignature" || code == "ExpiredTokenException" ||
		code == "MissingAuthenticationTokenException" || code == "OptInRequired":
		return configuration
	}
	return other
}
