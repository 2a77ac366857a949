package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/homing-mail/homing/fetcher/awserror"
)

// firstBytes is how much of an object a trial reads.
const firstBytes = 1 << 10

// Trial asks S3 what homing will ask of it, reads next to nothing and writes
// nothing. Its errors are *TrialError.
type Trial struct{ client *s3.Client }

// NewTrial returns a Trial with the client that fetches will use.
func NewTrial(client *s3.Client) *Trial { return &Trial{client} }

// Answer is what S3 said to a trial. It has the times also where there is an error.
type Answer struct {
	Key    string    // of List: the first below the prefix; empty: there is none
	Absent bool      // of Get: there is no such object, and S3 would have given it
	Date   time.Time // by S3's clock, to the second; zero: it did not say
	Heard  time.Time // the same moment by ours
}

// TrialError says what was refused and how that is mended.
type TrialError struct {
	// Permission is the action that the credentials are not allowed, such as
	// "s3:ListBucket"; empty where that is not the trouble.
	Permission string
	// Sure is false where S3 did not name the action, which is then the one that
	// was tried for.
	Sure bool
	err  error
	mend string
}

// Error is what S3 said, or why it said nothing.
func (e *TrialError) Error() string { return awserror.Text("S3", e.err) }

// Unwrap returns the cause.
func (e *TrialError) Unwrap() error { return e.err }

// Mend says what a person can do about it.
func (e *TrialError) Mend() string { return e.mend }

// Credentials looks for credentials as the first request would, and returns
// where they were found.
func (t *Trial) Credentials(ctx context.Context) (source string, err error) {
	found, err := t.client.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return "", &TrialError{err: err, mend: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give this machine or container a role"}
	}
	return found.Source, nil
}

// List asks for one key below the prefix.
func (t *Trial) List(ctx context.Context, place Place) (Answer, error) {
	out, err := t.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &place.Bucket, Prefix: optional(place.Prefix), MaxKeys: aws.Int32(1)})
	if err != nil {
		return dated(err), t.refused("s3:ListBucket", "arn:aws:s3:::"+place.Bucket, err)
	}
	answer := timed(out.ResultMetadata)
	if len(out.Contents) > 0 {
		answer.Key = aws.ToString(out.Contents[0].Key)
	}
	return answer, nil
}

// Get reads the first bytes of an object. Without a key it asks for one that
// does not exist, for S3 looks whether it may be read before it looks for it.
func (t *Trial) Get(ctx context.Context, place Place, key string) (Answer, error) {
	missing := key == ""
	if missing {
		key = place.Prefix + "homing-check-no-such-object"
	}
	out, err := t.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &place.Bucket, Key: &key, Range: aws.String(fmt.Sprintf("bytes=0-%d", firstBytes-1))}, unverified)
	if err == nil {
		defer out.Body.Close()
		if _, err = io.Copy(io.Discard, io.LimitReader(out.Body, firstBytes)); err == nil {
			return timed(out.ResultMetadata), nil
		}
	}
	answer, refused := dated(err), t.refused("s3:GetObject", "arn:aws:s3:::"+place.Bucket+"/"+place.Prefix+"*", err)
	switch code := awserror.Code(err); {
	case code == "InvalidRange", code == "InvalidObjectState":
		return answer, nil // an empty object, or one in an archive: it may be read
	case code == "NoSuchKey", missing && refused.Sure && refused.Permission == "s3:ListBucket":
		// S3 tells those who may read and not list that they may not list.
		answer.Absent = true
		return answer, nil
	}
	return answer, refused
}

// unverified: a part of an object does not fit the checksum of the whole, which
// some servers send with it.
func unverified(o *s3.Options) {
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
}

func timed(metadata middleware.Metadata) (a Answer) {
	a.Date, _ = awsmiddleware.GetServerTime(metadata)
	a.Heard, _ = awsmiddleware.GetResponseAt(metadata)
	return a
}

// dated takes the time from an answer that was an error.
func dated(err error) (a Answer) {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok {
		return a
	}
	date, err := http.ParseTime(answer.Response.Header.Get("Date"))
	if err != nil {
		return a
	}
	return Answer{Date: date, Heard: time.Now()}
}

// action is in S3's words about an identity that is not allowed something:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
var action = regexp.MustCompile(`not authorized to perform: ([a-z0-9-]{1,20}:[A-Za-z]{1,40})`)

// refused explains an error of a request that needs a permission on a resource.
func (t *Trial) refused(permission, resource string, err error) *TrialError {
	e := &TrialError{err: err}
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if _, unsent := errors.AsType[*smithyhttp.RequestSendError](err); unsent || !ok {
		e.mend = t.unanswered(err)
		return e
	}
	status, code := answer.HTTPStatusCode(), awserror.Code(err)
	if status != http.StatusForbidden || code != "AccessDenied" {
		e.mend = unfit(answer.Response.Response, code)
		return e
	}
	e.Permission = permission
	if named := action.FindStringSubmatch(err.Error()); named != nil {
		e.Permission, e.Sure = named[1], true
	}
	e.mend = fmt.Sprintf("allow these credentials %s on %s (their IAM policy, and the bucket's)", permission, resource)
	if e.Permission != permission {
		e.mend = fmt.Sprintf("allow these credentials %s, which reading there needs too (IAM policy, and that of the bucket or key)", e.Permission)
	}
	return e
}

// unanswered is the mend where S3 said nothing.
func (t *Trial) unanswered(err error) string {
	options := t.client.Options()
	_, unknown := errors.AsType[*net.DNSError](err)
	switch {
	case unknown && options.BaseEndpoint != nil && !options.UsePathStyle:
		return "the bucket is part of the host name that was asked for: set HOMING_S3_PATH_STYLE=true, as servers other than AWS need it, or mend AWS_ENDPOINT_URL_S3"
	case options.BaseEndpoint != nil:
		return "check AWS_ENDPOINT_URL_S3 (and AWS_CA_BUNDLE for a certificate of your own), and that this machine reaches it"
	}
	return "check AWS_REGION, and that this machine reaches AWS over HTTPS: DNS, firewall, HTTPS_PROXY, root certificates"
}

var (
	wrongRegion = []string{"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "TemporaryRedirect"}
	regionName  = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
)

// unfit is the mend for an error of S3 that is not about a permission.
func unfit(answer *http.Response, code string) string {
	region := answer.Header.Get("x-amz-bucket-region")
	switch {
	case code == "NoSuchBucket" || code == "InvalidBucketName":
		return "correct HOMING_BUCKETS: there is no bucket of this name (at AWS_ENDPOINT_URL_S3, where that is set)"
	case slices.Contains(wrongRegion, code) || answer.StatusCode == http.StatusMovedPermanently:
		if regionName.MatchString(region) {
			return "set AWS_REGION=" + region + ", where the bucket is"
		}
		return "set AWS_REGION to the region that the bucket is in"
	case code == "RequestTimeTooSkewed":
		return "set this machine's clock, and keep it with NTP: S3 takes signatures of the last 15 minutes only"
	}
	switch reasonOfAnswer(answer, code) {
	case denied, configuration:
		return "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or the profile: S3 does not take these credentials"
	case throttled:
		return "S3 asks for fewer requests: try again in a minute"
	case serverFault:
		return "S3 itself is failing: try again later, and look at its log, or at AWS's status page"
	}
	return "is this an S3 server? check AWS_ENDPOINT_URL_S3, HOMING_BUCKETS and the credentials"
}
