package fetcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	tagName  = "homing"
	tagValue = "delivered"
	// maxTags is S3's limit:
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
	maxTags = 10
)

// errGone is for an object that is not there, or no longer the same.
var errGone = because{gone, errors.New("no such object, or another has taken its place")}

// Delete deletes the object, its version where that is known. An object that is
// gone already, or was replaced by another, is success.
func (f *Fetcher) Delete(ctx context.Context, ref Ref) error {
	version, err := f.find(ctx, ref)
	if err == nil {
		err = f.delete(ctx, ref, version)
	}
	if err != nil && reasonOf(err) != gone {
		return failure("delete", ref, err)
	}
	return nil
}

// Tag adds homing=delivered to the object's tags. An object that is gone is an
// error that says so; one that has ten other tags already is a permanent one.
func (f *Fetcher) Tag(ctx context.Context, ref Ref) error {
	version, err := f.find(ctx, ref)
	if err == nil {
		err = f.tag(ctx, ref, version)
	}
	if err != nil {
		return failure("tag", ref, err)
	}
	return nil
}

// find returns the version to act on, nil where there is none to name. It asks
// S3 only if something else could have taken the object's place. What is stored
// in the instant between this and the deletion is not protected: not every
// server knows If-Match with DELETE, and SES never uses a key twice.
func (f *Fetcher) find(ctx context.Context, ref Ref) (*string, error) {
	if _, err := f.place(ref); err != nil {
		return nil, err
	}
	// The version "null" is replaced as an object without versions is:
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/AddingObjectstoVersionSuspendedBuckets.html
	if ref.ETag == "" || ref.Version != "" && ref.Version != "null" {
		return optional(ref.Version), nil
	}
	source, err := f.head(ctx, ref)
	if err != nil {
		return nil, err
	}
	return source.VersionId, nil
}

// head asks what is stored under a reference. The version is in the answer
// where the bucket has versions.
func (f *Fetcher) head(ctx context.Context, ref Ref) (*s3.HeadObjectOutput, error) {
	out, err := f.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &ref.Bucket, Key: &ref.Key, VersionId: optional(ref.Version)})
	if err != nil {
		return nil, err
	}
	if ref.ETag != "" && bare(ref.ETag) != bare(aws.ToString(out.ETag)) {
		return nil, errGone
	}
	return out, nil
}

// bare is an ETag without its quotes, as it is in the notifications of S3.
func bare(etag string) string { return strings.Trim(etag, `"`) }

func (f *Fetcher) delete(ctx context.Context, ref Ref, version *string) error {
	_, err := f.client.DeleteObject(ctx, &s3.DeleteObjectInput{
		Bucket: &ref.Bucket, Key: &ref.Key, VersionId: version})
	if err == nil || reasonOf(err) != other {
		return err
	}
	// AWS deletes a version twice without a word; versitygw 1.8 finds the second
	// request invalid. So an answer that fits nothing is looked into.
	ref.Version = aws.ToString(version)
	if _, lost := f.head(ctx, ref); reasonOf(lost) == gone {
		return nil
	}
	return err
}

func (f *Fetcher) tag(ctx context.Context, ref Ref, version *string) error {
	had, err := f.client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{
		Bucket: &ref.Bucket, Key: &ref.Key, VersionId: version})
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(had.TagSet), func(t types.Tag) bool { return aws.ToString(t.Key) == tagName })
	if len(others) >= maxTags {
		return because{refused, fmt.Errorf("it has %d tags, which is all that S3 allows; remove one", len(others))}
	}
	_, err = f.client.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{
		Bucket: &ref.Bucket, Key: &ref.Key, VersionId: version,
		Tagging: &types.Tagging{TagSet: append(others, types.Tag{Key: aws.String(tagName), Value: aws.String(tagValue)})}})
	return err
}
