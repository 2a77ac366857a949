package fetcher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/homing-mail/homing/fetcher/awserror"
)

// The reasons why an object could not be fetched or settled.
const (
	outside       = "outside"       // not in a place that objects may be fetched from
	tooLarge      = "too_large"     // larger than MaxMessage
	refused       = "refused"       // what is asked for after delivery would do harm
	gone          = "gone"          // no such object, or no such version
	denied        = "denied"        // 403
	throttled     = "throttled"     // too many requests
	checksum      = "checksum"      // the octets are not those that were stored
	network       = "network"       // no answer, or not all of it
	serverFault   = "server"        // 5xx
	configuration = "configuration" // no credentials, no or a wrong region, no such bucket
	canceled      = "canceled"      // the caller's context ended
	other         = "other"
)

// Reasons lists every value of Error.Reason, for a table of metrics.
func Reasons() []string {
	return []string{outside, tooLarge, refused, gone, denied, throttled,
		checksum, network, serverFault, configuration, canceled, other}
}

// hints say what to do, where anything can be done.
var hints = map[string]string{
	outside:       "list the bucket, and prefix if any, in HOMING_BUCKETS if mail is stored there",
	tooLarge:      "raise HOMING_MAX_MESSAGE and retry it",
	denied:        "check the credentials and what they are allowed; S3 also answers 403 for what does not exist, unless s3:ListBucket is allowed on the bucket",
	throttled:     "S3 asks for fewer requests; it is tried again later",
	checksum:      "the octets that arrived are not those that were stored",
	configuration: "check the bucket's name, AWS_REGION, AWS_ENDPOINT_URL_S3 and the credentials",
}

// Error says why an object could not be fetched, deleted, tagged or moved.
type Error struct {
	op      string
	bucket  string
	key     string
	reason  string
	wrapped error
}

// Error names the object, the cause, and what to do about it.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s %q of bucket %q: %s", e.op, e.key, e.bucket, awserror.Text("S3", e.wrapped))
	if hint := hints[e.reason]; hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.wrapped }

// Reason is one of Reasons.
func (e *Error) Reason() string { return e.reason }

// Permanent reports that another attempt cannot succeed unless somebody changes
// the configuration. Every other error may pass.
func (e *Error) Permanent() bool {
	return e.reason == outside || e.reason == tooLarge || e.reason == refused
}

// Gone reports that there is no such object: it was never there, or it was
// deleted or replaced.
func (e *Error) Gone() bool { return e.reason == gone }

// Denied reports that the credentials do not allow it. S3 also says so of an
// object that is gone, where listing the bucket is not allowed.
func (e *Error) Denied() bool { return e.reason == denied }

// because is a cause whose reason is known where it arises.
type because struct {
	reason string
	error
}

func (b because) Unwrap() error { return b.error }

func failure(op string, ref Ref, err error) error {
	return &Error{op: op, bucket: ref.Bucket, key: ref.Key, reason: reasonOf(err), wrapped: err}
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
		return reasonOfAnswer(answer.Response.Response, awserror.Code(err))
	}
	if _, ok := errors.AsType[*smithy.OperationError](err); ok {
		// The SDK failed before it sent anything: it had no credentials, no
		// region, or could make no host name of the bucket.
		return configuration
	}
	return other
}

// reasonOfAnswer sorts S3's errors:
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func reasonOfAnswer(answer *http.Response, code string) string {
	_, slowDown := retry.DefaultThrottleErrorCodes[code]
	status := answer.StatusCode
	switch {
	case slowDown || status == http.StatusTooManyRequests:
		return throttled
	case slices.Contains(misconfigured, code) || status == http.StatusMovedPermanently:
		return configuration
	case code == "InvalidObjectState": // 403 for an object in an archive, not for the credentials
		return other
	case status == http.StatusForbidden:
		return denied
	case status == http.StatusNotFound:
		return gone
	case answer.Header.Get("x-amz-delete-marker") == "true": // 405 where it was asked for by its version
		return gone
	case code == "RequestTimeout":
		return network
	case status >= http.StatusInternalServerError:
		return serverFault
	}
	return other
}

var misconfigured = []string{"NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "TemporaryRedirect",
	"IllegalLocationConstraintException", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken"}
